//! The program as its users meet it: the real binary, its arguments, environment, exit codes and
//! what it prints.
//!
//! Each test has a folder of its own for everything that is written, and ports of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "cli/certificates.rs"]
mod certificates;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/groups.rs"]
mod groups;
#[path = "cli/ledger.rs"]
mod ledger;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/owners.rs"]
mod owners;
#[path = "cli/paths.rs"]
mod paths;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/prefix.rs"]
mod prefix;
mod program;
#[path = "cli/progress.rs"]
mod progress;
#[path = "cli/reload.rs"]
mod reload;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/simulate.rs"]
mod simulate;
#[path = "cli/terms.rs"]
mod terms;
#[path = "cli/tokens.rs"]
mod tokens;
#[path = "cli/usage.rs"]
mod usage;
