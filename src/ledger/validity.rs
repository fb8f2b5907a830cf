//! Names and sizes with the time for which they hold: instance types of the catalogue, clouds, and the
//! size in each VM's own row. A report on a month uses what was observed in that month.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::LedgerError;
use super::observations::{GRACE_SECONDS, id, time};
use crate::observe::{NotLater, SizeSeen};
use crate::period::{Period, whole};
use crate::snapshot::{Cloud, InstanceType, Text, VmSize};

/// What the ledger knows of names and sizes in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamesAndSizes {
    /// The latest entry of each instance type that began before the end of the period, by name.
    pub instance_types: Vec<InstanceType>,
    /// The latest entry of each cloud that began before the end of the period, by id.
    pub clouds: Vec<Cloud>,
    /// The instance type and the size in each VM's last row before the end of the period, by VM id.
    pub vm_sizes: BTreeMap<Text, (Text, VmSize)>,
}

/// Records the catalogue of `at`: entries that began, changed or ended.
///
/// # Errors
/// [`LedgerError::Clock`] if anything changed and a later change is recorded: the clock was set back.
pub(super) fn record_catalogue(
    transaction: &Transaction<'_>,
    tenant: i64,
    at: Timestamp,
    types: &[InstanceType],
) -> Result<(), LedgerError> {
    let (at, mut ended) = (whole(at), current_types(transaction, tenant)?);
    let (mut begun, mut changed) = (Vec::new(), Vec::new());
    for of in types {
        match ended.remove(&of.name) {
            Some(known) if known == *of => {}
            Some(_) => changed.push(of),
            None => begun.push(of),
        }
    }
    if begun.is_empty() && changed.is_empty() && ended.is_empty() {
        return Ok(());
    }
    if let Some(last) = last_change(transaction, tenant)?.filter(|last| at < *last) {
        return Err(NotLater { at, last }.into());
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO instance_type (tenant, name, valid_from, vcpus, memory_mib, disk_gib, pci_devices)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (tenant, name, valid_from) DO UPDATE SET valid_until = NULL, vcpus = excluded.vcpus,
             memory_mib = excluded.memory_mib, disk_gib = excluded.disk_gib, pci_devices = excluded.pci_devices",
    )?;
    let mut end = transaction.prepare_cached(
        "UPDATE instance_type SET valid_until = ?3 WHERE tenant = ?1 AND name = ?2 AND valid_until IS NULL",
    )?;
    for name in changed.iter().map(|of| &of.name).chain(ended.keys()) {
        end.execute(params![tenant, &**name, at.as_second()])?;
    }
    for of in begun.into_iter().chain(changed) {
        let numbers = [of.vcpus, of.memory_mib, of.disk_gib].map(signed);
        let devices = serde_json::to_string(&of.pci_devices)
            .map_err(|error| LedgerError::Damaged(format!("devices of {}: {error}", of.name)))?;
        let [vcpus, memory_mib, disk_gib] = numbers;
        insert.execute(params![tenant, &*of.name, at.as_second(), vcpus, memory_mib, disk_gib, devices])?;
    }
    Ok(())
}

/// The time of the latest recorded change of the catalogue.
fn last_change(connection: &Connection, tenant: i64) -> Result<Option<Timestamp>, LedgerError> {
    let last: Option<i64> = connection.query_row(
        "SELECT max(max(valid_from, coalesce(valid_until, valid_from))) FROM instance_type WHERE tenant = ?1",
        [tenant],
        |row| row.get(0),
    )?;
    last.map(time).transpose()
}

/// Records the clouds of a complete poll at `at`: those that began, changed or ended since `known`.
pub(super) fn record_clouds(
    transaction: &Transaction<'_>,
    tenant: i64,
    at: Timestamp,
    known: &[Cloud],
    clouds: &[Cloud],
) -> Result<(), LedgerError> {
    // The ledger has whole seconds: a fraction of one is not a change.
    let recorded = |cloud: &Cloud| Cloud { created_at: cloud.created_at.map(whole), ..cloud.clone() };
    let [known, clouds] = [known, clouds].map(|clouds| clouds.iter().map(recorded).collect::<Vec<_>>());
    if known == clouds {
        return Ok(());
    }
    let at = at.as_second();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO cloud (tenant, cloud_id, valid_from, name, site, node_type, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (tenant, cloud_id, valid_from) DO UPDATE SET valid_until = NULL, name = excluded.name,
             site = excluded.site, node_type = excluded.node_type, created_at = excluded.created_at",
    )?;
    let mut end = transaction.prepare_cached(
        "UPDATE cloud SET valid_until = ?3 WHERE tenant = ?1 AND cloud_id = ?2 AND valid_until IS NULL",
    )?;
    for cloud in known.iter().filter(|cloud| !clouds.contains(cloud)) {
        end.execute(params![tenant, &*cloud.id, at])?;
    }
    for cloud in clouds.iter().filter(|cloud| !known.contains(cloud)) {
        let Cloud { id, name, site, node_type, created_at } = cloud;
        let created_at = created_at.map(Timestamp::as_second);
        insert.execute(params![tenant, &**id, at, &**name, &**site, &**node_type, created_at])?;
    }
    Ok(())
}

/// Records the sizes in the rows of VMs that a poll saw for the first time or changed.
pub(super) fn record_sizes(
    transaction: &Transaction<'_>,
    tenant: i64,
    at: Timestamp,
    seen: &[SizeSeen],
) -> Result<(), LedgerError> {
    let mut size = transaction.prepare_cached(
        "INSERT INTO size (instance_type, vcpus, memory_mib, gpus) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET gpus = excluded.gpus RETURNING id",
    )?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO vm_size (vm, at, size) SELECT id, ?3, ?4 FROM vm WHERE tenant = ?1 AND vm_id = ?2
         ON CONFLICT DO UPDATE SET size = excluded.size",
    )?;
    let mut ids: BTreeMap<(&str, VmSize), i64> = BTreeMap::new();
    for SizeSeen { vm_id, instance_type, size: of } in seen {
        let known = ids.get(&(&**instance_type, *of)).copied();
        let id = if let Some(id) = known {
            id
        } else {
            let numbers = [of.vcpus, of.memory_mib, of.gpus].map(signed);
            let row = params![&**instance_type, numbers[0], numbers[1], numbers[2]];
            let id = size.query_row(row, |row| row.get(0))?;
            ids.insert((instance_type, *of), id);
            id
        };
        insert.execute(params![tenant, &**vm_id, at.as_second(), id])?;
    }
    Ok(())
}

/// The latest size of each VM that is not gone, by id.
pub(super) fn current_sizes(
    connection: &Connection,
    tenant: i64,
) -> Result<BTreeMap<Text, (Text, VmSize)>, LedgerError> {
    // Besides the aggregate, the other columns are those of the row with the maximum.
    let mut select = connection.prepare(
        "SELECT vm.vm_id, size.instance_type, size.vcpus, size.memory_mib, size.gpus, max(vm_size.at)
         FROM vm JOIN vm_size ON vm_size.vm = vm.id JOIN size ON size.id = vm_size.size
         WHERE vm.tenant = ?1 AND vm.gone IS NULL GROUP BY vm.id",
    )?;
    sizes(select.query([tenant])?)
}

/// The clouds of the latest poll, by id.
pub(super) fn current_clouds(connection: &Connection, tenant: i64) -> Result<Vec<Cloud>, LedgerError> {
    let mut select = connection.prepare(
        "SELECT cloud_id, name, site, node_type, created_at, valid_from FROM cloud
         WHERE tenant = ?1 AND valid_until IS NULL ORDER BY cloud_id",
    )?;
    clouds(select.query([tenant])?)
}

/// What is known of names and sizes in `period`; nothing if the schema of the ledger is older.
pub(super) fn names_and_sizes(
    connection: &Connection,
    tenant: i64,
    period: Period,
) -> Result<NamesAndSizes, LedgerError> {
    let exists = "SELECT 1 FROM sqlite_schema WHERE name = 'vm_size'";
    if connection.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
        return Ok(NamesAndSizes::default());
    }
    let (start, end) = (period.start.as_second(), period.end.as_second());
    let mut select = connection.prepare(
        "SELECT name, vcpus, memory_mib, disk_gib, pci_devices, max(valid_from) FROM instance_type
         WHERE tenant = ?1 AND valid_from < ?2 GROUP BY name",
    )?;
    let mut instance_types = Vec::new();
    let mut rows = select.query(params![tenant, end])?;
    while let Some(row) = rows.next()? {
        instance_types.push(instance_type(row)?);
    }
    let mut select = connection.prepare(
        "SELECT cloud_id, name, site, node_type, created_at, max(valid_from) FROM cloud
         WHERE tenant = ?1 AND valid_from < ?2 GROUP BY cloud_id",
    )?;
    let clouds = clouds(select.query(params![tenant, end])?)?;
    let mut select = connection.prepare(
        "SELECT vm.vm_id, size.instance_type, size.vcpus, size.memory_mib, size.gpus, max(vm_size.at)
         FROM vm JOIN vm_size ON vm_size.vm = vm.id JOIN size ON size.id = vm_size.size
         WHERE vm.tenant = ?1 AND vm_size.at < ?2 AND (vm.gone IS NULL OR vm.gone > ?3) GROUP BY vm.id",
    )?;
    // The provider may date a deletion later than the poll that missed the VM.
    let gone_after = start.saturating_sub(GRACE_SECONDS);
    let vm_sizes = sizes(select.query(params![tenant, end, gone_after])?)?;
    Ok(NamesAndSizes { instance_types, clouds, vm_sizes })
}

fn current_types(connection: &Connection, tenant: i64) -> Result<BTreeMap<Text, InstanceType>, LedgerError> {
    let mut select = connection.prepare(
        "SELECT name, vcpus, memory_mib, disk_gib, pci_devices, valid_from FROM instance_type
         WHERE tenant = ?1 AND valid_until IS NULL",
    )?;
    let mut rows = select.query([tenant])?;
    let mut types = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let of = instance_type(row)?;
        types.insert(of.name.clone(), of);
    }
    Ok(types)
}

fn instance_type(row: &Row<'_>) -> Result<InstanceType, LedgerError> {
    let name: String = row.get(0)?;
    let devices: String = row.get(4)?;
    let pci_devices = serde_json::from_str(&devices)
        .map_err(|error| LedgerError::Damaged(format!("devices of {name}: {error}")))?;
    let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let (vcpus, memory_mib, disk_gib) = (number(1)?, number(2)?, number(3)?);
    Ok(InstanceType { name: name.into(), vcpus, memory_mib, disk_gib, pci_devices })
}

fn clouds(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Cloud>, LedgerError> {
    let mut clouds = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, String>(column).map(Text::from);
        clouds.push(Cloud {
            id: id(row, 0)?,
            name: text(1)?,
            site: text(2)?,
            node_type: text(3)?,
            created_at: row.get::<_, Option<i64>>(4)?.map(time).transpose()?,
        });
    }
    Ok(clouds)
}

fn sizes(mut rows: rusqlite::Rows<'_>) -> Result<BTreeMap<Text, (Text, VmSize)>, LedgerError> {
    let (mut sizes, mut types) = (BTreeMap::new(), BTreeSet::<Text>::new());
    while let Some(row) = rows.next()? {
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let size = VmSize { vcpus: number(2)?, memory_mib: number(3)?, gpus: number(4)? };
        // All VMs of a type share its name.
        let name = text(1)?;
        let name = types.get(name).cloned().unwrap_or_else(|| name.into());
        types.insert(name.clone());
        sizes.insert(id(row, 0)?, (name, size));
    }
    Ok(sizes)
}

/// `SQLite` stores signed numbers; no real size comes near the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
