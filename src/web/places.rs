//! Places for connections: there are only so many, and a new connection always gets one.
//!
//! When all are taken, the connection whose newest request is longest ago makes room; one that has
//! not asked anything yet counts from its arrival. So neither silent clients nor slow readers, however
//! many, keep a scraper out: it is newer than they are. If it had to wait for one of them to be cut
//! off, it would wait for longer than scrapers do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether its connection has asked anything.
    has_asked: AtomicBool,
    /// Whether its connection may be idle for long. HTTP/1 ends idle connections earlier, by the limit for
    /// the head of the next request.
    may_be_idle: AtomicBool,
}

/// Why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A newer one needs the place.
    Replaced,
    /// It asked nothing for too long, and may have been idle.
    Idle,
    /// It asked nothing for too long, and has not taken all of its answer.
    Slow,
}

impl Places {
    /// So many.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), taken: Mutex::default() })
    }

    /// A place for a new connection, what [`Place::lost`] waits for, and whether another connection has to
    /// go for it.
    pub fn take(self: &Arc<Self>) -> (Place, oneshot::Receiver<()>, bool) {
        let (keep, kept) = oneshot::channel();
        let mut taken = self.taken();
        let is_full = taken.by_turn.len() >= self.limit;
        if is_full {
            taken.by_turn.pop_first();
        }
        let turn = taken.put(keep);
        let newest = Mutex::new((turn, Instant::now()));
        let place = Place {
            places: Arc::clone(self),
            newest,
            has_asked: AtomicBool::new(false),
            may_be_idle: AtomicBool::new(false),
        };
        (place, kept, is_full)
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
        self.has_asked.store(true, Ordering::Relaxed);
        let mut newest = self.newest();
        let mut taken = self.places.taken();
        // It may have been lost a moment ago.
        if let Some(keep) = taken.by_turn.remove(&newest.0) {
            *newest = (taken.put(keep), Instant::now());
        }
    }

    /// Its connection may be idle for long.
    pub fn may_be_idle(&self) {
        self.may_be_idle.store(true, Ordering::Relaxed);
    }

    /// Whether its connection has asked anything.
    pub fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// Returns when the connection has to go: somebody newer needs the place, or it has asked nothing
    /// for `longest`.
    pub async fn lost(&self, kept: oneshot::Receiver<()>, longest: Duration) -> Lost {
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
            _ = kept => Lost::Replaced,
            () = silent => if self.may_be_idle.load(Ordering::Relaxed) { Lost::Idle } else { Lost::Slow },
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
        let (first, mut first_kept, _) = places.take();
        let (second, mut second_kept, _) = places.take();
        let (third, mut third_kept, _) = places.take();
        first.asks();
        let (fourth, mut fourth_kept, is_full) = places.take();
        assert!(is_full);
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
