//! Opening the file: what it is, which schema it has, and how `SQLite` is to treat it.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fail::fail_point;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::LedgerError;
use super::identity::log_path;
use crate::filesystem;

/// Marks the file as ours, so that no other database is ever migrated: "FVMl".
const APPLICATION_ID: i32 = 0x4656_4d6c;

/// Each brings the schema from the version before to that of its place, counted from 1.
const MIGRATIONS: [&str; 2] = [
    include_str!("schema_1.sql"),
    concat!(include_str!("schema_2.sql"), include_str!("schema_2_differences.sql")),
];

/// How long a writer waits for another process's turn to end.
const TURN: Duration = Duration::from_secs(8);

/// Opens the ledger for writing, makes it if there is none, and brings its schema up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, LedgerError> {
    open_writer(path).map_err(|error| error.at(path))
}

fn open_writer(path: &Path) -> Result<Connection, LedgerError> {
    create(path)?;
    let mut connection = Connection::open(path)?;
    if prepare_writer(&mut connection, path)? < newest() {
        migrate(&mut connection, path)?;
    }
    Ok(connection)
}

/// Sets a connection up for writing; the version of the schema.
fn prepare_writer(connection: &mut Connection, path: &Path) -> Result<i32, LedgerError> {
    connection.busy_timeout(TURN)?;
    // A file that is not a database shows only when it is read.
    let found = version(connection, path)?;
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
        PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;";
    connection.execute_batch(pragmas)?;
    Ok(found)
}

/// Reads an existing ledger with `work`, which cannot write.
pub(super) fn read<T>(
    path: &Path,
    work: impl FnOnce(&mut Connection) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    reader(path).and_then(|mut connection| work(&mut connection)).map_err(|error| error.at(path))
}

/// Creates the ledger with its schema if it does not exist: under a temporary name first, so that a crash
/// leaves no ledger or a complete one. A ledger that another process creates meanwhile stays.
fn create(path: &Path) -> Result<(), LedgerError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let at = |source| LedgerError::File { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // What a process with the same number left behind is not complete.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    // Created here, because a file that SQLite creates for root belongs to root.
    filesystem::create_file(&temporary, 0o644).map_err(at)?;
    let mut connection = Connection::open(&temporary)?;
    connection.execute_batch("PRAGMA synchronous = FULL;")?;
    migrate(&mut connection, &temporary)?;
    connection.close().map_err(|(_, error)| LedgerError::Sqlite(error))?;
    let linked = match std::fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    std::fs::remove_file(&temporary).map_err(at)?;
    linked.map_err(at)?;
    filesystem::sync_directory(filesystem::parent_of(path)).map_err(at)
}

/// Opens the ledger for writing again, after its file was replaced. Nothing is created.
pub(super) fn existing_writer(path: &Path) -> Result<Connection, LedgerError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        if version(&connection, path)? == 0 {
            return Err(LedgerError::NotALedger(path.to_owned()));
        }
        if prepare_writer(&mut connection, path)? < newest() {
            migrate(&mut connection, path)?;
        }
        Ok(connection)
    };
    open().map_err(|error: LedgerError| error.at(path))
}

pub(super) fn reader(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Missing(path.to_owned()));
    }
    // Read-only in what is sent, but not in how it is opened: beside a writer that crashed, the
    // newest commits are in a file that has to be recovered first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(TURN)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    if version(&connection, path)? == 0 {
        return Err(LedgerError::NotALedger(path.to_owned()));
    }
    Ok(connection)
}

/// Opens an existing ledger for reading. Creates and removes no file, including the `-wal` and `-shm` files of
/// SQLite.
pub(super) fn observer(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Missing(path.to_owned()));
    }
    let shared = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let is_open = [log_path(path), shared_memory_path(path)].iter().all(|path| path.exists());
    let connection = if is_open {
        // A daemon is running or has crashed. The log must be kept for the daemon.
        let connection = Connection::open_with_flags(path, shared)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection
    } else {
        // An immutable file needs no log. The schema is always in the file itself.
        Connection::open_with_flags(immutable_uri(path), shared | OpenFlags::SQLITE_OPEN_URI)?
    };
    connection.busy_timeout(TURN)?;
    if version(&connection, path)? == 0 {
        return Err(LedgerError::NotALedger(path.to_owned()));
    }
    Ok(connection)
}

/// Returns the URI with which SQLite opens `path` as a file that does not change.
fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri + "?immutable=1"
}

/// Returns the path of the shared-memory file of a ledger.
fn shared_memory_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-shm");
    name.into()
}

/// The schema's version; 0 for a new, empty file.
fn version(connection: &Connection, path: &Path) -> Result<i32, LedgerError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, found) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, found) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION_ID, found) if (1..=newest()).contains(&found) => Ok(found),
        (APPLICATION_ID, found) if found > newest() => {
            Err(LedgerError::Newer { path: path.to_owned(), found, known: newest() })
        }
        _ => Err(LedgerError::NotALedger(path.to_owned())),
    }
}

fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// One transaction: after a crash the schema is the old or the new one.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited for its turn.
    let found = version(&transaction, path)?;
    let done = usize::try_from(found).unwrap_or_default();
    for migration in &MIGRATIONS[done..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest())?;
    fail_point!("ledger::migrated", |_| std::process::abort());
    transaction.commit()?;
    Ok(())
}

/// The file beside the ledger whose lock keeps a second daemon away.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
