//! Certificates of authorities from a PEM file, for servers that the machine's own roots do not know.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The path of a file that can be used.
pub fn checked(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("is empty".to_owned());
    }
    let path = PathBuf::from(path);
    read(&path)?;
    Ok(path)
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
