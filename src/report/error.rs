//! Why a report could not be made, written or read.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::Reason;
use crate::period::{Month, rfc3339};
use crate::snapshot::{ProviderTotals, Text};
use crate::text::one_line;
use crate::usage::CheckError;

/// Maximum number of VM ids in a message.
const MAX_IDS: usize = 5;
/// A provider's totals on one line.
fn totals(of: &ProviderTotals) -> String {
    format!("{} VMs created, {} released, {} h", of.vms_created, of.vms_released, of.vm_hours)
}

/// Why a report could not be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The provider's report is for another period, or contradicts itself.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Two rows of one cloud have different totals.
    #[error("the report has two different rows for the cloud {}: {}; and: {}; ask the provider for a corrected report, save it, and close with `report --month {month} --from-file FILE --reason TEXT`", one_line(cloud_id, 64), totals(&rows[0]), totals(&rows[1]))]
    Clouds {
        /// The cloud.
        cloud_id: Text,
        /// The month of the report.
        month: Month,
        /// The totals of both rows, in the order of the response.
        rows: Box<[ProviderTotals; 2]>,
    },
    /// The hours are more than any month can hold; sums of them could not be exact.
    #[error(
        "the report's VM hours sum up to {sum}, which no month can hold; the VM {} has most of them: {most}",
        one_line(vm_id, 64)
    )]
    Hours {
        /// All hours.
        sum: u128,
        /// The VM with the most hours.
        vm_id: Text,
        /// Its hours.
        most: u64,
    },
    /// A month that was fetched before its end cannot be closed with what was fetched.
    #[error("{month} had not ended when it was fetched at {}", rfc3339(*fetched_at))]
    NotEnded {
        /// The month.
        month: Month,
        /// When the provider was asked.
        fetched_at: Timestamp,
    },
    /// The response was generated before the month could be closed.
    #[error("the provider's response on {month} was generated at {}, before {} (end of the month + report.settle): a cache returned an old response, or this machine's clock is ahead; nothing is written", rfc3339(*generated_at), rfc3339(*settled_at))]
    Early {
        /// The month.
        month: Month,
        /// When the response was generated, by its `Date` and `Age`.
        generated_at: Timestamp,
        /// When the month can be closed.
        settled_at: Timestamp,
    },
    /// The local clock differs from the API's clock, so all times in the files would be wrong.
    #[error("this machine's clock is {} s {} the Date of the API's responses: nothing is written; correct the clock and try again", ahead_seconds.unsigned_abs(), if *ahead_seconds > 0 { "ahead of" } else { "behind" })]
    Clock {
        /// The local clock minus the API's clock, in seconds.
        ahead_seconds: i64,
    },
    /// The response does not prove when it was generated.
    #[error("the provider's response on {month} has no usable Date, so only time proves that the month has ended: the daemon closes it in {} h, or close it now with report --month {month}", wait.as_secs().div_ceil(3600))]
    Undated {
        /// The month.
        month: Month,
        /// How much longer the daemon waits.
        wait: Duration,
    },
    /// The response lacks VMs that polls observed in use.
    #[error("the provider's response lacks {} VMs that polls observed running or stopped in {month} ({}); check them with the provider, then accept the response with report --month {month} --accept-incomplete --reason TEXT, or use a corrected one with --from-file FILE --reason TEXT", missing.len(), first_ids(missing))]
    Incomplete {
        /// The month.
        month: Month,
        /// Ids of the VMs, sorted.
        missing: Vec<Text>,
    },
    /// A restatement would change nothing that counts.
    #[error(
        "nothing that counts differs from revision {revision} of {month}, so no revision is written; --force writes it anyway"
    )]
    NoDifference {
        /// The month.
        month: Month,
        /// The current revision.
        revision: u32,
    },
    /// There is no difference that could be waived.
    #[error(
        "{0} has no open difference and matches the provider's current report: there is nothing to waive"
    )]
    NothingToWaive(Month),
    /// A file or folder cannot be written or read.
    #[error("cannot use {}", path.display())]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something that it should not.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process held the folder's lock for too long.
    #[error("another process is writing to {}", .0.display())]
    Locked(PathBuf),
    /// There is a revision that is not one of ours, or no longer whole. It is never overwritten.
    #[error("{} exists but is not a whole report ({problem}); move it away to have the month written", path.display())]
    Revision {
        /// The revision's folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A revision is not what the ledger recorded. It is never overwritten.
    #[error("{} is not what the ledger recorded when the month was closed ({problem}); restore it from a backup", path.display())]
    NotRecorded {
        /// The revision's folder.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// Only a closed month can be restated or waived.
    #[error(
        "{0} is not closed: there is nothing to restate or waive; close it first with report --month {0}"
    )]
    NotClosed(Month),
    /// A file with other content stands where a copy should go.
    #[error("{} exists with other content", .0.display())]
    Exists(PathBuf),
}

/// The first ids of a list, and how many more there are.
fn first_ids(ids: &[Text]) -> String {
    let text = ids.iter().take(MAX_IDS).map(|id| &**id).collect::<Vec<_>>().join(", ");
    match ids.len().checked_sub(MAX_IDS) {
        Some(more @ 1..) => format!("{text} and {more} more"),
        _ => text,
    }
}

impl ReportError {
    /// Whether the command line was wrong: the request makes no sense for the month.
    #[must_use]
    pub fn is_usage_error(&self) -> bool {
        matches!(self, Self::NoDifference { .. } | Self::NothingToWaive(_))
    }

    /// The value of the label `reason`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Check(CheckError::Period { .. })
            | Self::NotEnded { .. }
            | Self::Early { .. }
            | Self::Clock { .. }
            | Self::Undated { .. }
            | Self::NoDifference { .. }
            | Self::NothingToWaive(_)
            | Self::NotClosed(_) => Reason::Period,
            Self::Incomplete { .. } => Reason::Incomplete,
            Self::Check(CheckError::Conflicting(_) | CheckError::NoVms(_))
            | Self::Clouds { .. }
            | Self::Hours { .. } => Reason::Inconsistent,
            Self::Storage { .. } | Self::Damaged { .. } | Self::Locked(_) => Reason::Storage,
            Self::Revision { .. } | Self::NotRecorded { .. } | Self::Exists(_) => Reason::Exists,
        }
    }

    /// `path` cannot be written or read.
    #[must_use]
    pub fn storage(path: &Path, source: io::Error) -> Self {
        Self::Storage { path: path.to_owned(), source }
    }

    /// `path` holds something that it should not.
    #[must_use]
    pub fn damaged(path: &Path, problem: &dyn Display) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.to_string() }
    }

    /// Turns an I/O error on `path` into one of these.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::storage(path, error)
    }
}
