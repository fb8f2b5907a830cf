//! Places for connections: there are only so many, and a new connection always gets one.
//!
//! When all are taken, the connection whose newest request is longest ago makes room; one that has
//! not asked anything yet counts from its arrival. So neither silent clients nor slow readers, however
//! many, keep a scraper out: it is newer than they are. If it had to wait for one of them to be cut
//! off, it would wait for longer than scrapers do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// All places.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    taken: Mutex<Taken>,
}

/// The places that are taken.
#[derive(Debug, Default)]
struct Taken {
    /// By the turn of each one's newest request or arrival; dropping the value ends the connection.
    by_turn: BTreeMap<u64, oneshot::Sender<()>>,
    /// The newest turn.
    turn: u64,
}

/// The place of one connection; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// Its turn, and when that was.
    newest: Mutex<(u64, Instant)>,
}

impl Places {
    /// So many.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), taken: Mutex::default() })
    }

    /// A place for a new connection, and what [`Place::lost`] waits for.
    pub fn take(self: &Arc<Self>) -> (Place, oneshot::Receiver<()>) {
        let (keep, kept) = oneshot::channel();
        let mut taken = self.taken();
        if taken.by_turn.len() >= self.limit {
            taken.by_turn.pop_first();
        }
        let turn = taken.put(keep);
        (Place { places: Arc::clone(self), newest: Mutex::new((turn, Instant::now())) }, kept)
    }

    /// Has the connection go that a newer one would replace; whether there was one.
    pub fn make_room(&self) -> bool {
        self.taken().by_turn.pop_first().is_some()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The newest of all.
    fn put(&mut self, keep: oneshot::Sender<()>) -> u64 {
        self.turn += 1;
        self.by_turn.insert(self.turn, keep);
        self.turn
    }
}

impl Place {
    /// Its connection asks something.
    pub fn asks(&self) {
        let mut newest = self.newest();
        let mut taken = self.places.taken();
        // It may have been lost a moment ago.
        if let Some(keep) = taken.by_turn.remove(&newest.0) {
            *newest = (taken.put(keep), Instant::now());
        }
    }

    /// Returns when the connection has to go: somebody newer needs the place, or it has asked nothing
    /// for `longest`.
    pub async fn lost(&self, kept: oneshot::Receiver<()>, longest: Duration) {
        let silent = async {
            loop {
                let end = self.newest().1 + longest;
                if end <= Instant::now() {
                    return;
                }
                sleep_until(end).await;
            }
        };
        tokio::select! {
            _ = kept => {}
            () = silent => {}
        }
    }

    fn newest(&self) -> MutexGuard<'_, (u64, Instant)> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let turn = self.newest().0;
        self.places.taken().by_turn.remove(&turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asked_longest_ago_makes_room() {
        let places = Places::new(3);
        let (first, mut first_kept) = places.take();
        let (second, mut second_kept) = places.take();
        let (third, mut third_kept) = places.take();
        first.asks();
        let (fourth, mut fourth_kept) = places.take();
        let lost =
            |kept: &mut oneshot::Receiver<()>| kept.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        let mut all = || [&mut first_kept, &mut second_kept, &mut third_kept, &mut fourth_kept].map(lost);
        assert_eq!(all(), [false, true, false, false]);
        // A lost place is not taken back by asking, and its end frees nobody else's.
        second.asks();
        drop(second);
        assert_eq!(all(), [false, true, false, false]);
        // One that leaves makes room by itself.
        drop(third);
        let fifth = places.take();
        assert_eq!(all(), [false, true, true, false]);
        drop((first, fourth, fifth));
        assert!(places.taken().by_turn.is_empty());
    }
}
