//! What may be the root of the API.

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
        "must begin with https://, because http:// would send the token unencrypted; or set api.allow_http to true"
    )]
    Http,
    /// No host.
    #[error("must name a host")]
    Host,
    /// `user:password@`.
    #[error("holds a user name or password: the API takes a token, remove them")]
    Credentials,
    /// `?…` or `#…`.
    #[error("must end with a path, without ? or #")]
    Query,
    /// The path of the API itself, which is added to each request.
    #[error("must not contain /v3/flexVM, because the exporter adds it; remove it")]
    ApiPath,
}

/// Whether `url` may be the root of the API: https, or http when the host is loopback or
/// `allow_http` says so; a host; neither credentials nor query.
pub fn check(url: &Url, allow_http: bool) -> Result<(), BaseUrlError> {
    // First of all, so that whoever shows the URL with another error shows no password.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BaseUrlError::Credentials);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BaseUrlError::Host)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback(host) => {}
        "http" => return Err(BaseUrlError::Http),
        _ => return Err(BaseUrlError::Scheme),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BaseUrlError::Query);
    }
    if format!("{}/", url.path()).to_ascii_lowercase().contains("/v3/flexvm/") {
        return Err(BaseUrlError::ApiPath);
    }
    Ok(())
}

/// 127.0.0.0/8, `::1` and `localhost`. The URL's parser has already put odd spellings of addresses
/// (`127.1`, `0x7f000001`) into the usual form.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// `text` as a sentence may quote it: what stands before an `@` may be a password.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("{:?}", format!("…@{rest}")),
        None => format!("{text:?}"),
    }
}

/// Reads the root of the API, without the slashes at its end. The error is a sentence that shows no
/// password.
pub fn parse(text: &str, allow_http: bool) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("{} is not an address: {error}", quoted(text)))?;
    check(&url, allow_http).map_err(|error| match error {
        BaseUrlError::Credentials => error.to_string(),
        _ => format!("{} {error}", quoted(text)),
    })?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn no_sentence_shows_a_password() {
        for text in ["https://u:secret@h:99999/", "https://u:secret@[::/", "http://u:secret@h", "u:secret@h"]
        {
            let error = parse(text, false).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        for text in
            ["http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:1/x", "http://LOCALHOST", "http://127.1"]
        {
            assert_eq!(check(&url(text), false), Ok(()), "{text}");
        }
        for text in [
            "http://api.i3d.net",
            "http://localhost.example",
            "http://128.0.0.1",
            "http://[2001:db8::1]",
            "http://127.0.0.1.nip.io",
        ] {
            assert_eq!(check(&url(text), false), Err(BaseUrlError::Http), "{text}");
            assert_eq!(check(&url(text), true), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_base_url_is_a_root_and_nothing_else() {
        assert_eq!(check(&url("https://api.i3d.net/prefix"), false), Ok(()));
        assert_eq!(check(&url("ftp://api.i3d.net"), true), Err(BaseUrlError::Scheme));
        assert_eq!(check(&url("file:///etc/passwd"), true), Err(BaseUrlError::Host));
        assert_eq!(check(&url("https://u@api.i3d.net"), true), Err(BaseUrlError::Credentials));
        assert_eq!(check(&url("https://:p@api.i3d.net"), true), Err(BaseUrlError::Credentials));
        assert_eq!(check(&url("https://api.i3d.net?a"), true), Err(BaseUrlError::Query));
        assert_eq!(check(&url("https://api.i3d.net#a"), true), Err(BaseUrlError::Query));
        for path in ["/v3/flexVM", "/x/v3/flexvm/", "/v3/flexVM/clouds"] {
            let url = url(&format!("https://api.i3d.net{path}"));
            assert_eq!(check(&url, false), Err(BaseUrlError::ApiPath), "{path}");
        }
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in ["http://u:s3cret@api.i3d.net", "ftp://u:s3cret@api.i3d.net?x", "https://u:s3cret@h"] {
            assert!(!parse(text, false).unwrap_err().contains("s3cret"), "{text}");
        }
        assert_eq!(parse("https://api.i3d.net/x//", false).unwrap().path(), "/x");
    }
}
