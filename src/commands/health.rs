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
    let ready = flags.paths()?.local(READY);
    let (url, status) = match &arguments.url {
        Some(text) => named(text, &ready).await?,
        None => own(flags.listen_addresses.first().map_or(DEFAULT_ADDRESS, String::as_str), &ready).await?,
    };
    if status.is_success() {
        say!("ready")?;
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!("{url} answers {status}: not ready")))
}

/// Returns the response of the daemon at a given address. Without a path, the page is `ready`.
async fn named(text: &str, ready: &str) -> Result<(Url, StatusCode), Failure> {
    let mut url = Url::parse(text).map_err(|error| {
        Failure::Usage(format!("{text:?} is not an address such as http://127.0.0.1:10935: {error}"))
    })?;
    url.set_path(&page(url.path(), ready));
    let verified = !url.host_str().is_some_and(is_loopback);
    let status = ask(&url, verified).await?;
    Ok((url, status))
}

/// What this machine's daemon answers that listens on `address`. With TLS it takes nothing in the
/// clear, and is asked again.
async fn own(address: &str, ready: &str) -> Result<(Url, StatusCode), Failure> {
    let own = local(address);
    let url = |scheme: &str| {
        Url::parse(&format!("{scheme}://{own}{ready}"))
            .map_err(|error| Failure::Usage(format!("{address:?} is not an address to listen on: {error}")))
    };
    let (clear, tls) = (url("http")?, url("https")?);
    match ask(&clear, false).await {
        Ok(status) => Ok((clear, status)),
        Err(silence) => Ok((tls.clone(), ask(&tls, false).await.map_err(|_| silence)?)),
    }
}

/// Returns the path to request for a given path. A path that is not a health page is used as the prefix of the
/// daemon's pages, because the status page returns 200 before the daemon is ready.
fn page(path: &str, ready: &str) -> String {
    match path {
        "/" => ready.to_owned(),
        path if path.contains("/-/") => path.to_owned(),
        prefix => format!("{}{READY}", prefix.trim_end_matches('/')),
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
    use super::{local, page};

    #[test]
    fn path_of_a_given_address_is_a_prefix() {
        for (path, requested) in [
            ("/", "/a/-/ready"),
            ("/flexvm", "/flexvm/-/ready"),
            ("/flexvm/", "/flexvm/-/ready"),
            ("/flexvm/-/healthy", "/flexvm/-/healthy"),
        ] {
            assert_eq!(page(path, "/a/-/ready"), requested);
        }
    }

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
