//! `ledger`: copies, describes or lists the ledger, safely beside a running daemon.

use std::io::{self, Write as _};
use std::path::Path;

use super::Failure;
use crate::cli::{Flags, Ledger, Output};
use crate::config::load::{environment, load};
use crate::ledger::{self, Description, LedgerError};

pub fn run(flags: &Flags, command: &Ledger) -> Result<(), Failure> {
    // Nothing is asked of the API, so no token has to be there.
    let loaded = load(flags.config_file.as_deref(), &environment, &|_, _| None)?;
    let path = &loaded.config.ledger.path;
    let result = match command {
        Ledger::Backup { path: to } => backup(path, to),
        Ledger::Inspect { output } => ledger::inspect(path).and_then(|it| show(&it, *output)),
        Ledger::Export => ledger::export(path, io::stdout().lock()).map(drop),
    };
    match result {
        // Whoever read the list has seen enough of it.
        Err(LedgerError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::Failed(error.into())),
    }
}

fn backup(from: &Path, to: &Path) -> Result<(), LedgerError> {
    ledger::backup(from, to)?;
    println!("{} is a copy of {}", to.display(), from.display());
    println!(
        "To restore it: stop the daemon, put the copy in the ledger's place, remove the files beside the"
    );
    println!("ledger whose names end in -wal and -shm, and start the daemon.");
    Ok(())
}

fn show(description: &Description, output: Output) -> Result<(), LedgerError> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, description)
                .map_err(|error| LedgerError::Output(error.into()))?;
            writeln!(out).map_err(LedgerError::Output)
        }
        Output::Table => table(&mut out, description).map_err(LedgerError::Output),
    }
}

fn table(out: &mut impl io::Write, it: &Description) -> io::Result<()> {
    writeln!(
        out,
        "{}: schema {}, {} bytes, check: {}",
        it.path.display(),
        it.schema,
        it.size_bytes,
        it.check
    )?;
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "never".to_owned());
    for (name, tenant) in &it.tenants {
        writeln!(out, "\ntenant {name}")?;
        writeln!(out, "  first start     {}", or(&tenant.since))?;
        writeln!(
            out,
            "  polls           {} ({} to {})",
            tenant.polls,
            or(&tenant.first_poll),
            or(&tenant.last_poll)
        )?;
        writeln!(out, "  VMs             {} seen, {} not gone", tenant.vms, tenant.living_vms)?;
        writeln!(out, "  events          {}", tenant.events)?;
        for revision in &tenant.revisions {
            let inputs = revision.inputs_bytes.map_or_else(
                || "inputs not kept (older than the ledger)".to_owned(),
                |bytes| format!("inputs {bytes} bytes"),
            );
            writeln!(
                out,
                "  closed month    {} r{:02} {}, {inputs}, closed at {}, SHA256SUMS {}",
                revision.month, revision.revision, revision.state, revision.closed_at, revision.digest
            )?;
        }
    }
    Ok(())
}
