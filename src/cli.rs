//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::problem::Problems;
use crate::simulator::NamedFault;
use crate::web::Paths;

/// Prometheus exporter and monthly usage reports for i3D.net FlexVM clouds.
#[derive(Debug, Parser)]
#[command(name = "flexvm-exporter", version, about, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// Flags for every command.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do; serves unless told otherwise.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that may stand before or after the command.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables
    #[arg(long = "config.file", global = true, value_name = "PATH")]
    pub config_file: Option<PathBuf>,
    /// Address to listen on, again for more [default: 0.0.0.0:10935]
    #[arg(long = "web.listen-address", global = true, value_name = "ADDR")]
    pub listen_addresses: Vec<String>,
    /// Web configuration file of the exporter toolkit
    #[arg(long = "web.config.file", global = true, value_name = "PATH")]
    pub web_config: Option<PathBuf>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", global = true, value_name = "PATH", default_value = "/metrics")]
    pub telemetry_path: String,
    /// URL that users open, such as https://host/flexvm/ behind a reverse proxy
    #[arg(long = "web.external-url", global = true, value_name = "URL")]
    pub external_url: Option<String>,
    /// Prefix of the paths of all pages [default: the path of --web.external-url]
    #[arg(long = "web.route-prefix", global = true, value_name = "PATH")]
    pub route_prefix: Option<String>,
    /// Least severity that is logged
    #[arg(long = "log.level", global = true, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
    /// Format of the log, which goes to standard error
    #[arg(long = "log.format", global = true, value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,
}

impl Flags {
    /// Returns the addresses of the daemon's pages.
    ///
    /// # Errors
    /// Every flag that cannot be used, with its reason.
    pub fn paths(&self) -> Result<Paths, Problems> {
        Paths::new(&self.telemetry_path, self.external_url.as_deref(), self.route_prefix.as_deref())
    }
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words say it")]
pub enum LogFormat {
    Logfmt,
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The daemon: polls, serves, closes months (the default)
    Serve,
    /// Simulator and daemon in one process, with last month closed at once
    Demo(Demo),
    /// Closes months now, or shows what closing them would give
    Report(Report),
    /// Reads the configuration and prints every problem
    Check(Check),
    /// Copies, describes or lists the ledger, safely beside a running daemon
    Ledger {
        /// What to do
        #[command(subcommand)]
        command: Ledger,
    },
    /// The FlexVM API simulator alone
    Simulate(Simulate),
    /// Exit 0 when the daemon is ready
    Health(Health),
}

/// `ledger`
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Copies the ledger, as of one moment, into a new file
    Backup {
        /// The file to make; one that exists is not replaced
        path: PathBuf,
    },
    /// Describes what the ledger holds
    Inspect {
        /// How to print
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        output: Output,
    },
    /// Lists every recorded event as CSV
    Export,
}

/// `demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// Folder for reports and ledger [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10935")]
    pub listen: String,
    /// Fault of the simulated API; can be repeated; docs/simulator.md describes each fault
    #[arg(long = "fault", value_name = "NAME")]
    pub faults: Vec<NamedFault>,
}

/// `report`
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one per flag of the command line")]
pub struct Report {
    /// The month, or the first and last of several: 2026-10 or 2026-08..2026-10
    #[arg(long, value_name = "YYYY-MM[..YYYY-MM]")]
    pub month: String,
    /// Only this tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Write a copy into this folder and close nothing
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write a new revision of a closed month
    #[arg(long, requires = "reason", conflicts_with = "out")]
    pub restate: bool,
    /// Write the new revision although nothing that counts differs
    #[arg(long)]
    pub force: bool,
    /// Close the month although the response lacks VMs that polls observed in use
    #[arg(long, requires = "reason", conflicts_with = "out")]
    pub accept_incomplete: bool,
    /// Close the month from a saved response of the provider; restates a month that is closed already
    #[arg(long, value_name = "FILE", requires = "reason", conflicts_with = "out")]
    pub from_file: Option<PathBuf>,
    /// Settle the open difference of a closed month without a new revision
    #[arg(long, requires = "reason", conflicts_with_all = ["out", "restate", "force", "accept_incomplete", "from_file", "dry_run"])]
    pub waive: bool,
    /// Why the month is restated, waived, or closed on these terms; the manifest or the ledger keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Write nothing, show the totals
    #[arg(long)]
    pub dry_run: bool,
}

/// `check`
#[derive(Args, Debug)]
pub struct Check {
    /// Also call each read endpoint once per tenant
    #[arg(long)]
    pub online: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// How `check` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Output {
    Table,
    Json,
}

/// `simulate`
#[derive(Args, Debug)]
pub struct Simulate {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// The world's seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Living VMs over all clouds
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub vms: usize,
    /// Clouds
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub clouds: usize,
    /// Months of history before the running one
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub months: u32,
    /// The token that is accepted
    #[arg(long, value_name = "T", default_value = "simulator")]
    pub token: String,
    /// Largest page, whatever is asked for
    #[arg(long, value_name = "N")]
    pub page_cap: Option<usize>,
    /// Fault of the API; can be repeated; docs/simulator.md describes each fault
    #[arg(long = "fault", value_name = "NAME")]
    pub faults: Vec<NamedFault>,
}

/// `health`
#[derive(Args, Debug)]
pub struct Health {
    /// The daemon's address [default: from --web.listen-address]
    #[arg(value_name = "URL")]
    pub url: Option<String>,
}
