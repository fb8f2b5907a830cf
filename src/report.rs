//! A month's report as files that finance can sign: written whole or not at all, never changed.
//!
//! Comes from the provider's report and what is frozen with it ([`Inputs`]); goes to
//! `<directory>/<tenant>/<YYYY-MM>/r01/`. Same inputs, same bytes.

mod analysis;
mod error;
mod files;
mod folder;
mod manifest;
mod measure;
mod reconcile;
mod summary;
mod table;
mod tables;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Prices, TagRule};
use crate::period::Month;
use crate::snapshot::{ClosedMonth, Cloud, InstanceType, MonthlyReport};
use crate::usage::Witness;

pub use error::ReportError;
pub use files::write_whole;
pub use folder::{Folder, write_copy};
pub use manifest::Manifest;
pub use reconcile::{Reconciliation, RoundingUsed, Sums};
pub use summary::{Summary, dry_run};

/// All that a report is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Tenant's name.
    pub tenant: &'a str,
    /// The month that was asked for.
    pub month: Month,
    /// What the provider's report says.
    pub monthly: &'a MonthlyReport,
    /// The provider's report, byte for byte.
    pub body: &'a [u8],
    /// Clouds, for their names.
    pub clouds: &'a [Cloud],
    /// The catalogue, for sizes.
    pub instance_types: &'a [InstanceType],
    /// The price list, if there is one.
    pub prices: Option<&'a Prices>,
    /// Tag keys that groups are made of.
    pub group_by: &'a [String],
    /// Normalising of tags before they are grouped.
    pub tag_rules: &'a [TagRule],
    /// Whether CSV files begin with a byte-order mark.
    pub excel_bom: bool,
    /// When the provider's report was fetched.
    pub fetched_at: Timestamp,
    /// What our own polls saw.
    pub witness: &'a dyn Witness,
}

/// Whether a report can still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The month is closed; this revision never changes.
    Final,
    /// The month is not closed; the next report replaces this one.
    Provisional,
}

impl Status {
    /// The word in the column `status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Provisional => "provisional",
        }
    }
}

/// What every row and file name of a report says of it.
#[derive(Clone, Copy, Debug)]
struct Stamp<'a> {
    tenant: &'a str,
    month: Month,
    /// From 1; 0 for a provisional report.
    revision: u32,
    status: Status,
}

impl Stamp<'_> {
    /// `r01`, or `provisional`.
    fn revision_name(&self) -> String {
        match self.status {
            Status::Final => format!("r{:02}", self.revision),
            Status::Provisional => "provisional".to_owned(),
        }
    }

    /// A file's name, which tells it apart from those of other months and tenants in one folder.
    fn file(&self, name: &str) -> String {
        format!("flexvm-usage_{}_{}_{}_{name}", self.tenant, self.month, self.revision_name())
    }
}

/// What became of closing a month.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was closed now.
    Written(Published),
    /// It was closed before; nothing was changed.
    Already(Published),
}

impl Outcome {
    /// The report, whoever wrote it.
    #[must_use]
    pub fn into_published(self) -> Published {
        match self {
            Self::Written(published) | Self::Already(published) => published,
        }
    }
}

/// A report on the disk.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its month.
    pub month: Month,
    /// From 1; 0 for a provisional report.
    pub revision: u32,
    /// The folder that holds it.
    pub dir: PathBuf,
    /// Every file.
    pub files: Vec<PathBuf>,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Published {
    fn new(dir: PathBuf, manifest: Manifest, month: Month) -> Self {
        let stamp =
            Stamp { tenant: &manifest.tenant, month, revision: manifest.revision, status: manifest.status };
        let last = [stamp.file("manifest.json"), stamp.file("SHA256SUMS")];
        let files =
            manifest.files.iter().map(|file| dir.join(&file.name)).chain(last.map(|name| dir.join(name)));
        Self { month, revision: manifest.revision, files: files.collect(), dir, manifest }
    }

    /// Copies the files into `out`, which is made if it is missing.
    ///
    /// # Errors
    /// [`ReportError::Storage`], or [`ReportError::Exists`] for a file that is there with other
    /// bytes; it is not overwritten.
    pub fn copy_to(&self, out: &Path) -> Result<Self, ReportError> {
        std::fs::create_dir_all(out).map_err(|error| ReportError::storage(out, error))?;
        for path in &self.files {
            let to = out.join(path.file_name().unwrap_or_default());
            if to.exists() {
                if files::sha256_of(&to)? == files::sha256_of(path)? {
                    continue;
                }
                return Err(ReportError::damaged(&to, &"is there already with other bytes"));
            }
            let bytes = std::fs::read(path).map_err(|error| ReportError::storage(path, error))?;
            write_whole(&to, &bytes)?;
        }
        Ok(Self::new(out.to_owned(), self.manifest.clone(), self.month))
    }

    /// What its series show.
    #[must_use]
    pub fn closed_month(&self) -> ClosedMonth {
        let totals = &self.manifest.totals;
        let cost = totals.internal_cost.as_ref().and_then(|cost| cost.parse().ok());
        ClosedMonth {
            month: self.month,
            revision: self.revision,
            reported_vm_hours: totals.vm_hours,
            vm_seconds: totals.vm_seconds,
            internal_cost: cost.zip(totals.currency.as_deref().map(Into::into)),
        }
    }

    /// Its totals in words.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of_manifest(&self.manifest)
    }
}
