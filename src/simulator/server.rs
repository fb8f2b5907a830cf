//! The API on a listener, with answers that go wrong when a fault says so.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use super::answer::Answer;
use super::faults::Fault;
use super::{Simulator, routes};

/// Only makes a query readable as part of a URL.
pub(super) const ANY_BASE: &str = "http://simulator.invalid/";

/// Largest request body.
const MOST_BODY: usize = 1 << 20;

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(2);

pub(super) async fn serve(
    simulator: Simulator,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut shutdown => break,
        };
        let simulator = simulator.clone();
        let service = service_fn(move |request| handle(simulator.clone(), request));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that went away is its own business.
            let _ = connection.await;
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

async fn handle(simulator: Simulator, request: Request<Incoming>) -> Result<Response<Sent>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MOST_BODY).collect().await else {
        return Ok(response(Answer::bad_request("The request body is too large or was cut off")));
    };
    let body = body.to_bytes();
    let request = routes::Request {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
        body: &body,
    };
    let (answer, fault) = simulator.answer(&request);
    Ok(match fault {
        Some(fault) => faulty(answer, fault).await,
        None => response(answer),
    })
}

fn response(answer: Answer) -> Response<Sent> {
    let mut response = Response::new(Sent::whole(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.body().length > 0 {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

async fn faulty(mut answer: Answer, fault: Fault) -> Response<Sent> {
    let with_header = |status, name, value: &str| {
        let mut response = response(Answer::empty(status));
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
        response
    };
    match fault {
        Fault::Status(status, content_type, body) => {
            let mut response = response(Answer { status, body: body.into_bytes() });
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        Fault::RetryAfter(status, value) => with_header(status, RETRY_AFTER, &value),
        Fault::Redirect(to) => with_header(302, LOCATION, &to),
        Fault::Delay(duration) => {
            tokio::time::sleep(duration).await;
            response(answer)
        }
        Fault::Cut | Fault::Stall => {
            let mut response = response(answer);
            response.body_mut().halve(if fault == Fault::Cut { End::Cut } else { End::Stall });
            response
        }
        Fault::OtherShape => {
            answer.body = other_shape(&answer.body);
            response(answer)
        }
        Fault::UnknownField(name) => {
            answer.body = with_field(&answer.body, &name);
            response(answer)
        }
        Fault::IgnoreRange | Fault::RepeatRows => response(answer),
    }
}

fn other_shape(body: &[u8]) -> Vec<u8> {
    use serde_json::Value;
    let other = match serde_json::from_slice(body) {
        Ok(Value::Array(rows)) => {
            rows.into_iter().next().unwrap_or_else(|| Value::Object(serde_json::Map::new()))
        }
        Ok(other) => Value::Array(vec![other]),
        Err(_) => Value::Null,
    };
    other.to_string().into_bytes()
}

fn with_field(body: &[u8], name: &str) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let row = if value.is_array() { value.get_mut(0) } else { Some(&mut value) };
    if let Some(fields) = row.and_then(serde_json::Value::as_object_mut) {
        fields.insert(name.to_owned(), serde_json::json!({"nested": [1, "two"]}));
    }
    value.to_string().into_bytes()
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well,
    Cut,
    Stall,
}

/// A body that may end badly after part of the length that it promised.
#[derive(Debug)]
pub(super) struct Sent {
    bytes: Option<Bytes>,
    length: u64,
    end: End,
}

#[derive(Debug, thiserror::Error)]
#[error("the simulator cuts the connection")]
pub(super) struct CutOff;

impl Sent {
    fn whole(bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        Self { bytes: Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()), length, end: End::Well }
    }

    fn halve(&mut self, end: End) {
        if let Some(bytes) = &mut self.bytes {
            bytes.truncate(bytes.len() / 2);
        }
        self.end = end;
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match (self.bytes.take(), self.end) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, End::Well) => Poll::Ready(None),
            (None, End::Cut) => Poll::Ready(Some(Err(CutOff))),
            // Never woken: the client must give up.
            (None, End::Stall) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && self.end == End::Well
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
