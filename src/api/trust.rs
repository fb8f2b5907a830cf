//! Verification of servers: TLS with the machine's root certificates and the certificates of
//! `api.ca_file`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};

use super::error::Source;

/// The error text of webpki for a server that presents the certificate of an authority (CA:TRUE). The
/// text is compared because rustls does not expose webpki's error type. A test fails if the text
/// changes.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// The error for a server that presents an authority's certificate that `api.ca_file` does not contain.
const NOT_IN_CA_FILE: &str =
    "the server presents the certificate of an authority (CA:TRUE) that is not in api.ca_file";

/// Returns the TLS configuration for the API. It trusts the machine's root certificates and
/// `certificates`, accepts a server that presents one of `certificates`, and offers HTTP/2 and
/// HTTP/1.1.
pub(super) fn tls(certificates: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Source> {
    let mut roots = roots();
    roots.add_parsable_certificates(certificates.iter().cloned());
    let mut config = trusting(roots.clone())?;
    if !certificates.is_empty() {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        let verifier = NamedCertificates { verifier, certificates };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The standard verification with one exception: a server may present the certificate of an authority
/// if `api.ca_file` contains exactly this certificate. `openssl req -x509` creates such certificates.
///
/// The exception adds no trust, because the owner of the authority's key can issue any certificate. The
/// name must match. webpki checks the validity period before it refuses the kind of certificate. The
/// signature of the handshake proves that the server has the key.
#[derive(Debug)]
struct NamedCertificates {
    verifier: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if is_authority(&error) && self.certificates.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if is_authority(&error) => Err(rustls::Error::General(NOT_IN_CA_FILE.to_owned())),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether a certificate was refused only because it is the certificate of an authority.
pub(super) fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
        return false;
    };
    cause.to_string() == CA_AS_SERVER
}

/// Returns the machine's root certificates, or Mozilla's bundled root certificates if the machine has
/// none (for example, in an image built from `scratch`).
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// Returns the cryptography provider. TLS configurations name it explicitly, so that the process needs
/// no default provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns a TLS configuration that trusts `roots`.
fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Returns a client for this program's own pages. It sends no token, follows no redirects and uses no
/// proxy.
///
/// # Errors
/// Returns the errors of the TLS library and of the client.
pub fn plain_client(timeout: Duration) -> anyhow::Result<reqwest::Client> {
    Ok(plain(timeout).tls_backend_preconfigured(trusting(roots())?).build()?)
}

/// Returns a client like [`plain_client`] that accepts every certificate. Use it only for addresses of
/// this machine.
///
/// # Errors
/// Returns the errors of the client.
pub fn unverified_client(timeout: Duration) -> anyhow::Result<reqwest::Client> {
    // reqwest's TLS uses the default provider of the process. A provider that is already installed
    // works too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(plain(timeout).tls_danger_accept_invalid_certs(true).build()?)
}

fn plain(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(timeout)
}
