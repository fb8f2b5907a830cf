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
use rustls::ServerConfig;
use rustls::server::Acceptor;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::App;
use super::body::Answer;
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
    /// Connections at once, over all listeners; for one more, another has to go.
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
const MAX_STREAMS: u32 = 16;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Most bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;

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
        // One limit for the process: file descriptors and memory are limited for the process, too.
        let places = Places::new(limits.connections);
        for listener in listeners {
            // It was opened elsewhere; from here on this thread hears of its connections.
            let listener = TcpListener::from_std(listener.into_std()?)?;
            all.spawn(listen(listener, Arc::clone(app), limits, Arc::clone(&places), shutdown.clone()));
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

async fn listen(
    listener: TcpListener,
    app: Arc<App>,
    limits: Limits,
    places: Arc<Places>,
    mut shutdown: watch::Receiver<bool>,
) {
    // Of the listener, not of the connection: a proxy on this machine speaks for others.
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let graceful = GracefulShutdown::new();
    // Whoever has a place may wait for his turn; one who loses it waits no longer.
    let handshakes = Arc::new(Semaphore::new(1));
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept a connection");
                }
                // Without file descriptors who asked longest ago gives up his.
                let none_left = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
                let makes_room = none_left && places.make_room();
                if makes_room {
                    app.self_metrics.http_rejected(Rejection::Descriptors);
                }
                let pause = if makes_room { CLOSING } else { ACCEPT_PAUSE };
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        let (place, kept, is_full) = places.take();
        let (self_metrics, open) = (Arc::clone(&app.self_metrics), app.self_metrics.http_opened());
        if is_full {
            self_metrics.http_rejected(Rejection::Limit);
        }
        let place = Arc::new(place);
        let (app, patience) = (Arc::clone(&app), limits.header);
        let asker = Asker { app, loopback, place: Arc::clone(&place), patience };
        let connection =
            Connection { asker, limits, handshakes: Arc::clone(&handshakes), watcher: graceful.watcher() };
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = connection.serve(stream) => ended,
                lost = place.lost(kept, limits.idle) => Err(match lost {
                    // It was counted when another connection took its place.
                    Lost::Replaced => Ended::new(None, "it made room"),
                    Lost::Idle => Ended::new(None, "it was idle for too long"),
                    Lost::Slow => Ended::new(Rejection::Stalled, "it did not take its answer in time"),
                }),
            };
            if let Err(Ended { rejection, error }) = ended {
                if let Some(reason) = rejection {
                    self_metrics.http_rejected(reason);
                }
                tracing::debug!(error = crate::poll::describe(&*error), "connection ended");
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
    place: Arc<Place>,
    patience: Duration,
}

/// One connection.
struct Connection {
    asker: Asker,
    limits: Limits,
    handshakes: Arc<Semaphore>,
    watcher: Watcher,
}

/// Why a connection ended with an error.
struct Ended {
    /// The reason if the server closed it; `None` if the client did.
    rejection: Option<Rejection>,
    error: Box<dyn std::error::Error + Send + Sync>,
}

impl Ended {
    fn new(
        rejection: impl Into<Option<Rejection>>,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { rejection: rejection.into(), error: error.into() }
    }

    /// The error of a TLS handshake. A client that closes the connection before is not rejected: health
    /// checks of load balancers do that.
    fn handshake(error: io::Error) -> Self {
        let is_closed = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        Self::new((!is_closed).then_some(Rejection::Handshake), error)
    }

    /// The error of a connection that carried HTTP. `has_asked` is whether a request was read: the limit for a
    /// head also ends connections that are idle after a request.
    fn http(error: hyper::Error, has_asked: bool) -> Self {
        let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        let is_late = |error: &(dyn std::error::Error + 'static)| {
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        };
        let rejection = if causes.into_iter().any(is_late) {
            Some(Rejection::Stalled)
        } else if error.is_parse() || error.is_timeout() && !has_asked {
            Some(Rejection::Head)
        } else {
            None
        };
        Self::new(rejection, error)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::new(None, error)
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
        let handshake = encrypt(stream, tls, &self.handshakes);
        let stream = timeout(self.limits.handshake, handshake).await;
        let stream = stream.unwrap_or_else(|_| Err(late())).map_err(Ended::handshake)?;
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
            .max_send_buf_size(UNSENT as usize)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        let place = Arc::clone(&self.asker.place);
        place.may_be_idle();
        let service = service(self.asker);
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service_fn(service));
        self.watcher.watch(connection).await.map_err(|error| Ended::http(error, place.has_asked()))
    }
}

/// A TLS handshake. The signature, which takes milliseconds, is made on another thread, one at a time: others
/// are served meanwhile.
async fn encrypt(
    stream: TcpStream,
    rules: Arc<ServerConfig>,
    handshakes: &Arc<Semaphore>,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let turn = Arc::clone(handshakes).acquire_owned().await.map_err(io::Error::other)?;
    let sign = move || {
        let accepting = hello.into_stream(rules);
        drop(turn);
        accepting
    };
    tokio::task::spawn_blocking(sign).await?.await
}

/// The answer to one request, as `hyper` wants it.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

fn service(asker: Asker) -> impl Fn(Request<Incoming>) -> Answering {
    let Asker { app, loopback, place, patience } = asker;
    move |request| {
        place.asks();
        let app = Arc::clone(&app);
        Box::pin(async move {
            let (head, body) = request.into_parts();
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
