//! Addresses to listen on, and the signals that end a command.

use std::net::{SocketAddr, ToSocketAddrs as _};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Failure;

/// Where the daemon listens unless told otherwise. 9100 to 9999 are all allocated to other exporters.
pub const DEFAULT_ADDRESS: &str = "0.0.0.0:10935";

/// Listens on an address such as `127.0.0.1:10935`, `[::1]:10935`, `localhost:10935` or `:10935`
/// (every interface, as other exporters read it).
pub async fn listen(address: &str) -> Result<TcpListener, Failure> {
    let candidates = addresses(address)?;
    let mut last = None;
    for candidate in candidates {
        match TcpListener::bind(candidate).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let error = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    Err(Failure::Failed(anyhow::anyhow!(
        "cannot listen on {address}: {error}; name another with --web.listen-address (demo and simulate: --listen)"
    )))
}

fn addresses(address: &str) -> Result<Vec<SocketAddr>, Failure> {
    let bad = || {
        Failure::Usage(format!(
            "{address:?} is not an address to listen on, such as 127.0.0.1:10935 or :10935"
        ))
    };
    if let Some(port) = address.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| bad())?;
        // Where the machine has no IPv6 the second is taken.
        return Ok(vec![SocketAddr::from(([0; 16], port)), SocketAddr::from(([0; 4], port))]);
    }
    if !address.contains(':') {
        return Err(bad());
    }
    address.to_socket_addrs().map(Iterator::collect).map_err(|_| bad())
}

/// Turns true on SIGTERM or SIGINT.
pub fn shutdown_on_signals() -> Result<watch::Receiver<bool>, Failure> {
    let failed = |error| Failure::Failed(anyhow::Error::new(error).context("cannot listen for signals"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (send, receive) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        send.send_replace(true);
    });
    Ok(receive)
}
