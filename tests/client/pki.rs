//! Certificates for a test.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A self-signed certificate and its key, in PEM.
pub struct SelfSigned {
    pub certificate: String,
    key: String,
}

/// Creates the certificate of an authority, as `openssl req -x509` does.
pub fn authority(names: &[&str]) -> SelfSigned {
    self_signed(names, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
}

/// Creates an expired certificate of an authority.
pub fn expired_authority(names: &[&str]) -> SelfSigned {
    self_signed(names, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    })
}

/// Creates the certificate of a server.
pub fn server(names: &[&str]) -> SelfSigned {
    self_signed(names, |_| {})
}

fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> SelfSigned {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap().pem();
    SelfSigned { certificate, key: key.serialize_pem() }
}

impl SelfSigned {
    /// TLS for a server with this certificate that speaks `protocol`. Sessions cannot be resumed,
    /// because a resumed session presents no certificate.
    pub fn tls(&self, protocol: &str) -> ServerConfig {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let builder = ServerConfig::builder_with_provider(provider.into());
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config
    }
}
