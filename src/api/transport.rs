//! One request: GET, a bounded body, and the meaning of the status. Nothing else can be sent.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AGE, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::error::Source;
use super::{Endpoint, Error, Reason, ResponseTime};
use crate::config::Tenant;
use crate::config::{base_url, ca_file};

const TOKEN: HeaderName = HeaderName::from_static("private-token");
const RANGE: HeaderName = HeaderName::from_static("ranged-data");

/// What stands for a token in a text.
const HIDDEN: &str = "[token]";

/// From so many characters on, the beginning of a token is hidden as the whole is.
const TELLING: usize = 12;

/// Most bytes read of an answer that is an error: its message is a few sentences.
const MAX_ERROR_BODY: u64 = 64 << 10;

/// Most bytes reserved because an answer promises them; the rest is reserved as it comes. What never
/// comes costs no memory, but addresses, of which a limit may leave few.
const MAX_RESERVE: u64 = 128 << 20;

/// How long an unused connection is kept. Shorter than a minute, so that the first request of a
/// poll does not meet a connection that a router on the way has long forgotten.
const IDLE: Duration = Duration::from_secs(50);

/// A client cannot be made from the configuration.
#[derive(Debug, thiserror::Error)]
#[error("tenant {tenant}: {problem}")]
pub struct BuildError {
    /// The tenant's name.
    pub tenant: Arc<str>,
    problem: BuildProblem,
    #[source]
    source: Option<Source>,
}

#[derive(Debug, thiserror::Error)]
enum BuildProblem {
    #[error("base_url {0}")]
    BaseUrl(base_url::BaseUrlError),
    #[error("api.ca_file {0}")]
    CaFile(String),
    #[error("api.proxy must be an http:// or https:// URL")]
    Proxy,
    #[error("TLS cannot be set up")]
    Tls,
}

/// Which rows of a list are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub start: usize,
    pub results: usize,
}

/// A GET request.
pub(super) struct Request {
    pub url: Url,
    pub token: HeaderValue,
    /// The rows of a list; `None` for an object.
    pub range: Option<Range>,
    /// Whether caches on the way must revalidate their stored response.
    pub no_cache: bool,
}

/// A complete response with a status of success.
pub(super) struct Answer {
    pub status: u16,
    pub body: Bytes,
    /// The headers `Date` and `Age`.
    pub time: ResponseTime,
}

/// An answer that is none, and how long the server wants to be left alone.
pub(super) struct Failure {
    pub error: Error,
    pub retry_after: Option<Duration>,
    /// The server's clock.
    pub date: Option<Timestamp>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None, date: None }
    }
}

/// The connection pool of one tenant.
pub(super) struct Transport {
    http: reqwest::Client,
    max_body: u64,
}

impl Transport {
    pub fn new(tenant: &Tenant) -> Result<Self, BuildError> {
        let error = |problem, source| BuildError { tenant: tenant.name.clone(), problem, source };
        let api = &tenant.api;
        base_url::check(&tenant.base_url, api.allow_http)
            .map_err(|why| error(BuildProblem::BaseUrl(why), None))?;
        let tls = tls(tenant)?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("flexvm-exporter/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            // A redirect would carry the token to wherever it points.
            .redirect(redirect::Policy::none())
            .referer(false)
            // Retries are counted and budgeted in `retry`, all of them.
            .retry(reqwest::retry::never())
            .connect_timeout(api.connect_timeout)
            .read_timeout(api.timeout)
            .timeout(api.timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true);
        let builder = match &api.proxy {
            Some(url) if !matches!(url.scheme(), "http" | "https") => {
                return Err(error(BuildProblem::Proxy, None));
            }
            Some(url) => builder.proxy(
                reqwest::Proxy::all(url.clone())
                    .map_err(|source| error(BuildProblem::Proxy, Some(source.into())))?,
            ),
            None => builder.no_proxy(),
        };
        let http = builder.build().map_err(|source| error(BuildProblem::Tls, Some(source.into())))?;
        Ok(Self { http, max_body: api.max_body })
    }

    /// Sends one GET and reads the whole answer.
    pub async fn get(&self, endpoint: Endpoint, request: Request) -> Result<Answer, Failure> {
        let Request { url, token, range, no_cache } = request;
        let mut request =
            self.http.get(url).header(TOKEN, token.clone()).header("accept", "application/json");
        if let Some(Range { start, results }) = range {
            request = request.header(RANGE, format!("start={start},results={results}"));
        }
        if no_cache {
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        let response = request.send().await.map_err(|source| broken(endpoint, None, source))?;
        let status = response.status();
        if status.is_success() {
            let time = ResponseTime { date: date(response.headers()), age: age(response.headers()) };
            let body = read(response, endpoint, self.max_body).await?;
            return Ok(Answer { status: status.as_u16(), body, time });
        }
        Err(refused(endpoint, response, self.max_body.min(MAX_ERROR_BODY), &token).await)
    }
}

/// Reads a body of at most `limit` bytes, counted after decompression, chunk by chunk.
async fn read(mut response: Response, endpoint: Endpoint, limit: u64) -> Result<Bytes, Error> {
    let status = Some(response.status().as_u16());
    let too_large = || {
        Error::new(endpoint, Reason::TooLarge)
            .status(status)
            .message(&format!("the body is larger than {limit} bytes"))
    };
    let promised = response.content_length().unwrap_or(0);
    if promised > limit {
        return Err(too_large());
    }
    let mut body = Vec::new();
    // Where there is no room for all at once, there may be for what really comes.
    let _ = body.try_reserve_exact(usize::try_from(promised.min(MAX_RESERVE)).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|source| broken(endpoint, status, source))? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The error for an answer that did not come, or not whole.
fn broken(endpoint: Endpoint, status: Option<u16>, source: reqwest::Error) -> Error {
    // A compressed body that was cut reads as a decoding error; only one whose bytes all came is
    // the sender's mistake.
    let garbled = source.is_decode() && !source.is_timeout() && !cut(&source);
    let (reason, message) = match () {
        () if source.is_timeout() => (Reason::Timeout, ""),
        () if garbled => (Reason::Malformed, "the body cannot be decompressed"),
        () => (Reason::Transport, ""),
    };
    // The URL is told by the endpoint already, and ids in it would make every line differ.
    Error::new(endpoint, reason).status(status).message(message).caused_by(source.without_url())
}

/// Whether a connection's end, and not the bytes themselves, is among the causes.
fn cut(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |error| StdError::source(*error)).any(|error| {
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        error.is::<hyper::Error>() || io == Some(ErrorKind::UnexpectedEof)
    })
}

/// The error for an answer with a status that is not a success.
async fn refused(endpoint: Endpoint, response: Response, limit: u64, token: &HeaderValue) -> Failure {
    let status = response.status();
    let reason = match status.as_u16() {
        401 | 403 => Reason::Credentials,
        404 => Reason::NotFound,
        429 => Reason::RateLimited,
        300..=399 => Reason::Redirect,
        400..=499 => Reason::Client,
        _ => Reason::Server,
    };
    let (retry_after, date) = (retry_after(response.headers()), date(response.headers()));
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let message = match (reason, target) {
        (Reason::Redirect, Some(target)) => format!("redirects to {target}, which is not followed"),
        // What the body says is a courtesy: the status stands whatever becomes of it.
        _ => {
            read(response, endpoint, limit).await.ok().and_then(|body| api_message(&body)).unwrap_or_default()
        }
    };
    let error = Error::new(endpoint, reason).status(Some(status.as_u16())).message(&hide(token, &message));
    Failure { error, retry_after, date }
}

/// `text`, which came from the server, without the token that was sent: some servers repeat it. The
/// beginning of one goes, too: the text may have been cut within it.
pub(super) fn hide(token: &HeaderValue, text: &str) -> String {
    let Ok(token) = token.to_str() else { return text.to_owned() };
    let encoded: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
    without(&encoded, &without(token, text))
}

/// `text` with [`HIDDEN`] for each place that begins as `secret` does, as far as they are the same.
fn without(secret: &str, text: &str) -> String {
    let Some(beginning) = secret.get(..secret.len().min(TELLING)).filter(|beginning| !beginning.is_empty())
    else {
        return text.to_owned();
    };
    let (mut shown, mut rest) = (String::new(), text);
    while let Some((before, found)) = rest.find(beginning).map(|at| rest.split_at(at)) {
        let same = found.bytes().zip(secret.bytes()).take_while(|(left, right)| left == right).count();
        shown.push_str(before);
        shown.push_str(HIDDEN);
        rest = &found[same..];
    }
    shown + rest
}

/// The API's own words in the body of an error; `None` for HTML and anything else.
fn api_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "errorMessage", default)]
        message: Option<String>,
        #[serde(default)]
        errors: Option<Vec<Detail>>,
    }
    #[derive(Deserialize)]
    struct Detail {
        #[serde(default)]
        property: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let details = body.errors.into_iter().flatten().filter_map(|detail| {
        let message = detail.message.filter(|message| !message.is_empty())?;
        Some(match detail.property.filter(|property| !property.is_empty()) {
            Some(property) => format!("{property}: {message}"),
            None => message,
        })
    });
    let parts: Vec<_> =
        body.message.filter(|message| !message.is_empty()).into_iter().chain(details).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The earliest `Date` of the response; `None` if it has none that can be read.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let time = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok()?.try_into().ok();
    headers.get_all(DATE).iter().filter_map(time).min()
}

/// The largest `Age` of the response, in whole seconds; `None` if it has none that can be read.
/// RFC 9111: a value that is not a number is ignored, and a number that is too large is the largest.
fn age(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX).min(u64::from(u32::MAX)))
    };
    let values = headers.get_all(AGE).iter().filter_map(|value| value.to_str().ok());
    let ages = values.flat_map(|value| value.split(',')).filter_map(|text| seconds(text.trim()));
    ages.max().map(Duration::from_secs)
}

/// What `Retry-After` asks for: seconds, or a date that is compared with the answer's own `Date`,
/// so that no clock but the server's matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(wanted.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(wanted).ok()?;
    let now = httpdate::parse_http_date(text(DATE)?).ok()?;
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
}

/// The machine's roots, or the bundled ones of Mozilla where it has none (an image made from nothing).
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// TLS with the usual roots, and `api.ca_file` beside them.
fn tls(tenant: &Tenant) -> Result<ClientConfig, BuildError> {
    let error = |problem, source| BuildError { tenant: tenant.name.clone(), problem, source };
    let mut roots = roots();
    if let Some(path) = &tenant.api.ca_file {
        let certificates = ca_file::read(path).map_err(|why| error(BuildProblem::CaFile(why), None))?;
        roots.add_parsable_certificates(certificates);
    }
    let mut config = trusting(roots).map_err(|source| error(BuildProblem::Tls, Some(source.into())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS that trusts `roots`. The provider is named here, so that none has to be installed for the process.
fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A client without a token, for this program's own pages: no redirects, no proxies.
///
/// # Errors
/// The TLS library's or the client's.
pub fn plain_client(timeout: Duration) -> anyhow::Result<reqwest::Client> {
    Ok(plain(timeout).tls_backend_preconfigured(trusting(roots())?).build()?)
}

/// The same for this machine alone: a certificate may be anybody's and for any name.
///
/// # Errors
/// The client's.
pub fn unverified_client(timeout: Duration) -> anyhow::Result<reqwest::Client> {
    // reqwest's own TLS takes the process's provider; one that is there already does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(plain(timeout).tls_danger_accept_invalid_certs(true).build()?)
}

fn plain(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_dates_and_ages_count_as_the_oldest_response() {
        let headers = |values: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name.clone(), HeaderValue::from_static(value));
            }
            (date(&headers).map(|at| at.to_string()), age(&headers).map(|age| age.as_secs()))
        };
        let (early, late) = ("Sat, 31 Oct 2026 12:00:00 GMT", "Sun, 01 Nov 2026 00:30:00 GMT");
        let early_date = Some("2026-10-31T12:00:00Z".to_owned());
        assert_eq!(headers(&[]), (None, None));
        assert_eq!(headers(&[(DATE, late), (DATE, "yesterday"), (DATE, early)]), (early_date, None));
        assert_eq!(headers(&[(DATE, "2026-10-31T12:00:00Z")]), (None, None));
        for (values, expected) in [
            (&["0"][..], Some(0)),
            (&["60", "7200", "5"], Some(7200)),
            (&["60, 7200"], Some(7200)),
            (&["99999999999999999999999"], Some(u64::from(u32::MAX))),
            (&["5000000000"], Some(u64::from(u32::MAX))),
            (&["a while"], None),
            (&["-60"], None),
            (&["1.5"], None),
            (&[""], None),
            (&["a while", "60"], Some(60)),
        ] {
            let values: Vec<_> = values.iter().map(|value| (AGE, *value)).collect();
            assert_eq!(headers(&values), (None, expected), "{values:?}");
        }
    }

    #[test]
    fn of_a_token_neither_the_whole_nor_its_beginning_stays() {
        let hidden = |token: &'static str, text| hide(&HeaderValue::from_static(token), text);
        let long = "0123456789abcdefghij";
        assert_eq!(hidden(long, "a 0123456789abcdefghij, 0123456789abcdefghij"), "a [token], [token]");
        assert_eq!(hidden(long, "a 0123456789abcde…"), "a [token]…");
        assert_eq!(hidden(long, "a 012345678é"), "a 012345678é");
        assert_eq!(hidden("k1", "k1 and k2"), "[token] and k2");
    }
}
