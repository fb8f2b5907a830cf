//! Polls into the ledger, and what they prove out of it again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{LedgerError, validity};
use crate::observe::{Kind, Known, Observations, State, Step};
use crate::period::{Month, Period};
use crate::snapshot::{Text, VmStatus};
use crate::text::normal_id;

/// How long before a period a VM may have gone and still be told apart from one that was never
/// seen: clocks differ, and the provider may date a deletion later than our polls missed the VM.
pub(super) const GRACE_SECONDS: i64 = 2 * 86_400;

/// The tenant's row; it is made at the first use.
pub(super) fn tenant(transaction: &Transaction<'_>, name: &str) -> Result<i64, LedgerError> {
    transaction
        .prepare_cached("INSERT INTO tenant (name) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([name])?;
    Ok(transaction
        .prepare_cached("SELECT id FROM tenant WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?)
}

/// The tenant's row, if it has one.
pub(super) fn known_tenant(connection: &Connection, name: &str) -> Result<Option<i64>, LedgerError> {
    let mut select = connection.prepare_cached("SELECT id FROM tenant WHERE name = ?1")?;
    Ok(select.query_row([name], |row| row.get(0)).optional()?)
}

/// Writes a step: one row for the poll, and only what changed.
pub(super) fn record(
    transaction: &Transaction<'_>,
    tenant: i64,
    step: &Step,
    vms: usize,
) -> Result<(), LedgerError> {
    let at = step.at.as_second();
    transaction
        .prepare_cached("INSERT INTO poll (tenant, at, observed_from, vms) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            tenant,
            at,
            step.observed_from.map(Timestamp::as_second),
            i64::try_from(vms).unwrap_or(i64::MAX)
        ])?;
    let poll = transaction.last_insert_rowid();
    // A status that was seen again after nothing was learned has its old time; gone VMs keep theirs.
    let mut state = transaction.prepare_cached(
        "INSERT INTO vm (tenant, vm_id, cloud_id, status, since, lost, gone) VALUES (?1, ?2, ?3, ?4, ?5, 0, NULL)
         ON CONFLICT (tenant, vm_id) DO UPDATE SET
             since = iif(status = excluded.status AND gone IS NULL, since, excluded.since),
             cloud_id = excluded.cloud_id, status = excluded.status, lost = 0, gone = NULL
         RETURNING id",
    )?;
    let mut lost =
        transaction.prepare_cached("UPDATE vm SET lost = 1 WHERE tenant = ?1 AND vm_id = ?2 RETURNING id")?;
    let mut gone = transaction
        .prepare_cached("UPDATE vm SET gone = ?3, lost = 0 WHERE tenant = ?1 AND vm_id = ?2 RETURNING id")?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO event (vm, poll, kind, status) VALUES (?1, ?2, ?3, ?4)")?;
    for event in &step.events {
        let (id, status) = (&*event.vm_id, event.status.as_str());
        let vm: i64 = match event.kind {
            Kind::Lost => lost.query_row(params![tenant, id], |row| row.get(0))?,
            Kind::Gone => gone.query_row(params![tenant, id, at], |row| row.get(0))?,
            Kind::Seen | Kind::Status | Kind::ById => {
                state.query_row(params![tenant, id, &*event.cloud_id, status, at], |row| row.get(0))?
            }
        };
        insert.execute(params![vm, poll, event.kind.as_str(), status])?;
    }
    validity::record_sizes(transaction, tenant, step.at, &step.sizes)
}

/// The state that the recorded polls have left.
pub(super) fn state(connection: &Connection, tenant: i64) -> Result<State, LedgerError> {
    let last: Option<i64> =
        connection.query_row("SELECT max(at) FROM poll WHERE tenant = ?1", [tenant], |row| row.get(0))?;
    let mut sizes = validity::current_sizes(connection, tenant)?;
    let mut state = State { last: last.map(time).transpose()?, ..State::default() };
    let mut select = connection
        .prepare("SELECT vm_id, cloud_id, status, since, lost FROM vm WHERE tenant = ?1 AND gone IS NULL")?;
    let mut rows = select.query([tenant])?;
    while let Some(row) = rows.next()? {
        let known = Known {
            cloud_id: text(row, 1)?,
            status: VmStatus::from_api(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?),
            since: time(row.get(3)?)?,
            lost: row.get(4)?,
            size: sizes.remove(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?),
        };
        state.vms.insert(text(row, 0)?, known);
    }
    Ok(state)
}

/// The months in which polls were recorded, each with the time of its latest poll: two searches of the
/// index for each month.
pub(super) fn polled_months(
    connection: &Connection,
    tenant: i64,
) -> Result<BTreeMap<Month, Timestamp>, LedgerError> {
    let mut first = connection.prepare("SELECT min(at) FROM poll WHERE tenant = ?1 AND at >= ?2")?;
    let mut latest = connection.prepare("SELECT max(at) FROM poll WHERE tenant = ?1 AND at < ?2")?;
    let (mut months, mut from) = (BTreeMap::new(), i64::MIN);
    while let Some(at) = first.query_row(params![tenant, from], |row| row.get::<_, Option<i64>>(0))? {
        let month = Month::of(time(at)?);
        let end = month.period().end.as_second();
        let newest: i64 = latest.query_row(params![tenant, end], |row| row.get(0))?;
        months.insert(month, time(newest)?);
        // The last month that can be represented ends with its last second.
        if end <= at {
            break;
        }
        from = end;
    }
    Ok(months)
}

/// What polls up to `until` prove of the VMs that lived in `period`.
pub(super) fn observations(
    connection: &Connection,
    tenant: i64,
    period: Period,
    until: Timestamp,
) -> Result<Observations, LedgerError> {
    let (start, end, until) = (period.start.as_second(), period.end.as_second(), until.as_second());
    let mut observations = Observations::default();
    let mut polls = connection.prepare_cached(
        "SELECT at, observed_from FROM poll WHERE tenant = ?1 AND at > ?2 AND at <= ?3 ORDER BY at",
    )?;
    // The first poll after the period proves what was before it.
    let mut rows = polls.query([tenant, start.saturating_sub(GRACE_SECONDS), until])?;
    while let Some(row) = rows.next()? {
        let at = row.get(0)?;
        let from = row.get::<_, Option<i64>>(1)?.map(time).transpose()?;
        observations.add_poll(time(at)?, from);
        if at >= end {
            break;
        }
    }
    let mut events = connection.prepare_cached(
        "SELECT vm.vm_id, poll.at, event.kind, event.status
         FROM vm JOIN event ON event.vm = vm.id JOIN poll ON poll.id = event.poll
         WHERE vm.tenant = ?1 AND (vm.gone IS NULL OR vm.gone > ?2) AND poll.at < ?3 AND poll.at <= ?4
         ORDER BY vm.id, event.poll",
    )?;
    let mut rows = events.query([tenant, start.saturating_sub(GRACE_SECONDS), end, until])?;
    while let Some(row) = rows.next()? {
        let kind = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let kind = kind.ok_or_else(|| LedgerError::Damaged("an event of no known kind".to_owned()))?;
        let status = VmStatus::from_api(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?);
        observations.add(id(row, 0)?, time(row.get(1)?)?, kind, &status);
    }
    // A VM that was recorded under two spellings has two rows.
    observations.histories.values_mut().for_each(|history| history.sort_by_key(|(at, _)| *at));
    Ok(observations)
}

/// Converts the recorded ids of a tenant's VMs and clouds to their normal form, which older versions
/// did not use. If one object has two rows with different spellings, the rows are merged. The caller
/// must read the tenant's state afterwards.
pub(super) fn normalise_ids(connection: &Connection, tenant: i64) -> Result<(), LedgerError> {
    let others = |sql: &str| -> Result<Vec<(String, String)>, LedgerError> {
        let mut select = connection.prepare(sql)?;
        let mut rows = select.query([tenant])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            if let Cow::Owned(normal) = normal_id(&id) {
                found.push((id, normal));
            }
        }
        Ok(found)
    };
    for (id, normal) in others("SELECT vm_id FROM vm WHERE tenant = ?1 AND vm_id <> lower(vm_id)")? {
        let row = |id: &str| {
            let select = "SELECT id, gone FROM vm WHERE tenant = ?1 AND vm_id = ?2";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?));
            connection.query_row(select, params![tenant, id], row).optional()
        };
        let Some((old, gone)) = row(&id)? else { continue };
        if let Some((kept, kept_gone)) = row(&normal)? {
            let gone = gone.zip(kept_gone).map(|(one, other)| one.max(other));
            for sql in [
                "UPDATE OR IGNORE event SET vm = ?1 WHERE vm = ?2",
                "UPDATE OR IGNORE vm_size SET vm = ?1 WHERE vm = ?2",
            ] {
                connection.execute(sql, [kept, old])?;
            }
            for sql in [
                "DELETE FROM event WHERE vm = ?1",
                "DELETE FROM vm_size WHERE vm = ?1",
                "DELETE FROM vm WHERE id = ?1",
            ] {
                connection.execute(sql, [old])?;
            }
            connection.execute("UPDATE vm SET gone = ?2 WHERE id = ?1", params![kept, gone])?;
        } else {
            connection.execute("UPDATE vm SET vm_id = ?2 WHERE id = ?1", params![old, normal])?;
        }
    }
    let clouds = "SELECT DISTINCT cloud_id FROM vm WHERE tenant = ?1 AND cloud_id <> lower(cloud_id)
         UNION SELECT cloud_id FROM cloud WHERE tenant = ?1 AND cloud_id <> lower(cloud_id)";
    for (id, normal) in others(clouds)? {
        for sql in [
            "UPDATE vm SET cloud_id = ?3 WHERE tenant = ?1 AND cloud_id = ?2",
            "UPDATE OR REPLACE cloud SET cloud_id = ?3 WHERE tenant = ?1 AND cloud_id = ?2",
        ] {
            connection.execute(sql, params![tenant, id, normal])?;
        }
    }
    Ok(())
}

/// An id in its normal form.
pub(super) fn id(row: &rusqlite::Row<'_>, column: usize) -> Result<Text, LedgerError> {
    Ok((&*normal_id(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)).into())
}

fn text(row: &rusqlite::Row<'_>, column: usize) -> Result<Text, LedgerError> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?.into())
}

pub(super) fn time(seconds: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_second(seconds).map_err(|error| LedgerError::Damaged(format!("a time: {error}")))
}
