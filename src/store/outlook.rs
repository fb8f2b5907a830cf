//! The next steps for a tenant's months.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ledger::Comparison;
use crate::period::Month;

/// A month past its settle time that is not closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueMonth {
    /// Why the latest attempt failed; `None` if there was none.
    pub error: Option<String>,
}

/// What is due, what is next, and how closed months compare with the provider's current reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Months past their settle time that have no final report.
    pub due: BTreeMap<Month, DueMonth>,
    /// The month that is due next, and the time from which it is.
    pub next: (Month, Timestamp),
    /// The latest comparison of each closed month.
    pub comparisons: BTreeMap<Month, Comparison>,
    /// If the ledger was begun although reports existed: the months before that have no report.
    pub lost_ledger: Option<Vec<Month>>,
}
