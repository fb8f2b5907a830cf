//! `serve`: the daemon.

use super::Failure;
use super::listen::{DEFAULT_ADDRESS, listen, shutdown_on_signals};
use crate::cli::Flags;
use crate::clock::Clock;
use crate::config::TokenSource;
use crate::config::load::{Loaded, environment, load};
use crate::config::problem::{Problem, Problems};
use crate::{api, daemon};

pub async fn run(flags: &Flags) -> Result<(), Failure> {
    let loaded = configuration(flags)?;
    for sentence in &loaded.warnings {
        tracing::warn!("{sentence}");
    }
    // Before anybody can see that it listens, and ask it to leave.
    let shutdown = shutdown_on_signals()?;
    let mut listeners = Vec::new();
    let default = vec![DEFAULT_ADDRESS.to_owned()];
    for address in if flags.listen_addresses.is_empty() { &default } else { &flags.listen_addresses } {
        let listener = listen(address).await?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, telemetry_path = flags.telemetry_path, "listening");
        }
        listeners.push(listener);
    }
    let tenants: Vec<_> = loaded.config.tenants.iter().map(|tenant| tenant.name.to_string()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), tenants = tenants.join(","), "starting");
    let again = flags.clone();
    let read_again: daemon::Loader = Box::new(move || match configuration(&again) {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => Err(problems.to_string()),
    });
    let path = flags.telemetry_path.clone();
    daemon::run(loaded.config, listeners, path, Clock::system(), shutdown, Some(read_again)).await?;
    Ok(())
}

/// The configuration with every token found, or every problem.
pub fn configuration(flags: &Flags) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    if !flags.telemetry_path.starts_with('/') || flags.telemetry_path.contains(['?', '#', ' ']) {
        problems.push(Problem::new("--web.telemetry-path", "must be a path that begins with /"));
    }
    if flags.telemetry_path == "/" || flags.telemetry_path.starts_with("/-/") {
        problems.push(Problem::new("--web.telemetry-path", "is taken by another page; /metrics is usual"));
    }
    if let Some(path) = &flags.web_config {
        problems.extend(web_config_problem(path));
    }
    let token_problem = |tenant: &str, source: &TokenSource| {
        api::read_token_from(tenant, source).err().map(|error| crate::poll::describe(&error))
    };
    match load(flags.config_file.as_deref(), &environment, &token_problem) {
        Ok(loaded) if problems.is_empty() => Ok(loaded),
        Ok(_) => Err(Problems(problems)),
        Err(Problems(found)) => {
            problems.extend(found);
            Err(Problems(problems))
        }
    }
}

/// A web configuration asks for encryption or passwords, which this version cannot give yet: to
/// serve openly instead would betray it.
fn web_config_problem(path: &std::path::Path) -> Option<Problem> {
    let key = format!("--web.config.file {}", path.display());
    match std::fs::read_to_string(path) {
        Err(error) => Some(Problem::new(key, format!("cannot be read: {error}"))),
        Ok(text)
            if text
                .lines()
                .map(str::trim)
                .all(|line| line.is_empty() || line.starts_with('#') || line == "{}") =>
        {
            tracing::warn!("{key} is empty: everything is served without encryption and without password");
            None
        }
        Ok(_) => Some(Problem::new(
            key,
            "TLS and authentication are not served by this version; leave the flag out, listen on loopback and put a \
             reverse proxy in front",
        )),
    }
}
