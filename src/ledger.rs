//! The record of what our polls saw and of the months that were closed: one `SQLite` file.
//!
//! Polls come from `poll`, revisions from `close`; observed seconds go to `usage`. One thread
//! writes, each poll in one transaction; readers have connections of their own and wait for nobody.
//! Nothing that `/metrics` needs ever waits for this file.

mod copy;
mod differences;
mod error;
mod identity;
mod observations;
mod open;
mod readers;
mod retention;
mod revisions;
mod statistics;
mod validity;

pub use copy::{Description, RevisionDescription, TenantDescription, backup, check, export, inspect};
pub use differences::{CONFIRMED_AFTER, ChangedSeconds, Compared, Comparison, DifferenceState, Reading};
pub use error::LedgerError;
pub use retention::Dropped;
pub use revisions::{Beginning, RevisionRow};
pub use statistics::Statistics;
pub use validity::NamesAndSizes;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use self::identity::{Fate, Identity};
use self::readers::Readers;
use crate::filesystem;
use crate::observe::{Known, NotLater, Observations, State};
use crate::period::{Month, Period};
use crate::snapshot::{Cloud, InstanceType, InventoryData, Text};

/// Writes that may wait for their turn. A tenant has one poll under way at a time, so this is
/// enough for hundreds of tenants on a disk that stands for a while.
const WAITING: usize = 256;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);

/// An open ledger. Clones share it.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    readers: Readers,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    statistics: Arc<Statistics>,
    /// Held as long as the ledger is open, so that no second daemon records polls.
    _lock: Option<File>,
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the writing thread has.
struct Writer {
    path: PathBuf,
    connection: Connection,
    /// The files that the connection has open.
    identity: Identity,
    /// Whether the files were not those at the latest check.
    is_lost: bool,
    /// What was recorded, so that a poll without changes reads nothing.
    states: HashMap<Text, State>,
    /// The clouds of the latest recorded poll.
    clouds: HashMap<Text, Vec<Cloud>>,
    /// Time of the first poll that was not recorded since the clock stands behind a recorded one.
    behind: HashMap<Text, Timestamp>,
    statistics: Arc<Statistics>,
}

/// A VM that was not gone when the newest poll was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its cloud.
    pub cloud_id: Text,
    /// Its id.
    pub vm_id: Text,
}

/// When each VM of a recorded poll was first seen in its status, in the order of the poll's VMs.
pub type Since = Vec<Option<Timestamp>>;

impl Ledger {
    /// Opens the ledger as the daemon does: made if there is none, and for one daemon only.
    ///
    /// # Errors
    /// [`LedgerError::Emptied`] if the file has 0 bytes beside the lock or the log of a ledger.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let lock = open::lock_path(path);
        refuse_emptied(path, [lock.as_path(), &identity::log_path(path)])?;
        let at_lock = |source| LedgerError::File { path: lock.clone(), source };
        let file = filesystem::open_lock(&lock).map_err(at_lock)?;
        match file.try_lock() {
            Ok(()) => Self::start(path, Some(file)),
            Err(TryLockError::WouldBlock) => Err(LedgerError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(at_lock(error)),
        }
    }

    /// Refuses a ledger of 0 bytes if `directory`, which holds reports that a ledger recorded, exists.
    pub fn refuse_emptied(path: &Path, directory: &Path) -> Result<(), LedgerError> {
        refuse_emptied(path, [directory])
    }

    /// Opens the ledger beside a daemon that may be running: revisions are written in turns, and no
    /// polls are recorded.
    ///
    /// # Errors
    /// [`LedgerError::NotALedger`] if the file has 0 bytes, because its observations may be lost.
    pub fn beside(path: &Path) -> Result<Self, LedgerError> {
        refuse_emptied(path, [open::lock_path(path).as_path(), &identity::log_path(path)])?;
        if has_no_bytes(path) {
            return Err(LedgerError::NotALedger(path.to_owned()));
        }
        Self::start(path, None)
    }

    /// Opens the ledger for reading alone: nothing is made, and every write is refused.
    #[must_use]
    pub fn read_only(path: &Path) -> Self {
        let statistics = Arc::new(Statistics::new(path));
        let (path, readers) = (path.to_owned(), Readers::new(path.to_owned()));
        Self(Arc::new(Shared { path, readers, jobs: None, thread: None, statistics, _lock: None }))
    }

    fn start(path: &Path, lock: Option<File>) -> Result<Self, LedgerError> {
        let connection = open::writer(path)?;
        let statistics = Arc::new(Statistics::new(path));
        statistics.look();
        let (jobs, waiting) = sync_channel(WAITING);
        let (states, clouds, behind) = (HashMap::new(), HashMap::new(), HashMap::new());
        let writer = Writer {
            path: path.to_owned(),
            connection,
            identity: Identity::of(path),
            is_lost: false,
            states,
            clouds,
            behind,
            statistics: Arc::clone(&statistics),
        };
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || work(writer, waiting))
            .map_err(|source| LedgerError::File { path: path.to_owned(), source })?;
        let (path, jobs, thread) = (path.to_owned(), Some(jobs), Some(thread));
        let readers = Readers::new(path.clone());
        Ok(Self(Arc::new(Shared { path, readers, jobs, thread, statistics, _lock: lock })))
    }

    /// Looks at the ledger's files every few seconds until `shutdown` turns true: a scrape that looked
    /// itself would hang with the disk.
    pub async fn look_at_files(self, mut shutdown: watch::Receiver<bool>) {
        let looks = async {
            loop {
                tokio::time::sleep(LOOK).await;
                let ledger = self.clone();
                // A panic is in the log already, and what it shows of the files grows old.
                let _ = tokio::task::spawn_blocking(move || ledger.statistics().look()).await;
                // A ledger that is lost is counted and logged; a full queue is checked the next time.
                let checked = self.send(Writer::check_files).ok();
                if let Some(checked) = checked
                    && let Ok(Err(error)) = checked.await
                {
                    self.0.statistics.failed(&error);
                }
            }
        };
        tokio::select! {
            () = looks => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    /// Figures about the ledger.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }

    /// Records a complete poll of the inventory made at `at`; `longest_gap` is the longest time
    /// between two polls that counts as observed.
    ///
    /// A poll that is not later than the newest recorded one is not recorded: the clock was set
    /// back, and counting that time again would count it double. It counts as a failure, unless both
    /// are of the same second.
    pub async fn observe(
        &self,
        tenant: Text,
        at: Timestamp,
        longest_gap: Duration,
        data: Arc<InventoryData>,
    ) -> Result<Since, LedgerError> {
        let result = self
            .run(move |writer| {
                let recorded = writer.observe(&tenant, at, longest_gap, &data);
                // The caller's is the only one again when it learns of the result.
                drop(data);
                recorded
            })
            .await;
        if let Err(error) = &result {
            self.0.statistics.failed(error);
        }
        result
    }

    /// Returns the clouds of a tenant in the latest recorded poll, and the VMs that existed at that
    /// time, sorted by id.
    pub async fn recorded(&self, tenant: Text) -> Result<(Vec<Cloud>, Vec<Recorded>), LedgerError> {
        let of = |(vm_id, known): (&Text, &Known)| Recorded {
            cloud_id: known.cloud_id.clone(),
            vm_id: vm_id.clone(),
        };
        self.run(move |writer| {
            let vms = writer.state(&tenant)?.vms.iter().map(of).collect();
            Ok((writer.clouds.get(&tenant).cloned().unwrap_or_default(), vms))
        })
        .await
    }

    /// What polls up to `until` prove of the VMs that lived in `period`. Blocks.
    pub fn observations(
        &self,
        tenant: &str,
        period: Period,
        until: Timestamp,
    ) -> Result<Observations, LedgerError> {
        self.0.readers.read(|connection| {
            // One transaction: polls and events of one moment.
            let transaction = connection.transaction()?;
            match observations::known_tenant(&transaction, tenant)? {
                Some(tenant) => observations::observations(&transaction, tenant, period, until),
                None => Ok(Observations::default()),
            }
        })
    }

    /// Records the catalogue of a tenant at `at`: instance types that are new, changed or gone.
    pub async fn record_catalogue(
        &self,
        tenant: Text,
        at: Timestamp,
        types: Vec<InstanceType>,
    ) -> Result<(), LedgerError> {
        let result = self
            .run(move |writer| {
                writer.transaction(|transaction| {
                    let tenant = observations::tenant(transaction, &tenant)?;
                    validity::record_catalogue(transaction, tenant, at, &types)
                })
            })
            .await;
        if let Err(error) = &result {
            self.0.statistics.failed(error);
        }
        result
    }

    /// Names and sizes as they were observed in `period`. Blocks.
    pub fn names_and_sizes(&self, tenant: &str, period: Period) -> Result<NamesAndSizes, LedgerError> {
        self.0.readers.read(|connection| {
            let transaction = connection.transaction()?;
            match observations::known_tenant(&transaction, tenant)? {
                Some(tenant) => validity::names_and_sizes(&transaction, tenant, period),
                None => Ok(NamesAndSizes::default()),
            }
        })
    }

    /// When the tenant's recorded months begin; `None` before the first start. Blocks.
    pub fn beginning(&self, tenant: &str) -> Result<Option<Beginning>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => revisions::beginning(connection, tenant),
            None => Ok(None),
        })
    }

    /// The months in which polls were recorded, each with the time of its latest poll. Blocks.
    pub fn polled_months(&self, tenant: &str) -> Result<BTreeMap<Month, Timestamp>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => observations::polled_months(connection, tenant),
            None => Ok(BTreeMap::new()),
        })
    }

    /// Records when the tenant's months begin, unless that is known; returns what is known then. Blocks
    /// until it is durable.
    pub fn begin(&self, tenant: &str, new: Beginning) -> Result<Beginning, LedgerError> {
        let tenant = tenant.to_owned();
        self.run_blocking(move |writer| {
            writer.transaction(|transaction| revisions::begin(transaction, &tenant, new))
        })
    }

    /// Replaces the first month `recorded`, which was recorded with a wrong clock, by `since`. Returns
    /// the tenant's first month as stored after the change. Blocks until the change is durable.
    pub fn correct_beginning(
        &self,
        tenant: &str,
        recorded: Month,
        since: Month,
    ) -> Result<Beginning, LedgerError> {
        let tenant = tenant.to_owned();
        self.run_blocking(move |writer| {
            writer.transaction(|transaction| {
                revisions::correct_beginning(transaction, &tenant, recorded, since)
            })
        })
    }

    /// Counts a poll that is not recorded because the local clock differs from the API's.
    #[must_use = "the caller reports it"]
    pub fn refuse_clock(&self, ahead_seconds: i64) -> LedgerError {
        let error = LedgerError::ClockDiffers { ahead_seconds };
        self.0.statistics.failed(&error);
        error
    }

    /// The newest revision of a month. Blocks.
    pub fn revision(&self, tenant: &str, month: Month) -> Result<Option<RevisionRow>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => revisions::newest(connection, tenant, month),
            None => Ok(None),
        })
    }

    /// Records a revision, unless it is recorded already; the one that is recorded then. Blocks
    /// until it is durable.
    pub fn record_revision(
        &self,
        tenant: &str,
        month: Month,
        row: RevisionRow,
    ) -> Result<RevisionRow, LedgerError> {
        let tenant = tenant.to_owned();
        self.run_blocking(move |writer| {
            writer.transaction(|transaction| revisions::insert(transaction, &tenant, month, row))
        })
    }

    /// One revision of a month. Blocks.
    pub fn revision_at(
        &self,
        tenant: &str,
        month: Month,
        revision: u32,
    ) -> Result<Option<RevisionRow>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => revisions::at(connection, tenant, month, revision),
            None => Ok(None),
        })
    }

    /// When each month of the tenant got its newest revision, if it is published. Blocks.
    pub fn closed_at(&self, tenant: &str) -> Result<BTreeMap<Month, Timestamp>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => revisions::closed_at(connection, tenant),
            None => Ok(BTreeMap::new()),
        })
    }

    /// Records that a pending revision is now made with other bytes, as by another version of this
    /// program; one that is published never changes. Blocks until it is durable.
    pub fn remade(&self, tenant: &str, month: Month, revision: u32, digest: &str) -> Result<(), LedgerError> {
        let (tenant, digest) = (tenant.to_owned(), digest.to_owned());
        self.run_blocking(move |writer| {
            writer
                .transaction(|transaction| revisions::remade(transaction, &tenant, month, revision, &digest))
        })
    }

    /// Records a comparison of a closed month's `revision` with the provider's current report; `reading`
    /// is `None` if nothing that counts differs. Blocks until it is durable.
    pub fn record_comparison(
        &self,
        tenant: &str,
        month: Month,
        revision: u32,
        at: Timestamp,
        reading: Option<Reading>,
    ) -> Result<Compared, LedgerError> {
        let tenant = tenant.to_owned();
        self.run_blocking(move |writer| {
            writer.transaction(|transaction| {
                differences::record(transaction, &tenant, month, revision, at, reading.as_ref())
            })
        })
    }

    /// Waives the difference `current` of a closed month and ends the month's other differences.
    /// Without `current`, waives the differences that are read or open. Returns whether a difference
    /// was waived. Blocks until the change is durable.
    pub fn waive(
        &self,
        tenant: &str,
        month: Month,
        revision: u32,
        at: Timestamp,
        reason: &str,
        current: Option<Reading>,
    ) -> Result<bool, LedgerError> {
        let (tenant, reason) = (tenant.to_owned(), reason.to_owned());
        self.run_blocking(move |writer| {
            writer.transaction(|transaction| {
                differences::waive(transaction, &tenant, month, revision, at, &reason, current.as_ref())
            })
        })
    }

    /// The open difference of each closed month that has one. Blocks.
    pub fn open_differences(&self, tenant: &str) -> Result<BTreeMap<Month, ChangedSeconds>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => differences::open(connection, tenant),
            None => Ok(BTreeMap::new()),
        })
    }

    /// The latest comparison of each closed month's current revision. Blocks.
    pub fn comparisons(&self, tenant: &str) -> Result<BTreeMap<Month, Comparison>, LedgerError> {
        self.0.readers.read(|connection| match observations::known_tenant(connection, tenant)? {
            Some(tenant) => differences::latest(connection, tenant),
            None => Ok(BTreeMap::new()),
        })
    }

    /// Says that a revision's files are in place. Blocks until it is durable.
    pub fn published(&self, tenant: &str, month: Month, revision: u32) -> Result<(), LedgerError> {
        let tenant = tenant.to_owned();
        self.run_blocking(move |writer| {
            writer.transaction(|transaction| revisions::published(transaction, &tenant, month, revision))
        })
    }

    /// Drops what only tells of the time before `before`: what is asked of later periods is answered
    /// as ever. Blocks.
    pub fn drop_before(&self, tenant: &str, before: Timestamp) -> Result<Dropped, LedgerError> {
        let tenant = tenant.to_owned();
        self.run_blocking(move |writer| match observations::known_tenant(&writer.connection, &tenant)? {
            Some(tenant) => retention::drop_before(&mut writer.connection, tenant, before),
            None => Ok(Dropped::default()),
        })
    }

    /// Hands work to the writing thread, without waiting for a place in the queue.
    fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, LedgerError>>, LedgerError> {
        let (done, result) = oneshot::channel();
        let path = self.0.path.clone();
        let job: Job = Box::new(move |writer| {
            // Nobody may be waiting any more; the work is done all the same.
            let result = work(writer).map_err(|error| error.at(&path));
            let _ = done.send(result);
        });
        match self.0.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(result),
            Some(Err(TrySendError::Full(_))) => Err(LedgerError::Busy),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(LedgerError::Closed),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.send(work)?.await.unwrap_or(Err(LedgerError::Closed))
    }

    fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let result = self.send(work)?.blocking_recv().unwrap_or(Err(LedgerError::Closed));
        if let Err(error) = &result {
            self.0.statistics.failed(error);
        }
        result
    }
}

impl Drop for Shared {
    /// What was handed over is written before the lock goes.
    fn drop(&mut self) {
        // The last connection that closes moves the log into the file. This must be the connection of the writer.
        self.readers.close();
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's thread panicked");
        }
    }
}

fn work(mut writer: Writer, jobs: Receiver<Job>) {
    for job in jobs {
        job(&mut writer);
    }
}

impl Writer {
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.check_files()?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        // What went into a file that was deleted meanwhile is not recorded.
        self.check_files()?;
        Ok(done)
    }

    /// Makes sure that the open files are those on disk. A ledger that was replaced by another one, or
    /// is back, is opened again; one that is gone is never created.
    fn check_files(&mut self) -> Result<(), LedgerError> {
        let fate = self.identity.check();
        if fate == Fate::Same && !self.is_lost {
            return Ok(());
        }
        let lost = match fate {
            Fate::Deleted => LedgerError::Deleted(self.path.clone()),
            Fate::Same | Fate::Replaced => LedgerError::Replaced(self.path.clone()),
        };
        if !std::mem::replace(&mut self.is_lost, true) {
            tracing::error!(error = %lost, "the ledger is lost");
            return Err(lost);
        }
        if fate == Fate::Deleted {
            return Err(lost);
        }
        self.connection = open::existing_writer(&self.path)?;
        self.identity = Identity::of(&self.path);
        self.is_lost = false;
        // What is known is what the file says.
        self.states.clear();
        self.clouds.clear();
        self.behind.clear();
        tracing::warn!(path = %self.path.display(), "the ledger is back and was opened again");
        Ok(())
    }

    /// What was recorded of a tenant; read when it is not known yet.
    fn state(&mut self, tenant: &Text) -> Result<&State, LedgerError> {
        if !self.states.contains_key(tenant) {
            let (state, clouds) = self.transaction(|transaction| {
                let tenant = observations::tenant(transaction, tenant)?;
                observations::normalise_ids(transaction, tenant)?;
                let clouds = validity::current_clouds(transaction, tenant)?;
                Ok((observations::state(transaction, tenant)?, clouds))
            })?;
            self.states.insert(tenant.clone(), state);
            self.clouds.insert(tenant.clone(), clouds);
        }
        Ok(&self.states[tenant])
    }

    fn observe(
        &mut self,
        tenant: &Text,
        at: Timestamp,
        longest_gap: Duration,
        data: &InventoryData,
    ) -> Result<Since, LedgerError> {
        self.state(tenant)?;
        let mut state = self.states.remove(tenant).unwrap_or_default();
        let step = match state.step(at, longest_gap, data) {
            Ok(step) => step,
            Err(early) => {
                self.not_later(tenant, early);
                let since = since(&state, data);
                self.states.insert(tenant.clone(), state);
                return Ok(since);
            }
        };
        // On failure the state is forgotten, and read again from what is really there.
        let known = self.clouds.remove(tenant).unwrap_or_default();
        self.transaction(|transaction| {
            let tenant = observations::tenant(transaction, tenant)?;
            validity::record_clouds(transaction, tenant, step.at, &known, &data.clouds)?;
            observations::record(transaction, tenant, &step, data.vms.len())
        })?;
        self.clouds.insert(tenant.clone(), data.clouds.clone());
        if let Some(since) = self.behind.remove(tenant) {
            tracing::info!(tenant = &**tenant, %since, "polls are recorded again: the clock has passed the newest recorded one");
        }
        self.statistics.recorded(&step);
        state.apply(&step);
        let since = since(&state, data);
        self.states.insert(tenant.clone(), state);
        Ok(since)
    }

    /// Counts a poll that is not recorded because a recorded one is later, and says so once.
    fn not_later(&mut self, tenant: &Text, early: NotLater) {
        // Two polls within a second lose nothing.
        if early.at == early.last {
            return;
        }
        let NotLater { at, last } = early;
        let first = !self.behind.contains_key(tenant);
        let since = *self.behind.entry(tenant.clone()).or_insert(at);
        let ahead = last.duration_since(at).as_secs();
        if first {
            tracing::error!(tenant = &**tenant, newest = %last, %since, seconds = ahead, "polls are not recorded: the newest recorded one is later, so the clock was set back or was ahead then");
        } else {
            tracing::debug!(tenant = &**tenant, newest = %last, %since, seconds = ahead, "a poll is not recorded");
        }
        self.statistics.failed(&early.into());
    }
}

/// Refuses a ledger of 0 bytes beside any file that shows that it was not always empty.
fn refuse_emptied<'a>(path: &Path, others: impl IntoIterator<Item = &'a Path>) -> Result<(), LedgerError> {
    if has_no_bytes(path)
        && let Some(other) = others.into_iter().find(|other| other.exists())
    {
        let evidence = other.display().to_string();
        return Err(LedgerError::Emptied { path: path.to_owned(), evidence });
    }
    Ok(())
}

fn has_no_bytes(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() == 0)
}

/// Both are in the order of ids.
fn since(state: &State, data: &InventoryData) -> Since {
    let mut known = state.vms.iter().peekable();
    let mut since = Vec::with_capacity(data.vms.len());
    for vm in &*data.vms {
        while known.next_if(|(id, _)| **id < vm.id).is_some() {}
        let found = known.next_if(|(id, known)| **id == vm.id && known.status == vm.status);
        since.push(found.map(|(_, known)| known.since));
    }
    since
}
