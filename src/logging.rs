//! Log lines on standard error, as logfmt or JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{LogFormat, LogLevel};

/// Starts logging. Libraries are heard from `warn` up, so that `debug` shows this program's doings.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let filter =
        Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("flexvm_exporter", level);
    let registry = tracing_subscriber::registry();
    // Standard error, once a line about progress is out of the way.
    let writer = crate::progress::clear;
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
}
