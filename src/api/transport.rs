//! One request: GET, a bounded body, and the meaning of the status. Nothing else can be sent.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AGE, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::tls::TlsInfo;
use reqwest::{Response, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::connections::{BuildError, Connections, Pool};
use super::sharing::SharedConnections;
use super::volume::{Receiving, Volume};
use super::{Endpoint, Error, Reason, ResponseTime, diagnosis};
use crate::certificate;
use crate::config::Tenant;

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

/// How long a run waits for `api.ca_file` before its first request. A disk that hangs must not delay it.
const CA_FILE_PATIENCE: Duration = Duration::from_secs(2);

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
    /// The list and the run whose bounds include the bytes of the response.
    pub volumes: Vec<Arc<Volume>>,
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
    /// The server's clock; `None` if the response does not show it.
    pub date: Option<Timestamp>,
    /// Whether a connection was established and then no bytes came in time.
    pub stalled: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { stalled: stalled(&error), error, retry_after: None, date: None }
    }
}

/// Shortest time after which a request that its caller drops counts as timed out.
const STALLED: Duration = Duration::from_secs(5);

/// A request in progress. If its caller drops it after [`STALLED`], because a deadline passed, its connection
/// may be dead, as after a timeout.
struct InProgress<'a> {
    connections: &'a Connections,
    pool: &'a Arc<Pool>,
    /// `None` once the request has ended.
    since: Option<Instant>,
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= STALLED) {
            self.connections.abandon(self.pool, Instant::now());
        }
    }
}

/// Sends the requests of one tenant.
pub(super) struct Transport {
    connections: Arc<Connections>,
    max_body: u64,
    certificate: Presented,
}

/// The certificate that the server presented on the connection of the latest response.
#[derive(Default)]
struct Presented(Mutex<Option<(Vec<u8>, Timestamp)>>);

impl Presented {
    /// Remembers the certificate of a response. Parses it only if it has changed.
    fn see(&self, tls: Option<&TlsInfo>) {
        let Some(der) = tls.and_then(TlsInfo::peer_certificate) else { return };
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_none_or(|(known, _)| known != der) {
            *latest = certificate::expiry(der).map(|expiry| (der.to_owned(), expiry));
        }
    }
}

impl Transport {
    pub fn new(tenant: &Tenant, shared: &mut SharedConnections) -> Result<Self, BuildError> {
        Ok(Self {
            connections: shared.of(tenant, Instant::now())?,
            max_body: tenant.api.max_body,
            certificate: Presented::default(),
        })
    }

    /// Applies a changed `api.ca_file`, or continues with the known certificates if reading it takes longer
    /// than [`CA_FILE_PATIENCE`].
    pub async fn follow_ca_file(this: &Arc<Self>) {
        if !this.connections.has_ca_file() {
            return;
        }
        let transport = Arc::clone(this);
        let read = tokio::task::spawn_blocking(move || transport.connections.follow_ca_file(Instant::now()));
        let _ = tokio::time::timeout(CA_FILE_PATIENCE, read).await;
    }

    /// Returns the expiry of the server's certificate on the connection of the latest response; `None` without
    /// TLS.
    pub fn certificate_expiry(&self) -> Option<Timestamp> {
        self.certificate.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, expiry)| *expiry)
    }

    /// Replaces old connections, because a request failed in spite of its retries.
    pub fn request_failed(&self, error: &Error) {
        if matches!(error.reason, Reason::Server | Reason::Timeout | Reason::Transport) {
            self.connections.request_failed(Instant::now());
        }
    }

    /// Sends one GET and reads the complete response. A request that times out on a connection makes
    /// all kept connections unusable for later requests.
    pub async fn get(&self, endpoint: Endpoint, request: Request) -> Result<Answer, Failure> {
        let pool = self.connections.pool(Instant::now());
        let mut begun =
            InProgress { connections: &self.connections, pool: &pool, since: Some(Instant::now()) };
        let result = self.exchange(&pool.http, endpoint, request).await;
        begun.since = None;
        if result.as_ref().is_err_and(|failure| failure.stalled) {
            self.connections.abandon(&pool, Instant::now());
        }
        result
    }

    async fn exchange(
        &self,
        http: &reqwest::Client,
        endpoint: Endpoint,
        request: Request,
    ) -> Result<Answer, Failure> {
        let Request { url, token, range, no_cache, volumes } = request;
        let is_https = url.scheme() == "https";
        let mut request = http.get(url).header(TOKEN, token.clone()).header("accept", "application/json");
        if let Some(Range { start, results }) = range {
            request = request.header(RANGE, format!("start={start},results={results}"));
        }
        if no_cache {
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        let response = request.send().await.map_err(|source| {
            let hint = diagnosis::of_request(&source, is_https);
            broken(endpoint, None, source).hint(hint)
        })?;
        self.certificate.see(response.extensions().get());
        let status = response.status();
        if status.is_success() {
            let time = ResponseTime { date: date(response.headers()), age: age(response.headers()) };
            let body = read(response, endpoint, self.max_body, &volumes).await?;
            return Ok(Answer { status: status.as_u16(), body, time });
        }
        Err(refused(endpoint, response, self.max_body.min(MAX_ERROR_BODY), &token).await)
    }
}

/// Reads a body of at most `limit` bytes, counted after decompression, chunk by chunk. Adds its bytes to `volumes`.
async fn read(
    mut response: Response,
    endpoint: Endpoint,
    limit: u64,
    volumes: &[Arc<Volume>],
) -> Result<Bytes, Error> {
    let status = Some(response.status().as_u16());
    let refuse = |message: &str| Error::new(endpoint, Reason::TooLarge).status(status).message(message);
    let too_large = || refuse(&format!("the body is larger than {limit} bytes"));
    let mut receiving = Receiving::new(volumes);
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
        receiving.add(chunk.len() as u64).map_err(|exceeded| refuse(&exceeded.to_string()))?;
        body.extend_from_slice(&chunk);
    }
    receiving.complete();
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

/// Whether a request timed out on a connection. A connection that could not be established in time is
/// none.
fn stalled(error: &Error) -> bool {
    let source = error.source.as_ref().and_then(|source| source.downcast_ref::<reqwest::Error>());
    error.reason == Reason::Timeout && !source.is_some_and(reqwest::Error::is_connect)
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
    let retry_after = retry_after(response.headers());
    // The `Date` of an error that a cache stored is not the server's clock now.
    let date = date(response.headers()).filter(|_| age(response.headers()).unwrap_or_default().is_zero());
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (mut stalled, mut hint) = (false, diagnosis::of_status(status.as_u16(), &[], true));
    let message = match (reason, target) {
        (Reason::Redirect, Some(target)) => format!("redirects to {target}, which is not followed"),
        // What the body says is a courtesy: the status stands whatever becomes of it.
        _ => match read(response, endpoint, limit, &[]).await {
            Ok(body) => {
                let message = api_message(&body);
                hint = diagnosis::of_status(status.as_u16(), &body, message.is_some());
                message.unwrap_or_default()
            }
            Err(error) => {
                stalled = self::stalled(&error);
                String::new()
            }
        },
    };
    let error =
        Error::new(endpoint, reason).status(Some(status.as_u16())).message(&hide(token, &message)).hint(hint);
    Failure { error, retry_after, date, stalled }
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
