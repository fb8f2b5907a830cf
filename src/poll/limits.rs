//! State that the pollers of all tenants share and that is kept across reloads: limits of concurrent
//! work, and the failed runs.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backoff::Failures;
use crate::snapshot::Collector;

/// Most first polls, or polls just after a month began, at the same time. All tenants are due then.
const CROWDED: usize = 16;

/// A poll in a crowd that receives nothing for this long lets another begin: it costs nothing while it
/// waits, and an API that does not respond must not delay other tenants.
const IDLE: Duration = Duration::from_secs(2);

/// Most blocking steps of polls at the same time.
const BLOCKING: usize = 8;

/// Shared by the pollers of all tenants.
#[derive(Clone, Debug)]
pub struct Limits {
    crowd: Arc<Semaphore>,
    blocking: Arc<Semaphore>,
    failures: Failures,
    run_locks: Arc<Mutex<RunLocks>>,
}

/// The locks of all collectors.
type RunLocks = BTreeMap<(Arc<str>, Collector), RunLock>;

/// Held by the run in progress of a tenant's collector.
pub type RunLock = Arc<tokio::sync::Mutex<()>>;

impl Default for Limits {
    fn default() -> Self {
        Self {
            crowd: Arc::new(Semaphore::new(CROWDED)),
            blocking: Arc::new(Semaphore::new(BLOCKING)),
            failures: Failures::default(),
            run_locks: Arc::default(),
        }
    }
}

impl Limits {
    /// The failed runs of all collectors.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The lock that the runs of a collector hold, also those of an earlier configuration.
    #[must_use]
    pub fn run_lock(&self, tenant: &Arc<str>, collector: Collector) -> RunLock {
        let mut locks = self.run_locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Removes the locks of removed tenants.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry((Arc::clone(tenant), collector)).or_default())
    }

    /// Waits for a place in the crowd.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes it.
        Arc::clone(&self.crowd).acquire_owned().await.ok()
    }

    /// Does `work` on a thread for blocking calls; `None` if it panicked.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.blocking).acquire_owned().await.ok()?;
        let work = move || {
            // Held until the work is done, even if nobody waits for it any more.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// Does `work` and holds its `place` for as long as `received` grows.
pub async fn hold<T>(
    place: Option<OwnedSemaphorePermit>,
    received: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> T {
    hold_unless_idle(place, IDLE, received, work).await
}

async fn hold_unless_idle<T>(
    mut place: Option<OwnedSemaphorePermit>,
    idle: Duration,
    received: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut before = received();
    while place.is_some() {
        if let Ok(done) = tokio::time::timeout(idle, &mut work).await {
            return done;
        }
        let now = received();
        if now == before {
            place = None;
        }
        before = now;
    }
    work.await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn at_most_sixteen_begin_at_once() {
        let limits = Limits::default();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let poll = async || {
            let place = limits.place().await;
            let work = async {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
            };
            hold(place, || 0, work).await;
        };
        futures_util::future::join_all((0..100).map(|_| poll())).await;
        assert_eq!(most.load(Ordering::SeqCst), CROWDED);
    }

    /// Without that, this test would not end.
    #[tokio::test]
    async fn polls_without_a_response_delay_no_other() {
        let limits = Limits::default();
        for _ in 0..CROWDED {
            let place = limits.place().await;
            tokio::spawn(hold_unless_idle(place, SHORT, || 7, std::future::pending::<()>()));
        }
        assert!(limits.place().await.is_some());
    }

    #[tokio::test]
    async fn a_poll_that_receives_rows_keeps_its_place() {
        let limits = Limits::default();
        let (looks, seen, end) =
            (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let grows = {
            let (looks, seen) = (Arc::clone(&looks), Arc::clone(&seen));
            move || {
                let look = looks.fetch_add(1, Ordering::SeqCst);
                if look == 5 {
                    seen.notify_one();
                }
                look
            }
        };
        let (place, ended) = (limits.place().await, Arc::clone(&end));
        let work = async move { ended.notified().await };
        let poll = tokio::spawn(hold_unless_idle(place, SHORT, grows, work));
        seen.notified().await;
        assert_eq!(limits.crowd.available_permits(), CROWDED - 1);
        end.notify_one();
        poll.await.unwrap();
        assert_eq!(limits.crowd.available_permits(), CROWDED);
    }
}
