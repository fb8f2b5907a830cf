//! `serve`: the daemon.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::Failure;
use super::listen::{DEFAULT_ADDRESS, listen, shutdown_on_signals};
use crate::cli::Flags;
use crate::clock::Clock;
use crate::config::load::{Loaded, Look, environment, load};
use crate::config::problem::Problems;
use crate::config::{Config, TokenSource, WebReports, ca_file};
use crate::daemon::Reloads;
use crate::filesystem::absolute;
use crate::web::Access;
use crate::{api, daemon};

pub async fn run(flags: &Flags) -> Result<(), Failure> {
    // Before everything else, because by default SIGHUP ends the process.
    let again = flags.clone();
    let reloads = Reloads::new(Arc::new(move || match configuration(&again) {
        Ok((loaded, _)) => Ok(loaded.config),
        Err(problems) => Err(problems.to_string()),
    }))?;
    let (loaded, access) = configuration(flags)?;
    let paths = flags.paths()?;
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
            tracing::info!(%address, telemetry_path = paths.local(&paths.telemetry), "listening");
        }
        listeners.push(listener);
    }
    say_who_may_read(&loaded.config, &access, &listeners);
    let tenants: Vec<_> = loaded.config.tenants.iter().map(|tenant| tenant.name.to_string()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), tenants = tenants.join(","), "starting");
    daemon::run(loaded.config, listeners, paths, access, Clock::system(), shutdown, Some(reloads)).await?;
    Ok(())
}

/// The configuration with every token found and the web configuration, or every problem of both.
pub fn configuration(flags: &Flags) -> Result<(Loaded, Access), Problems> {
    let mut problems = Vec::new();
    if let Err(Problems(found)) = flags.paths() {
        problems.extend(found);
    }
    let access = Access::open(flags.web_config.as_deref().map(absolute).as_deref());
    let access = access.map_err(|Problems(found)| problems.extend(found)).ok();
    let token = |tenant: &str, source: &TokenSource| {
        api::read_token_from(tenant, source).err().map(|error| crate::poll::describe(&error))
    };
    let look = Look { directory: None, token: &token, ca_file: ca_file::problem };
    match load(flags.config_file.as_deref(), &environment, look) {
        Ok(loaded) => match access {
            Some(access) if problems.is_empty() => Ok((loaded, access)),
            _ => Err(Problems(problems)),
        },
        Err(Problems(found)) => {
            problems.extend(found);
            Err(Problems(problems))
        }
    }
}

/// Says what is open to others, or left off for their sake.
fn say_who_may_read(config: &Config, access: &Access, listeners: &[TcpListener]) {
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        let loopback = address.ip().is_loopback();
        if let Some(sentence) = who_may_read(config.web.reports, access.rules().authenticated(), loopback) {
            tracing::warn!(%address, "{sentence}");
        }
    }
}

/// What there is to say of an address; nothing where whoever may read was asked for something, or
/// is on this machine.
fn who_may_read(reports: WebReports, authenticated: bool, loopback: bool) -> Option<&'static str> {
    if authenticated || loopback {
        return None;
    }
    match reports {
        WebReports::On => Some(
            "reports and reloads are open to whoever reaches this address; --web.config.file can ask for a password",
        ),
        WebReports::Auto => Some(
            "reports and reloads are off at this address, since nobody is asked for a password (--web.config.file); \
             with web.reports: on they are open all the same, and off says no more about it",
        ),
        WebReports::Off => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_or_left_off_is_said() {
        for reports in [WebReports::Auto, WebReports::On, WebReports::Off] {
            for (authenticated, loopback) in [(true, true), (true, false), (false, true)] {
                assert_eq!(who_may_read(reports, authenticated, loopback), None);
            }
        }
        assert!(who_may_read(WebReports::On, false, false).unwrap().contains("are open to whoever"));
        assert!(who_may_read(WebReports::Auto, false, false).unwrap().contains("are off at this address"));
        assert_eq!(who_may_read(WebReports::Off, false, false), None);
    }
}
