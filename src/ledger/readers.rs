//! Read connections that stay open between reads. Opening a connection parses the complete schema, which
//! costs more than the reads of a tenant's worker at each wake.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::LedgerError;
use super::identity::{Fate, Identity};
use super::open;

/// Maximum number of idle connections. Further concurrent reads open new connections.
const IDLE: usize = 2;

/// The connections for reading one ledger.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    connection: Connection,
    /// The files that the connection has open.
    identity: Identity,
}

impl Readers {
    /// Creates an empty set. The ledger at `path` need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Reads the ledger with `work`, which cannot write. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Missing`] or [`LedgerError::NotALedger`] if there is no ledger at the path, and what
    /// `work` returns.
    pub fn read<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.read_with(work).map_err(|error| error.at(&self.path))
    }

    fn read_with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut reader = self.take().map_or_else(|| self.open(), Ok)?;
        // After an error the connection is closed, so the next read opens a new connection.
        let result = work(&mut reader.connection)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(reader);
        }
        Ok(result)
    }

    fn open(&self) -> Result<Reader, LedgerError> {
        // Determined first: if the ledger is replaced in between, the next read opens it again.
        let identity = Identity::of(&self.path);
        Ok(Reader { connection: open::reader(&self.path)?, identity })
    }

    /// Takes an idle connection. Closes connections whose files were replaced or deleted.
    fn take(&self) -> Option<Reader> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|reader| reader.identity.check() == Fate::Same);
        idle.pop()
    }

    /// Closes all idle connections.
    pub fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ledger::Ledger;

    fn tables(readers: &Readers) -> Result<i64, LedgerError> {
        readers.read(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?)
        })
    }

    #[test]
    fn deleted_or_replaced_ledger_is_not_read_from_an_idle_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        drop(Ledger::open(&path).unwrap());
        let readers = Readers::new(path.clone());
        let before = tables(&readers).unwrap();
        assert!(before > 0);
        assert_eq!(readers.idle.lock().unwrap().len(), 1);
        fs::rename(&path, folder.path().join("moved.db")).unwrap();
        assert!(matches!(tables(&readers), Err(LedgerError::Missing(_))));
        fs::write(&path, "").unwrap();
        assert!(matches!(tables(&readers), Err(LedgerError::NotALedger(_))));
        fs::rename(folder.path().join("moved.db"), &path).unwrap();
        assert_eq!(tables(&readers).unwrap(), before);
    }
}
