//! What can be seen on this machine: whether reports and ledger can be written. Nothing is made.

use std::path::Path;

use rustix::fs::{Access, access};

use super::missing::{Missing, What};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::poll::describe;
use crate::report::Folder;

/// What is missing for all tenants.
pub fn missing(config: &Config) -> Vec<Missing> {
    let mut missing = Vec::new();
    if let Err(why) = can_be_written(&config.report.directory, Kind::Folder) {
        missing.push(Missing::new(
            What::ReportDirectory,
            format!("{why}: no month can be closed (report.directory)"),
        ));
    }
    if let Err(why) = can_be_written(&config.ledger.path, Kind::File) {
        missing.push(Missing::new(
            What::Ledger,
            format!("{why}: the daemon does not start without a ledger (ledger.url)"),
        ));
    } else if let Some(tenant) = config.tenants.first()
        // Beside a daemon as well; a ledger that is not there yet is none that is broken.
        && config.ledger.path.exists()
        && let Err(error) = Ledger::read_only(&config.ledger.path).closed_at(&tenant.name)
    {
        missing.push(Missing::new(What::Ledger, describe(&error)));
    }
    missing
}

/// What is on disk of a tenant.
pub struct Closed {
    /// The newest closed month.
    pub newest: Option<String>,
    pub missing: Vec<Missing>,
}

pub fn closed(config: &Config, tenant: &str) -> Closed {
    let mut missing = Vec::new();
    let folder = Folder::existing(&config.report.directory, tenant);
    if !folder.path().exists() {
        return Closed { newest: None, missing };
    }
    if let Err(why) = can_be_written(folder.path(), Kind::Folder) {
        missing.push(Missing::new(What::ReportDirectory, format!("{why}: no month can be closed")));
    }
    let newest = folder.newest().unwrap_or_else(|error| {
        missing.push(Missing::new(What::ReportDirectory, describe(&error)));
        None
    });
    let newest = newest.map(|published| published.month.to_string());
    Closed { newest, missing }
}

/// What is, or is to be, at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// Whether this user may write to `path`, or make it where it is not there yet.
fn can_be_written(path: &Path, kind: Kind) -> Result<(), String> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let is_it = there == absolute;
    let shown = if is_it { path.display() } else { there.display() };
    let folder = !is_it || kind == Kind::Folder;
    if there.is_dir() != folder {
        return Err(format!("{shown} is {} folder", if folder { "no" } else { "a" }));
    }
    let wanted = if folder { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    access(there, wanted)
        .map_err(|error| format!("{shown} cannot be written by this user ({})", std::io::Error::from(error)))
}
