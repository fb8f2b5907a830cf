//! Events that nobody asks for any more, dropped.

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::LedgerError;

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Events.
    pub events: usize,
    /// VMs of which nothing is left: gone long ago.
    pub vms: usize,
    /// Polls.
    pub polls: usize,
}

/// Drops what only tells of the time before `before`. What is asked of later periods is answered
/// as ever: a VM that was still there then keeps the event that says how.
pub(super) fn drop_before(
    connection: &mut Connection,
    tenant: i64,
    before: Timestamp,
) -> Result<Dropped, LedgerError> {
    // For each poll the keys would be looked for in all events. What is dropped below is in nobody's use.
    connection.pragma_update(None, "foreign_keys", false)?;
    let dropped = drop_rows(connection, tenant, before.as_second());
    connection.pragma_update(None, "foreign_keys", true)?;
    dropped
}

fn drop_rows(connection: &mut Connection, tenant: i64, before: i64) -> Result<Dropped, LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let events = transaction.execute(
        "DELETE FROM event WHERE (vm, poll) IN (
             SELECT event.vm, event.poll
             FROM vm JOIN event ON event.vm = vm.id JOIN poll ON poll.id = event.poll
             WHERE vm.tenant = ?1 AND poll.at < ?2 AND (
                 vm.gone < ?2
                 OR EXISTS (
                     SELECT 1 FROM event AS later JOIN poll AS at ON at.id = later.poll
                     WHERE later.vm = event.vm AND later.poll > event.poll AND at.at <= ?2
                 )
             )
         )",
        params![tenant, before],
    )?;
    transaction.execute(
        "DELETE FROM vm_size WHERE vm IN (SELECT id FROM vm WHERE tenant = ?1 AND gone < ?2
             AND NOT EXISTS (SELECT 1 FROM event WHERE event.vm = vm.id))",
        params![tenant, before],
    )?;
    let vms = transaction.execute(
        "DELETE FROM vm WHERE tenant = ?1 AND gone < ?2
             AND NOT EXISTS (SELECT 1 FROM event WHERE event.vm = vm.id)",
        params![tenant, before],
    )?;
    // The newest poll stays: no later one may be older.
    let polls = transaction.execute(
        "DELETE FROM poll WHERE tenant = ?1 AND at < ?2 AND id NOT IN (SELECT poll FROM event)
             AND at < (SELECT max(at) FROM poll WHERE tenant = ?1)",
        params![tenant, before],
    )?;
    transaction.commit()?;
    Ok(Dropped { events, vms, polls })
}
