//! Where requests may go: the rules for a base URL, and the URLs made from it.

use std::net::IpAddr;

use reqwest::Url;

/// Why a URL cannot be the root of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Neither https nor http.
    #[error("must begin with https://")]
    Scheme,
    /// http to another machine: the token would travel in the clear.
    #[error(
        "must begin with https://, because http:// would show the token to the network; set api.allow_http to allow it"
    )]
    Http,
    /// No host.
    #[error("must name a host")]
    Host,
    /// `user:password@`.
    #[error("must not hold a user name or password")]
    Credentials,
    /// `?…` or `#…`.
    #[error("must not hold a query or fragment")]
    Query,
}

/// Whether `url` may be the root of the API: https, or http when the host is loopback or
/// `allow_http` says so; a host; neither credentials nor query.
pub fn check_base_url(url: &Url, allow_http: bool) -> Result<(), BaseUrlError> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BaseUrlError::Host)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback(host) => {}
        "http" => return Err(BaseUrlError::Http),
        _ => return Err(BaseUrlError::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BaseUrlError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BaseUrlError::Query);
    }
    Ok(())
}

/// 127.0.0.0/8, `::1` and `localhost`. The URL's parser has already put odd spellings of addresses
/// (`127.1`, `0x7f000001`) into the usual form.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Longest id that is put into a path, in bytes; the API's are 36.
const MAX_ID: usize = 256;

/// `base` followed by `/v3/flexVM` and `segments`, each percent-encoded; `None` if one of them
/// would not stay a segment of its own (empty, `.`, `..`) or is absurdly long.
pub(super) fn path(base: &Url, segments: &[&str]) -> Option<Url> {
    if segments.iter().any(|segment| matches!(*segment, "" | "." | "..") || segment.len() > MAX_ID) {
        return None;
    }
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(["v3", "flexVM"]).extend(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        for text in
            ["http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:1/x", "http://LOCALHOST", "http://127.1"]
        {
            assert_eq!(check_base_url(&url(text), false), Ok(()), "{text}");
        }
        for text in [
            "http://api.i3d.net",
            "http://localhost.example",
            "http://128.0.0.1",
            "http://[2001:db8::1]",
            "http://127.0.0.1.nip.io",
        ] {
            assert_eq!(check_base_url(&url(text), false), Err(BaseUrlError::Http), "{text}");
            assert_eq!(check_base_url(&url(text), true), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_base_url_is_a_root_and_nothing_else() {
        assert_eq!(check_base_url(&url("https://api.i3d.net/prefix"), false), Ok(()));
        assert_eq!(check_base_url(&url("ftp://api.i3d.net"), true), Err(BaseUrlError::Scheme));
        assert_eq!(check_base_url(&url("file:///etc/passwd"), true), Err(BaseUrlError::Host));
        assert_eq!(check_base_url(&url("https://u@api.i3d.net"), true), Err(BaseUrlError::Credentials));
        assert_eq!(check_base_url(&url("https://:p@api.i3d.net"), true), Err(BaseUrlError::Credentials));
        assert_eq!(check_base_url(&url("https://api.i3d.net?a"), true), Err(BaseUrlError::Query));
        assert_eq!(check_base_url(&url("https://api.i3d.net#a"), true), Err(BaseUrlError::Query));
    }

    #[test]
    fn an_id_never_leaves_its_place_in_the_path() {
        let base = url("https://api.i3d.net/prefix/");
        let made = |id: &str| path(&base, &["clouds", id, "vms"]).map(|url| url.to_string());
        let plain = |id| Some(format!("https://api.i3d.net/prefix/v3/flexVM/clouds/{id}/vms"));
        assert_eq!(made("0192"), plain("0192"));
        assert_eq!(made("a/b?c#d"), plain("a%2Fb%3Fc%23d"));
        assert_eq!(made("%2e%2e"), plain("%252e%252e"));
        for id in ["", ".", ".."] {
            assert_eq!(made(id), None, "{id:?}");
        }
        assert_eq!(made(&"x".repeat(257)), None);
        assert_eq!(path(&url("https://api.i3d.net"), &["images"]).unwrap().path(), "/v3/flexVM/images");
    }
}
