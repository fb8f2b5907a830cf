//! A month's usage as files that finance can sign: written whole or not at all, never changed.
//!
//! Comes from what `close` fetched, through the pure core of `usage`; goes to
//! `<directory>/<tenant>/<YYYY-MM>/r01/`. One pass (`tally`) makes every sum; one small module
//! writes each file; `publish` makes them appear at once.

mod account;
mod apportion;
mod by_group;
mod by_tag;
mod by_vm;
mod changes;
mod columns;
mod control;
mod coverage;
mod decimal;
mod difference;
mod error;
mod files;
mod frozen;
mod index;
mod listing;
mod manifest;
mod old_layout;
mod publish;
mod published;
mod reconcile;
mod recovered;
mod storage;
mod summary;
mod tally;
mod totals;
mod verdict;
mod warnings;

pub use account::{Account, ReleaseDiffers};
pub use coverage::{Coverage, TagCoverage};
pub use decimal::{Money, Share};
pub use difference::{Changed, fingerprint};
pub use error::ReportError;
pub use frozen::{Frozen, Header, Observed};
pub use listing::{Listed, Listing};
pub use publish::{Folder, Outcome, Prepared, Turn, write_copy};
pub use published::{Disagreements, Published};
pub use reconcile::{Compared, Differences, Ours, Provider, Rounding, Scopes};
pub use storage::{sha256, write_whole};
pub use summary::{Summary, dry_run};
pub use totals::MonthTotals;
pub use verdict::Verdict;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Prices, TagRule};
use crate::period::Month;
use crate::snapshot::{Cloud, InstanceType, MonthlyReport, Text, VmSize};
use crate::usage::Witness;

/// Everything that a report is made from: the same inputs make the same bytes.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Name of the tenant.
    pub tenant: &'a str,
    /// The month that was asked for.
    pub month: Month,
    /// What the provider answered.
    pub monthly: &'a MonthlyReport,
    /// The same, byte for byte.
    pub body: &'a [u8],
    /// The clouds that exist, for their names.
    pub clouds: &'a [Cloud],
    /// The catalogue, for the sizes of VMs.
    pub instance_types: &'a [InstanceType],
    /// Sizes of VMs that differ from the size of their type in the catalogue, by VM id.
    pub vm_sizes: &'a BTreeMap<Text, VmSize>,
    /// The price list, if there is one.
    pub prices: Option<&'a Prices>,
    /// Tag keys that groups are made of; empty: the exact set of tags.
    pub group_by: &'a [String],
    /// Normalising of tags before they are grouped.
    pub tag_rules: &'a [TagRule],
    /// Whether CSV files begin with a byte-order mark.
    pub excel_bom: bool,
    /// When the provider answered.
    pub fetched_at: Timestamp,
    /// What our own polls saw of each VM.
    pub witness: &'a dyn Witness,
    /// What they say about the report; `None` if nobody asked.
    pub account: Option<&'a Account>,
    /// Where the response comes from, and on which terms the month is closed.
    pub terms: &'a Terms,
    /// The revision that this report replaces.
    pub supersedes: Option<&'a Supersedes>,
}

/// Where the provider's response comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A request to the API.
    #[default]
    Api,
    /// A file that an operator named.
    File,
}

/// The terms on which a month is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Where the response comes from.
    pub source: Source,
    /// Why the operator closed or restated the month on these terms; `None` if the daemon closed it.
    pub reason: Option<String>,
    /// Why a response without VMs that polls observed in use was accepted; `None` if it was not.
    pub accepted_incomplete: Option<String>,
    /// Keys of the configuration that a restatement applied and that differ from the previous revision.
    pub configuration_changes: Vec<String>,
    /// What else a reader of the report must know; the manifest lists it with the warnings.
    pub notes: Vec<String>,
}

/// The revision that a restated month replaces, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersedes {
    /// From 1.
    pub revision: u32,
    /// In the words of whoever restated the month.
    pub reason: String,
}

/// Whether a report is the last word on its month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Final,
    /// The month goes on, or nobody closed it.
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

/// Which report on a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Revision {
    /// Not a revision yet: replaced each time.
    Provisional,
    /// From 1.
    Final(u32),
}

impl Revision {
    fn status(self) -> Status {
        match self {
            Self::Provisional => Status::Provisional,
            Self::Final(_) => Status::Final,
        }
    }

    /// The number in the column `revision`; provisional reports have 0.
    fn number(self) -> u32 {
        match self {
            Self::Provisional => 0,
            Self::Final(number) => number,
        }
    }

    /// Name of the folder, which is also in the files' names.
    fn folder(self) -> String {
        match self {
            Self::Provisional => "provisional".to_owned(),
            Self::Final(number) => format!("r{number:02}"),
        }
    }

    /// The report that a folder of this name holds.
    fn named(name: &str) -> Option<Self> {
        if name == Self::Provisional.folder() { Some(Self::Provisional) } else { Self::of_folder(name) }
    }

    /// The final revision that a folder of this name holds.
    fn of_folder(name: &str) -> Option<Self> {
        let revision = Self::Final(name.strip_prefix('r')?.parse().ok()?);
        (revision > Self::Final(0) && revision.folder() == name).then_some(revision)
    }
}

/// What every file of a report has in common.
#[derive(Clone, Copy)]
struct Frame<'a> {
    tenant: &'a str,
    month: Month,
    revision: Revision,
    excel_bom: bool,
}

impl<'a> Inputs<'a> {
    /// Why an operator closed or restated the month, if one did.
    fn reason(&self) -> Option<&'a str> {
        let restated = self.supersedes.map(|it| it.reason.as_str());
        restated.or(self.terms.reason.as_deref()).or(self.terms.accepted_incomplete.as_deref())
    }

    fn frame(&self, revision: Revision) -> Frame<'a> {
        Frame { tenant: self.tenant, month: self.month, revision, excel_bom: self.excel_bom }
    }
}
