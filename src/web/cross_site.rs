//! Protection of reports and reloads from web pages of other sites that a user of this machine, or of
//! this network, has open in a browser.
//!
//! - A browser states in `Sec-Fetch-Site` whether a page of another site made the request. Old browsers do not
//!   send this header, and no browser sends it to `http://` addresses of other machines. In these cases the
//!   browser sends `Origin` with each POST.
//! - DNS rebinding: the host name of another site resolves to a loopback address. The browser does not treat
//!   requests of this site's page as cross-site, but `Host` contains the name of the other site.
//!
//! Programs such as curl and Prometheus send neither header. A page cannot change these headers.

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Method, Request};
use reqwest::Url;

use super::paths::Paths;
use crate::config::base_url::is_loopback;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A page of another site made the request.
    CrossSite,
    /// The request is for a host name that is not the exporter's.
    ForeignHost,
}

impl Refusal {
    /// Text of the response.
    pub fn text(self) -> &'static str {
        match self {
            Self::CrossSite => {
                "The request was refused, because a web page of another site made it (Sec-Fetch-Site, Origin). If \
                 the exporter is behind a reverse proxy, set --web.external-url to the URL that users open.\n"
            }
            Self::ForeignHost => {
                "The request was refused, because its Host is neither localhost nor a loopback address (protection \
                 from DNS rebinding). If the exporter is behind a reverse proxy, set --web.external-url to the URL \
                 that users open.\n"
            }
        }
    }
}

/// Returns why a request for a report or a reload is refused; `None` if it is allowed. `check_host` is whether
/// only loopback host names are allowed: on a loopback listener without authentication. A browser sends
/// no password to a rebound name, so with authentication this check is not necessary.
pub fn refusal<B>(request: &Request<B>, check_host: bool, paths: &Paths) -> Option<Refusal> {
    let headers = request.headers();
    let hosts = hosts(request);
    let external = paths.external();
    if check_host && !hosts.iter().all(|host| is_own(host, external)) {
        return Some(Refusal::ForeignHost);
    }
    let is_cross_site = match text(headers, &SEC_FETCH_SITE) {
        Some("same-origin" | "same-site" | "none") => false,
        Some(_) => !is_navigation(request.method(), headers),
        None => headers.get_all(ORIGIN).iter().any(|origin| {
            let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
            !origin.is_some_and(|origin| is_same(&origin, &hosts, external))
        }),
    };
    is_cross_site.then_some(Refusal::CrossSite)
}

/// Whether a user opens a link in a window of the browser. In this case the other site cannot read the page.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        && text(headers, &SEC_FETCH_MODE) == Some("navigate")
        && text(headers, &SEC_FETCH_DEST) == Some("document")
}

/// Returns the host names and ports in the request, from the URI (HTTP/2) and the `Host` headers. A name that is not
/// ASCII is returned as an empty text.
fn hosts<B>(request: &Request<B>) -> Vec<String> {
    let named = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let headers = request.headers().get_all(HOST).iter();
    named.into_iter().chain(headers.map(|host| host.to_str().unwrap_or_default().to_owned())).collect()
}

/// Whether the host is a name of this machine's loopback interface, or the host of the external URL.
fn is_own(host: &str, external: Option<&Url>) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    // Browsers resolve names below localhost to loopback addresses only.
    is_loopback(&name)
        || name.ends_with(".localhost")
        || external.and_then(Url::host_str).is_some_and(|own| own.eq_ignore_ascii_case(&name))
}

/// Whether `origin` is the origin of the exporter's own pages: the external URL, or the host and port that the
/// request is for.
fn is_same(origin: &Url, hosts: &[String], external: Option<&Url>) -> bool {
    if external.is_some_and(|external| external.origin() == origin.origin()) {
        return true;
    }
    // Behind a proxy, the scheme of the client's request is unknown, so the scheme of `origin` is used.
    let same = |host: &String| {
        let asked = Url::parse(&format!("{}://{host}", origin.scheme()));
        asked.is_ok_and(|asked| asked.origin().is_tuple() && asked.origin() == origin.origin())
    };
    !hosts.is_empty() && hosts.iter().all(same)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "127.0.0.1:10935";

    fn judged(method: &str, check_host: bool, paths: &Paths, headers: &[(&str, &str)]) -> Option<Refusal> {
        let mut request = Request::builder().method(method).uri("/reports/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refusal(&request.body(()).unwrap(), check_host, paths)
    }

    fn external(url: &str) -> Paths {
        Paths::new("/metrics", Some(url), None).unwrap()
    }

    #[test]
    fn requests_of_other_sites_are_refused() {
        let paths = Paths::default();
        let refused = Some(Refusal::CrossSite);
        for (method, headers, expected) in [
            ("POST", &[][..], None),
            ("GET", &[("sec-fetch-site", "none")], None),
            ("GET", &[("sec-fetch-site", "same-origin")], None),
            ("POST", &[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:10935")], None),
            ("GET", &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:3000")], None),
            ("GET", &[("sec-fetch-site", "cross-site")], refused),
            ("GET", &[("sec-fetch-site", "\u{e9}")], refused),
            ("POST", &[("origin", "http://127.0.0.1:10935")], None),
            ("POST", &[("origin", "http://127.0.0.1:3000")], refused),
            ("POST", &[("origin", "https://evil.example")], refused),
            ("POST", &[("origin", "null")], refused),
            ("GET", &[("origin", "file://")], refused),
        ] {
            let headers: Vec<_> = headers.iter().copied().chain([("host", OWN)]).collect();
            assert_eq!(judged(method, true, &paths, &headers), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn link_on_another_site_opens_a_page_and_changes_nothing() {
        let headers = [
            ("host", OWN),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let paths = Paths::default();
        assert_eq!(judged("GET", true, &paths, &headers), None);
        assert_eq!(judged("POST", true, &paths, &headers), Some(Refusal::CrossSite));
        let framed = [&headers[..3], &[("sec-fetch-dest", "iframe")]].concat();
        assert_eq!(judged("GET", true, &paths, &framed), Some(Refusal::CrossSite));
    }

    #[test]
    fn loopback_listener_serves_loopback_names_only() {
        let paths = external("https://Grafana.example:8443/flexvm/");
        for (host, is_allowed) in [
            (OWN, true),
            ("localhost", true),
            ("LOCALHOST.:80", true),
            ("exporter.localhost:1", true),
            ("[::1]:10935", true),
            ("127.9.9.9", true),
            ("grafana.example", true),
            ("evil.example", false),
            ("evil.example:10935", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.nip.io", false),
            ("127.0.0.1@evil.example", false),
            ("", false),
        ] {
            let judged = |check| judged("GET", check, &paths, &[("host", host)]);
            assert_eq!(judged(true).is_none(), is_allowed, "{host:?}");
            assert_eq!(judged(false), None, "{host:?}");
        }
        // HTTP/1.0 needs no Host; browsers always send it.
        assert_eq!(judged("GET", true, &paths, &[]), None);
        let both = [("host", OWN), ("host", "evil.example")];
        assert_eq!(judged("GET", true, &paths, &both), Some(Refusal::ForeignHost));
    }

    #[test]
    fn reverse_proxy_works_with_its_external_url() {
        let paths = external("https://host.example/flexvm/");
        let origin = ("origin", "https://host.example");
        for host in ["127.0.0.1:10935", "host.example", "host.example:443"] {
            assert_eq!(judged("POST", true, &paths, &[("host", host), origin]), None, "{host}");
        }
        // Without the flag, a proxy that passes the name works for Origin, whatever its scheme.
        let none = Paths::default();
        assert_eq!(judged("POST", false, &none, &[("host", "host.example"), origin]), None);
        let other = judged("POST", false, &none, &[("host", "10.0.0.1:10935"), origin]);
        assert_eq!(other, Some(Refusal::CrossSite));
    }
}
