//! Why the ledger could not do something.

use std::path::{Path, PathBuf};

use crate::observe::NotLater;

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file exists, but is no ledger.
    #[error("{} is not a ledger of this program; move it away, or let ledger.url name another file", .0.display())]
    NotALedger(PathBuf),
    /// It was written by a newer version of the program.
    #[error("the ledger {} has schema {found}, this program knows up to {known}: use the version that wrote it, or a newer one", path.display())]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its schema.
        found: i32,
        /// The newest that is known here.
        known: i32,
    },
    /// Another daemon has it.
    #[error("the ledger {} is in use by another daemon; stop that one, or give this one a ledger of its own (ledger.url)", .0.display())]
    Locked(PathBuf),
    /// There is none.
    #[error("there is no ledger at {}", .0.display())]
    Missing(PathBuf),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was asked for could not be written out.
    #[error("the output cannot be written")]
    Output(#[source] std::io::Error),
    /// `SQLite` refused.
    #[error("the ledger")]
    Sqlite(#[from] rusqlite::Error),
    /// A row says something that this program never writes.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// The clock stands behind the newest recorded poll.
    #[error(transparent)]
    Clock(#[from] NotLater),
    /// The local clock differs from the API's.
    #[error(
        "the local clock differs from the Date of the API by {ahead_seconds} s; polls are not recorded until the clocks agree"
    )]
    ClockDiffers {
        /// The local clock minus the API's clock, in seconds.
        ahead_seconds: i64,
    },
    /// The file itself is damaged.
    #[error("the ledger {} is damaged: stop the daemon and put a backup in its place, or move it away and start without (docs/operating.md, Backup and restore)", .0.display())]
    Corrupt(PathBuf),
    /// It has 0 bytes, although a ledger was there before.
    #[error("the ledger {} has 0 bytes, but {evidence} exists, so it was not always empty: restore it from a backup (docs/operating.md, Backup and restore), or remove it to begin a new ledger", path.display())]
    Emptied {
        /// The ledger.
        path: PathBuf,
        /// What shows that a ledger was there.
        evidence: String,
    },
    /// It was deleted while it is open.
    #[error("the ledger {} was deleted while the exporter uses it: polls and months are not recorded; put it back, or restart the exporter to begin a new one", .0.display())]
    Deleted(PathBuf),
    /// Another file is in its place while it is open.
    #[error("the ledger {} was replaced by another file while the exporter uses it", .0.display())]
    Replaced(PathBuf),
    /// Its thread has more to do than it can.
    #[error("the ledger is busy with earlier writes")]
    Busy,
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    /// The same, with the name of the ledger that it is about if its file is no good.
    pub(super) fn at(self, path: &Path) -> Self {
        use rusqlite::ErrorCode as Code;
        match &self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(Code::NotADatabase) => Self::NotALedger(path.to_owned()),
                Some(Code::DatabaseCorrupt) => Self::Corrupt(path.to_owned()),
                _ => self,
            },
            _ => self,
        }
    }

    /// The value of the label `reason` of `flexvm_exporter_ledger_failures_total`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Busy | Self::Closed | Self::Missing(_) | Self::Deleted(_) | Self::Replaced(_) => {
                "unavailable"
            }
            Self::Clock(_) | Self::ClockDiffers { .. } => "clock",
            Self::Locked(_) => "locked",
            Self::NotALedger(_)
            | Self::Newer { .. }
            | Self::Damaged(_)
            | Self::Emptied { .. }
            | Self::Corrupt(_) => "corrupt",
            Self::File { .. } | Self::Output(_) => "io",
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(Code::DiskFull) => "full",
                Some(Code::DatabaseBusy | Code::DatabaseLocked) => "locked",
                Some(Code::DatabaseCorrupt | Code::NotADatabase) => "corrupt",
                _ => "io",
            },
        }
    }

    /// Every value of [`LedgerError::reason`].
    pub const REASONS: [&'static str; 6] = ["clock", "corrupt", "full", "io", "locked", "unavailable"];
}
