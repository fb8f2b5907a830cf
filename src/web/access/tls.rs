//! Certificates, turned into what `rustls` serves by.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::certificate;
use crate::config::ca_file::without_mark;
use crate::self_metrics::CertificateUse;

/// PEM, in a file or in the configuration itself.
pub enum Pem {
    File(PathBuf),
    Text(String),
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, String> {
        let pem = match self {
            Self::File(path) => {
                std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?
            }
            Self::Text(text) => text.clone().into_bytes(),
        };
        Ok(without_mark(&pem).to_vec())
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let pem = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => Err("holds no certificate in PEM".to_owned()),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(format!("is not PEM: {error}")),
        }
    }
}

/// What clients have to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    NotAsked,
    VerifiedIfGiven,
    Verified,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

/// The section `tls_server_config`.
pub struct Tls {
    pub certificate: Pem,
    pub key: Pem,
    pub clients: Clients,
    pub roots: Option<Pem>,
    pub min: Version,
    pub max: Version,
}

impl Tls {
    /// The files that it names.
    pub fn files(&self) -> Vec<PathBuf> {
        let all = [Some(&self.certificate), Some(&self.key), self.roots.as_ref()];
        let file = |pem: &Pem| match pem {
            Pem::File(path) => Some(path.clone()),
            Pem::Text(_) => None,
        };
        all.into_iter().flatten().filter_map(file).collect()
    }
}

/// Expiries by the use of the certificates.
type Expiries = Vec<(CertificateUse, Timestamp)>;

/// Reads and checks all files. Returns the TLS configuration and the earliest expiry for each use.
///
/// # Errors
/// The key of the configuration whose value cannot be used, and the reason.
pub fn server_config(
    tls: &Tls,
    http2: bool,
) -> Result<(Arc<ServerConfig>, Expiries), (&'static str, String)> {
    let mut expiries = Expiries::new();
    let mut note = |of, certificates: &[CertificateDer<'_>]| {
        let all = certificates.iter().filter_map(|it| certificate::expiry(it));
        expiries.extend(all.min().map(|earliest| (of, earliest)));
    };
    let certificates = tls.certificate.certificates().map_err(|what| ("cert_file", what))?;
    note(CertificateUse::Server, &certificates);
    let key = tls.key.read().map_err(|what| ("key_file", what))?;
    // The library's error may hold the text that it could not read.
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| ("key_file", "holds no private key in PEM".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let known = [(Version::Tls12, &rustls::version::TLS12), (Version::Tls13, &rustls::version::TLS13)];
    let versions: Vec<_> = known
        .into_iter()
        .filter(|(version, _)| (tls.min..=tls.max).contains(version))
        .map(|(_, version)| version)
        .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| ("min_version", error.to_string()))?;
    let builder = match (&tls.roots, tls.clients) {
        (Some(roots), Clients::Verified | Clients::VerifiedIfGiven) => {
            let mut store = RootCertStore::empty();
            let roots = roots.certificates().map_err(|what| ("client_ca_file", what))?;
            note(CertificateUse::ClientCa, &roots);
            for root in roots {
                store.add(root).map_err(|error| ("client_ca_file", error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
            let verifier = match tls.clients {
                Clients::Verified => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| ("client_ca_file", error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| ("key_file", format!("does not go with the certificate: {error}")))?;
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok((Arc::new(config), expiries))
}
