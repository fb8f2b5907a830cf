//! Closing a tenant's months: which are due, and one of them from the API to its files.
//!
//! Reads `api` and `ledger`, writes through `report`. The scheduler and the command `report` both
//! come here.

mod once;
mod restate;
mod retention;

pub use restate::Restatement;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{self, Client, Reason};
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::ledger::{Ledger, LedgerError};
use crate::observe::Observations;
use crate::period::Month;
use crate::report::{
    Account, Folder, Frozen, Header, Listing, Observed, Outcome, Published, ReportError, Summary, Supersedes,
};
use crate::usage;

/// Longest time to fetch what a month is made from.
const DEADLINE: Duration = Duration::from_mins(30);

/// Number of a month's first revision.
const FIRST: u32 = 1;

/// Name of the file, in the tenant's folder, in which versions before the ledger kept the month of
/// the first start.
const SINCE: &str = ".since";

/// Closes the months of one tenant.
#[derive(Clone, Debug)]
pub struct Closer {
    tenant: Arc<Tenant>,
    client: Client,
    ledger: Ledger,
    clock: Clock,
    config: Arc<Config>,
}

/// Why a month could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The API did not give what the month is made from.
    #[error("the API does not give what the report is made from")]
    Api(#[from] api::Error),
    /// It gave it, but no report could be made or written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What the ledger keeps of the month cannot be used.
    #[error("what the ledger keeps of the month cannot be used: {0}")]
    Inputs(String),
}

impl CloseError {
    /// The value of the label `reason`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Api(error) => error.reason(),
            Self::Report(error) => error.reason(),
            Self::Ledger(_) | Self::Inputs(_) => Reason::Storage,
        }
    }
}

/// Where a month stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not begun.
    Future,
    /// It is the running month.
    Running,
    /// It has ended, but less than `report.settle` ago; it can be closed from then on.
    Settling(Timestamp),
    /// It can be closed.
    Ended,
}

impl Closer {
    /// Makes a closer; `client` is the tenant's.
    #[must_use]
    pub fn new(
        tenant: Arc<Tenant>,
        client: Client,
        ledger: Ledger,
        clock: Clock,
        config: Arc<Config>,
    ) -> Self {
        Self { tenant, client, ledger, clock, config }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant.name
    }

    /// The tenant's reports.
    pub fn folder(&self) -> Result<Folder, ReportError> {
        Folder::open(&self.config.report.directory, &self.tenant.name)
    }

    /// Where `month` stands at `now`.
    #[must_use]
    pub fn standing(&self, month: Month, now: Timestamp) -> Standing {
        let period = month.period();
        let settled = period.end.checked_add(self.config.report.settle).unwrap_or(Timestamp::MAX);
        if now < period.start {
            Standing::Future
        } else if now < period.end {
            Standing::Running
        } else if now < settled {
            Standing::Settling(settled)
        } else {
            Standing::Ended
        }
    }

    /// Every month since the first start (and `report.backfill` before it) that can be closed and
    /// is not closed, or is but has no files, oldest first.
    pub async fn due(&self, now: Timestamp) -> Result<Vec<Month>, CloseError> {
        self.blocking(move |closer| {
            let folder = closer.folder()?;
            let closed = closer.ledger.closed_at(closer.tenant())?;
            let mut month = closer.since(&folder, now)?.earlier_by(closer.config.report.backfill);
            let mut due = Vec::new();
            while closer.standing(month, now) == Standing::Ended {
                if !closed.contains_key(&month) || folder.newest_number(month)?.is_none() {
                    due.push(month);
                }
                month = month.next();
            }
            Ok(due)
        })
        .await
    }

    /// When each month that is to be watched got its current revision: those within `report.watch`.
    pub async fn watched(&self, now: Timestamp) -> Result<BTreeMap<Month, Timestamp>, CloseError> {
        let mut closed = self.blocking(move |closer| Ok(closer.ledger.closed_at(closer.tenant())?)).await?;
        let watch = self.config.report.watch;
        closed.retain(|_, at| at.checked_add(watch).is_ok_and(|until| now < until));
        Ok(closed)
    }

    /// Reads the files of every closed month, of all its revisions; lost ones are made again. The
    /// months that are not what the ledger recorded, and why.
    pub async fn audit(&self) -> Result<Vec<(Month, CloseError)>, CloseError> {
        let months = self.blocking(|closer| {
            let mut months: BTreeSet<Month> = closer.ledger.closed_at(closer.tenant())?.into_keys().collect();
            // Those that the ledger does not know are taken in.
            months.extend(closer.reports().closed()?);
            Ok(months)
        });
        let mut wrong = Vec::new();
        for month in months.await? {
            let of_month = self.blocking(move |closer| Ok(closer.settle_all(month))).await?;
            wrong.extend(of_month.into_iter().map(|error| (month, error)));
        }
        Ok(wrong)
    }

    /// When a month was last closed, whoever did it.
    pub async fn last_closed(&self) -> Result<Option<Timestamp>, CloseError> {
        self.blocking(|closer| Ok(closer.ledger.closed_at(closer.tenant())?.into_values().max())).await
    }

    /// When a month that has ended can be closed, if one is still settling at `now`.
    #[must_use]
    pub fn settles_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.standing(Month::of(now).previous(), now) {
            Standing::Settling(at) => Some(at),
            _ => None,
        }
    }

    /// The month of the first start, recorded when it is not known yet.
    fn since(&self, folder: &Folder, now: Timestamp) -> Result<Month, CloseError> {
        let file = folder.path().join(SINCE);
        let earlier = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|error| ReportError::damaged(&file, &error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Month::of(now),
            Err(error) => return Err(ReportError::storage(&file, error).into()),
        };
        Ok(self.ledger.since(self.tenant(), earlier)?)
    }

    /// The month that is due after those that are, and from when on.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> (Month, Timestamp) {
        let (running, before) = (Month::of(now), Month::of(now).previous());
        let settled = |month: Month| {
            month.period().end.checked_add(self.config.report.settle).unwrap_or(Timestamp::MAX)
        };
        let next = if settled(before) > now { before } else { running };
        (next, settled(next))
    }

    /// The reports that there are, by month and name of the folder.
    pub async fn names(&self) -> Result<Vec<(Month, String)>, CloseError> {
        self.blocking(|closer| Ok(closer.reports().revisions_of_all()?)).await
    }

    /// Every report, and the newest closed month unless that is damaged.
    pub async fn listing(&self) -> Result<(Listing, Option<Published>), CloseError> {
        self.blocking(|closer| {
            let folder = closer.reports();
            // What is wrong with it is among the listing's problems.
            Ok((Listing::of(&folder)?, folder.newest().ok().flatten()))
        })
        .await
    }

    /// The tenant's reports as they are, for reading.
    fn reports(&self) -> Folder {
        Folder::existing(&self.config.report.directory, self.tenant())
    }

    /// Fetches all that a report on `month` is made from, and what our polls saw of it.
    pub(crate) async fn freeze(
        &self,
        month: Month,
        supersedes: Option<Supersedes>,
    ) -> Result<Frozen, CloseError> {
        let run = self.client.run(DEADLINE);
        let (monthly, clouds, instance_types) =
            tokio::try_join!(run.monthly(Some(month.period())), run.clouds(), run.instance_types())?;
        let fetched_at = self.clock.now();
        if let Some(theirs) = run.server_time()
            && theirs < month.period().end
            && fetched_at >= month.period().end
        {
            return Err(ReportError::ClockAhead { month, theirs }.into());
        }
        usage::check(&monthly.report, month.period()).map_err(ReportError::from)?;
        self.blocking(move |closer| {
            let observations = closer.observations(month, fetched_at)?;
            let header = Header {
                tenant: closer.tenant().to_owned(),
                month,
                fetched_at,
                clouds,
                instance_types,
                prices: closer.tenant.prices.as_deref().cloned(),
                group_by: closer.tenant.group_by.clone(),
                tag_rules: closer.config.report.tag_rules.clone(),
                excel_bom: closer.config.report.excel_bom,
                observed: Observed::of(&observations, &monthly, fetched_at),
                account: Account::of(&observations, &monthly.report, fetched_at),
                supersedes,
            };
            Ok(Frozen { header, monthly })
        })
        .await
    }

    fn observations(&self, month: Month, until: Timestamp) -> Result<Observations, CloseError> {
        match self.ledger.observations(self.tenant(), month.period(), until) {
            Ok(observations) => Ok(observations),
            // Nothing was ever polled.
            Err(LedgerError::Missing(_)) => Ok(Observations::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Closes `month`, or finds it closed already. Running and future months are for the caller to refuse.
    pub async fn close(&self, month: Month) -> Result<Outcome, CloseError> {
        if let Some(outcome) = self.blocking(move |closer| closer.settle(month)).await? {
            return Ok(outcome);
        }
        let frozen = self.freeze(month, None).await?;
        self.blocking(move |closer| closer.record(FIRST, &frozen)).await
    }

    /// Replaces the provisional report on `month`.
    pub async fn provisional(&self, month: Month) -> Result<Published, CloseError> {
        let frozen = self.freeze(month, None).await?;
        self.blocking(move |closer| Ok(closer.folder()?.provisional(&frozen.inputs())?)).await
    }

    /// Writes a copy of the report on `month` into `out` and closes nothing: the closed files if
    /// there are any, else a provisional report.
    pub async fn copy(&self, month: Month, out: PathBuf) -> Result<Published, CloseError> {
        if let Some(published) = self.closed(month).await? {
            return self
                .blocking(move |closer| {
                    closer.confirm(&published)?;
                    Ok(published.copy_to(&out)?)
                })
                .await;
        }
        let frozen = self.freeze(month, None).await?;
        self.blocking(move |_| Ok(crate::report::write_copy(&frozen.inputs(), &out)?)).await
    }

    /// What a report on `month` would say, without writing anything.
    pub async fn dry_run(&self, month: Month) -> Result<Summary, CloseError> {
        let frozen = self.freeze(month, None).await?;
        self.blocking(move |_| Ok(crate::report::dry_run(&frozen.inputs())?)).await
    }

    /// The current revision of `month` as it is on disk; nothing is made, not even a folder.
    pub async fn closed(&self, month: Month) -> Result<Option<Published>, CloseError> {
        self.blocking(move |closer| Ok(closer.reports().current(month)?)).await
    }

    /// Writing a large month takes a while, so it does not happen on an async thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, CloseError> + Send + 'static,
    ) -> Result<T, CloseError> {
        let closer = self.clone();
        match tokio::task::spawn_blocking(move || work(closer)).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
