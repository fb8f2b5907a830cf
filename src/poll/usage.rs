//! The running month and the one before, from the provider's report.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Poller, describe};
use crate::api::{Error, Reason, Run};
use crate::observe::Observations;
use crate::period::Month;
use crate::snapshot::UsageData;
use crate::usage::{self, Grouping, PeriodUsage};

/// How long the month before is kept before it is fetched again: it has ended, but the provider
/// may still correct it.
const PREVIOUS_KEPT: Duration = Duration::from_hours(1);

/// The month before, as it was when it was fetched.
#[derive(Debug)]
pub struct PreviousMonth {
    month: Month,
    at: Instant,
    usage: Option<Arc<PeriodUsage>>,
}

/// Fetches both months; the one before only when it is not known yet or has become old.
pub async fn fetch(poller: &Poller, run: &Run, kept: &mut Option<PreviousMonth>) -> Result<UsageData, Error> {
    let month = Month::of(poller.clock.now());
    let current = fetch_month(poller, run, month).await?;
    let before = month.previous();
    let known = kept.take().filter(|kept| kept.month == before && kept.at.elapsed() < PREVIOUS_KEPT);
    let known = match known {
        Some(known) => known,
        None => {
            PreviousMonth { month: before, at: Instant::now(), usage: previous(poller, run, before).await? }
        }
    };
    let previous = known.usage.clone();
    *kept = Some(known);
    Ok(UsageData { current, previous })
}

/// A provider that refuses to report on a month before the organisation existed does not make the
/// running month unknown.
async fn previous(poller: &Poller, run: &Run, month: Month) -> Result<Option<Arc<PeriodUsage>>, Error> {
    match fetch_month(poller, run, month).await {
        Ok(usage) => Ok(Some(Arc::new(usage))),
        Err(error) if matches!(error.reason(), Reason::Client | Reason::NotFound) => {
            tracing::warn!(tenant = %poller.tenant.name, %month, %error, "the month before is refused; it has no series");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn fetch_month(poller: &Poller, run: &Run, month: Month) -> Result<PeriodUsage, Error> {
    let monthly = run.monthly(Some(month.period())).await?;
    let tenant = &poller.tenant;
    let grouping = Grouping { group_by: &tenant.group_by, tag_rules: &poller.config.report.tag_rules };
    let fetched_at = poller.clock.now();
    usage::check(&monthly.report, month.period())
        .map_err(|error| Error::malformed_report(&error.to_string()))?;
    let witness = witness(poller, month, fetched_at).await;
    Ok(PeriodUsage::of(&monthly.report, fetched_at, &grouping, tenant.prices.as_deref(), &witness))
}

/// What our polls saw; nothing if the ledger cannot tell: figures of the provider do not depend on it.
async fn witness(poller: &Poller, month: Month, until: Timestamp) -> Observations {
    let (ledger, tenant) = (poller.ledger.clone(), Arc::clone(&poller.tenant.name));
    let read = tokio::task::spawn_blocking(move || ledger.observations(&tenant, month.period(), until));
    let error = match read.await {
        Ok(Ok(observations)) => return observations,
        Ok(Err(error)) => describe(&error),
        Err(error) => error.to_string(),
    };
    tracing::error!(tenant = %poller.tenant.name, %month, error, "the ledger cannot be read: all time is unobserved");
    Observations::default()
}
