//! A tenant's folder of reports: `<YYYY-MM>/r01/…` for each closed month, and an index.
//!
//! Until there is a better record, a final manifest on the disk is what says that a month is closed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::analysis::Analysis;
use super::files::{self, Hashed, NewFolder, Written, write_whole};
use super::manifest::{FileEntry, Manifest};
use super::reconcile::Reconciliation;
use super::table::Table;
use super::{Inputs, Outcome, Published, ReportError, Stamp, Status, tables};
use crate::period::{Month, rfc3339};
use crate::usage::check;

/// Name of the list of closed months.
const INDEX: &str = "index.csv";

/// The one provisional report of a month.
const PROVISIONAL: &str = "provisional";

/// Reports of one tenant.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    tenant: String,
}

impl Folder {
    /// The folder of `tenant` below `directory`, made if it is missing.
    ///
    /// # Errors
    /// [`ReportError::Storage`].
    pub fn open(directory: &Path, tenant: &str) -> Result<Self, ReportError> {
        let path = directory.join(tenant);
        fs::create_dir_all(&path).map_err(|error| ReportError::storage(&path, error))?;
        Ok(Self { path, tenant: tenant.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what a crash left half-written.
    ///
    /// # Errors
    /// [`ReportError::Storage`], or [`ReportError::Locked`] while another process writes.
    pub fn clean(&self) -> Result<(), ReportError> {
        let _lock = files::lock(&self.path)?;
        files::remove_leftovers(&self.path)?;
        self.months()?.into_iter().try_for_each(|month| files::remove_leftovers(&self.month(month)))
    }

    /// The newest final revision of `month`, if it is closed.
    ///
    /// # Errors
    /// A revision's folder without a manifest that can be read is [`ReportError::Exists`]: nobody
    /// knows what is in it, so it is neither trusted nor overwritten.
    pub fn current(&self, month: Month) -> Result<Option<Published>, ReportError> {
        let revisions = self.revisions(month)?;
        revisions.last().map(|revision| self.read(month, *revision)).transpose()
    }

    /// The newest closed month.
    ///
    /// # Errors
    /// As [`Folder::current`].
    pub fn newest(&self) -> Result<Option<Published>, ReportError> {
        for month in self.months()?.into_iter().rev() {
            if let Some(published) = self.current(month)? {
                return Ok(Some(published));
            }
        }
        Ok(None)
    }

    /// Closes the month of `inputs` with its first revision, whole or not at all.
    ///
    /// # Errors
    /// See [`ReportError`]. Nothing is half-written then, and it can be tried again.
    pub fn publish(&self, inputs: &Inputs<'_>) -> Result<Outcome, ReportError> {
        check(inputs.monthly, inputs.month.period())?;
        let _lock = files::lock(&self.path)?;
        // Another process may have been faster.
        if let Some(published) = self.current(inputs.month)? {
            return Ok(Outcome::Already(published));
        }
        let stamp = Stamp { tenant: &self.tenant, month: inputs.month, revision: 1, status: Status::Final };
        let parent = self.month(inputs.month);
        files::remove_leftovers(&parent)?;
        let folder = NewFolder::create(&parent, &stamp.revision_name())?;
        let manifest = write_files(inputs, &stamp, folder.path())?;
        let dir = parent.join(stamp.revision_name());
        folder.publish(&dir)?;
        self.write_index()?;
        Ok(Outcome::Written(Published::new(dir, manifest, inputs.month)))
    }

    /// Replaces the provisional report of the month of `inputs`.
    ///
    /// # Errors
    /// See [`ReportError`]. The report that was there stays then.
    pub fn provisional(&self, inputs: &Inputs<'_>) -> Result<Published, ReportError> {
        check(inputs.monthly, inputs.month.period())?;
        let _lock = files::lock(&self.path)?;
        let stamp =
            Stamp { tenant: &self.tenant, month: inputs.month, revision: 0, status: Status::Provisional };
        let parent = self.month(inputs.month);
        files::remove_leftovers(&parent)?;
        let folder = NewFolder::create(&parent, PROVISIONAL)?;
        let manifest = write_files(inputs, &stamp, folder.path())?;
        let dir = parent.join(PROVISIONAL);
        // Two renames: between them there is none, which a provisional report may be.
        let old = NewFolder::create(&parent, "old")?;
        if dir.exists() {
            fs::rename(&dir, old.path().join(PROVISIONAL))
                .map_err(|error| ReportError::storage(&dir, error))?;
        }
        folder.publish(&dir)?;
        Ok(Published::new(dir, manifest, inputs.month))
    }

    fn month(&self, month: Month) -> PathBuf {
        self.path.join(month.to_string())
    }

    /// Months that have a folder, oldest first.
    fn months(&self) -> Result<Vec<Month>, ReportError> {
        let mut months: Vec<Month> = names(&self.path)?.iter().filter_map(|name| name.parse().ok()).collect();
        months.sort();
        Ok(months)
    }

    /// Revisions of `month`, oldest first.
    fn revisions(&self, month: Month) -> Result<Vec<u32>, ReportError> {
        let names = names(&self.month(month))?;
        let number = |name: &String| name.strip_prefix('r')?.parse().ok();
        let mut revisions: Vec<u32> = names.iter().filter_map(number).collect();
        revisions.sort_unstable();
        Ok(revisions)
    }

    fn read(&self, month: Month, revision: u32) -> Result<Published, ReportError> {
        let stamp = Stamp { tenant: &self.tenant, month, revision, status: Status::Final };
        let dir = self.month(month).join(stamp.revision_name());
        let path = dir.join(stamp.file("manifest.json"));
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReportError::damaged(&dir, &"holds no manifest of this program"),
            _ => ReportError::storage(&path, error),
        })?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| ReportError::damaged(&path, &error))?;
        if manifest.month != month.to_string()
            || manifest.revision != revision
            || manifest.tenant != self.tenant
        {
            return Err(ReportError::damaged(&path, &"is the manifest of another report"));
        }
        Ok(Published::new(dir, manifest, month))
    }

    /// Writes the list of closed months anew, from the manifests.
    fn write_index(&self) -> Result<(), ReportError> {
        let mut text = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let path = self.path.join(INDEX);
        let failed = |error: csv::Error| ReportError::storage(&path, io::Error::other(error));
        let header = [
            "tenant",
            "month",
            "period_start",
            "period_end",
            "revision",
            "status",
            "vms",
            "vms_created",
            "vms_released",
            "vms_at_end",
            "vm_hours",
            "vm_seconds",
            "internal_cost",
            "currency",
            "path",
        ];
        text.write_record(header).map_err(failed)?;
        for month in self.months()? {
            let Some(published) = self.current(month)? else { continue };
            let Manifest { totals, revision, status, .. } = &published.manifest;
            let stamp = Stamp { tenant: &self.tenant, month, revision: *revision, status: *status };
            let period = month.period();
            let record = [
                super::table::guard(&self.tenant).into_owned(),
                month.to_string(),
                rfc3339(period.start),
                rfc3339(period.end),
                revision.to_string(),
                status.as_str().to_owned(),
                totals.vms.to_string(),
                totals.vms_created.to_string(),
                totals.vms_released.to_string(),
                totals.vms_at_end.to_string(),
                totals.vm_hours.to_string(),
                totals.vm_seconds.to_string(),
                totals.internal_cost.clone().unwrap_or_default(),
                totals.currency.clone().unwrap_or_default(),
                format!("{month}/{}", stamp.revision_name()),
            ];
            text.write_record(record).map_err(failed)?;
        }
        let bytes = text
            .into_inner()
            .map_err(|error| ReportError::storage(&path, io::Error::other(error.to_string())))?;
        write_whole(&path, &bytes)
    }
}

/// Names in a folder; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, ReportError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ReportError::storage(folder, error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(|error| ReportError::storage(folder, error))
}

/// Writes a provisional report straight into `out` and closes nothing.
///
/// # Errors
/// See [`ReportError`]; a file that exists in `out` is not overwritten.
pub fn write_copy(inputs: &Inputs<'_>, out: &Path) -> Result<Published, ReportError> {
    check(inputs.monthly, inputs.month.period())?;
    let stamp =
        Stamp { tenant: inputs.tenant, month: inputs.month, revision: 0, status: Status::Provisional };
    let folder = NewFolder::create(out, PROVISIONAL)?;
    let manifest = write_files(inputs, &stamp, folder.path())?;
    Published::new(folder.path().to_owned(), manifest, inputs.month).copy_to(out)
}

/// All files of a report, each synced; what they hold depends on `inputs` and `stamp` only.
fn write_files(inputs: &Inputs<'_>, stamp: &Stamp<'_>, folder: &Path) -> Result<Manifest, ReportError> {
    let analysis = Analysis::of(inputs);
    let reconciliation = Reconciliation::of(&analysis);
    let create = |name: &str| Hashed::create(folder, stamp.file(name));
    let finish = |table: Table| table.finish().map(|(written, rows)| entry(written, Some(rows)));
    let mut files = vec![
        finish(tables::by_tag(&analysis, stamp, create("by-tag.csv")?)?)?,
        finish(tables::by_group(&analysis, stamp, create("by-group.csv")?)?)?,
        finish(tables::by_vm(&analysis, stamp, create("by-vm.csv")?)?)?,
        finish(tables::control(&analysis, &reconciliation, stamp, create("control.csv")?)?)?,
    ];
    let whole = |name: &str, bytes: &[u8]| {
        let mut file = create(name)?;
        file.write_all(bytes).map_err(|error| file.failed(error))?;
        file.finish().map(|written| entry(written, None))
    };
    files.push(whole("provider-report.json", inputs.body)?);
    let manifest = Manifest::of(&analysis, reconciliation, stamp, files);
    let mut text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| ReportError::damaged(folder, &error))?;
    text.push(b'\n');
    let written = whole("manifest.json", &text)?;
    let sums: String = manifest
        .files
        .iter()
        .chain([&written])
        .map(|file| format!("{}  {}\n", file.sha256, file.name))
        .collect();
    whole("SHA256SUMS", sums.as_bytes())?;
    Ok(manifest)
}

fn entry(written: Written, rows: Option<u64>) -> FileEntry {
    FileEntry { name: written.name, sha256: written.sha256, bytes: written.bytes, rows }
}
