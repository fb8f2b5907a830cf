//! `ledger`: copies, describes or lists the ledger, safely beside a running daemon.

use std::io;
use std::path::Path;

use super::Failure;
use super::output::say;
use crate::cli::{Flags, Ledger, Output};
use crate::config::load::{Look, environment, load};
use crate::filesystem::absolute;
use crate::ledger::{self, Description, LedgerError};

pub fn run(flags: &Flags, command: &Ledger) -> Result<(), Failure> {
    // Nothing is asked of the API, so no token and no certificate has to be there.
    let loaded = load(flags.config_file.as_deref(), &environment, Look::AT_NOTHING)?;
    let path = &loaded.config.ledger.path;
    match command {
        Ledger::Backup { path: to } => backup(path, to)?,
        Ledger::Inspect { output } => {
            show(&ledger::inspect(path).map_err(anyhow::Error::from)?, *output)?;
        }
        Ledger::Export => export(path)?,
    }
    Ok(())
}

fn backup(from: &Path, to: &Path) -> anyhow::Result<()> {
    let to = &absolute(to);
    ledger::backup(from, to)?;
    say!("{} is a copy of {}", to.display(), from.display())?;
    say!("To restore it: stop the daemon, put the copy in the ledger's place, remove the files beside the")?;
    say!("ledger whose names end in -wal and -shm, and start the daemon.")
}

fn export(path: &Path) -> anyhow::Result<()> {
    match ledger::export(path, io::stdout().lock()) {
        // Whoever read the list has seen enough of it.
        Err(LedgerError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

fn show(it: &Description, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return say!("{}", serde_json::to_string_pretty(it)?);
    }
    say!("{}: schema {}, {} bytes, check: {}", it.path.display(), it.schema, it.size_bytes, it.check)?;
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "never".to_owned());
    for (name, tenant) in &it.tenants {
        say!("\ntenant {name}")?;
        say!("  first start     {}", or(&tenant.since))?;
        let (first, last) = (or(&tenant.first_poll), or(&tenant.last_poll));
        say!("  polls           {} ({first} to {last})", tenant.polls)?;
        say!("  VMs             {} seen, {} not gone", tenant.vms, tenant.living_vms)?;
        say!("  events          {}", tenant.events)?;
        for revision in &tenant.revisions {
            let inputs = revision.inputs_bytes.map_or_else(
                || "inputs not kept (older than the ledger)".to_owned(),
                |bytes| format!("inputs {bytes} bytes"),
            );
            say!(
                "  closed month    {} r{:02} {}, {inputs}, closed at {}, SHA256SUMS {}",
                revision.month,
                revision.revision,
                revision.state,
                revision.closed_at,
                revision.digest
            )?;
        }
    }
    Ok(())
}
