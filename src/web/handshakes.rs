//! TLS handshakes: their queue, their thread, and the limit of waiting handshakes.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::peer::Peer;
use super::permits::{Class, PermitQueue};
use super::worker::Worker;

/// Number of waiting TLS handshakes from which no connection is accepted. Further connections wait in the queue of
/// the kernel (1,024 connections) and are not refused. A scraper waits until the handshakes in this queue are
/// signed, about a second.
const WAITING: usize = 64;

/// TLS handshakes. Any client can begin one, so their signatures have a queue and a thread of their own.
#[derive(Debug)]
pub struct Handshakes {
    permits: Arc<PermitQueue>,
    signer: Worker,
}

impl Handshakes {
    /// At most `connections` handshakes at the same time.
    pub fn new(connections: usize) -> Self {
        Self { permits: PermitQueue::new(connections), signer: Worker::new("tls-handshakes") }
    }

    /// Waits until fewer than [`WAITING`] handshakes wait, so that a further connection can be accepted.
    pub async fn room(&self) {
        self.permits.fewer_than(WAITING).await;
    }

    /// Performs a TLS handshake. The signature takes up to a millisecond. Another thread creates one signature at a
    /// time, in the order of [`PermitQueue`]. Meanwhile this thread serves other connections.
    ///
    /// # Errors
    /// The handshake failed, the client has disconnected, or too many newer handshakes wait.
    pub async fn encrypt(
        &self,
        stream: TcpStream,
        rules: Arc<ServerConfig>,
        peer: Peer,
    ) -> io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let permit = self.permits.take(peer, Class::Ordinary).await;
        let permit = permit.ok_or_else(|| io::Error::other("too many newer TLS handshakes"))?;
        // No signature is created for a client that has disconnected.
        match hello.io.peek(&mut [0]).now_or_never() {
            Some(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Err(error)) => return Err(error),
            _ => {}
        }
        let sign = move || {
            let accepting = hello.into_stream(rules);
            drop(permit);
            accepting
        };
        let accepting = self.signer.run(sign).await;
        accepting.ok_or_else(|| io::Error::other("the TLS handshake was abandoned"))?.await
    }
}
