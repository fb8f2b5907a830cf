//! HTTP around the world: connections, credentials, routing, and the faults that a test asked for.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use httpdate::fmt_http_date;
use hyper::body::{Frame, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::Answer;
use super::fault::{Asked, FaultKind};
use super::operations::Call;
use super::route::{Ids, Operation, Route, route};
use super::{Simulator, TOKEN_HEADER};

/// Connections at once; more wait in the system's queue.
const MOST_CONNECTIONS: usize = 1024;
/// A connection that sends no request for so long is closed; longer than clients keep idle ones.
const HEADER_TIMEOUT: Duration = Duration::from_mins(2);
/// Requests in flight get so long to end once the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// After an accept that failed, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Larger than any body that the API takes.
const MAX_BODY: usize = 1 << 20;

type Body = BoxBody<Bytes, io::Error>;

/// Serves connections of `listener` until `shutdown` is ready.
pub(super) async fn serve(simulator: Simulator, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    // `dated` adds the Date, unless a fault removes it.
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).auto_date_header(false);
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept(), if tasks.len() < MOST_CONNECTIONS => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let simulator = simulator.clone();
        let service = service_fn(move |request| dated(simulator.clone(), request));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        // How a connection ends is its client's affair.
        tasks.spawn(async move { drop(connection.await) });
    }
    drop(listener);
    drop(timeout(DRAIN, graceful.shutdown()).await);
    tasks.shutdown().await;
}

/// Headers of a response that faults replace.
#[derive(Clone)]
struct ReplacedHeaders(Vec<(&'static str, Vec<String>)>);

/// Seconds by which a fault shifts the `Date` of a response.
#[derive(Clone, Copy)]
struct ShiftedDate(i64);

/// Answers one request with the `Date` of the simulator's own clock, unless a fault has another.
async fn dated(simulator: Simulator, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let now = simulator.0.clock.now();
    let mut response = respond(simulator, request).await?;
    let replaced = response.extensions_mut().remove::<ReplacedHeaders>();
    let shift = response.extensions_mut().remove::<ShiftedDate>().map_or(0, |shifted| shifted.0);
    if let Ok(seconds) = now.as_second().saturating_add(shift).try_into()
        && let Ok(date) = HeaderValue::from_str(&fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)))
    {
        response.headers_mut().entry(DATE).or_insert(date);
    }
    for (name, values) in replaced.into_iter().flat_map(|replaced| replaced.0) {
        response.headers_mut().remove(name);
        for value in values.iter().filter_map(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// Answers one request; an error closes the connection without an answer.
async fn respond(simulator: Simulator, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let (operation, ids) = match route(head.method.as_str(), head.uri.path()) {
        Route::Unknown => return Ok(plain(StatusCode::NOT_FOUND)),
        Route::WrongMethod(allowed) => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return Ok(response);
        }
        Route::Found(operation, ids) => (operation, ids),
    };
    simulator.count(operation);
    if head.headers.get(TOKEN_HEADER).map(HeaderValue::as_bytes) != Some(simulator.token().as_bytes()) {
        return Ok(plain(StatusCode::FORBIDDEN));
    }
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let query = head.uri.query().unwrap_or_default();
    let faults = simulator.faults().hit(&Asked { operation, query, at: simulator.0.clock.now() });
    for fault in &faults {
        match fault {
            FaultKind::Drop => return Err(io::ErrorKind::ConnectionReset.into()),
            FaultKind::Stall => std::future::pending().await,
            FaultKind::Delay(time) => sleep(*time).await,
            FaultKind::Respond { status, headers, body } => return Ok(canned(*status, headers, body)),
            _ => {}
        }
    }
    let call = Owned {
        operation,
        cloud: ids.cloud.to_owned(),
        child: ids.child.to_owned(),
        query: query.to_owned(),
        range: head.headers.get("ranged-data").map(|range| String::from_utf8_lossy(range.as_bytes()).into()),
        whole_list: faults.iter().any(|fault| matches!(fault, FaultKind::IgnoreRange)),
        shift: faults.iter().map(|fault| if let FaultKind::Shift(rows) = fault { *rows } else { 0 }).sum(),
        body: body.to_bytes(),
    };
    // A month of many VMs takes a while to add up; that is nothing for the threads of the network.
    let answer = tokio::task::spawn_blocking(move || simulator.answer(&call.borrowed()))
        .await
        .map_err(io::Error::other)?;
    Ok(deliver(answer, &faults))
}

/// A call that can go to another thread.
struct Owned {
    operation: Operation,
    cloud: String,
    child: String,
    query: String,
    range: Option<String>,
    whole_list: bool,
    shift: i64,
    body: Bytes,
}

impl Owned {
    fn borrowed(&self) -> Call<'_> {
        Call {
            operation: self.operation,
            ids: Ids { cloud: &self.cloud, child: &self.child },
            query: &self.query,
            range: self.range.as_deref(),
            whole_list: self.whole_list,
            shift: self.shift,
            body: &self.body,
        }
    }
}

fn full(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}

fn streamed(chunks: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Body {
    BodyExt::boxed(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))))
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn canned(status: u16, headers: &[(&'static str, String)], body: &Bytes) -> Response<Body> {
    let mut response = plain(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    *response.body_mut() = full(body.clone());
    response
}

/// An operation's answer on its way to the client, with what befalls it there.
fn deliver(answer: Answer, faults: &[FaultKind]) -> Response<Body> {
    let mut bytes = Bytes::from(answer.body);
    for fault in faults {
        match fault {
            FaultKind::Edit(change) => bytes = edited(&bytes, change.as_ref()),
            FaultKind::Replace(from, to) => {
                bytes = String::from_utf8_lossy(&bytes).replace(from, to).into();
            }
            FaultKind::ObjectForList => {
                bytes = edited(&bytes, |value| *value = json!({"data": value.take()}));
            }
            _ => {}
        }
    }
    let mut response =
        plain(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if !bytes.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let replaced = faults.iter().filter_map(|fault| match fault {
        FaultKind::Header(name, values) => Some((*name, values.clone())),
        _ => None,
    });
    response.extensions_mut().insert(ReplacedHeaders(replaced.collect()));
    let shifts =
        faults.iter().map(|fault| if let FaultKind::ShiftDate(seconds) = fault { *seconds } else { 0 });
    response.extensions_mut().insert(ShiftedDate(shifts.sum()));
    let half = bytes.slice(..bytes.len() / 2);
    let promised = HeaderValue::from(bytes.len());
    let body = match faults.iter().find(|fault| shapes_body(fault)) {
        Some(FaultKind::Truncate) => {
            streamed(stream::iter([Ok(half), Err(io::ErrorKind::ConnectionReset.into())]))
        }
        Some(FaultKind::StallInBody) => streamed(stream::iter([Ok(half)]).chain(stream::pending())),
        Some(FaultKind::Trickle(time)) => trickle(bytes, *time),
        Some(FaultKind::Endless) => {
            let spaces = Bytes::from(vec![b' '; 64 * 1024]);
            *response.body_mut() = streamed(stream::repeat_with(move || Ok(spaces.clone())));
            return response;
        }
        _ => {
            *response.body_mut() = full(bytes);
            return response;
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, promised);
    *response.body_mut() = body;
    response
}

fn shapes_body(fault: &FaultKind) -> bool {
    use FaultKind::{Endless, StallInBody, Trickle, Truncate};
    matches!(fault, Truncate | StallInBody | Trickle(_) | Endless)
}

fn trickle(bytes: Bytes, pause: Duration) -> Body {
    let piece = bytes.len().div_ceil(100).max(1);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let mut rest = bytes;
        while !rest.is_empty() {
            let next = rest.split_to(piece.min(rest.len()));
            if sender.send(next).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    });
    streamed(stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (Ok(piece), receiver))
    }))
}

/// The body with its JSON changed; a body that is not JSON stays.
fn edited(body: &Bytes, change: impl Fn(&mut Value)) -> Bytes {
    let Ok(mut value) = serde_json::from_slice(body) else { return body.clone() };
    change(&mut value);
    Bytes::from(value.to_string())
}
