//! The commands: from arguments to a result and an exit code.

mod check;
mod demo;
mod health;
mod ledger;
mod listen;
mod output;
mod report;
mod serve;
mod simulate;

use std::fmt;

use crate::cli::{Cli, Command};
use crate::config::problem::Problems;

/// Why a command ends without success.
#[derive(Debug)]
pub enum Failure {
    /// Failed while running: exit code 1.
    Failed(anyhow::Error),
    /// Wrong usage: exit code 2.
    Usage(String),
    /// Bad configuration: exit code 78 (`EX_CONFIG`).
    Config(Problems),
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => 78,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "flexvm-exporter: {error:#}"),
            Self::Usage(text) => write!(f, "flexvm-exporter: {text}"),
            Self::Config(problems) => {
                let count = problems.0.len();
                let s = if count == 1 { "" } else { "s" };
                write!(f, "flexvm-exporter: the configuration has {count} problem{s}:\n{problems}")
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Config(problems)
    }
}

/// Carries out the command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let flags = cli.flags;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&flags).await,
        Command::Demo(arguments) => demo::run(&flags, &arguments).await,
        Command::Report(arguments) => report::run(&flags, &arguments).await,
        Command::Check(arguments) => check::run(&flags, &arguments).await,
        Command::Ledger { command } => ledger::run(&flags, &command),
        Command::Simulate(arguments) => simulate::run(&arguments).await,
        Command::Health(arguments) => health::run(&flags, &arguments).await,
    }
}
