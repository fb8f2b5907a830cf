//! Closing a tenant's months: which are due, and one of them from the API to its files.
//!
//! Reads `api` and `ledger`, writes through `report`. The daemon's `worker` and the command `report`
//! both use it.

mod beginning;
mod clock;
mod compare;
mod once;
mod previous;
mod response;
mod restate;
mod retention;
pub mod worker;

pub use clock::{FirstMonth, Moment};
pub use compare::{CurrentReport, Followed, Waived};
pub use response::{CloseOptions, Undated};
pub use restate::Restatement;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::api::{self, Client, Reason};
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::ledger::{Beginning, Comparison, Ledger, LedgerError};
use crate::period::Month;
use crate::report::{Folder, Listing, Outcome, Published, ReportError, Summary};

/// Maximum number of threads that read and write the files of months at the same time. At start, all
/// tenants may have a month to close. Two threads leave processor time to the first polls.
const MAX_BLOCKING: usize = 2;

/// Number of a month's first revision.
const FIRST: u32 = 1;

/// Closes the months of one tenant.
#[derive(Clone, Debug)]
pub struct Closer {
    tenant: Arc<Tenant>,
    client: Client,
    ledger: Ledger,
    clock: Clock,
    config: Arc<Config>,
    /// What every report of this closer must say besides its own warnings.
    notes: Arc<[String]>,
    /// Whether reports are imported with the time of a clock that no `Date` proves.
    imports_undated: bool,
    /// Bounds the threads that all closers of the process use.
    permits: Arc<Semaphore>,
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

/// The state of a tenant's months.
#[derive(Clone, Debug)]
pub struct MonthStates {
    /// Months that can be closed and are not, oldest first.
    pub due: Vec<Month>,
    /// When each closed month got its current revision.
    pub closed: BTreeMap<Month, Timestamp>,
    /// The latest comparison of each closed month.
    pub comparisons: BTreeMap<Month, Comparison>,
    /// If the ledger was begun although reports existed: the months before that have no report.
    pub lost_ledger: Option<Vec<Month>>,
}

/// The months between the oldest report and `since` that have no report.
fn holes(folder: &Folder, since: Month) -> Result<Vec<Month>, ReportError> {
    let closed: BTreeSet<Month> = folder.closed()?.into_iter().collect();
    let Some(oldest) = closed.first() else { return Ok(Vec::new()) };
    let months = std::iter::successors(Some(*oldest), |month| Some(month.next()));
    Ok(months.take_while(|month| *month < since).filter(|month| !closed.contains(month)).collect())
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
        let (notes, permits) = (Arc::default(), Self::permits());
        Self { tenant, client, ledger, clock, config, notes, imports_undated: true, permits }
    }

    /// The permits for the blocking work of all closers of a process.
    #[must_use]
    pub fn permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_BLOCKING))
    }

    /// Shares `permits` with the other closers of the process.
    #[must_use]
    pub fn with_permits(self, permits: Arc<Semaphore>) -> Self {
        Self { permits, ..self }
    }

    /// Sets whether reports may be imported with the time of a clock that no `Date` proves; they may, unless
    /// this says otherwise, because an operator who runs a command accepts it.
    pub fn import_undated(&mut self, may: bool) {
        self.imports_undated = may;
    }

    /// Adds warnings to every report that this closer makes.
    #[must_use]
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes: notes.into(), ..self }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant.name
    }

    /// Opens the tenant's directory of reports. Blocks.
    ///
    /// # Errors
    /// The directory cannot be used, or the ledger cannot be read: the index would not list its open
    /// differences.
    pub fn folder(&self) -> Result<Folder, CloseError> {
        let open = match self.ledger.open_differences(&self.tenant.name) {
            Err(LedgerError::Missing(_)) => BTreeMap::new(),
            open => open?,
        };
        let seconds = open.into_iter().map(|(month, seconds)| (month, seconds.max())).collect();
        Ok(Folder::open_with(&self.config.report.directory, &self.tenant.name, seconds)?)
    }

    /// When `month` can be closed: `report.settle` after its end.
    fn settled_at(&self, month: Month) -> Timestamp {
        month.period().end.checked_add(self.config.report.settle).unwrap_or(Timestamp::MAX)
    }

    /// Where `month` stands at `now`.
    #[must_use]
    pub fn standing(&self, month: Month, now: Timestamp) -> Standing {
        let period = month.period();
        let settled = self.settled_at(month);
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
    /// is not closed, or is but has no files, oldest first. `now` is by a trusted clock.
    pub async fn due(&self, now: Timestamp) -> Result<Vec<Month>, CloseError> {
        Ok(self.months(now).await?.due)
    }

    fn due_of(
        &self,
        folder: &Folder,
        beginning: Option<Beginning>,
        closed: &BTreeMap<Month, Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Month>, CloseError> {
        let Some(beginning) = beginning else { return Ok(Vec::new()) };
        let mut month = beginning.since.earlier_by(self.config.report.backfill);
        let mut due = Vec::new();
        while self.standing(month, now) == Standing::Ended {
            if !closed.contains_key(&month) || folder.newest_number(month)?.is_none() {
                due.push(month);
            }
            month = month.next();
        }
        Ok(due)
    }

    /// Reads the files of every closed month, of all its revisions; lost ones are made again, and months
    /// that the ledger does not know are imported if the clock is trusted. The months that are not what the
    /// ledger recorded, and why.
    pub async fn audit(&self) -> Result<Vec<(Month, CloseError)>, CloseError> {
        let months = self.blocking(|closer| {
            let mut months: BTreeSet<Month> = closer.ledger.closed_at(closer.tenant())?.into_keys().collect();
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

    /// When a month that has ended can be closed, if one is still settling at `now`.
    #[must_use]
    pub fn settles_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.standing(Month::of(now).previous(), now) {
            Standing::Settling(at) => Some(at),
            _ => None,
        }
    }

    /// The month that is due after those that are, and from when on.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> (Month, Timestamp) {
        let (running, before) = (Month::of(now), Month::of(now).previous());
        let next = if self.settled_at(before) > now { before } else { running };
        (next, self.settled_at(next))
    }

    /// The state of the tenant's months at `now`, which is by a trusted clock.
    pub async fn months(&self, now: Timestamp) -> Result<MonthStates, CloseError> {
        self.months_at(Moment::trusted(now)).await
    }

    /// The state of the tenant's months, from one reading of the ledger and the directory.
    pub async fn months_at(&self, moment: Moment) -> Result<MonthStates, CloseError> {
        self.blocking(move |closer| {
            let closed = closer.ledger.closed_at(closer.tenant())?;
            let folder = closer.folder()?;
            let beginning = closer.beginning(&folder, &closed, moment)?;
            let is_lost = |beginning: &Beginning| beginning.beside_reports;
            let due_at = match beginning {
                Some(beginning) if !moment.is_proven => closer.polled_until(beginning.since, &closed)?,
                _ => Some(moment.now),
            };
            let due_at = due_at.map(|at| at.min(moment.now));
            Ok(MonthStates {
                due: due_at.map_or(Ok(Vec::new()), |at| closer.due_of(&folder, beginning, &closed, at))?,
                lost_ledger: beginning.filter(is_lost).map(|it| holes(&folder, it.since)).transpose()?,
                comparisons: closer.ledger.comparisons(closer.tenant())?,
                closed,
            })
        })
        .await
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

    /// Closes `month`, or finds it closed already. Running and future months are for the caller to refuse.
    pub async fn close(&self, month: Month, options: &CloseOptions) -> Result<Outcome, CloseError> {
        if let Some(outcome) = self.settle_or_import(month).await? {
            return Ok(outcome);
        }
        let response = self.response(month, options).await?;
        let options = options.clone();
        self.blocking(move |closer| {
            let frozen = closer.freeze(month, response, &options)?;
            closer.record(FIRST, &frozen)
        })
        .await
    }

    /// Replaces the provisional report on `month`.
    pub async fn provisional(&self, month: Month) -> Result<Published, CloseError> {
        let response = self.response(month, &CloseOptions::preview()).await?;
        self.blocking(move |closer| {
            let frozen = closer.freeze(month, response, &CloseOptions::preview())?;
            Ok(closer.folder()?.provisional(&frozen.inputs())?)
        })
        .await
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
        let response = self.response(month, &CloseOptions::preview()).await?;
        self.blocking(move |closer| {
            let frozen = closer.freeze(month, response, &CloseOptions::preview())?;
            Ok(crate::report::write_copy(&frozen.inputs(), &out)?)
        })
        .await
    }

    /// What a report on `month` would say, without writing anything.
    pub async fn dry_run(&self, month: Month, options: &CloseOptions) -> Result<Summary, CloseError> {
        let options = CloseOptions { preview: true, ..options.clone() };
        let response = self.response(month, &options).await?;
        self.blocking(move |closer| {
            let frozen = closer.freeze(month, response, &options)?;
            Ok(crate::report::dry_run(&frozen.inputs())?)
        })
        .await
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
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let work = move || {
            let _permit = permit;
            work(closer)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
