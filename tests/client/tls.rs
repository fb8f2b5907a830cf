//! An HTTPS server behind a relay that can lose connections without closing them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::common::cloud;

/// Responds with one cloud to every request.
pub struct Https {
    pub address: SocketAddr,
    tls: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Https {
    pub async fn start(tls: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = Arc::new(Mutex::new(Arc::new(tls)));
        let current = Arc::clone(&tls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = current.lock().unwrap().clone();
                tokio::spawn(async move {
                    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                    let service = service_fn(async |_: hyper::Request<Incoming>| {
                        let body = Full::new(Bytes::from(json!([cloud("c-1")]).to_string()));
                        Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, tls }
    }

    /// New connections get this certificate.
    pub fn present(&self, tls: ServerConfig) {
        *self.tls.lock().unwrap() = Arc::new(tls);
    }
}

/// Passes bytes between clients and a server.
pub struct Relay {
    pub address: SocketAddr,
    /// The number of connections since the start, and the number of open connections.
    counts: watch::Sender<(usize, usize)>,
    /// Connections with a number up to this value are dead.
    dead: watch::Sender<usize>,
}

impl Relay {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counts, dead) = (watch::Sender::new((0, 0)), watch::Sender::new(0));
        let (counted, killed) = (counts.clone(), dead.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (counts, dead) = (counted.clone(), killed.subscribe());
                counts.send_modify(|(all, open)| (*all, *open) = (*all + 1, *open + 1));
                let number = counts.borrow().0;
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    let back = tokio::spawn(pump(from_server, to_client, dead.clone(), number));
                    pump(from_client, to_server, dead, number).await;
                    // The client has closed its side.
                    counts.send_modify(|(_, open)| *open -= 1);
                    back.abort();
                });
            }
        });
        Self { address, counts, dead }
    }

    /// Discards all further bytes of the existing connections, but still acknowledges these bytes.
    pub fn lose_connections(&self) {
        self.dead.send_replace(self.connections());
    }

    /// Returns the number of connections since the start.
    pub fn connections(&self) -> usize {
        self.counts.borrow().0
    }

    /// Waits until no connection is open.
    pub async fn all_closed(&self) {
        self.counts.subscribe().wait_for(|(_, open)| *open == 0).await.unwrap();
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    dead: watch::Receiver<usize>,
    number: usize,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if number > *dead.borrow() && to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
