//! `health`: asks a daemon whether it is ready, for containers without a shell.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;

use super::Failure;
use super::listen::DEFAULT_ADDRESS;
use super::output::say;
use crate::cli::{self, Flags};

/// Longest time to wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked.
const READY: &str = "/-/ready";

pub async fn run(flags: &Flags, arguments: &cli::Health) -> Result<(), Failure> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => local_url(flags.listen_addresses.first().map_or(DEFAULT_ADDRESS, String::as_str), READY),
    };
    let mut url = Url::parse(&url).map_err(|error| {
        Failure::Usage(format!("{url:?} is not an address such as http://127.0.0.1:10935: {error}"))
    })?;
    if url.path() == "/" {
        url.set_path(READY);
    }
    let client = crate::api::plain_client(TIMEOUT).context("no HTTP client can be made")?;
    let response = client.get(url.clone()).send().await.map_err(reqwest::Error::without_url);
    let response = response.with_context(|| format!("{url} does not answer"))?;
    let status = response.status();
    if status.is_success() {
        say!("ready")?;
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!("{url} answers {status}: not ready")))
}

/// `path` of the daemon on this machine that listens on `address`: an unspecified one is reached on loopback.
pub fn local_url(address: &str, path: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "10935"));
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    format!("http://{host}:{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::{READY, local_url};

    #[test]
    fn unspecified_addresses_are_asked_on_loopback() {
        for (address, url) in [
            ("0.0.0.0:10935", "http://127.0.0.1:10935/-/ready"),
            (":9", "http://127.0.0.1:9/-/ready"),
            ("[::]:9", "http://[::1]:9/-/ready"),
            ("10.0.0.1:9", "http://10.0.0.1:9/-/ready"),
        ] {
            assert_eq!(local_url(address, READY), url);
        }
    }
}
