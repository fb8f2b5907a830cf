//! The running month and the one before, from the provider's report.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Poller, describe};
use crate::api::{Error, Reason, Run};
use crate::config::Prices;
use crate::observe::Observations;
use crate::period::Month;
use crate::report::Folder;
use crate::snapshot::UsageData;
use crate::usage::{self, Grouping, PeriodUsage};

/// How long the month before is kept before it is fetched again: it has ended, but the provider
/// may still correct it.
const PREVIOUS_KEPT: Duration = Duration::from_hours(1);

/// The previous month, as it was when it was fetched.
#[derive(Debug)]
pub struct PreviousMonth {
    month: Month,
    at: Instant,
    /// The current revision at that time; `None` if the month was not closed.
    revision: Option<u32>,
    usage: Option<Arc<PeriodUsage>>,
}

/// Fetches both months; the one before only when it is not known yet or has become old.
pub async fn fetch(poller: &Poller, run: &Run, kept: &mut Option<PreviousMonth>) -> Result<UsageData, Error> {
    let month = Month::of(poller.clock.now());
    let current = fetch_month(poller, run, month, poller.tenant.prices.as_deref()).await?;
    let before = month.previous();
    let closed = closed_revision(poller, before).await;
    let revision = closed.as_ref().map(|(revision, _)| *revision);
    let is_fresh = |kept: &PreviousMonth| kept.month == before && kept.at.elapsed() < PREVIOUS_KEPT;
    let known = kept.take().filter(|kept| is_fresh(kept) && kept.revision == revision);
    let known = if let Some(known) = known {
        known
    } else {
        // A closed month keeps the prices with which it was signed.
        let prices = match &closed {
            Some((_, prices)) => prices.as_ref(),
            None => poller.tenant.prices.as_deref(),
        };
        let usage = previous(poller, run, before, prices).await?;
        PreviousMonth { month: before, at: Instant::now(), revision, usage }
    };
    let previous = known.usage.clone();
    *kept = Some(known);
    Ok(UsageData { current, previous })
}

/// A provider that refuses to report on a month before the organisation existed does not make the
/// running month unknown.
async fn previous(
    poller: &Poller,
    run: &Run,
    month: Month,
    prices: Option<&Prices>,
) -> Result<Option<Arc<PeriodUsage>>, Error> {
    match fetch_month(poller, run, month, prices).await {
        Ok(usage) => Ok(Some(Arc::new(usage))),
        Err(error) if matches!(error.reason(), Reason::Client | Reason::NotFound) => {
            tracing::warn!(tenant = %poller.tenant.name, %month, %error, "the month before is refused; it has no series");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The current revision of a month and its price list; `None` if the month is not closed, or if its
/// files cannot be read, which the verification of closed months reports.
async fn closed_revision(poller: &Poller, month: Month) -> Option<(u32, Option<Prices>)> {
    let (directory, tenant) = (poller.config.report.directory.clone(), Arc::clone(&poller.tenant.name));
    let read = move || Folder::existing(&directory, &tenant).current(month).ok().flatten();
    let published = poller.limits.blocking(read).await.flatten()?;
    Some((published.revision, published.prices))
}

async fn fetch_month(
    poller: &Poller,
    run: &Run,
    month: Month,
    prices: Option<&Prices>,
) -> Result<PeriodUsage, Error> {
    let monthly = run.monthly(Some(month.period())).await?;
    let tenant = &poller.tenant;
    let grouping = Grouping { group_by: &tenant.group_by, tag_rules: &poller.config.report.tag_rules };
    let fetched_at = poller.clock.now();
    usage::check(&monthly.report, month.period())
        .map_err(|error| Error::malformed_report(&error.to_string()))?;
    let witness = witness(poller, month, fetched_at).await;
    Ok(PeriodUsage::of(&monthly.report, fetched_at, &grouping, prices, &witness))
}

/// What our polls saw; nothing if the ledger cannot tell: figures of the provider do not depend on it.
async fn witness(poller: &Poller, month: Month, until: Timestamp) -> Observations {
    let (ledger, tenant) = (poller.ledger.clone(), Arc::clone(&poller.tenant.name));
    let read = move || ledger.observations(&tenant, month.period(), until);
    let error = match poller.limits.blocking(read).await {
        Some(Ok(observations)) => return observations,
        Some(Err(error)) => describe(&error),
        None => "reading it was abandoned".to_owned(),
    };
    tracing::error!(tenant = %poller.tenant.name, %month, error, "the ledger cannot be read: all time is unobserved");
    Observations::default()
}
