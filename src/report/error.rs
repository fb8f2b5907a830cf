//! Why a report cannot be made or written.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::api::Reason;
use crate::usage::CheckError;

/// Why a report cannot be made or written. Nothing half-written is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The provider's report cannot be used.
    #[error("the provider's report is refused")]
    Refused(#[from] CheckError),
    /// A file or folder cannot be read or written.
    #[error("{} cannot be read or written; make sure that the folder exists, is writable and has room", path.display())]
    Storage {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds the tenant's folder.
    #[error("another process is writing reports in {}; it is tried again", .0.display())]
    Locked(PathBuf),
    /// Something is there that this program did not leave so.
    #[error("{}: {problem}; it is not overwritten: look at it, and move it away if it is not wanted", path.display())]
    Exists {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ReportError {
    /// A failed operation on `path`.
    #[must_use]
    pub fn storage(path: &Path, source: io::Error) -> Self {
        Self::Storage { path: path.to_owned(), source }
    }

    /// `path` exists, but is not what it should be.
    #[must_use]
    pub fn damaged(path: &Path, problem: &dyn Display) -> Self {
        Self::Exists { path: path.to_owned(), problem: problem.to_string() }
    }

    /// The value of the label `reason`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(CheckError::Period { .. }) => Reason::Period,
            Self::Refused(CheckError::Conflicting(_)) => Reason::Inconsistent,
            Self::Storage { .. } | Self::Locked(_) => Reason::Storage,
            Self::Exists { .. } => Reason::Exists,
        }
    }
}
