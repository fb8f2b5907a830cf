//! Likely causes of errors that a wrong configuration causes, with the setting that the operator should check.

use std::error::Error as StdError;
use std::io;

use rustls::{CertificateError, InvalidMessage};

use super::trust::is_authority;

/// For a response that the FlexVM API does not send.
pub(super) const NOT_THE_API: &str =
    "this does not look like the FlexVM API; check base_url, to which the exporter adds /v3/flexVM";

/// For a redirect.
const REDIRECT: &str = "the FlexVM API does not redirect; check base_url";

/// For a certificate without a chain to a trusted root.
const UNTRUSTED: &str = "the certificate of the server is self-signed or from an authority that is not trusted; if the \
                         server is correct, add the certificate of the authority to api.ca_file";

/// For a server that responds to a TLS handshake with another protocol.
const NO_TLS: &str = "the server does not speak TLS on this port; check the port and https:// in base_url";

/// For a server that ends a TLS handshake without an alert.
const HANDSHAKE_CLOSED: &str = "the server closed the connection during the TLS handshake; check whether the port in base_url \
     accepts https://";

/// For a server that responds to an HTTP request with another protocol.
const NO_HTTP: &str =
    "the server does not speak HTTP on this port; check whether base_url must begin with https://";

/// Returns the likely cause of a request without a response, or `None` if it is unknown. `is_https` is whether the
/// request used TLS.
pub(super) fn of_request(error: &reqwest::Error, is_https: bool) -> Option<&'static str> {
    causes(error).find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return of_tls(error);
        }
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if is_https && error.is_connect() && io == Some(io::ErrorKind::UnexpectedEof) {
            return Some(HANDSHAKE_CLOSED);
        }
        let is_garbled = cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        (is_garbled && !is_https).then_some(NO_HTTP)
    })
}

fn of_tls(error: &rustls::Error) -> Option<&'static str> {
    match error {
        // BadSignature: an authority of the same name, but with another key, is trusted.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Some(UNTRUSTED),
        // The authority's own certificate is refused before its issuer is searched for.
        error if is_authority(error) => Some(UNTRUSTED),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(NO_TLS),
        _ => None,
    }
}

/// Returns the likely cause of an error status, or `None` if it is unknown. `is_own` is whether the body is an error
/// object of the API.
pub(super) fn of_status(status: u16, body: &[u8], is_own: bool) -> Option<&'static str> {
    match status {
        304 => None,
        300..=399 => Some(REDIRECT),
        404 | 405 | 410 if !is_own => Some(NOT_THE_API),
        400..=499 if is_markup(body) => Some(NOT_THE_API),
        _ => None,
    }
}

/// Returns the likely cause of an unreadable body in a successful response, or `None` if it is unknown. `is_list` is
/// whether the client expected a list.
pub(super) fn of_body(body: &[u8], is_list: bool) -> Option<&'static str> {
    let is_other = is_list && !matches!(body.trim_ascii_start(), [] | [b'[', ..]);
    (is_other || is_markup(body)).then_some(NOT_THE_API)
}

/// Whether a body is HTML or XML.
fn is_markup(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Returns an error and its causes, also those that an I/O error wraps.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => StdError::source(*error),
        }
    })
}
