//! All files of a report, into a folder that nobody sees yet.

use std::io::{self, Write as _};
use std::path::Path;
use std::{panic, thread};

use fail::fail_point;

use super::manifest::{self, FileEntry};
use super::reconcile::Reconciliation;
use super::storage::{self, Hashed};
use super::tally::Tally;
use super::{Frame, Inputs, Published, ReportError, Revision, by_group, by_tag, by_vm, changes, control};

/// End of the manifest's name.
pub const MANIFEST: &str = "manifest.json";

/// End of the name of the list of checksums.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// End of the name of the provider's answer.
pub const PROVIDER_REPORT: &str = "provider-report.json";

/// Writes every file of the report into `folder`, durably; what is different from `previous`, the
/// revision that it replaces, is one of them. Returns the checksum of the list of checksums.
pub fn write_all(
    folder: &Path,
    inputs: &Inputs<'_>,
    revision: Revision,
    previous: Option<&Published>,
    tally: &Tally<'_>,
) -> Result<String, ReportError> {
    let frame = inputs.frame(revision);
    let reconciliation = Reconciliation::new(tally, &inputs.monthly.by_tag);
    let csv = |name: &str, write: &dyn Fn(Hashed) -> io::Result<(Hashed, u64)>| {
        file(folder, format!("{}{name}", frame.prefix()), |out| {
            write(out).map(|(out, rows)| (out, Some(rows)))
        })
    };
    let provider_report = || {
        file(folder, format!("{}{PROVIDER_REPORT}", frame.prefix()), |mut out| {
            out.write_all(inputs.body)?;
            Ok((out, None))
        })
    };
    // The two long ones are written at once.
    let (provider_report, entries) = thread::scope(|scope| {
        let provider_report = scope.spawn(provider_report);
        let entries = [
            csv("by-tag.csv", &|out| by_tag::write(out, &frame, tally)),
            csv("by-group.csv", &|out| by_group::write(out, &frame, tally, inputs.group_by)),
            csv("by-vm.csv", &|out| by_vm::write(out, &frame, tally, inputs.group_by)),
            csv("control.csv", &|out| control::write(out, &frame, tally, &reconciliation, inputs.account)),
        ];
        (provider_report.join(), entries)
    });
    let mut entries = entries.into_iter().collect::<Result<Vec<_>, _>>()?;
    if let Some(previous) = previous {
        let before = Frame { revision: Revision::Final(previous.revision), ..frame }.prefix();
        entries.push(csv("changes.csv", &|out| {
            changes::write(out, &frame, (&previous.dir, &before), (folder, &frame.prefix()))
        })?);
    }
    entries.push(provider_report.unwrap_or_else(|panic| panic::resume_unwind(panic))?);
    entries.push(file(folder, format!("{}{MANIFEST}", frame.prefix()), |mut out| {
        manifest::write(&mut out, inputs, &frame, tally, &reconciliation, &entries)?;
        out.write_all(b"\n")?;
        Ok((out, None))
    })?);
    let checksums = file(folder, format!("{}{CHECKSUMS}", frame.prefix()), |mut out| {
        for entry in &entries {
            writeln!(out, "{}  {}", entry.sha256, entry.name)?;
        }
        Ok((out, None))
    })?;
    storage::sync_folder(folder)?;
    Ok(checksums.sha256)
}

fn file(
    folder: &Path,
    name: String,
    write: impl FnOnce(Hashed) -> io::Result<(Hashed, Option<u64>)>,
) -> Result<FileEntry, ReportError> {
    let path = folder.join(&name);
    fail_point!("report::file", |_| std::process::abort());
    let written = Hashed::create(&path).and_then(write).and_then(|(out, rows)| {
        let (sha256, bytes) = out.finish()?;
        Ok((sha256, bytes, rows))
    });
    let (sha256, bytes, rows) = written.map_err(ReportError::at(&path))?;
    Ok(FileEntry { name, sha256, bytes, rows })
}
