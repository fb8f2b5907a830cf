//! TLS handshakes: in which order, on which thread, and how many wait.

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

/// While so many TLS handshakes wait for their signature, no connection is accepted. More connections wait in
/// the kernel, which refuses none: each handshake that a flood begins costs the flood a wait, and a scraper
/// waits for as long as the queue of the kernel (1,024 connections) takes to sign, about a second.
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

    /// Waits until so few handshakes wait that a further connection may be accepted.
    pub async fn room(&self) {
        self.permits.fewer_than(WAITING).await;
    }

    /// A TLS handshake. The signature, which takes up to a millisecond, is made on another thread, one at a
    /// time, in the order of [`PermitQueue`]; connections are served meanwhile.
    pub async fn encrypt(
        &self,
        stream: TcpStream,
        rules: Arc<ServerConfig>,
        peer: Peer,
    ) -> io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let permit = self.permits.take(peer, Class::Ordinary).await;
        let permit = permit.ok_or_else(|| io::Error::other("too many newer TLS handshakes"))?;
        // A client that has left costs no signature.
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
