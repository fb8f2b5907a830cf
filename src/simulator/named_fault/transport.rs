//! Clocks, limits, gateways and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::seconds_between;
use crate::clock::Clock;
use crate::simulator::fault::{Asked, Fault, FaultKind};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Length of the phases with and without a fault, in seconds. The first phase has no fault, so that polls get data.
const PHASE: i64 = 60;

/// `Retry-After` of refused requests, in seconds.
const RETRY_AFTER: &str = "30";

/// Time that each response takes.
const SLOW: Duration = Duration::from_secs(3);

/// Number of requests of which one fails.
const ONE_OF: u64 = 10;

fn in_every_second_phase(clock: &Clock) -> impl Fn(&Asked<'_>) -> bool + Send + Sync + use<> {
    let start = clock.now();
    move |asked| seconds_between(start, asked.at) / PHASE % 2 == 1
}

fn one_of_ten() -> impl Fn(&Asked<'_>) -> bool + Send + Sync {
    let count = Arc::new(AtomicU64::new(0));
    move |_| count.fetch_add(1, Ordering::Relaxed) % ONE_OF == ONE_OF - 1
}

pub(super) fn no_date() -> Vec<Fault> {
    vec![Fault::header("date", &[])]
}

pub(super) fn wrong_date() -> Vec<Fault> {
    vec![Fault::new(FaultKind::ShiftDate(DAY))]
}

pub(super) fn cached() -> Vec<Fault> {
    vec![Fault::new(FaultKind::ShiftDate(-HOUR)), Fault::header("age", &["3600"])]
}

pub(super) fn rate_limit(clock: &Clock) -> Vec<Fault> {
    let refused = Fault::error(429, "Too many requests").with_header("retry-after", RETRY_AFTER);
    vec![refused.when(in_every_second_phase(clock))]
}

pub(super) fn server_errors(clock: &Clock) -> Vec<Fault> {
    vec![Fault::html(502).when(in_every_second_phase(clock))]
}

pub(super) fn forbidden(clock: &Clock) -> Vec<Fault> {
    vec![Fault::status(403).when(in_every_second_phase(clock))]
}

pub(super) fn stalled(clock: &Clock) -> Vec<Fault> {
    vec![Fault::new(FaultKind::Stall).when(in_every_second_phase(clock))]
}

pub(super) fn slow() -> Vec<Fault> {
    vec![Fault::new(FaultKind::Delay(SLOW))]
}

pub(super) fn dropped() -> Vec<Fault> {
    vec![Fault::new(FaultKind::Drop).when(one_of_ten())]
}

pub(super) fn truncated() -> Vec<Fault> {
    vec![Fault::new(FaultKind::Truncate).when(one_of_ten())]
}
