//! Copies, descriptions and lists of a ledger, beside a daemon that may be writing to it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use serde::Serialize;

use super::observations::time;
use super::{LedgerError, Statistics, open};
use crate::filesystem::{self, Owner, parent_of};
use crate::period::rfc3339;

/// What is known of a ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// The file.
    pub path: PathBuf,
    /// Version of its schema.
    pub schema: i32,
    /// Bytes of the ledger's files, with what is not yet merged into the database.
    pub size_bytes: u64,
    /// What `SQLite` says of the file's soundness: `ok`, or what is wrong.
    pub check: String,
    /// By name.
    pub tenants: BTreeMap<String, TenantDescription>,
}

/// What a ledger holds of a tenant. Times are RFC 3339.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TenantDescription {
    /// The month of the first start.
    pub since: Option<String>,
    /// Recorded polls.
    pub polls: i64,
    /// The first.
    pub first_poll: Option<String>,
    /// The last.
    pub last_poll: Option<String>,
    /// VMs ever seen.
    pub vms: i64,
    /// Those that are not gone.
    pub living_vms: i64,
    /// Recorded events.
    pub events: i64,
    /// Closed months.
    pub revisions: Vec<RevisionDescription>,
}

/// A revision of a closed month.
#[derive(Clone, Debug, Serialize)]
pub struct RevisionDescription {
    /// `YYYY-MM`.
    pub month: String,
    /// From 1.
    pub revision: u32,
    /// `pending` or `published`.
    pub state: String,
    /// SHA-256 of its file of checksums.
    pub digest: String,
    /// When it was made.
    pub closed_at: String,
    /// Bytes of what it was made from; none for reports older than the ledger.
    pub inputs_bytes: Option<i64>,
}

/// Copies the ledger at `from` into a new file `to`: whole, as of one moment, durable, and only then
/// under its name. An existing file is not replaced.
pub fn backup(from: &Path, to: &Path) -> Result<(), LedgerError> {
    open::read(from, |source| backup_of(source, from, to))
}

fn backup_of(source: &Connection, from: &Path, to: &Path) -> Result<(), LedgerError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| LedgerError::File { path, source }
    };
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    if to.symlink_metadata().is_ok() {
        return Err(at(to)(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is such a file already; name another",
        )));
    }
    // Made first, so that only its owner can read it.
    let file = filesystem::create_file(&temporary, 0o600).map_err(at(&temporary))?;
    // If the directory belongs to root, the copy gets the owner of the ledger. Then the daemon can open the copy
    // if it replaces a lost ledger.
    let owner = Owner::other_than_root(parent_of(to)).and_then(|of_directory| match of_directory {
        None => Owner::other_than_root(from),
        Some(_) => Ok(None),
    });
    let given = owner.map_err(at(from)).and_then(|owner| match owner {
        Some(owner) => owner.take(&file).map_err(at(&temporary)),
        None => Ok(()),
    });
    drop(file);
    let copied = given
        .and_then(|()| copy(source, &temporary))
        .and_then(|()| File::open(&temporary).and_then(|file| file.sync_all()).map_err(at(&temporary)))
        // Unlike a rename, a link never replaces a file that came meanwhile.
        .and_then(|()| fs::hard_link(&temporary, to).map_err(at(to)));
    // Under its own name it stays.
    let removed = fs::remove_file(&temporary).map_err(at(&temporary));
    copied?;
    removed?;
    let directory = parent_of(to);
    filesystem::sync_directory(directory).map_err(at(directory))
}

fn copy(source: &Connection, to: &Path) -> Result<(), LedgerError> {
    let mut target = Connection::open(to)?;
    // All pages in one step: one moment of the ledger, whatever a daemon writes meanwhile.
    let backup = Backup::new(source, &mut target)?;
    match backup.step(-1)? {
        StepResult::Done => {}
        _ => return Err(LedgerError::Busy),
    }
    drop(backup);
    // A copy that lies beside no log of changes needs none to be read.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.close().map_err(|(_, error)| LedgerError::Sqlite(error))
}

/// Reads the ledger at `path`, also while a daemon is running. Creates, changes and migrates nothing.
///
/// # Errors
/// There is no ledger, it cannot be read, or it is not a ledger that this version can use.
pub fn check(path: &Path) -> Result<(), LedgerError> {
    let read = |connection: Connection| {
        connection.query_row("SELECT count(*) FROM tenant", [], |_| Ok(())).map_err(LedgerError::from)
    };
    open::observer(path).and_then(read).map_err(|error| error.at(path))
}

/// Describes the ledger at `path`.
pub fn inspect(path: &Path) -> Result<Description, LedgerError> {
    open::read(path, |connection| describe(path, connection))
}

fn describe(path: &Path, connection: &mut Connection) -> Result<Description, LedgerError> {
    let transaction = connection.transaction()?;
    let schema = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let check = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let size_bytes = Statistics::new(path).size().unwrap_or_default();
    let mut tenants = BTreeMap::new();
    let mut select = transaction.prepare("SELECT id, name, since FROM tenant")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        tenants.insert(name, tenant(&transaction, id, row.get(2)?)?);
    }
    Ok(Description { path: path.to_owned(), schema, size_bytes, check, tenants })
}

fn tenant(connection: &Connection, id: i64, since: Option<String>) -> Result<TenantDescription, LedgerError> {
    let text = |seconds: Option<i64>| seconds.map(|it| time(it).map(rfc3339)).transpose();
    let (polls, first, last) = connection.query_row(
        "SELECT count(*), min(at), max(at) FROM poll WHERE tenant = ?1",
        [id],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let (vms, living_vms) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE gone IS NULL) FROM vm WHERE tenant = ?1",
        [id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let events = connection.query_row(
        "SELECT count(*) FROM event JOIN vm ON vm.id = event.vm WHERE vm.tenant = ?1",
        [id],
        |row| row.get(0),
    )?;
    let mut select = connection.prepare(
        "SELECT month, revision, state, digest, closed_at, length(inputs) FROM revision
         WHERE tenant = ?1 ORDER BY month, revision",
    )?;
    let mut rows = select.query([id])?;
    let mut revisions = Vec::new();
    while let Some(row) = rows.next()? {
        revisions.push(RevisionDescription {
            month: row.get(0)?,
            revision: row.get(1)?,
            state: row.get(2)?,
            digest: row.get(3)?,
            closed_at: rfc3339(time(row.get(4)?)?),
            inputs_bytes: row.get(5)?,
        });
    }
    let (first_poll, last_poll) = (text(first)?, text(last)?);
    Ok(TenantDescription { since, polls, first_poll, last_poll, vms, living_vms, events, revisions })
}

/// Columns of [`export`].
const COLUMNS: [&str; 6] = ["tenant", "at", "cloud_id", "vm_id", "event", "status"];

/// Writes every event as CSV, by tenant and time; the number of rows.
pub fn export(path: &Path, out: impl Write) -> Result<u64, LedgerError> {
    open::read(path, |connection| write_events(connection, out))
}

fn write_events(connection: &mut Connection, out: impl Write) -> Result<u64, LedgerError> {
    let transaction = connection.transaction()?;
    // `From<csv::Error>` of `io::Error` does not keep the kind of the error, such as a closed pipe.
    let at = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => LedgerError::Output(error),
        other => LedgerError::Output(std::io::Error::other(format!("{other:?}"))),
    };
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    csv.write_record(COLUMNS).map_err(at)?;
    let mut select = transaction.prepare(
        "SELECT tenant.name, poll.at, vm.cloud_id, vm.vm_id, event.kind, event.status
         FROM event JOIN vm ON vm.id = event.vm JOIN poll ON poll.id = event.poll
         JOIN tenant ON tenant.id = vm.tenant ORDER BY tenant.name, poll.at, vm.vm_id",
    )?;
    let mut rows = select.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let text = |column| -> Result<String, LedgerError> { Ok(row.get(column)?) };
        let moment: Timestamp = time(row.get(1)?)?;
        let cells = [text(0)?, rfc3339(moment), text(2)?, text(3)?, text(4)?, text(5)?];
        csv.write_record(&cells).map_err(at)?;
        count += 1;
    }
    csv.flush().map_err(LedgerError::Output)?;
    Ok(count)
}
