//! A report on disk, read back from its manifest.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files::{CHECKSUMS, MANIFEST, PROVIDER_REPORT};
use super::manifest::{FileEntry, Record, RecordedPrices, SCHEMA_VERSION};
use super::storage::{self, Hashed, NewFolder};
use super::{Compared, Coverage, Differences, Frame, MonthTotals, ReportError, Revision, Status};
use crate::api;
use crate::config::Prices;
use crate::period::Month;
use crate::snapshot::ClosedMonth;
use crate::usage::{self, NoWitness};

/// A report on disk.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its month.
    pub month: Month,
    /// From 1; 0 for a provisional report.
    pub revision: u32,
    /// Whether it is the last word.
    pub status: Status,
    /// Why an operator closed or restated it, if one did.
    pub reason: Option<String>,
    /// Why a response without VMs that polls observed in use was accepted.
    pub accepted_incomplete: Option<String>,
    /// The price list that it applies.
    pub prices: Option<Prices>,
    /// The folder that holds it.
    pub dir: PathBuf,
    /// When the provider answered.
    pub fetched_at: Timestamp,
    /// Its files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// What it sums up to.
    pub totals: MonthTotals,
    /// Its totals beside the provider's.
    pub total: Compared,
    /// How far our sums are from the provider's.
    pub reconciliation: Differences,
    /// VMs about which our polls and the provider disagree: seen by us alone, listed by the provider
    /// alone, released at other times. `None` if nobody polled in the month.
    pub disagreements: Option<Disagreements>,
    /// What its manifest warns of.
    pub warnings: Vec<String>,
    /// Whether its CSV files begin with a byte-order mark.
    pub(super) excel_bom: bool,
    /// SHA-256, in hexadecimal, of its file of checksums, which names every other file.
    pub digest: String,
    /// What the manifest says of the files that it lists.
    pub(super) entries: Vec<FileEntry>,
}

/// How many VMs our polls and the provider disagree about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disagreements {
    /// Seen by our polls, not listed by the provider.
    pub only_observed: u64,
    /// Listed by the provider, never seen by our polls.
    pub never_observed: u64,
    /// Observed by polls, but never in use by two of them, and not listed by the provider.
    pub only_observed_other: u64,
    /// Released at other times.
    pub releases_differ: u64,
    /// Created later than polls first observed them.
    pub creations_differ: u64,
}

impl Published {
    /// Reads the report in `dir`. The error says what is wrong, for the caller to say where.
    pub(super) fn read(dir: &Path, tenant: &str, month: Month, revision: Revision) -> Result<Self, String> {
        let prefix = Frame { tenant, month, revision, excel_bom: false }.prefix();
        let manifest = format!("{prefix}{MANIFEST}");
        let bytes =
            storage::read_file(&dir.join(&manifest)).map_err(|error| format!("{manifest}: {error}"))?;
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| format!("{manifest}: {error}"))?;
        let ours = (1..=SCHEMA_VERSION).contains(&record.schema_version)
            && record.tenant == tenant
            && record.month == month.to_string()
            && record.revision == revision.number()
            && record.status == revision.status()
            // Names of ours are no paths, which could lead out of the folder.
            && record.files.iter().all(|it| it.name.starts_with(&prefix) && !it.name.contains('/'));
        if !ours {
            return Err(format!("{manifest} describes something else"));
        }
        let checksums = format!("{prefix}{CHECKSUMS}");
        let digest =
            storage::read_file(&dir.join(&checksums)).map_err(|error| format!("{checksums}: {error}"))?;
        let listed = record.files.iter().map(|file| file.name.clone());
        let files = listed.chain([manifest, checksums]).map(|name| dir.join(name));
        Ok(Self {
            month,
            revision: record.revision,
            status: record.status,
            reason: record.reason,
            accepted_incomplete: record.accepted_incomplete,
            prices: record.prices.map(RecordedPrices::into_prices),
            dir: dir.to_owned(),
            fetched_at: record.fetched_at,
            files: files.collect(),
            totals: record.totals,
            total: record.reconciliation.total,
            reconciliation: record.reconciliation.differences,
            disagreements: record.reconciliation.observations.map(|lists| Disagreements {
                only_observed: lists.only_observed.len() as u64,
                never_observed: lists.never_observed.len() as u64,
                only_observed_other: lists.only_observed_other.len() as u64,
                releases_differ: lists.releases_differ.len() as u64,
                creations_differ: lists.creations_differ.len() as u64,
            }),
            warnings: record.warnings,
            excel_bom: record.excel_bom,
            digest: storage::sha256(&digest),
            entries: record.files,
        })
    }

    /// The file whose name has this end.
    pub(super) fn file(&self, end: &str) -> Result<&Path, ReportError> {
        let is_it = |path: &&PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.ends_with(&format!("_{end}")))
        };
        let found = self.files.iter().find(is_it);
        found
            .map(PathBuf::as_path)
            .ok_or_else(|| ReportError::damaged(&self.dir, &format!("it has no {end}")))
    }

    /// Reads every file and compares it with the list of checksums.
    pub fn verify(&self) -> Result<(), ReportError> {
        let damaged = |problem: &dyn std::fmt::Display| ReportError::Revision {
            path: self.dir.clone(),
            problem: problem.to_string(),
        };
        let Some(list) = self.files.last() else { return Err(damaged(&"it has no files")) };
        let list = storage::read_file(list).map_err(ReportError::at(list))?;
        let list = String::from_utf8(list).map_err(|error| damaged(&error))?;
        for line in list.lines() {
            let (expected, name) = line.split_once("  ").ok_or_else(|| damaged(&"its list of checksums"))?;
            let path = self.dir.join(name);
            let found = storage::sha256_of(&path).map_err(|error| damaged(&format!("{name}: {error}")))?;
            if found != expected {
                return Err(damaged(&format!("{name} is not what its checksum says")));
            }
        }
        Ok(())
    }

    /// What the provider answered when the month was closed.
    pub fn provider_report(&self) -> Result<api::Monthly, ReportError> {
        let ends = |entry: &&FileEntry| entry.name.ends_with(PROVIDER_REPORT);
        let Some(entry) = self.entries.iter().find(ends) else {
            return Err(ReportError::damaged(&self.dir, &"it has no answer of the provider"));
        };
        let path = self.dir.join(&entry.name);
        let body = storage::read_file(&path).map_err(ReportError::at(&path))?;
        if storage::sha256(&body) != entry.sha256 {
            return Err(ReportError::damaged(&path, &"its checksum is not the manifest's"));
        }
        api::Monthly::read(body.into()).map_err(|error| ReportError::damaged(&path, &error))
    }

    /// Which tag keys cover how much of the month, by what the provider answered when it was closed.
    pub fn coverage(&self) -> Result<Coverage, ReportError> {
        let monthly = self.provider_report()?;
        Ok(Coverage::of(usage::lines(&monthly.report, self.fetched_at, &NoWitness)))
    }

    /// The month as gauges show it.
    #[must_use]
    pub fn closed_month(&self) -> ClosedMonth {
        let (cost, currency) = (self.totals.internal_cost, self.totals.currency.as_deref());
        ClosedMonth {
            month: self.month,
            revision: self.revision,
            reported_vm_hours: self.totals.vm_hours,
            vm_seconds: self.totals.vm_seconds,
            internal_cost: cost.zip(currency).map(|(cost, currency)| (cost, currency.into())),
            unpriced_vm_hours: currency.map(|_| self.totals.unpriced_vm_hours),
            verdict: self.verdict().as_str(),
        }
    }

    /// Copies the files into `out`, which is created if need be. Files that are there already with
    /// the same bytes stay; if one has other bytes, nothing is copied.
    pub fn copy_to(&self, out: &Path) -> Result<Self, ReportError> {
        storage::create_folder(out)?;
        let mut missing = Vec::new();
        for file in &self.files {
            let target = out.join(file.file_name().unwrap_or_default());
            match same_bytes(file, &target) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Err(ReportError::Exists(target)),
                Ok(None) => missing.push((file, target)),
                Err(error) => return Err(ReportError::storage(&target, error)),
            }
        }
        let temporary = NewFolder::create(out, "copy")?;
        for (file, target) in &missing {
            let name = target.file_name().unwrap_or_default();
            self.copy(file, &temporary.path().join(name))?;
        }
        for (_, target) in &missing {
            let name = target.file_name().unwrap_or_default();
            fs::rename(temporary.path().join(name), target).map_err(ReportError::at(target))?;
        }
        storage::sync_folder(out)?;
        let files = self.files.iter().map(|file| out.join(file.file_name().unwrap_or_default()));
        Ok(Self { dir: out.to_owned(), files: files.collect(), ..self.clone() })
    }

    /// Copies one file and checks it against the manifest on the way.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), ReportError> {
        let mut source = storage::open_file(from).map_err(ReportError::at(from))?;
        let copied = Hashed::create(to).and_then(|mut copy| {
            io::copy(&mut source, &mut copy)?;
            copy.flush()?;
            copy.finish()
        });
        let (sha256, _) = copied.map_err(ReportError::at(to))?;
        let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match self.entries.iter().find(|entry| entry.name == name) {
            Some(entry) if entry.sha256 != sha256 => {
                Err(ReportError::damaged(from, &"its checksum is not the manifest's"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether two files hold the same bytes; `None` if `other` does not exist.
pub(super) fn same_bytes(file: &Path, other: &Path) -> io::Result<Option<bool>> {
    match fs::metadata(other) {
        Ok(there) if there.len() != fs::metadata(file)?.len() => Ok(Some(false)),
        Ok(_) => Ok(Some(storage::read_file(file)? == storage::read_file(other)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
