//! Slots for work that unauthenticated clients can cause: pages and lists.
//!
//! Each kind of work has its own slots and runs on threads of the web server. Therefore the work never waits for,
//! or blocks, the threads of polls, the closing of months, TLS handshakes and password checks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Number of slots per kind of work. More slots would take processor time from polls.
const SLOTS: usize = 2;

/// Maximum time for which a request waits for a slot. It is shorter than the timeout of a scrape and of a refresh of
/// service discovery, so that the client receives the reason.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// No slot became free in time.
    Busy,
    /// The work panicked.
    Panicked,
}

/// The slots of one kind of work.
#[derive(Clone, Debug)]
pub struct WorkSlots {
    slots: Arc<Semaphore>,
    patience: Duration,
}

impl Default for WorkSlots {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(SLOTS)), patience: PATIENCE }
    }
}

impl WorkSlots {
    /// Runs `work` on another thread before the response begins.
    ///
    /// # Errors
    /// [`NotDone::Busy`] if no slot becomes free in time, [`NotDone::Panicked`] if `work` panics.
    pub async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let slot = timeout(self.patience, self.slot()).await.map_err(|_| NotDone::Busy)??;
        run(slot, work).await
    }

    /// Runs `work` on another thread for a response that has begun. Waits for a slot without a limit.
    ///
    /// # Errors
    /// [`NotDone::Panicked`] if `work` panics.
    pub async fn resume<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        run(self.slot().await?, work).await
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, NotDone> {
        // The semaphore is never closed.
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_| NotDone::Busy)
    }
}

async fn run<T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    let work = move || {
        // Held until the work is done, even if the client has disconnected.
        let _slot = slot;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| NotDone::Panicked)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn request_without_free_slot_is_refused() {
        let slots = WorkSlots { patience: Duration::from_millis(20), ..WorkSlots::default() };
        let (end, ends): (Vec<_>, Vec<_>) = (0..SLOTS).map(|_| mpsc::channel::<()>()).unzip();
        let taken: Vec<_> = ends
            .into_iter()
            .map(|end| {
                let slots = slots.clone();
                tokio::spawn(async move { slots.resume(move || end.recv().is_err()).await })
            })
            .collect();
        while slots.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slots.begin(|| 1).await, Err(NotDone::Busy));
        drop(end);
        for work in taken {
            assert_eq!(work.await.unwrap(), Ok(true));
        }
        assert_eq!(slots.begin(|| 1).await, Ok(1));
        assert_eq!(slots.begin(|| panic!("expected by this test")).await, Err::<(), _>(NotDone::Panicked));
        assert_eq!(slots.begin(|| 2).await, Ok(2));
    }
}
