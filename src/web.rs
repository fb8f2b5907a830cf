//! The HTTP server: what is served, to whom, and how long a client may take.
//!
//! Reads `store`, `self_metrics` and closed months on disk; changes nothing. A reload is handed to
//! the daemon.
//!
//! Every path is below the prefix of `--web.route-prefix` (`paths`). Requests for reports and reloads that a web
//! page of another site makes are refused (`cross_site`).
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` (or `--web.telemetry-path`) | all series; `?collect[]=` narrows |
//! | `/` | status page; JSON by Accept |
//! | `/-/healthy` | 200 while the process serves |
//! | `/-/ready` | 200 once every required collector has been tried, else 503 |
//! | `/-/reload` | PUT or POST: the configuration is read again |
//! | `/reports/`, `/reports/{tenant}/{month}/{revision}/{file}` | closed months: list, download |
//! | `/sd/vms` | running VMs for Prometheus's HTTP service discovery |

pub mod access;
mod body;
mod cross_site;
mod discovery;
mod handshakes;
mod months;
pub mod negotiate;
mod page;
mod paths;
mod peer;
mod permits;
mod places;
mod reports;
mod server;
mod status;
mod words;
mod work;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fail::fail_point;
use hyper::body::Body as _;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use tokio::sync::{mpsc, oneshot};

use self::body::Answer;
use self::negotiate::Format;
use self::paths::{Links, Route};
use self::peer::Peer;
use self::work::{NotDone, WorkSlots};
use crate::clock::Clock;
use crate::config::{Config, WebReports};
use crate::self_metrics::{Handler, SelfMetrics};
use crate::snapshot::Collector;
use crate::store::Store;

pub use access::Access;
use access::Verdict;
pub use discovery::Lists;
pub use paths::Paths;
pub use server::{Limits, serve};

/// Somebody asks for the configuration to be read again; the answer is what was wrong with it.
pub type Reload = oneshot::Sender<Result<(), String>>;

/// What the handlers read.
#[derive(Debug)]
pub struct App {
    /// The newest view of every tenant.
    pub store: Arc<Store>,
    /// Series about the exporter itself.
    pub self_metrics: Arc<SelfMetrics>,
    /// Addresses of the pages.
    pub paths: Paths,
    /// What the configuration says.
    pub settings: ArcSwap<Settings>,
    /// For ages on the status page.
    pub clock: Clock,
    /// Who may read what.
    pub access: Arc<Access>,
    /// Where requests for a reload go.
    pub reload: mpsc::Sender<Reload>,
    /// Lists for service discovery.
    pub lists: Lists,
    /// Slots for pages.
    pub pages: Pages,
}

/// Slots for the status page and for reports.
#[derive(Debug, Default)]
pub struct Pages {
    status: WorkSlots,
    reports: WorkSlots,
}

/// The part of a configuration that the handlers need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where reports are.
    pub directory: PathBuf,
    /// Whose reports are shown.
    pub tenants: Vec<String>,
    /// Whether they are, and whether a reload may be asked for.
    pub reports: WebReports,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            directory: config.report.directory.clone(),
            tenants: config.tenants.iter().map(|tenant| tenant.name.to_string()).collect(),
            reports: config.web.reports,
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

impl App {
    /// Answers one request; its body is never read. `loopback` is whether it came to a listener
    /// that only this machine reaches.
    pub async fn answer<B>(self: Arc<Self>, request: Request<B>, loopback: bool) -> Response<Answer> {
        fail_point!("web::answer");
        let handler = self.handler(request.uri().path());
        let head = *request.method() == Method::HEAD;
        let (access, self_metrics) = (Arc::clone(&self.access), Arc::clone(&self.self_metrics));
        let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
        let verdict = match handler {
            Handler::Health => Verdict::In,
            _ => access.judges(request.headers(), peer).await,
        };
        let mut response = match verdict {
            Verdict::In => self.page(request, loopback).await,
            Verdict::Out => unauthorized(),
            Verdict::Busy => busy(
                "The password was not checked in time, because too many requests wait; retry after 5 s.\n",
            ),
        };
        for (name, value) in &access.rules().headers {
            response.headers_mut().insert(name, value.clone());
        }
        if head {
            without_body(&mut response);
        }
        self_metrics.http_request(handler, response.status().as_u16());
        response
    }

    /// Returns the group of pages to which a request for `path` belongs.
    fn handler(&self, path: &str) -> Handler {
        match self.paths.route(path) {
            Route::Page(page) if page == self.paths.telemetry => Handler::Metrics,
            Route::Page("/") => Handler::Status,
            Route::Page("/-/healthy" | "/-/ready") => Handler::Health,
            Route::Page("/-/reload") => Handler::Reload,
            Route::Page("/sd/vms") => Handler::Sd,
            Route::Page(page) if page == "/reports" || page.starts_with("/reports/") => Handler::Reports,
            Route::Page(_) | Route::Redirect(_) | Route::Outside => Handler::Other,
        }
    }

    async fn page<B>(self: Arc<Self>, request: Request<B>, loopback: bool) -> Response<Answer> {
        let path = request.uri().path();
        let handler = self.handler(path);
        if handler == Handler::Reload && !matches!(*request.method(), Method::PUT | Method::POST) {
            return method_not_allowed("PUT, POST");
        }
        if handler != Handler::Reload && !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed("GET, HEAD");
        }
        let page = match self.paths.route(path) {
            Route::Page(page) => page,
            Route::Redirect(to) => return redirect(&to),
            Route::Outside => return not_found(),
        };
        if matches!(handler, Handler::Reload | Handler::Reports) {
            if !self.private(loopback) {
                return forbidden();
            }
            let check_host = loopback && !self.access.rules().authenticated();
            if let Some(refusal) = cross_site::refusal(&request, check_host, &self.paths) {
                return reply(StatusCode::FORBIDDEN, TEXT, refusal.text());
            }
        }
        let json = negotiate::prefers_json(text(request.headers(), header::ACCEPT));
        match (handler, page) {
            (Handler::Metrics, _) => self.metrics(request.headers(), request.uri().query()),
            (Handler::Status, _) => {
                let reports = self.private(loopback);
                self.status(json, reports).await
            }
            (Handler::Health, "/-/ready") => self.ready(),
            (Handler::Health, _) => reply(StatusCode::OK, TEXT, "flexvm-exporter is healthy.\n"),
            (Handler::Reload, _) => self.reload().await,
            (Handler::Sd, _) => self.discovery(request.uri().query()).await,
            (Handler::Reports, "/reports" | "/reports/") => {
                let links = Links::of(page);
                self.reports(json, links).await
            }
            (Handler::Reports, _) => match page.strip_prefix("/reports/") {
                Some(rest) => self.download(rest.to_owned()).await,
                None => not_found(),
            },
            (Handler::Other, _) => not_found(),
        }
    }

    /// Whether reports and reloads are for whoever asks.
    fn private(&self, loopback: bool) -> bool {
        match self.settings.load().reports {
            WebReports::On => true,
            WebReports::Off => false,
            WebReports::Auto => loopback || self.access.rules().authenticated(),
        }
    }

    async fn reload(&self) -> Response<Answer> {
        let (done, result) = oneshot::channel();
        let told = match self.reload.send(done).await {
            Ok(()) => result.await.ok(),
            Err(_) => None,
        };
        match told {
            Some(Ok(())) => reply(StatusCode::OK, TEXT, "The configuration was read again.\n"),
            Some(Err(problems)) => {
                let text = format!("The configuration stays as it was:\n{problems}\n");
                reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
            }
            None => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "The daemon is leaving.\n"),
        }
    }

    async fn discovery(self: Arc<Self>, query: Option<&str>) -> Response<Answer> {
        match self.lists.get(&self.store.view(), &pairs(query)).await {
            Ok(Ok(list)) => reply(StatusCode::OK, JSON, list),
            Ok(Err((status, sentence))) => reply(status, TEXT, sentence),
            Err(not_done) => undone(not_done),
        }
    }

    /// `reports` is whether reports are for whoever asks.
    async fn status(self: Arc<Self>, json: bool, reports: bool) -> Response<Answer> {
        let slots = self.pages.status.clone();
        // Sorting the groups of many VMs takes a while.
        let page = slots.begin(move || {
            if json { status::json(&self, reports) } else { status::page(&self, reports).into_bytes() }
        });
        either(json, page.await)
    }

    /// The list of reports. `links` are the links of the page with the requested path.
    async fn reports(self: Arc<Self>, json: bool, links: Links) -> Response<Answer> {
        let slots = self.pages.reports.clone();
        let page = slots.begin(move || {
            let settings = self.settings.load();
            let root = self.paths.external_path();
            let list = reports::list(&settings.directory, &settings.tenants, root).with(&self.store.view());
            if json { list.json() } else { list.html(&self, &links).into_bytes() }
        });
        either(json, page.await)
    }

    async fn download(&self, rest: String) -> Response<Answer> {
        let settings = self.settings.load_full();
        let find = move || reports::find(&settings.directory, &settings.tenants, &rest);
        let path = match self.pages.reports.begin(find).await {
            Ok(Some(path)) => path,
            Ok(None) => return not_found(),
            Err(not_done) => return undone(not_done),
        };
        let opened = async {
            let file = tokio::fs::File::open(&path).await?;
            let length = file.metadata().await?.len();
            std::io::Result::Ok((file, length))
        };
        let Ok((file, length)) = opened.await else { return not_found() };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let kind = match name.rsplit_once('.').map(|(_, end)| end) {
            Some("csv") => "text/csv; charset=utf-8",
            Some("json") => JSON,
            _ => TEXT,
        };
        let mut response = reply(StatusCode::OK, kind, Answer::file(file));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
        // A name of ours: letters, digits, `.`, `-` and `_`.
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
        response
    }

    fn ready(&self) -> Response<Answer> {
        if self.store.ready() {
            return reply(StatusCode::OK, TEXT, "flexvm-exporter is ready.\n");
        }
        let waiting =
            "Not ready: not every tenant's capacity, inventory and usage have been asked for yet.\n";
        reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, waiting)
    }

    fn metrics(&self, headers: &HeaderMap, query: Option<&str>) -> Response<Answer> {
        let collect = match collectors(query) {
            Ok(collect) => collect,
            Err(message) => return reply(StatusCode::BAD_REQUEST, TEXT, message),
        };
        let format = Format::from_accept(text(headers, header::ACCEPT));
        let gzip = negotiate::accepts_gzip(text(headers, header::ACCEPT_ENCODING));
        let own = match format {
            Format::Text => self.self_metrics.text(),
            Format::OpenMetrics => self.self_metrics.open_metrics(),
        };
        let exposition = self.store.exposition();
        let body = if gzip {
            Answer::from(exposition.compressed(collect.as_deref(), &own))
        } else {
            Answer::from(exposition.plain(collect.as_deref(), &own))
        };
        let mut response = reply(StatusCode::OK, format.content_type(), body);
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
    for (_, value) in pairs(query).into_iter().filter(|(key, _)| key == "collect[]") {
        let Some(collector) = Collector::ALL.into_iter().find(|collector| collector.as_str() == value) else {
            let known = Collector::ALL.map(Collector::as_str).join(", ");
            return Err(format!("collect[] names no collector; there are {known}.\n"));
        };
        named.get_or_insert_default().push(collector);
    }
    Ok(named)
}

/// Names and values of a query, decoded.
fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unauthorized() -> Response<Answer> {
    let mut response = reply(StatusCode::UNAUTHORIZED, TEXT, "A user and a password are needed.\n");
    let scheme = HeaderValue::from_static("Basic realm=\"flexvm-exporter\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

fn busy(sentence: &'static str) -> Response<Answer> {
    let mut response = reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, sentence);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn undone(not_done: NotDone) -> Response<Answer> {
    match not_done {
        NotDone::Busy => busy("Too many requests wait for this page; retry after 5 s.\n"),
        NotDone::Panicked => {
            reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "The page cannot be created; the log shows why.\n")
        }
    }
}

fn not_found() -> Response<Answer> {
    reply(StatusCode::NOT_FOUND, TEXT, "There is no such page; / lists what there is.\n")
}

/// A redirect to a path of this server. The path consists of checked values of flags.
fn redirect(to: &str) -> Response<Answer> {
    let mut response = reply(StatusCode::FOUND, TEXT, format!("The pages are below {to}\n"));
    if let Ok(value) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

fn forbidden() -> Response<Answer> {
    let sentence = "Reports and reloads are for this machine alone, unless a password or a client certificate is \
                    asked for (--web.config.file) or web.reports is on.\n";
    reply(StatusCode::FORBIDDEN, TEXT, sentence)
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Answer>) -> Response<Answer> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A page in the form that was asked for.
fn either(json: bool, page: Result<Vec<u8>, NotDone>) -> Response<Answer> {
    let page = match page {
        Ok(page) => page,
        Err(not_done) => return undone(not_done),
    };
    let mut response = reply(StatusCode::OK, if json { JSON } else { HTML }, page);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    if let Some(policy) = page::POLICY.as_ref().filter(|_| !json) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// What HEAD gets: the length of the body and no body. Over HTTP/1.1 hyper would leave it out itself, over
/// HTTP/2 it would send it, which clients take for a broken stream.
fn without_body(response: &mut Response<Answer>) {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    *response.body_mut() = Answer::from(Vec::<u8>::new());
}

fn method_not_allowed(allowed: &'static str) -> Response<Answer> {
    let words = format!("This address takes {allowed} only.\n");
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, words);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
