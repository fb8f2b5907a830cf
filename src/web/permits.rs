//! Permit queue for slow work that unauthenticated clients can cause: TLS handshakes and password checks.
//!
//! There is one permit. It goes to the group of addresses ([`Peer`]) that has waited longest since its previous
//! permit. Therefore a flood from few addresses delays a client of another address by few permits. Within a group,
//! the permit goes to the four latest requests in rotation. In arrival order, a scraper would wait behind all
//! requests of a flood, and most of their clients would already have disconnected. If only the latest request got
//! the permit, a flood whose clients send their next request at once would always have a later request.
//!
//! If too many requests wait, the oldest request of the group with the most requests is refused. A proxy with many
//! clients needs no exemption, because groups only order requests and limit no rate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::peer::Peer;

/// Number of the latest requests of a group that get permits in rotation.
const ROTATION: usize = 4;

/// The order in which requests of different classes get the permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Before all others.
    First,
    Ordinary,
}

/// The queue for the permit.
#[derive(Debug)]
pub struct PermitQueue {
    max_waiting: usize,
    state: Mutex<State>,
    /// Notified when a request no longer waits.
    fewer: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_taken: bool,
    /// Number of permits that were given. It is the clock of this queue.
    given: u64,
    waiting: BTreeMap<(Class, Peer), Line>,
    /// Number of requests in all lines.
    requests: usize,
}

/// The requests of one group that wait; never empty.
#[derive(Debug)]
struct Line {
    /// Number of permits given when this group had one, or when it began to wait.
    since: u64,
    /// In the order of arrival. Dropping one refuses the request.
    requests: VecDeque<oneshot::Sender<Permit>>,
    /// Position of the request that gets the next permit, counted from the latest request.
    position: usize,
}

impl Line {
    /// Takes one of the latest requests, in rotation.
    fn take(&mut self) -> Option<oneshot::Sender<Permit>> {
        let last = self.requests.len().checked_sub(1)?;
        let position = self.position.min(last);
        self.position = (self.position + 1) % ROTATION;
        self.requests.remove(last - position)
    }
}

/// The permit. When it is dropped, the next request gets it. The code that does the work must hold it, because the
/// client may disconnect before the work ends.
#[derive(Debug)]
pub struct Permit(Arc<PermitQueue>);

impl PermitQueue {
    /// A queue in which at most `max_waiting` requests wait.
    pub fn new(max_waiting: usize) -> Arc<Self> {
        let fewer = Notify::new();
        Arc::new(Self { max_waiting: max_waiting.max(1), state: Mutex::default(), fewer })
    }

    /// Waits for the permit; `None` if the request is refused.
    pub async fn take(self: &Arc<Self>, peer: Peer, class: Class) -> Option<Permit> {
        let permit = {
            let mut state = self.state();
            if !state.is_taken {
                state.is_taken = true;
                return Some(Permit(Arc::clone(self)));
            }
            let (give, permit) = oneshot::channel();
            state.add(peer, class, give);
            if state.requests > self.max_waiting {
                state.refuse_one();
            }
            permit
        };
        permit.await.ok()
    }

    /// Waits until fewer than `limit` requests wait.
    pub async fn fewer_than(&self, limit: usize) {
        loop {
            // Created before the check, so that no notification is missed.
            let fewer = self.fewer.notified();
            if self.state().requests < limit {
                return;
            }
            fewer.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, peer: Peer, class: Class, request: oneshot::Sender<Permit>) {
        let since = self.given;
        let line = self.waiting.entry((class, peer)).or_insert_with(|| Line {
            since,
            requests: VecDeque::new(),
            position: 0,
        });
        line.requests.push_back(request);
        self.requests += 1;
    }

    /// Drops the requests whose clients have disconnected. If there are none, refuses the oldest request of the
    /// longest line.
    fn refuse_one(&mut self) {
        let before = self.requests;
        for line in self.waiting.values_mut() {
            line.requests.retain(|request| !request.is_closed());
        }
        self.waiting.retain(|_, line| !line.requests.is_empty());
        self.requests = self.waiting.values().map(|line| line.requests.len()).sum();
        if self.requests < before {
            return;
        }
        // Of lines of equal length, the one that has waited least.
        let longest =
            self.waiting.iter().max_by_key(|((class, _), line)| (*class, line.requests.len(), line.since));
        let Some(key) = longest.map(|(key, _)| *key) else { return };
        self.pop(key, |line| line.requests.pop_front());
    }

    /// Returns the request that gets the permit next.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        loop {
            let lines = self.waiting.iter();
            let key = *lines.min_by_key(|((class, _), line)| (*class, line.since))?.0;
            let request = self.pop(key, Line::take)?;
            if !request.is_closed() {
                self.given += 1;
                if let Some(line) = self.waiting.get_mut(&key) {
                    line.since = self.given;
                }
                return Some(request);
            }
        }
    }

    fn pop(
        &mut self,
        key: (Class, Peer),
        pop: impl FnOnce(&mut Line) -> Option<oneshot::Sender<Permit>>,
    ) -> Option<oneshot::Sender<Permit>> {
        let line = self.waiting.get_mut(&key)?;
        let request = pop(line)?;
        self.requests -= 1;
        if line.requests.is_empty() {
            self.waiting.remove(&key);
        }
        Some(request)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.next();
            state.is_taken = next.is_some();
            next
        };
        self.0.fewer.notify_waiters();
        if let Some(next) = next {
            // If its client has just left, the returned permit is dropped and goes to the next request.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Option<Permit>>>>;

    fn peer(number: u8) -> Peer {
        Peer::from(IpAddr::from([10, 0, 0, number]))
    }

    fn ask(queue: &Arc<PermitQueue>, from: u8, class: Class) -> Waiting {
        let queue = Arc::clone(queue);
        let mut waiting: Waiting = Box::pin(async move { queue.take(peer(from), class).await });
        assert!(waiting.as_mut().now_or_never().is_none(), "the permit is taken");
        waiting
    }

    fn first(queue: &Arc<PermitQueue>) -> Permit {
        queue.take(peer(0), Class::Ordinary).now_or_never().unwrap().unwrap()
    }

    /// Passes the permit on until all requests have had it or were refused; returns the order.
    fn order(permit: Permit, mut waiting: Vec<(&'static str, Waiting)>) -> Vec<&'static str> {
        let mut order = Vec::new();
        drop(permit);
        while !waiting.is_empty() {
            let mut given = None;
            waiting.retain_mut(|(name, request)| match request.as_mut().now_or_never() {
                None => true,
                Some(permit) => {
                    if let Some(permit) = permit {
                        order.push(*name);
                        given = Some(permit);
                    }
                    false
                }
            });
            assert!(given.is_some() || waiting.is_empty(), "the permit was lost");
        }
        order
    }

    #[test]
    fn latest_requests_first_and_oldest_refused() {
        let queue = PermitQueue::new(3);
        let permit = first(&queue);
        let names = ["a", "b", "c", "d", "e"];
        let waiting = names.map(|name| (name, ask(&queue, 1, Class::Ordinary)));
        assert_eq!(order(permit, waiting.into()), ["e", "c", "d"]);
        drop(first(&queue));
    }

    /// Each client of the flood sends its next request as soon as its previous request had the permit.
    #[test]
    fn scraper_precedes_flood_of_its_own_address() {
        for rounds in 0..9 {
            let queue = PermitQueue::new(99);
            let mut permit = Some(first(&queue));
            let mut flood: Vec<_> = (0..64).map(|_| ask(&queue, 1, Class::Ordinary)).collect();
            let mut pass_on = |flood: &mut Vec<Waiting>| {
                drop(permit.take());
                flood.retain_mut(|request| {
                    let given = request.as_mut().now_or_never();
                    let is_waiting = given.is_none();
                    permit = permit.take().or(given.flatten());
                    is_waiting
                });
                flood.push(ask(&queue, 1, Class::Ordinary));
            };
            for _ in 0..rounds {
                pass_on(&mut flood);
            }
            let mut scraper = ask(&queue, 1, Class::Ordinary);
            // The client whose request had the permit before.
            flood.push(ask(&queue, 1, Class::Ordinary));
            let mut permits = 0;
            while scraper.as_mut().now_or_never().is_none() {
                assert!(permits < 8, "the scraper waits after {permits} permits");
                permits += 1;
                pass_on(&mut flood);
            }
        }
    }

    #[test]
    fn flood_delays_other_address_by_one_permit() {
        let queue = PermitQueue::new(4);
        let permit = first(&queue);
        let mut waiting: Vec<_> =
            ["f1", "f2", "f3"].map(|name| (name, ask(&queue, 1, Class::Ordinary))).into();
        waiting.push(("scraper", ask(&queue, 2, Class::Ordinary)));
        // More requests of the flood than can wait refuse only requests of the flood.
        waiting.extend(["f4", "f5", "f6"].map(|name| (name, ask(&queue, 1, Class::Ordinary))));
        assert_eq!(order(permit, waiting), ["f6", "scraper", "f4", "f5"]);
    }

    #[test]
    fn of_equal_lines_the_latest_is_refused() {
        let queue = PermitQueue::new(2);
        let permit = first(&queue);
        let scraper = ("scraper", ask(&queue, 200, Class::Ordinary));
        let mut earlier = ask(&queue, 7, Class::Ordinary);
        drop(permit);
        let permit = earlier.as_mut().now_or_never().unwrap().unwrap();
        // A flood in which each address sends one request.
        let flood = ("flood", ask(&queue, 1, Class::Ordinary));
        let refused = queue.take(peer(2), Class::Ordinary).now_or_never();
        assert!(refused.is_some_and(|permit| permit.is_none()));
        assert_eq!(order(permit, vec![scraper, flood]), ["scraper", "flood"]);
    }

    #[test]
    fn waits_until_fewer_requests_wait() {
        let queue = PermitQueue::new(9);
        let permit = first(&queue);
        let waiting = ["a", "b"].map(|name| (name, ask(&queue, 1, Class::Ordinary)));
        let mut fewer = Box::pin(queue.fewer_than(2));
        assert!(fewer.as_mut().now_or_never().is_none());
        assert_eq!(order(permit, waiting.into()), ["b", "a"]);
        assert!(fewer.as_mut().now_or_never().is_some());
    }

    #[test]
    fn first_class_requests_precede_all_others() {
        let queue = PermitQueue::new(3);
        let permit = first(&queue);
        let known = ("known", ask(&queue, 1, Class::First));
        let others = ["a", "b", "c"].map(|name| (name, ask(&queue, 1, Class::Ordinary)));
        let waiting = std::iter::once(known).chain(others).collect();
        assert_eq!(order(permit, waiting), ["known", "c", "b"]);
    }

    #[test]
    fn disconnected_clients_get_no_permit() {
        let queue = PermitQueue::new(9);
        let permit = first(&queue);
        let mut waiting: Vec<_> = (0..3).map(|_| ask(&queue, 1, Class::Ordinary)).collect();
        // One client disconnects before it gets the permit, another client afterwards.
        waiting.pop();
        drop(permit);
        waiting.pop();
        assert!(waiting[0].as_mut().now_or_never().unwrap().is_some());
    }
}
