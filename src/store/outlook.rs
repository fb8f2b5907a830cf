//! What is to come of a tenant's months.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::period::Month;

/// What is due, what comes next, and what changed after it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Months past their settle time that have no final report, each with why the newest attempt
    /// failed, if it did.
    pub due: BTreeMap<Month, Option<String>>,
    /// The month that is due next, and from when on.
    pub next: (Month, Timestamp),
    /// Seconds that the provider reports differently now, by closed month.
    pub changed: BTreeMap<Month, u64>,
}
