//! Which observations may be dropped: `ledger.retention`, held back by everything that still needs
//! them.

use jiff::{SignedDuration, Timestamp};

use super::{CloseError, Closer, Moment};
use crate::ledger::Dropped;
use crate::period::Month;

/// What happened shortly before a month still tells something of it: clocks differ.
const GRACE: SignedDuration = SignedDuration::from_hours(72);

impl Closer {
    /// Drops the events of closed months that are older than `ledger.retention`. Kept are, in any
    /// case, those of months that are not closed, that are watched and may be restated, of the
    /// running month and of the one before it, which has gauges. `now` is by a trusted clock.
    pub async fn drop_old_events(&self, now: Timestamp) -> Result<Dropped, CloseError> {
        let Some(retention) = self.config.ledger.retention else { return Ok(Dropped::default()) };
        let Ok(old) = now.checked_sub(retention) else { return Ok(Dropped::default()) };
        self.blocking(move |closer| {
            let folder = closer.folder()?;
            let closed = closer.ledger.closed_at(closer.tenant())?;
            let mut needed = Month::of(now).previous();
            let Some(beginning) = closer.beginning(&folder, &closed, Moment::trusted(now))? else {
                return Ok(Dropped::default());
            };
            let mut month = beginning.since;
            while month < needed && closed.contains_key(&month) {
                month = month.next();
            }
            // Months before the first start have no events; the first that is not closed has.
            needed = needed.min(month);
            let watch = closer.config.report.watch;
            let watched = |at: &Timestamp| at.checked_add(watch).is_ok_and(|until| now < until);
            let open = closer.ledger.open_differences(closer.tenant())?;
            let restatable = closed.iter().filter(|(month, at)| watched(at) || open.contains_key(*month));
            if let Some((month, _)) = restatable.min() {
                needed = needed.min(*month);
            }
            let start = needed.period().start;
            let before = old.min(start.checked_sub(GRACE).unwrap_or(start));
            Ok(closer.ledger.drop_before(closer.tenant(), before)?)
        })
        .await
    }
}
