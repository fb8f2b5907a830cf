//! Arguments and exit codes; the work is in the library.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use flexvm_exporter::cli::Cli;
use flexvm_exporter::{commands, logging};

/// Gives what was freed back at once; what it is told stands in `.cargo/config.toml`.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the runtime waits at the end for work on other threads, such as files being written.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Permissions that no new file gets: nobody but the owner writes, and others do not read.
const PRIVATE: rustix::fs::Mode = rustix::fs::Mode::from_raw_mode(0o027);

fn main() -> ExitCode {
    // Usage errors leave with 2, --help and --version with 0.
    let cli = Cli::parse();
    // Ledger and reports are not for everybody on the machine, whatever the caller's umask.
    let umask = rustix::process::umask(PRIVATE);
    rustix::process::umask(umask | PRIVATE);
    // Test builds can be told to die at a named step; in others this does nothing.
    let _failpoints = fail::FailScenario::setup();
    let log = logging::start(cli.flags.log_level, cli.flags.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "flexvm-exporter: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(commands::run(cli));
    runtime.shutdown_timeout(LAST_WORK);
    // What was logged stands before the last word.
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}
