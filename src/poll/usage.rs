//! The running month and the one before, from the provider's report.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Poller, describe};
use crate::api::{Endpoint, Error, Reason, Run};
use crate::config::Prices;
use crate::observe::Observations;
use crate::period::Month;
use crate::report::Folder;
use crate::snapshot::UsageData;
use crate::usage::{self, Grouping, PeriodUsage};

/// How long the month before is kept before it is fetched again: it has ended, but the provider
/// may still correct it.
const PREVIOUS_KEPT: Duration = Duration::from_hours(1);

/// State of the previous month that is kept between runs.
#[derive(Debug, Default)]
pub struct Previous {
    kept: Option<PreviousMonth>,
    /// Whether the latest request for the previous month failed.
    is_failing: bool,
}

/// The previous month, as it was when it was fetched.
#[derive(Debug)]
struct PreviousMonth {
    month: Month,
    at: Timestamp,
    /// The current revision at that time; `None` if the month was not closed.
    revision: Option<u32>,
    usage: Option<Arc<PeriodUsage>>,
}

/// Fetches the current month. Also fetches the previous month if it is not known yet or has become
/// outdated. The previous month is requested last, so that its failure does not affect the current
/// month.
///
/// # Errors
/// The current month cannot be read, or the credentials are refused. If only the previous month cannot
/// be read, its last known figures are kept.
pub async fn fetch(poller: &Poller, run: &Run, previous: &mut Previous) -> Result<UsageData, Error> {
    let month = Month::of(poller.clock.now());
    let current = fetch_month(poller, run, month, poller.tenant.prices.as_deref()).await?;
    let before = month.previous();
    previous.kept.take_if(|kept| kept.month != before);
    let closed = closed_revision(poller, before).await;
    let revision = closed.as_ref().map(|(revision, _)| *revision);
    let now = poller.clock.now();
    let is_fresh = |kept: &PreviousMonth| {
        let age = Duration::try_from(now.duration_since(kept.at));
        // The age cannot be computed if the clock was set back to before the fetch.
        age.is_ok_and(|age| age < PREVIOUS_KEPT) && kept.revision == revision
    };
    if !previous.kept.as_ref().is_some_and(is_fresh) {
        // A closed month keeps the prices with which it was signed.
        let prices = match &closed {
            Some((_, prices)) => prices.as_ref(),
            None => poller.tenant.prices.as_deref(),
        };
        let fetched = fetch_month(poller, run, before, prices).await;
        previous.update(poller, run, before, revision, fetched)?;
    }
    let previous = previous.kept.as_ref().and_then(|kept| kept.usage.clone());
    Ok(UsageData { current, previous })
}

impl Previous {
    /// Applies the result of fetching `month`. If the fetch failed, keeps the known figures and counts
    /// a defect. Returns an error only if the credentials were refused.
    fn update(
        &mut self,
        poller: &Poller,
        run: &Run,
        month: Month,
        revision: Option<u32>,
        fetched: Result<PeriodUsage, Error>,
    ) -> Result<(), Error> {
        let tenant = &poller.tenant.name;
        let is_known = self.kept.as_ref().is_some_and(|kept| kept.usage.is_some());
        let usage = match fetched {
            Ok(usage) => Some(Arc::new(usage)),
            Err(error) if error.reason() == Reason::Credentials => return Err(error),
            // The organisation may not have existed in that month.
            Err(error) if !is_known && matches!(error.reason(), Reason::Client | Reason::NotFound) => {
                tracing::warn!(%tenant, %month, %error, "the API refuses to report on the previous month; the month has no series");
                None
            }
            Err(error) => {
                let error = describe(&error);
                run.defect(Endpoint::Monthly, "previous_month", &format_args!("{month}: {error}"));
                if std::mem::replace(&mut self.is_failing, true) {
                    tracing::debug!(%tenant, %month, error, "still cannot read the previous month");
                } else if is_known {
                    tracing::warn!(%tenant, %month, error, "cannot read the previous month; keeping its last known figures and serving the current month");
                } else {
                    tracing::warn!(%tenant, %month, error, "cannot read the previous month; serving only the current month until it can be read");
                }
                return Ok(());
            }
        };
        self.is_failing = false;
        self.kept = Some(PreviousMonth { month, at: poller.clock.now(), revision, usage });
        Ok(())
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
