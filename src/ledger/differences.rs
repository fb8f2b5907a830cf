//! Comparisons of closed months with the provider's current report, and the differences they found.
//!
//! A difference opens when two readings agree and the second is at least [`CONFIRMED_AFTER`] later than
//! the first. It ends by a restatement, a waiver, another difference that opens, or a comparison that
//! finds none. There may be readings of other differences between the two, because servers that respond
//! alternately with different figures all contradict the closed month.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::observations::{tenant, time};
use crate::period::Month;

/// Least time between two agreeing readings: a single response may be wrong for hours.
pub const CONFIRMED_AFTER: SignedDuration = SignedDuration::from_hours(6);

/// Seconds that differ, by scope; at least 1 in a scope in which anything differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedSeconds {
    /// VM seconds that were added, removed, or moved to another instance type, tag or cloud.
    pub vms: u64,
    /// Hours of the provider's totals per cloud, in seconds.
    pub clouds: u64,
    /// Hours of the provider's totals per tag, in seconds; tags overlap.
    pub tags: u64,
}

impl ChangedSeconds {
    /// Each scope with the value of its label.
    #[must_use]
    pub fn by_scope(self) -> [(&'static str, u64); 3] {
        [("vms", self.vms), ("clouds", self.clouds), ("tags", self.tags)]
    }

    /// The largest scope: 0 if nothing differs.
    #[must_use]
    pub fn max(self) -> u64 {
        self.vms.max(self.clouds).max(self.tags)
    }
}

/// A difference as one response of the provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The latest possible time at which the response was generated. It is computed from `Date` and
    /// `Age`; without them, it is the time at which the response was received.
    pub read_at: Timestamp,
    /// Of everything that counts in the response; two readings agree if their fingerprints are equal.
    pub fingerprint: String,
    /// Number of VMs that differ.
    pub vms: u64,
    /// The size of the difference.
    pub seconds: ChangedSeconds,
}

/// Where a difference is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceState {
    /// One reading has shown it, or several within [`CONFIRMED_AFTER`].
    Read,
    /// Two agreeing readings have shown it.
    Open,
    /// An operator has waived it.
    Waived,
}

/// What a comparison left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The state of the difference that was read; `None` if nothing differs.
    pub state: Option<DifferenceState>,
    /// Whether this reading opened it.
    pub opened: bool,
    /// Whether the previous reading showed the same difference.
    pub agrees_with_previous: bool,
}

impl Compared {
    fn new(state: Option<DifferenceState>) -> Self {
        Self { state, opened: false, agrees_with_previous: false }
    }
}

/// The latest comparison of a closed month's current revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Time of the comparison.
    pub at: Timestamp,
    /// The difference that it found; zeros if there was none or if it is waived.
    pub seconds: ChangedSeconds,
    /// The first reading of the difference that the latest comparison found and that is not confirmed
    /// yet.
    pub first_read: Option<Timestamp>,
    /// Whether a difference is open.
    pub open: bool,
}

/// Records a comparison with `revision`; `reading` is `None` if nothing that counts differs.
pub(super) fn record(
    transaction: &Transaction<'_>,
    name: &str,
    month: Month,
    revision: u32,
    at: Timestamp,
    reading: Option<&Reading>,
) -> Result<Compared, LedgerError> {
    let (tenant, month, at) = (tenant(transaction, name)?, month.to_string(), at.as_second());
    let compared = match reading {
        None => {
            end_pending(transaction, tenant, &month, "vanished", at, None)?;
            Compared::new(None)
        }
        Some(reading) => record_reading(transaction, tenant, &month, revision, at, reading)?,
    };
    let shown = reading.filter(|_| compared.state != Some(DifferenceState::Waived));
    let seconds = shown.map(|reading| reading.seconds).unwrap_or_default();
    transaction
        .prepare_cached(
            "INSERT INTO comparison (tenant, month, revision, at, vm_seconds, cloud_seconds, tag_seconds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (tenant, month) DO UPDATE SET revision = excluded.revision, at = excluded.at,
                 vm_seconds = excluded.vm_seconds, cloud_seconds = excluded.cloud_seconds,
                 tag_seconds = excluded.tag_seconds",
        )?
        .execute(params![
            tenant,
            month,
            revision,
            at,
            signed(seconds.vms),
            signed(seconds.clouds),
            signed(seconds.tags)
        ])?;
    Ok(compared)
}

fn record_reading(
    transaction: &Transaction<'_>,
    tenant: i64,
    month: &str,
    revision: u32,
    at: i64,
    reading: &Reading,
) -> Result<Compared, LedgerError> {
    let known: Option<(i64, String, i64, bool)> = transaction
        .prepare_cached(
            "SELECT id, state, first_read, NOT EXISTS (SELECT 1 FROM difference AS other
                 WHERE other.tenant = ?1 AND other.month = ?2 AND other.id != difference.id
                     AND other.state IN ('read', 'open') AND other.last_read >= difference.last_read)
             FROM difference
             WHERE tenant = ?1 AND month = ?2 AND revision = ?3 AND fingerprint = ?4
                 AND state IN ('read', 'open', 'waived') ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![tenant, month, revision, reading.fingerprint], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((id, state, first_read, agrees_with_previous)) = known else {
        // An open difference stays until another one opens.
        insert(transaction, tenant, month, revision, reading, "read", None)?;
        return Ok(Compared::new(Some(DifferenceState::Read)));
    };
    if state == "waived" {
        end_pending(transaction, tenant, month, "vanished", at, None)?;
        return Ok(Compared::new(Some(DifferenceState::Waived)));
    }
    let read_at = reading.read_at.as_second();
    // If the clock was ahead at the first reading, the time between two readings begins anew.
    let first_read = if state == "read" { first_read.min(read_at) } else { first_read };
    transaction.execute(
        "UPDATE difference SET first_read = ?2, last_read = ?3 WHERE id = ?1",
        params![id, first_read, read_at],
    )?;
    if state == "open" {
        transaction.execute(
            "UPDATE difference SET state = 'replaced', ended = ?3
             WHERE tenant = ?1 AND month = ?2 AND state = 'read'",
            params![tenant, month, at],
        )?;
        return Ok(Compared { state: Some(DifferenceState::Open), opened: false, agrees_with_previous });
    }
    if read_at - first_read < CONFIRMED_AFTER.as_secs() {
        return Ok(Compared { state: Some(DifferenceState::Read), opened: false, agrees_with_previous });
    }
    transaction.execute(
        "UPDATE difference SET state = 'replaced', ended = ?3
         WHERE tenant = ?1 AND month = ?2 AND state IN ('read', 'open') AND id != ?4",
        params![tenant, month, at, id],
    )?;
    transaction
        .execute("UPDATE difference SET state = 'open', opened = ?2 WHERE id = ?1", params![id, at])?;
    Ok(Compared { state: Some(DifferenceState::Open), opened: true, agrees_with_previous })
}

fn insert(
    transaction: &Transaction<'_>,
    tenant: i64,
    month: &str,
    revision: u32,
    reading: &Reading,
    state: &str,
    waived: Option<(i64, &str)>,
) -> Result<(), LedgerError> {
    let (ended, reason) = waived.unzip();
    transaction
        .prepare_cached(
            "INSERT INTO difference (tenant, month, revision, fingerprint, state, first_read, last_read, ended,
                 vms, vm_seconds, cloud_seconds, tag_seconds, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            tenant,
            month,
            revision,
            reading.fingerprint,
            state,
            reading.read_at.as_second(),
            ended,
            signed(reading.vms),
            signed(reading.seconds.vms),
            signed(reading.seconds.clouds),
            signed(reading.seconds.tags),
            reason
        ])?;
    Ok(())
}

/// Ends the differences of a month that are read or open; their number.
fn end_pending(
    transaction: &Transaction<'_>,
    tenant: i64,
    month: &str,
    state: &str,
    at: i64,
    reason: Option<&str>,
) -> Result<usize, LedgerError> {
    Ok(transaction
        .prepare_cached(
            "UPDATE difference SET state = ?3, ended = ?4, reason = ?5
             WHERE tenant = ?1 AND month = ?2 AND state IN ('read', 'open')",
        )?
        .execute(params![tenant, month, state, at, reason])?)
}

/// Ends the differences of a month because a new revision was recorded.
pub(super) fn restated(
    transaction: &Transaction<'_>,
    tenant: i64,
    month: &str,
    at: Timestamp,
) -> Result<(), LedgerError> {
    end_pending(transaction, tenant, month, "restated", at.as_second(), None).map(drop)
}

/// Waives the difference `current` and ends the other differences of the month. Without `current`,
/// waives the differences that are read or open. Returns whether a difference was waived.
pub(super) fn waive(
    transaction: &Transaction<'_>,
    name: &str,
    month: Month,
    revision: u32,
    at: Timestamp,
    reason: &str,
    current: Option<&Reading>,
) -> Result<bool, LedgerError> {
    let (tenant, month, at) = (tenant(transaction, name)?, month.to_string(), at.as_second());
    let is_waived = match current {
        None => end_pending(transaction, tenant, &month, "waived", at, Some(reason))? > 0,
        Some(current) => {
            let known = transaction.execute(
                "UPDATE difference SET state = 'waived', ended = ?5, reason = ?6
                 WHERE tenant = ?1 AND month = ?2 AND revision = ?3 AND fingerprint = ?4
                     AND state IN ('read', 'open')",
                params![tenant, month, revision, current.fingerprint, at, reason],
            )?;
            end_pending(transaction, tenant, &month, "replaced", at, None)?;
            if known == 0 {
                insert(transaction, tenant, &month, revision, current, "waived", Some((at, reason)))?;
            }
            true
        }
    };
    transaction.execute(
        "UPDATE comparison SET vm_seconds = 0, cloud_seconds = 0, tag_seconds = 0
         WHERE tenant = ?1 AND month = ?2",
        params![tenant, month],
    )?;
    Ok(is_waived)
}

/// The open difference of each month that has one.
pub(super) fn open(
    connection: &Connection,
    tenant: i64,
) -> Result<BTreeMap<Month, ChangedSeconds>, LedgerError> {
    if !has_tables(connection)? {
        return Ok(BTreeMap::new());
    }
    let mut select = connection.prepare_cached(
        "SELECT month, vm_seconds, cloud_seconds, tag_seconds FROM difference
         WHERE tenant = ?1 AND state = 'open'",
    )?;
    let rows = select.query_map([tenant], |row| Ok((row.get::<_, String>(0)?, seconds(row, 1)?)))?;
    let mut open = BTreeMap::new();
    for row in rows {
        let (month, seconds) = row?;
        open.insert(month_of(&month)?, seconds);
    }
    Ok(open)
}

/// The latest comparison of each month's current revision.
pub(super) fn latest(
    connection: &Connection,
    tenant: i64,
) -> Result<BTreeMap<Month, Comparison>, LedgerError> {
    if !has_tables(connection)? {
        return Ok(BTreeMap::new());
    }
    let mut select = connection.prepare_cached(
        "SELECT month, at, vm_seconds, cloud_seconds, tag_seconds,
             (SELECT first_read FROM difference AS read
              WHERE read.tenant = ?1 AND read.month = comparison.month AND read.state = 'read'
              ORDER BY last_read DESC, id DESC LIMIT 1),
             EXISTS (SELECT 1 FROM difference AS open
              WHERE open.tenant = ?1 AND open.month = comparison.month AND open.state = 'open')
         FROM comparison WHERE tenant = ?1 AND revision = (SELECT max(newest.revision) FROM revision AS newest
             WHERE newest.tenant = ?1 AND newest.month = comparison.month)",
    )?;
    let mut rows = select.query([tenant])?;
    let mut latest = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let comparison = Comparison {
            at: time(row.get(1)?)?,
            seconds: seconds(row, 2)?,
            first_read: row.get::<_, Option<i64>>(5)?.map(time).transpose()?,
            open: row.get(6)?,
        };
        latest.insert(month_of(&row.get::<_, String>(0)?)?, comparison);
    }
    Ok(latest)
}

/// Whether the schema is new enough: a command that only reads does not migrate a ledger.
fn has_tables(connection: &Connection) -> Result<bool, LedgerError> {
    let count: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('difference', 'comparison')",
        [],
        |row| row.get(0),
    )?;
    Ok(count == 2)
}

fn month_of(text: &str) -> Result<Month, LedgerError> {
    text.parse().map_err(|error| LedgerError::Damaged(format!("a month: {error}")))
}

fn seconds(row: &Row<'_>, first: usize) -> rusqlite::Result<ChangedSeconds> {
    let at = |column| row.get::<_, i64>(first + column).map(i64::unsigned_abs);
    Ok(ChangedSeconds { vms: at(0)?, clouds: at(1)?, tags: at(2)? })
}

/// `SQLite` stores signed numbers; what does not fit is as good as the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
