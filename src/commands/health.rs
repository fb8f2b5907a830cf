//! `health`: asks a daemon whether it is ready, for containers without a shell.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{StatusCode, Url};

use super::Failure;
use super::listen::DEFAULT_ADDRESS;
use super::output::say;
use crate::api::{plain_client, unverified_client};
use crate::cli::{self, Flags};
use crate::config::base_url::is_loopback;

/// Longest time to wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked.
const READY: &str = "/-/ready";

pub async fn run(flags: &Flags, arguments: &cli::Health) -> Result<(), Failure> {
    let (url, status) = match &arguments.url {
        Some(text) => named(text).await?,
        None => own(flags.listen_addresses.first().map_or(DEFAULT_ADDRESS, String::as_str)).await?,
    };
    if status.is_success() {
        say!("ready")?;
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!("{url} answers {status}: not ready")))
}

/// What the daemon at a given address answers.
async fn named(text: &str) -> Result<(Url, StatusCode), Failure> {
    let mut url = Url::parse(text).map_err(|error| {
        Failure::Usage(format!("{text:?} is not an address such as http://127.0.0.1:10935: {error}"))
    })?;
    if url.path() == "/" {
        url.set_path(READY);
    }
    let verified = !url.host_str().is_some_and(is_loopback);
    let status = ask(&url, verified).await?;
    Ok((url, status))
}

/// What this machine's daemon answers that listens on `address`. With TLS it takes nothing in the
/// clear, and is asked again.
async fn own(address: &str) -> Result<(Url, StatusCode), Failure> {
    let own = local(address);
    let url = |scheme: &str| {
        Url::parse(&format!("{scheme}://{own}{READY}"))
            .map_err(|error| Failure::Usage(format!("{address:?} is not an address to listen on: {error}")))
    };
    let (clear, tls) = (url("http")?, url("https")?);
    match ask(&clear, false).await {
        Ok(status) => Ok((clear, status)),
        Err(silence) => Ok((tls.clone(), ask(&tls, false).await.map_err(|_| silence)?)),
    }
}

/// The status of an answer. On this machine a certificate is not `verified`: it is for the name that
/// others use, and nothing secret is sent.
async fn ask(url: &Url, verified: bool) -> anyhow::Result<StatusCode> {
    let client = if verified { plain_client(TIMEOUT) } else { unverified_client(TIMEOUT) };
    let client = client.context("no HTTP client can be made")?;
    let response = client.get(url.clone()).send().await.map_err(reqwest::Error::without_url);
    Ok(response.with_context(|| format!("{url} does not answer"))?.status())
}

/// Host and port of the daemon on this machine that listens on `address`: an unspecified one is reached on loopback.
pub fn local(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "10935"));
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn unspecified_addresses_are_asked_on_loopback() {
        for (address, own) in [
            ("0.0.0.0:10935", "127.0.0.1:10935"),
            (":9", "127.0.0.1:9"),
            ("[::]:9", "[::1]:9"),
            ("10.0.0.1:9", "10.0.0.1:9"),
        ] {
            assert_eq!(local(address), own);
        }
    }
}
