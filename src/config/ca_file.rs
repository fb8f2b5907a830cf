//! Certificates of authorities from a PEM file, for servers that the machine's own roots do not know.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Maximum size of the file, in bytes. It is 20 times the size of the certificates of all public
/// authorities.
const MAX_SIZE: u64 = 4 << 20;

/// What is wrong with the file, behind its path.
#[must_use]
pub fn problem(path: &Path) -> Option<String> {
    read(path).and_then(|pem| certificates(path, &pem)).err()
}

/// Returns the content of the file. The error is a text that consists of the path and the problem.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut pem))
        .map_err(|error| wrong(path, &format!("cannot be read: {error}")))?;
    if pem.len() as u64 > MAX_SIZE {
        return Err(wrong(path, &format!("is larger than {MAX_SIZE} bytes")));
    }
    Ok(pem)
}

/// Returns the certificates in `pem`. Each of them can be used as a root certificate. The error is a
/// text that consists of the path and the problem.
pub fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(without_mark(pem))
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, &format!("is not PEM: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| wrong(path, &format!("contains an invalid certificate: {error}")))?;
    }
    if certificates.is_empty() {
        return Err(wrong(path, "contains no certificate"));
    }
    Ok(certificates)
}

/// Returns a text without the byte-order mark at its beginning. Some editors write a byte-order mark, and a PEM
/// parser does not recognise a first line that begins with it.
#[must_use]
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

fn wrong(path: &Path, what: &str) -> String {
    format!("{} {what}", path.display())
}
