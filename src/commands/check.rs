//! `check`: reads the configuration and prints every problem; with `--online` also calls each read
//! endpoint once per tenant, tries the report directory, reads the ledger, and shows what is missing for full use.

mod look;
mod missing;
mod storage;
mod table;

use serde::Serialize;

use super::output::{note, say};
use super::{Failure, serve};
use crate::cli::{self, Flags, Output};
use crate::clock::Clock;
use crate::config::Config;
use crate::progress::Progress;

use self::look::TenantSeen;
use self::missing::Missing;
use self::storage::Tried;

/// Everything that `check --online` saw: its JSON.
#[derive(Debug, Serialize)]
struct Checked {
    tenants: Vec<TenantSeen>,
    /// Results for the report directory, the directories of tenants in it, and the ledger.
    storage: Vec<Tried>,
    /// What is missing on this machine, for all tenants.
    missing: Vec<Missing>,
}

pub async fn run(flags: &Flags, arguments: &cli::Check) -> Result<(), Failure> {
    let loaded = match serve::configuration(flags) {
        Ok((loaded, _)) => loaded,
        Err(problems) => {
            // The sentences go to standard error in any case; this is for programs.
            if arguments.output == Output::Json {
                say!("{}", serde_json::json!({"problems": problems.0}))?;
            }
            return Err(problems.into());
        }
    };
    let from =
        loaded.file.as_ref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    for warning in &loaded.warnings {
        note!("warning: {warning}");
    }
    if arguments.online {
        return online(&loaded.config, arguments.output).await;
    }
    let tenants: Vec<_> = loaded.config.tenants.iter().map(|tenant| &*tenant.name).collect();
    match arguments.output {
        Output::Table => {
            say!("The configuration from {from} is fine; tenants: {}.", tenants.join(", "))?;
        }
        Output::Json => {
            say!("{}", serde_json::json!({"source": from, "tenants": tenants, "problems": []}))?;
        }
    }
    Ok(())
}

async fn online(config: &Config, output: Output) -> Result<(), Failure> {
    let (clock, progress) = (Clock::system(), Progress::new());
    let storage = storage::tried(config);
    let missing = storage.iter().filter_map(Tried::missing).collect();
    let mut checked = Checked { tenants: Vec::new(), storage, missing };
    for tenant in &config.tenants {
        checked.tenants.push(look::at(config, tenant, &clock, &progress).await);
    }
    match output {
        Output::Table => say!("{}", table::of(&checked))?,
        Output::Json => say!("{}", serde_json::to_string_pretty(&checked).map_err(anyhow::Error::from)?)?,
    }
    let endpoints = || checked.tenants.iter().flat_map(|tenant| &tenant.endpoints);
    let failed = endpoints().filter(|row| row.result == "failed").count();
    let unable = checked.tenants.iter().filter(|tenant| tenant.error.is_some()).count();
    let unusable: Vec<_> = checked.storage.iter().filter(|tried| tried.has_failed()).collect();
    if failed == 0 && unable == 0 && unusable.is_empty() {
        return Ok(());
    }
    let mut parts = Vec::new();
    if failed > 0 || unable > 0 {
        parts.push(format!("{failed} of {} endpoints failed", endpoints().count()));
    }
    if unable > 0 {
        parts.push(format!("{unable} of {} tenants could not be checked", checked.tenants.len()));
    }
    parts.extend(unusable.into_iter().map(|tried| format!("{} cannot be used", tried.path.display())));
    Err(Failure::Failed(anyhow::anyhow!("{}", parts.join("; "))))
}
