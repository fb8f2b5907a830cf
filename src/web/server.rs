//! Connections: how many, how slow, how encrypted, and how they end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::io::Errno;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;

use super::App;
use super::body::Answer;
use super::handshakes::Handshakes;
use super::peer::Peer;
use super::places::{Lost, Place, Places};
use crate::self_metrics::Rejection;

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time for a request's head to arrive, and for its body; also ends idle connections.
    pub header: Duration,
    /// Longest time for a TLS handshake.
    pub handshake: Duration,
    /// Longest time for which a client may take none of the bytes that wait for it.
    pub stall: Duration,
    /// Longest time from a request to the next, and so for taking an answer: a slow reader holds the
    /// bytes of a snapshot that others have forgotten.
    pub idle: Duration,
    /// Connections at once over all listeners; for one more, another has to end.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            connections: 512,
        }
    }
}

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 4;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Most bytes of a request's head. The server also holds as many bytes of a response for a client that does not
/// read, so 512 slow readers cost 8 MiB.
const MAX_HEAD: usize = 16 << 10;

/// Most bytes of a request's body, which no address wants, that are read before the answer.
const MAX_BODY: usize = 256 << 10;

/// Most bytes of an answer that the kernel takes before it can send them. What lies there for longer is
/// no longer in the processor's caches when it is sent; less only wakes this program more often.
const UNSENT: u32 = 64 << 10;

/// Most bytes on their way to a client on this machine, which the kernel doubles and holds below its own limit.
/// Left to itself it takes megabytes for each connection, for the sake of distant clients; a near one then
/// reads what has left the processor's caches (`benches/serving.py`).
const NEAR: usize = 208 << 10;

/// How long a shutdown waits for answers in progress; the whole process leaves within 10 s.
const DRAIN: Duration = Duration::from_secs(5);

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that gives up its place may take to close.
const CLOSING: Duration = Duration::from_millis(10);

/// How often it is said that none can be accepted.
const COMPLAIN: Duration = Duration::from_mins(1);

/// Serves `app` on `listeners` until `shutdown` turns true, then lets answers in progress finish. Takes the
/// calling thread for everything that reads and writes connections, so that a scrape waits for no poll's turn;
/// what computes for long goes to other threads.
///
/// # Errors
/// When the system gives no event queue, or a listener cannot be watched.
pub fn serve(
    listeners: Vec<TcpListener>,
    app: &Arc<App>,
    limits: Limits,
    shutdown: &watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut all = JoinSet::new();
        let shared = Shared {
            app: Arc::clone(app),
            limits,
            places: Places::new(limits.connections),
            handshakes: Arc::new(Handshakes::new(limits.connections)),
        };
        for listener in listeners {
            // It was opened elsewhere; from here on this thread hears of its connections.
            let listener = TcpListener::from_std(listener.into_std()?)?;
            all.spawn(listen(listener, shared.clone(), shutdown.clone()));
        }
        while let Some(ended) = all.join_next().await {
            ended.map_err(io::Error::other)?;
        }
        Ok(())
    });
    // Work for a client that did not wait for it.
    runtime.shutdown_background();
    served
}

/// State that all listeners share.
#[derive(Clone)]
struct Shared {
    app: Arc<App>,
    limits: Limits,
    places: Arc<Places>,
    handshakes: Arc<Handshakes>,
}

async fn listen(listener: TcpListener, shared: Shared, mut shutdown: watch::Receiver<bool>) {
    let Shared { app, limits, places, handshakes } = shared;
    // Of the listener, not of the connection: a proxy on this machine speaks for others.
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let graceful = GracefulShutdown::new();
    let mut complained: Option<Instant> = None;
    loop {
        let accept = async {
            handshakes.room().await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = accept => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept a connection");
                }
                // Without file descriptors who asked longest ago gives up his.
                let none_left = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
                let makes_room = none_left && places.make_room();
                let pause = if makes_room { CLOSING } else { ACCEPT_PAUSE };
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        let peer = Peer::from(address.ip());
        let (place, kept) = places.take(peer);
        let (self_metrics, open) = (Arc::clone(&app.self_metrics), app.self_metrics.http_opened());
        let place = Arc::new(place);
        let asker = Asker {
            app: Arc::clone(&app),
            loopback,
            peer,
            place: Arc::clone(&place),
            patience: limits.header,
        };
        let connection =
            Connection { asker, limits, handshakes: Arc::clone(&handshakes), watcher: graceful.watcher() };
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = connection.serve(stream) => ended,
                lost = place.lost(kept, limits.idle) => Err(Ended::from(lost)),
            };
            if let Err(Ended { reason, error }) = ended {
                if let Some(reason) = reason {
                    self_metrics.http_rejected(reason);
                }
                let reason = reason.map(Rejection::as_str);
                tracing::debug!(reason, error = crate::poll::describe(&*error), "connection ended");
            }
            drop(open);
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some answers were cut off: their clients did not read them in time");
    }
}

/// Whose requests a connection carries.
struct Asker {
    app: Arc<App>,
    loopback: bool,
    peer: Peer,
    place: Arc<Place>,
    patience: Duration,
}

/// One connection.
struct Connection {
    asker: Asker,
    limits: Limits,
    handshakes: Arc<Handshakes>,
    watcher: Watcher,
}

/// Error that ended a connection.
struct Ended {
    /// `None` if the client or the network ended it.
    reason: Option<Rejection>,
    error: Box<dyn std::error::Error + Send + Sync>,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self { reason: None, error: error.into() }
    }
}

impl From<Lost> for Ended {
    fn from(lost: Lost) -> Self {
        let (reason, error) = match lost {
            Lost::Rejected(reason) => (Some(reason), "a newer connection needed the slot or file descriptor"),
            Lost::Idle => (None, "the client sent no request for too long"),
            Lost::Slow => (Some(Rejection::Stalled), "the client did not read its response in time"),
        };
        Self { reason, error: error.into() }
    }
}

impl Ended {
    /// Converts an error of an HTTP connection. `has_asked` is whether the connection has sent a request.
    fn http(error: hyper::Error, has_asked: bool) -> Self {
        let stalled = std::iter::successors(std::error::Error::source(&error), |error| error.source())
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .any(|error| error.kind() == io::ErrorKind::TimedOut);
        let reason = match () {
            () if stalled => Some(Rejection::Stalled),
            // After the first request, a timeout is the normal end of an idle connection.
            () if error.is_parse() || (error.is_timeout() && !has_asked) => Some(Rejection::Head),
            () => None,
        };
        Self { reason, error: error.into() }
    }

    /// Converts an error of a TLS handshake. A connection that the client closes during the handshake is not counted
    /// as rejected, because health checks of load balancers do that.
    fn handshake(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let is_gone = matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe);
        Self { reason: (!is_gone).then_some(Rejection::Handshake), error: error.into() }
    }
}

impl Connection {
    async fn serve(self, stream: TcpStream) -> Result<(), Ended> {
        // Of an answer in two writes, the second does not wait until the first is acknowledged.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_notsent_lowat(UNSENT)?;
        if stream.peer_addr()?.ip().is_loopback() {
            socket.set_send_buffer_size(NEAR)?;
        }
        let Some(tls) = self.asker.app.access.rules().tls.clone() else { return self.http1(stream).await };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
        let handshake = self.handshakes.encrypt(stream, tls, self.asker.peer);
        let stream = timeout(self.limits.handshake, handshake).await.unwrap_or_else(|_| Err(late()));
        let stream = stream.map_err(Ended::handshake)?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return self.http2(stream).await;
        }
        self.http1(stream).await
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) -> Result<(), Ended> {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.stall));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.header)
            // Some clients say at once that they will send no more, and still want their answer.
            .half_close(true)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD);
        let place = Arc::clone(&self.asker.place);
        let service = service(self.asker);
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service_fn(service));
        self.watcher.watch(connection).await.map_err(|error| Ended::http(error, place.has_asked()))
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) -> Result<(), Ended> {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.stall));
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_send_buf_size(MAX_HEAD)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        let place = Arc::clone(&self.asker.place);
        place.may_be_idle();
        let service = service(self.asker);
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service_fn(service));
        self.watcher.watch(connection).await.map_err(|error| Ended::http(error, place.has_asked()))
    }
}

/// The answer to one request, as `hyper` wants it.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

fn service(asker: Asker) -> impl Fn(Request<Incoming>) -> Answering {
    let Asker { app, loopback, peer, place, patience } = asker;
    move |request| {
        place.asks();
        let app = Arc::clone(&app);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            head.extensions.insert(peer);
            // However long it takes, an answer follows.
            let _ = timeout(patience, take(body)).await;
            Ok(app.answer(Request::from_parts(head, ()), loopback).await)
        })
    }
}

/// Reads the body of a request, which nobody wants: some clients give up an answer that comes before they have
/// sent it.
async fn take(mut body: Incoming) {
    let mut taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken > MAX_BODY {
            return;
        }
    }
}
