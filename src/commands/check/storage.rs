//! Trials of `check --online` on this machine: it uses the report directory as a report does, and reads the ledger.
//!
//! It removes everything that it creates, and never creates or migrates a ledger.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{Access, access};
use serde::Serialize;

use super::missing::{Missing, What};
use crate::config::Config;
use crate::filesystem::{self, absolute, parent_of};
use crate::ledger;
use crate::poll::describe;
use crate::report::Folder;

/// Prefix of the directory that is tried.
const TRIAL: &str = ".check-";

/// Age after which a trial directory is removed: a running check is younger.
const LEFTOVER: Duration = Duration::from_hours(1);

/// Permissions of the file that a trial creates.
const MODE: u32 = 0o600;

/// One directory or file that was tried.
#[derive(Debug, Serialize)]
pub struct Tried {
    pub what: What,
    /// The configured path, absolute.
    pub path: PathBuf,
    /// `ok`, `failed`, or `absent` if the daemon or the first report will create it.
    pub result: &'static str,
    /// Why it failed.
    pub error: Option<String>,
}

impl Tried {
    fn new(what: What, path: &Path, exists: bool, result: Result<(), String>) -> Self {
        let verdict = match result {
            Err(_) => "failed",
            Ok(()) if exists => "ok",
            Ok(()) => "absent",
        };
        Self { what, path: absolute(path), result: verdict, error: result.err() }
    }

    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Returns the consequence of a failure, in a sentence.
    pub fn missing(&self) -> Option<Missing> {
        let (error, consequence) = match self.what {
            What::ReportDirectory => (self.error.as_ref()?, "no month can be closed (report.directory)"),
            _ => (self.error.as_ref()?, "the daemon does not start without a ledger (ledger.url)"),
        };
        Some(Missing::new(self.what, format!("{error}: {consequence}")))
    }
}

/// Tries the report directory, the existing directories of all tenants in it, and the ledger.
pub fn tried(config: &Config) -> Vec<Tried> {
    let mut tried = vec![report_directory(&config.report.directory)];
    if !tried[0].has_failed() {
        let tenants =
            config.tenants.iter().map(|tenant| Folder::existing(&config.report.directory, &tenant.name));
        let existing = tenants.filter(|folder| folder.path().symlink_metadata().is_ok());
        tried.extend(existing.map(|folder| report_directory(folder.path())));
    }
    tried.push(ledger(&config.ledger.path));
    tried
}

fn report_directory(directory: &Path) -> Tried {
    let path = absolute(directory);
    let exists = path.symlink_metadata().is_ok();
    Tried::new(What::ReportDirectory, &path, exists, use_directory(existing_part_of(&path)))
}

fn ledger(path: &Path) -> Tried {
    let exists = path.symlink_metadata().is_ok();
    let is_file = path.metadata().is_ok_and(|file| file.is_file());
    let result = if path.exists() && !is_file {
        // Opening a pipe would block.
        Err(format!("{} is not a regular file", absolute(path).display()))
    } else if exists {
        ledger::check(path).map_err(|error| describe(&error)).and_then(|()| is_writable(path))
    } else {
        Ok(())
    };
    // The ledger needs further files in its directory, which the daemon does not create.
    let path = &absolute(path);
    let result = result.and_then(|()| match parent_of(path) {
        directory if directory.is_dir() => is_writable(directory),
        directory => Err(format!("the directory {} does not exist; create it", directory.display())),
    });
    Tried::new(What::Ledger, path, exists, result)
}

/// The deepest part of an absolute path that exists.
fn existing_part_of(path: &Path) -> &Path {
    path.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"))
}

/// Whether this user may write to a file, or create files in a directory.
fn is_writable(path: &Path) -> Result<(), String> {
    let wanted = if path.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    access(path, wanted).map_err(|error| {
        format!("{} cannot be written by this user ({})", path.display(), io::Error::from(error))
    })
}

/// Creates, syncs, renames, locks and removes a directory with a file, as a report does.
fn use_directory(directory: &Path) -> Result<(), String> {
    let failed = |step: &str, error: io::Error| format!("cannot {step} in {}: {error}", directory.display());
    remove_leftovers(directory);
    let mut trial = Trial { path: trial_path(directory) };
    filesystem::create_directory(&trial.path).map_err(|error| failed("create a directory", error))?;
    let (file, renamed) = (trial.path.join("file"), trial.path.join("renamed"));
    let mut created = filesystem::create_file(&file, MODE).map_err(|error| failed("create a file", error))?;
    created.write_all(b"trial\n").map_err(|error| failed("write a file", error))?;
    created.sync_all().map_err(|error| failed("sync a file", error))?;
    fs::rename(&file, &renamed).map_err(|error| failed("rename a file", error))?;
    let lock = filesystem::open_lock(&renamed).map_err(|error| failed("open a lock file", error))?;
    lock.try_lock().map_err(|error| failed("lock a file", error.into()))?;
    filesystem::sync_directory(&trial.path).map_err(|error| failed("sync a directory", error))?;
    let target = trial_path(directory);
    fs::rename(&trial.path, &target).map_err(|error| failed("rename a directory", error))?;
    trial.path = target;
    filesystem::sync_directory(directory).map_err(|error| failed("sync a directory", error))?;
    fs::remove_file(trial.path.join("renamed")).map_err(|error| failed("remove a file", error))?;
    fs::remove_dir(&trial.path).map_err(|error| failed("remove a directory", error))
}

/// Returns a new name in `directory`. Names with the prefix of temporary files would be removed by a daemon that
/// closes a month meanwhile.
fn trial_path(directory: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{TRIAL}{}-{number}", std::process::id()))
}

/// Removes the trial directories of killed processes. Ignores errors, because leftovers do no harm.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let is_trial = entry.file_name().to_string_lossy().starts_with(TRIAL);
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|at| at.elapsed().ok());
        if is_trial && age.is_some_and(|age| age > LEFTOVER) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The directory of a trial. Dropping it removes the files that a failed step left.
struct Trial {
    path: PathBuf,
}

impl Drop for Trial {
    fn drop(&mut self) {
        // After a success the directory no longer exists. After a failure the failed step is already reported, so an
        // error of the removal is ignored.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trial_of_a_directory_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let reports = directory.path().join("a/reports");
        let absent = report_directory(&reports);
        assert_eq!((absent.result, absent.missing().is_none()), ("absent", true));
        fs::create_dir_all(&reports).unwrap();
        assert_eq!(report_directory(&reports).result, "ok");
        assert_eq!(fs::read_dir(&reports).unwrap().count(), 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn trial_removes_what_killed_trials_left() {
        let directory = tempfile::tempdir().unwrap();
        let [killed, running] = [".check-1-0", ".check-2-0"].map(|name| directory.path().join(name));
        for trial in [&killed, &running] {
            fs::create_dir_all(trial.join("file")).unwrap();
        }
        fs::File::open(&killed).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(report_directory(directory.path()).result, "ok");
        assert!(!killed.exists() && running.exists());
    }

    #[test]
    fn ledger_that_is_a_pipe_blocks_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("ledger.db");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        let text = ledger(&pipe).missing().unwrap().text;
        assert!(text.contains("ledger.db is not a regular file"), "{text}");
    }

    #[test]
    fn trial_names_the_step_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        let tried = report_directory(&file);
        let text = tried.missing().unwrap().text;
        assert!(text.starts_with("cannot create a directory in /"), "{text}");
        assert!(text.ends_with("no month can be closed (report.directory)"), "{text}");
        assert_eq!(tried.result, "failed");
    }
}
