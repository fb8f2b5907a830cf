//! Closing a tenant's months: which are due, and one of them from the API to its files.
//!
//! Reads `api`, writes through `report`. The scheduler and the command `report` both come here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{self, Client, Reason};
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::period::Month;
use crate::report::{Folder, Inputs, Outcome, Published, ReportError, Summary};
use crate::snapshot::{Cloud, InstanceType};
use crate::usage::NoWitness;

/// Longest time to fetch what a month is made from.
const DEADLINE: Duration = Duration::from_mins(30);

/// Name of the file, in the tenant's folder, that holds the month of the first start: the record
/// of what later starts must not miss.
const SINCE: &str = ".since";

/// Closes the months of one tenant.
#[derive(Clone, Debug)]
pub struct Closer {
    tenant: Arc<Tenant>,
    client: Client,
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
}

impl CloseError {
    /// The value of the label `reason`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Api(error) => error.reason(),
            Self::Report(error) => error.reason(),
        }
    }
}

/// What a month's report is made from, beside the configuration.
#[derive(Debug)]
pub struct Fetched {
    monthly: api::Monthly,
    clouds: Vec<Cloud>,
    instance_types: Vec<InstanceType>,
    at: Timestamp,
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
    pub fn new(tenant: Arc<Tenant>, client: Client, clock: Clock, config: Arc<Config>) -> Self {
        Self { tenant, client, clock, config }
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
    /// has no final report, oldest first.
    pub fn due(&self, now: Timestamp) -> Result<Vec<Month>, ReportError> {
        let folder = self.folder()?;
        let mut month = self.since(folder.path(), now)?.earlier_by(self.config.report.backfill);
        let mut due = Vec::new();
        while self.standing(month, now) == Standing::Ended {
            if folder.current(month)?.is_none() {
                due.push(month);
            }
            month = month.next();
        }
        Ok(due)
    }

    /// When a month that has ended can be closed, if one is still settling at `now`.
    #[must_use]
    pub fn settles_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.standing(Month::of(now).previous(), now) {
            Standing::Settling(at) => Some(at),
            _ => None,
        }
    }

    /// The month of the first start, written down when it is not known yet.
    fn since(&self, folder: &Path, now: Timestamp) -> Result<Month, ReportError> {
        let path = folder.join(SINCE);
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|error| ReportError::damaged(&path, &error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let month = Month::of(now);
                crate::report::write_whole(&path, format!("{month}\n").as_bytes())?;
                Ok(month)
            }
            Err(error) => Err(ReportError::storage(&path, error)),
        }
    }

    /// Fetches what the report on `month` is made from.
    pub async fn fetch(&self, month: Month) -> Result<Fetched, CloseError> {
        let run = self.client.run(DEADLINE);
        let (monthly, clouds, instance_types) =
            tokio::try_join!(run.monthly(Some(month.period())), run.clouds(), run.instance_types())?;
        Ok(Fetched { monthly, clouds, instance_types, at: self.clock.now() })
    }

    /// Closes `month`, or finds it closed already. Running and future months are for the caller to refuse.
    pub async fn close(&self, month: Month) -> Result<Outcome, CloseError> {
        let folder = self.folder()?;
        if let Some(published) = folder.current(month)? {
            return Ok(Outcome::Already(published));
        }
        let fetched = self.fetch(month).await?;
        self.blocking(move |closer| Ok(closer.folder()?.publish(&closer.inputs(month, &fetched))?)).await
    }

    /// Replaces the provisional report on `month`.
    pub async fn provisional(&self, month: Month) -> Result<Published, CloseError> {
        let fetched = self.fetch(month).await?;
        self.blocking(move |closer| Ok(closer.folder()?.provisional(&closer.inputs(month, &fetched))?)).await
    }

    /// Writes a copy of the report on `month` into `out` and closes nothing: the closed files if
    /// there are any, else a provisional report.
    pub async fn copy(&self, month: Month, out: PathBuf) -> Result<Published, CloseError> {
        let folder = self.folder()?;
        if let Some(published) = folder.current(month)? {
            return self.blocking(move |_| Ok(published.copy_to(&out)?)).await;
        }
        let fetched = self.fetch(month).await?;
        self.blocking(move |closer| Ok(crate::report::write_copy(&closer.inputs(month, &fetched), &out)?))
            .await
    }

    /// What a report on `month` would say, without writing anything.
    pub async fn dry_run(&self, month: Month) -> Result<Summary, CloseError> {
        let fetched = self.fetch(month).await?;
        self.blocking(move |closer| Ok(crate::report::dry_run(&closer.inputs(month, &fetched))?)).await
    }

    fn inputs<'a>(&'a self, month: Month, fetched: &'a Fetched) -> Inputs<'a> {
        Inputs {
            tenant: &self.tenant.name,
            month,
            monthly: &fetched.monthly.report,
            body: &fetched.monthly.body,
            clouds: &fetched.clouds,
            instance_types: &fetched.instance_types,
            prices: self.tenant.prices.as_deref(),
            group_by: &self.tenant.group_by,
            tag_rules: &self.config.report.tag_rules,
            excel_bom: self.config.report.excel_bom,
            fetched_at: fetched.at,
            witness: &NoWitness,
        }
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
