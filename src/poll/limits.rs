//! Bounds on what all tenants do at the same time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { crowd: Arc::new(Semaphore::new(CROWDED)), blocking: Arc::new(Semaphore::new(BLOCKING)) }
    }
}

impl Limits {
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
    mut place: Option<OwnedSemaphorePermit>,
    received: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut before = received();
    while place.is_some() {
        if let Ok(done) = tokio::time::timeout(IDLE, &mut work).await {
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn at_most_sixteen_begin_at_once() {
        let limits = Limits::default();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let poll = async || {
            let place = limits.place().await;
            let work = async {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
            };
            hold(place, || 0, work).await;
        };
        futures_util::future::join_all((0..100).map(|_| poll())).await;
        assert_eq!(most.load(Ordering::SeqCst), CROWDED);
    }

    #[tokio::test(start_paused = true)]
    async fn polls_without_a_response_delay_no_other() {
        let limits = Limits::default();
        for _ in 0..CROWDED {
            let place = limits.place().await;
            tokio::spawn(hold(place, || 7, std::future::pending::<()>()));
        }
        let started = tokio::time::Instant::now();
        assert!(limits.place().await.is_some());
        assert!(started.elapsed() <= IDLE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_receives_rows_keeps_its_place() {
        let limits = Limits::default();
        let received = Arc::new(AtomicU64::new(0));
        for _ in 0..CROWDED {
            let (place, grows) = (limits.place().await, Arc::clone(&received));
            let work = tokio::time::sleep(Duration::from_secs(60));
            tokio::spawn(hold(place, move || grows.fetch_add(1, Ordering::SeqCst), work));
        }
        let started = tokio::time::Instant::now();
        assert!(limits.place().await.is_some());
        assert!(started.elapsed() >= Duration::from_secs(60));
    }
}
