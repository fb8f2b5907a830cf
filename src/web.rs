//! The HTTP server: what is served, to whom, and how long a client may take.
//!
//! Reads `store` and `self_metrics`; starts nothing and changes nothing.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` (or `--web.telemetry-path`) | all series |
//! | `/` | landing page |
//! | `/-/healthy` | 200 while the process serves |
//! | `/-/ready` | 200 once every required collector has been tried, else 503 |

mod body;
mod landing;
pub mod negotiate;
mod server;

use std::convert::Infallible;
use std::sync::Arc;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};

use self::body::Pieces;
use self::negotiate::Format;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::Collector;
use crate::store::Store;

pub use server::serve;

/// What the handlers read.
#[derive(Debug)]
pub struct App {
    /// The newest view of every tenant.
    pub store: Arc<Store>,
    /// Series about the exporter itself.
    pub self_metrics: Arc<SelfMetrics>,
    /// Path of the metrics, such as `/metrics`.
    pub telemetry_path: String,
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl App {
    /// Answers one request; the body is never read.
    pub fn answer<B>(&self, request: &Request<B>) -> Result<Response<Pieces>, Infallible> {
        let path = request.uri().path();
        let get = |answer: &dyn Fn() -> Response<Pieces>| match *request.method() {
            Method::GET | Method::HEAD => answer(),
            _ => method_not_allowed("GET, HEAD"),
        };
        let response = match path {
            _ if path == self.telemetry_path => {
                get(&|| self.metrics(request.headers(), request.uri().query()))
            }
            "/" => get(&|| reply(StatusCode::OK, HTML, landing::page(self))),
            "/-/healthy" => get(&|| reply(StatusCode::OK, TEXT, "flexvm-exporter is healthy.\n")),
            "/-/ready" => get(&|| self.ready()),
            _ => reply(StatusCode::NOT_FOUND, TEXT, "There is no such page; / lists what there is.\n"),
        };
        Ok(response)
    }

    fn ready(&self) -> Response<Pieces> {
        if self.store.ready() {
            return reply(StatusCode::OK, TEXT, "flexvm-exporter is ready.\n");
        }
        let waiting =
            "Not ready: not every tenant's capacity, inventory and usage have been asked for yet.\n";
        reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, waiting)
    }

    fn metrics(&self, headers: &HeaderMap, query: Option<&str>) -> Response<Pieces> {
        let collect = match collectors(query) {
            Ok(collect) => collect,
            Err(message) => return reply(StatusCode::BAD_REQUEST, TEXT, message),
        };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let format = Format::from_accept(text(header::ACCEPT));
        let gzip = negotiate::accepts_gzip(text(header::ACCEPT_ENCODING));
        let own = match format {
            Format::Text => self.self_metrics.text(),
            Format::OpenMetrics => self.self_metrics.open_metrics(),
        };
        let pieces = self.store.view().exposition.body(collect.as_deref(), own, gzip);
        let mut response = reply(StatusCode::OK, format.content_type(), Pieces::from(pieces));
        if gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        response
    }
}

/// The collectors that `?collect[]=` names; `None` is all of them.
fn collectors(query: Option<&str>) -> Result<Option<Vec<Collector>>, String> {
    let mut named: Option<Vec<Collector>> = None;
    // The base only makes it a whole address; nothing is sent to it.
    let address = format!("http://localhost/?{}", query.unwrap_or_default());
    let address = reqwest::Url::parse(&address).map_err(|_| "The query cannot be read.\n".to_owned())?;
    for (_, value) in address.query_pairs().filter(|(key, _)| key == "collect[]") {
        let Some(collector) = Collector::ALL.into_iter().find(|collector| collector.as_str() == value) else {
            let known = Collector::ALL.map(Collector::as_str).join(", ");
            return Err(format!("collect[] names no collector; there are {known}.\n"));
        };
        named.get_or_insert_default().push(collector);
    }
    Ok(named)
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Pieces>) -> Response<Pieces> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn method_not_allowed(allowed: &'static str) -> Response<Pieces> {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "This page can only be read.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
