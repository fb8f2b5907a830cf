//! The program as a user meets it: arguments, exit codes, and what it prints.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/daemon.rs"]
mod daemon;
mod program;
#[path = "cli/report.rs"]
mod report;

use std::process::Command;

use program::exporter;

/// The exporter in `folder`, for one tenant at `url`, by its environment alone.
fn at(folder: &tempfile::TempDir, url: &str) -> Command {
    let mut command = exporter();
    command.current_dir(folder).env("FLEXVM_API_TOKEN", "simulator").env("FLEXVM_API_URL", url);
    command
}
