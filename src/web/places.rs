//! Connection slots of all listeners. Their number is limited, but a new connection always gets a slot.
//!
//! If all slots are in use, another connection is closed. It is the connection with the oldest last request of the
//! group of addresses with the most connections. Therefore silent clients and slow readers cannot block a scraper:
//! its connection is newer, or it has another address. If a scraper had to wait for their time limits, it would
//! exceed its own timeout.
//!
//! Connections without a request can take at most three quarters of the slots from other connections. Therefore a
//! flood of such connections does not close all connections that are served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::peer::Peer;
use crate::self_metrics::Rejection;

/// All slots.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    taken: Mutex<Taken>,
}

/// The slots that are taken.
#[derive(Debug, Default)]
struct Taken {
    /// By the turn of each connection's latest request or arrival.
    by_turn: BTreeMap<u64, Connection>,
    /// The turns of each group's connections that have sent no request yet.
    new: BTreeMap<Peer, BTreeSet<u64>>,
    /// The turns of each group's other connections.
    asked: BTreeMap<Peer, BTreeSet<u64>>,
    /// The latest turn.
    turn: u64,
}

#[derive(Debug)]
struct Connection {
    peer: Peer,
    has_asked: bool,
    /// Ends the connection.
    end: oneshot::Sender<Rejection>,
}

/// The slot of one connection; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    /// Its turn, and when that was.
    newest: Mutex<(u64, Instant)>,
    /// Whether its connection can be idle until the limit for connections without a request. An idle HTTP/1
    /// connection ends earlier, because the head of its next request has a shorter limit.
    may_be_idle: AtomicBool,
}

/// Reason why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A newer connection needs the slot or the file descriptor.
    Rejected(Rejection),
    /// It has sent no request for too long, and may have been idle.
    Idle,
    /// It has sent no request for too long, and has not received its complete response.
    Slow,
}

impl Places {
    /// Creates `limit` slots, at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), taken: Mutex::default() })
    }

    /// A slot for a new connection, and what [`Place::lost`] waits for.
    pub fn take(self: &Arc<Self>, peer: Peer) -> (Place, oneshot::Receiver<Rejection>) {
        let (end, ended) = oneshot::channel();
        let mut taken = self.taken();
        if taken.by_turn.len() >= self.limit {
            taken.end_one(self.limit, Rejection::Limit);
        }
        let turn = taken.put(Connection { peer, has_asked: false, end });
        let newest = Mutex::new((turn, Instant::now()));
        (Place { places: Arc::clone(self), newest, may_be_idle: AtomicBool::new(false) }, ended)
    }

    /// Ends the connection that a new one would replace; returns whether there was one.
    pub fn make_room(&self) -> bool {
        self.taken().end_one(self.limit, Rejection::Descriptors)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Gives a connection the latest turn; returns the turn.
    fn put(&mut self, connection: Connection) -> u64 {
        self.turn += 1;
        let turn = self.turn;
        self.turns(connection.has_asked).entry(connection.peer).or_default().insert(turn);
        self.by_turn.insert(turn, connection);
        turn
    }

    fn remove(&mut self, turn: u64) -> Option<Connection> {
        let connection = self.by_turn.remove(&turn)?;
        let turns = self.turns(connection.has_asked);
        if let Some(of_peer) = turns.get_mut(&connection.peer) {
            of_peer.remove(&turn);
            if of_peer.is_empty() {
                turns.remove(&connection.peer);
            }
        }
        Some(connection)
    }

    fn turns(&mut self, has_asked: bool) -> &mut BTreeMap<Peer, BTreeSet<u64>> {
        if has_asked { &mut self.asked } else { &mut self.new }
    }

    fn end_one(&mut self, limit: usize, reason: Rejection) -> bool {
        let new: usize = self.new.values().map(BTreeSet::len).sum();
        let has_asked = !self.asked.is_empty() && new < limit - limit / 4;
        // Of equal groups, the one whose oldest turn is the oldest.
        let most = |turns: &&BTreeSet<u64>| (turns.len(), std::cmp::Reverse(turns.first().copied()));
        let oldest = self.turns(has_asked).values().max_by_key(most).and_then(BTreeSet::first).copied();
        let Some(connection) = oldest.and_then(|turn| self.remove(turn)) else { return false };
        // It may have ended already.
        let _ = connection.end.send(reason);
        true
    }
}

impl Place {
    /// Its connection sends a request.
    pub fn asks(&self) {
        let mut newest = self.newest();
        let mut taken = self.places.taken();
        // It may just have been lost.
        if let Some(connection) = taken.remove(newest.0) {
            *newest = (taken.put(Connection { has_asked: true, ..connection }), Instant::now());
        }
    }

    /// Its connection may be idle for long.
    pub fn may_be_idle(&self) {
        self.may_be_idle.store(true, Ordering::Relaxed);
    }

    /// Whether its connection has sent a request.
    pub fn has_asked(&self) -> bool {
        let turn = self.newest().0;
        self.places.taken().by_turn.get(&turn).is_some_and(|connection| connection.has_asked)
    }

    /// Returns when the connection has to end: a newer one needs the slot, or it has sent no request for
    /// `longest`.
    pub async fn lost(&self, ended: oneshot::Receiver<Rejection>, longest: Duration) -> Lost {
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
            reason = ended => Lost::Rejected(reason.unwrap_or(Rejection::Limit)),
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
        self.places.taken().remove(turn);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    type Taking = (Place, oneshot::Receiver<Rejection>);

    fn take(places: &Arc<Places>, from: u8) -> Taking {
        places.take(Peer::from(IpAddr::from([10, 0, 0, from])))
    }

    fn is_lost((_, ended): &mut Taking) -> bool {
        ended.try_recv() == Ok(Rejection::Limit)
    }

    #[test]
    fn oldest_request_makes_room() {
        let places = Places::new(3);
        let [mut first, mut second, mut third] = [1, 1, 1].map(|from| take(&places, from));
        for (place, _) in [&first, &second, &third, &first] {
            place.asks();
        }
        let fourth = take(&places, 1);
        assert_eq!([&mut first, &mut second, &mut third].map(is_lost), [false, true, false]);
        // A lost slot does not return by a request, and its end frees no other slot.
        second.0.asks();
        drop(second);
        assert!(!is_lost(&mut first) && !is_lost(&mut third));
        // A connection that ends makes room.
        drop(third);
        let fifth = take(&places, 1);
        assert!(!is_lost(&mut first));
        drop((first, fourth, fifth));
        let taken = places.taken();
        assert!(taken.by_turn.is_empty() && taken.new.is_empty() && taken.asked.is_empty());
    }

    #[test]
    fn connections_without_request_leave_slots_to_others() {
        let places = Places::new(4);
        let mut served: Vec<_> = (0..4).map(|_| take(&places, 1)).collect();
        for (place, _) in &served {
            place.asks();
        }
        let mut silent: Vec<_> = (0..9).map(|_| take(&places, 1)).collect();
        assert_eq!(served.iter_mut().map(is_lost).collect::<Vec<_>>(), [true, true, true, false]);
        let lost: Vec<_> = silent.iter_mut().map(is_lost).collect();
        assert_eq!(lost, [true, true, true, true, true, true, false, false, false]);
    }

    #[test]
    fn address_with_the_most_connections_loses_one() {
        let places = Places::new(4);
        let mut scraper = take(&places, 1);
        let mut flood: Vec<_> = (0..9).map(|_| take(&places, 2)).collect();
        assert!(!is_lost(&mut scraper));
        assert_eq!(flood.iter_mut().filter_map(|one| is_lost(one).then_some(())).count(), 6);
    }
}
