//! Addresses of the pages: the path of the metrics, the prefix of all routes, and the URL under which users
//! reach the exporter. The meaning of the prefix and the URL is that of Prometheus.
//!
//! Pages contain relative links. Therefore the links work under every prefix, even behind a proxy that removes a
//! prefix that is not configured in the exporter.

use reqwest::Url;

use crate::config::problem::{Problem, Problems};

/// Path of the metrics if no flag names another.
const METRICS: &str = "/metrics";

/// Flags for the addresses of the pages.
const TELEMETRY_PATH: &str = "--web.telemetry-path";
const EXTERNAL_URL: &str = "--web.external-url";
const ROUTE_PREFIX: &str = "--web.route-prefix";

/// Paths that the metrics cannot have, because other pages are below them.
const TAKEN: [&str; 3] = ["/-/", "/reports/", "/sd/"];

/// Addresses of the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Path of the metrics below the prefix, such as `/metrics`.
    pub telemetry: String,
    /// Prefix of the routes: empty, or a path without a slash at its end.
    prefix: String,
    /// Path of the external URL, in the form of `prefix`.
    external_path: String,
    /// Scheme, host and port of the external URL; `None` if it is not configured or is only a path.
    external: Option<Url>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            telemetry: METRICS.to_owned(),
            prefix: String::new(),
            external_path: String::new(),
            external: None,
        }
    }
}

/// Route of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// A page, by its path without the prefix. The path begins with `/`.
    Page(&'a str),
    /// The response is a redirect to this path.
    Redirect(String),
    /// The path is not below the prefix.
    Outside,
}

impl Paths {
    /// Reads the values of `--web.telemetry-path`, `--web.external-url` and `--web.route-prefix`.
    ///
    /// # Errors
    /// Every flag that cannot be used, with its reason.
    pub fn new(telemetry: &str, external_url: Option<&str>, prefix: Option<&str>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        problems.extend(telemetry_problem(telemetry).map(|why| Problem::new(TELEMETRY_PATH, why)));
        let (external, external_path) = match external_url.map(external) {
            None => (None, String::new()),
            Some(Ok(parts)) => parts,
            Some(Err(why)) => {
                problems.push(Problem::new(EXTERNAL_URL, why));
                (None, String::new())
            }
        };
        let prefix = match prefix {
            None => external_path.clone(),
            Some(prefix) if is_path(prefix) => normal(prefix),
            Some(prefix) => {
                let why =
                    format!("{prefix:?} must be a path such as /flexvm, without ?, #, quotes or spaces");
                problems.push(Problem::new(ROUTE_PREFIX, why));
                String::new()
            }
        };
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Self { telemetry: telemetry.to_owned(), prefix, external_path, external })
    }

    /// Returns the route of a request for `path`. The path without the prefix, and the prefix without a
    /// slash at its end, redirect to the status page.
    #[must_use]
    pub fn route<'a>(&self, path: &'a str) -> Route<'a> {
        match path.strip_prefix(&*self.prefix) {
            Some("") => Route::Redirect(format!("{}/", self.external_path)),
            Some(page) if page.starts_with('/') => Route::Page(page),
            _ if path == "/" => Route::Redirect(format!("{}/", self.prefix)),
            _ => Route::Outside,
        }
    }

    /// Returns the path of the page `page` on this server, such as `/flexvm/-/ready` for `/-/ready`.
    #[must_use]
    pub fn local(&self, page: &str) -> String {
        format!("{}{page}", self.prefix)
    }

    /// Path of the external URL: empty, or a path without a slash at its end.
    #[must_use]
    pub fn external_path(&self) -> &str {
        &self.external_path
    }

    /// Scheme, host and port under which users reach the exporter; `None` if they are not configured.
    #[must_use]
    pub fn external(&self) -> Option<&Url> {
        self.external.as_ref()
    }
}

/// Links of one page to others. They are relative.
#[derive(Clone, Debug)]
pub struct Links(String);

impl Links {
    /// Links of the page with the path `page`, without the prefix.
    #[must_use]
    pub fn of(page: &str) -> Self {
        Self("../".repeat(page.matches('/').count().saturating_sub(1)))
    }

    /// Returns the link to `page`, a path that begins with `/`.
    #[must_use]
    pub fn to(&self, page: &str) -> String {
        let link = format!("{}{}", self.0, page.trim_start_matches('/'));
        if link.is_empty() { "./".to_owned() } else { link }
    }
}

fn telemetry_problem(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
        return Some("must be a path that begins with /");
    }
    let is_taken = path == "/" || TAKEN.iter().any(|of| format!("{path}/").starts_with(of));
    is_taken.then_some("is the path of another page; use another path, such as /metrics")
}

/// Returns the origin and the path of an external URL. As in Prometheus, a path alone is enough.
fn external(text: &str) -> Result<(Option<Url>, String), String> {
    let expected = "must be the URL under which users reach the exporter, such as https://host/flexvm/";
    if text.starts_with('/') && is_path(text) {
        return Ok((None, normal(text)));
    }
    // The URL is not repeated if it may contain a password.
    let mut url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user name or a password; remove them".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{text:?} {expected}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} must end with a path, without ? or #"));
    }
    let path = normal(url.path());
    url.set_path("");
    Ok((Some(url), path))
}

/// Whether `text` can be a path of an address.
fn is_path(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'\'' | b'\\');
    text.bytes().all(is_allowed) && !text.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Returns a path that begins with one slash and does not end with one; the root is empty.
fn normal(path: &str) -> String {
    match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(flags: &[&str]) -> Result<Paths, Problems> {
        let value = |flag| {
            let at = flags.iter().position(|it| *it == flag)?;
            flags.get(at + 1).copied()
        };
        Paths::new(value(TELEMETRY_PATH).unwrap_or(METRICS), value(EXTERNAL_URL), value(ROUTE_PREFIX))
    }

    #[test]
    fn route_prefix_is_the_path_of_the_external_url() {
        let page = Route::Page;
        let to = |path: &str| Route::Redirect(path.to_owned());
        let outside = Route::Outside;
        for (flags, routes) in [
            (&[][..], [("/", page("/")), ("/metrics", page("/metrics")), ("/x/", page("/x/"))]),
            (
                &["--web.external-url", "https://host/flexvm/"],
                [("/", to("/flexvm/")), ("/flexvm", to("/flexvm/")), ("/flexvm/metrics", page("/metrics"))],
            ),
            (
                &["--web.external-url", "/flexvm"],
                [("/flexvm/", page("/")), ("/metrics", outside.clone()), ("/flexvmx/", outside.clone())],
            ),
            (
                &["--web.external-url", "https://host/flexvm", "--web.route-prefix", "/"],
                [("/", page("/")), ("/metrics", page("/metrics")), ("/flexvm/", page("/flexvm/"))],
            ),
            (
                &["--web.external-url", "https://host/a", "--web.route-prefix", "b/c/"],
                [("/", to("/b/c/")), ("/b/c", to("/a/")), ("/b/c/", page("/"))],
            ),
        ] {
            let paths = paths(flags).unwrap();
            for (path, route) in routes {
                assert_eq!(paths.route(path), route, "{flags:?} {path}");
            }
        }
        assert_eq!(paths(&[]).unwrap(), Paths::default());
    }

    #[test]
    fn unusable_addresses_are_refused_and_show_no_password() {
        for (flag, value) in [
            (EXTERNAL_URL, "ftp://host/"),
            (EXTERNAL_URL, "host/flexvm"),
            (EXTERNAL_URL, "https://host/?a"),
            (EXTERNAL_URL, "https://u:s3cret@host/"),
            (EXTERNAL_URL, "\"https://host/\""),
            (EXTERNAL_URL, ""),
            (ROUTE_PREFIX, "/a b"),
            (ROUTE_PREFIX, "/a/../b"),
            (ROUTE_PREFIX, "/a?b"),
            (TELEMETRY_PATH, "/sd"),
        ] {
            let Problems(problems) = paths(&[flag, value]).unwrap_err();
            assert_eq!(problems.len(), 1, "{value}");
            assert_eq!(problems[0].key, flag);
            assert!(!problems[0].message.contains("s3cret"), "{}", problems[0].message);
        }
    }

    #[test]
    fn links_are_relative_to_their_page() {
        for (page, to, link) in [
            ("/", "/", "./"),
            ("/", "/reports/", "reports/"),
            ("/reports", "/reports/k1/index.csv", "reports/k1/index.csv"),
            ("/reports/", "/", "../"),
            ("/reports/", "/reports/", "../reports/"),
            ("/reports/", "/metrics", "../metrics"),
        ] {
            assert_eq!(Links::of(page).to(to), link, "{page} to {to}");
        }
    }
}
