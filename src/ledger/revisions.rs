//! Closed months in the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::observations::{tenant, time};
use super::{LedgerError, differences};
use crate::period::Month;

const ONE: &str = "SELECT revision, state, digest, closed_at, inputs FROM revision
    WHERE tenant = ?1 AND month = ?2 AND revision = ?3";

/// A revision of a closed month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRow {
    /// From 1.
    pub revision: u32,
    /// Whether its files are known to be in place.
    pub published: bool,
    /// SHA-256, in hexadecimal, of the file of checksums, which names every other file.
    pub digest: String,
    /// When it was made.
    pub closed_at: Timestamp,
    /// Everything that it was made from, as `report` packs it; none for reports older than the ledger.
    pub inputs: Option<Vec<u8>>,
}

/// When a tenant's recorded months begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The first month that is never missed.
    pub since: Month,
    /// Whether the ledger was begun although reports of earlier months existed.
    pub beside_reports: bool,
}

/// When the tenant's recorded months begin; `None` before the first start.
pub(super) fn beginning(connection: &Connection, tenant: i64) -> Result<Option<Beginning>, LedgerError> {
    let (since, beside_reports): (Option<String>, bool) =
        connection.query_row("SELECT since, beside_reports FROM tenant WHERE id = ?1", [tenant], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some(text) = since else { return Ok(None) };
    let since = text.parse().map_err(|error| LedgerError::Damaged(format!("the first month: {error}")))?;
    Ok(Some(Beginning { since, beside_reports }))
}

/// Records when the tenant's months begin, unless that is known; returns what is known then.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    name: &str,
    new: Beginning,
) -> Result<Beginning, LedgerError> {
    let id = tenant(transaction, name)?;
    transaction.execute(
        "UPDATE tenant SET since = ?2, beside_reports = ?3 WHERE id = ?1 AND since IS NULL",
        params![id, new.since.to_string(), new.beside_reports],
    )?;
    Ok(beginning(transaction, id)?.unwrap_or(new))
}

/// Replaces the first month `recorded` by `since`, unless the first month has changed in the meantime.
/// Returns the tenant's first month as stored after the change.
pub(super) fn correct_beginning(
    transaction: &Transaction<'_>,
    name: &str,
    recorded: Month,
    since: Month,
) -> Result<Beginning, LedgerError> {
    let id = tenant(transaction, name)?;
    transaction.execute(
        "UPDATE tenant SET since = ?3 WHERE id = ?1 AND since = ?2",
        params![id, recorded.to_string(), since.to_string()],
    )?;
    Ok(beginning(transaction, id)?.unwrap_or(Beginning { since, beside_reports: false }))
}

/// The newest revision of a month.
pub(super) fn newest(
    connection: &Connection,
    tenant: i64,
    month: Month,
) -> Result<Option<RevisionRow>, LedgerError> {
    let mut select = connection.prepare_cached(
        "SELECT revision, state, digest, closed_at, inputs FROM revision
         WHERE tenant = ?1 AND month = ?2 ORDER BY revision DESC LIMIT 1",
    )?;
    select.query_row(params![tenant, month.to_string()], read).optional()?.map(row).transpose()
}

/// One revision of a month.
pub(super) fn at(
    connection: &Connection,
    tenant: i64,
    month: Month,
    revision: u32,
) -> Result<Option<RevisionRow>, LedgerError> {
    let mut select = connection.prepare_cached(ONE)?;
    select.query_row(params![tenant, month.to_string(), revision], read).optional()?.map(row).transpose()
}

/// When each month got its newest revision, if that is published.
pub(super) fn closed_at(
    connection: &Connection,
    tenant: i64,
) -> Result<BTreeMap<Month, Timestamp>, LedgerError> {
    // Beside an aggregate, the other columns are those of the row with the maximum.
    let mut select = connection.prepare_cached(
        "SELECT month, state, closed_at, max(revision) FROM revision WHERE tenant = ?1 GROUP BY month",
    )?;
    let mut rows = select.query([tenant])?;
    let mut months = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (month, state): (String, String) = (row.get(0)?, row.get(1)?);
        if state == "published" {
            let month = month.parse().map_err(|error| LedgerError::Damaged(format!("a month: {error}")))?;
            months.insert(month, time(row.get(2)?)?);
        }
    }
    Ok(months)
}

/// Gives a pending revision another digest.
pub(super) fn remade(
    transaction: &Transaction<'_>,
    name: &str,
    month: Month,
    revision: u32,
    digest: &str,
) -> Result<(), LedgerError> {
    let tenant = tenant(transaction, name)?;
    transaction.execute(
        "UPDATE revision SET digest = ?4
         WHERE tenant = ?1 AND month = ?2 AND revision = ?3 AND state = 'pending'",
        params![tenant, month.to_string(), revision, digest],
    )?;
    Ok(())
}

/// Inserts a revision, unless that number is taken; gives back what is there then.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    name: &str,
    month: Month,
    new: RevisionRow,
) -> Result<RevisionRow, LedgerError> {
    let (tenant, month) = (tenant(transaction, name)?, month.to_string());
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO revision (tenant, month, revision, state, digest, closed_at, inputs)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            tenant,
            month,
            new.revision,
            if new.published { "published" } else { "pending" },
            new.digest,
            new.closed_at.as_second(),
            new.inputs
        ])?;
    if inserted == 1 {
        differences::restated(transaction, tenant, &month, new.closed_at)?;
        return Ok(new);
    }
    let mut select = transaction.prepare_cached(ONE)?;
    row(select.query_row(params![tenant, month, new.revision], read)?)
}

/// Marks a revision as published.
pub(super) fn published(
    transaction: &Transaction<'_>,
    name: &str,
    month: Month,
    revision: u32,
) -> Result<(), LedgerError> {
    let tenant = tenant(transaction, name)?;
    transaction.execute(
        "UPDATE revision SET state = 'published' WHERE tenant = ?1 AND month = ?2 AND revision = ?3",
        params![tenant, month.to_string(), revision],
    )?;
    Ok(())
}

type Raw = (u32, String, String, i64, Option<Vec<u8>>);

fn read(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn row((revision, state, digest, closed_at, inputs): Raw) -> Result<RevisionRow, LedgerError> {
    Ok(RevisionRow { revision, published: state == "published", digest, closed_at: time(closed_at)?, inputs })
}
