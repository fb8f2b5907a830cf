//! Certificates of authorities from a PEM file, for servers that the machine's own roots do not know.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What is wrong with the file, behind its path.
#[must_use]
pub fn problem(path: &Path) -> Option<String> {
    read(path).err()
}

/// Its certificates, each fit to be a root. The error is what is wrong, behind the path.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |what: String| format!("{} {what}", path.display());
    let pem = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("is not PEM: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| wrong(format!("holds a bad certificate: {error}")))?;
    }
    if certificates.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(certificates)
}
