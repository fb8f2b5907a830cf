//! Log lines on standard error, as logfmt or JSON.
//!
//! A thread of its own writes them: a pipe that nobody reads must hold up neither polls nor scrapes nor the end.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{LogFormat, LogLevel};

/// Lines that may wait to be written; more are lost.
const WAITING: usize = 10_000;

/// Standard error, once a line about progress is out of the way.
struct Line {
    lost: Arc<OnceLock<ErrorCounter>>,
    /// Lost lines that were told of.
    told: usize,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = crate::progress::clear().write(bytes)?;
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            self.told = lost;
            tracing::warn!(lost, "log lines were lost: standard error took none for too long");
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        crate::progress::clear().flush()
    }
}

/// Starts logging, until the result is dropped; that waits a moment for lines that are not written yet.
/// Libraries are heard from `warn` up, so that `debug` shows this program's doings.
pub fn start(level: LogLevel, format: LogFormat) -> WorkerGuard {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let filter =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("flexvm_exporter", level);
    let registry = tracing_subscriber::registry();
    let lost = Arc::<OnceLock<_>>::default();
    let line = Line { lost: Arc::clone(&lost), told: 0 };
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(WAITING).finish(line);
    lost.get_or_init(|| writer.error_counter());
    let started = match format {
        LogFormat::Logfmt => {
            let format = tracing_logfmt::builder().layer().with_writer(writer);
            registry.with(format.with_filter(filter)).try_init()
        }
        LogFormat::Json => {
            let format = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer);
            registry.with(format.with_filter(filter)).try_init()
        }
    };
    // Only fails when something else in the process logs already, as tests do.
    drop(started);
    guard
}
