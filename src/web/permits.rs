//! Turns for slow work that anybody can cause before he has shown who he is: one at a time, the newest first.
//!
//! With the oldest first, a scraper would wait behind everybody who flooded us before him, and most of those
//! are gone by then. Whoever has waited behind too many newer ones gives up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All turns.
#[derive(Debug)]
pub struct Turns {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// In the order of arrival; whoever is dropped gives up.
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The turn of one; the next one's when this is dropped. Belongs where the work is done, since whoever wanted it may
/// be gone before it ends.
#[derive(Debug)]
pub struct Turn(Arc<Turns>);

impl Turns {
    /// At most `most` wait.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), state: Mutex::default() })
    }

    /// Waits for a turn; `None` if too many newer ones came meanwhile.
    pub async fn take(self: &Arc<Self>) -> Option<Turn> {
        let waits = {
            let mut state = self.state();
            if !state.taken {
                state.taken = true;
                return Some(Turn(Arc::clone(self)));
            }
            if state.waiting.len() >= self.most {
                state.waiting.pop_front();
            }
            let (give, waits) = oneshot::channel();
            state.waiting.push_back(give);
            waits
        };
        waits.await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let newest = {
            let mut state = self.0.state();
            let newest = state.waiting.pop_back();
            state.taken = newest.is_some();
            newest
        };
        if let Some(newest) = newest {
            // If nobody is there any more, what comes back is dropped, and with it goes to the one before.
            drop(newest.send(Self(Arc::clone(&self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::*;

    fn ask(turns: &Arc<Turns>) -> Pin<Box<dyn Future<Output = Option<Turn>> + '_>> {
        let mut turn: Pin<Box<dyn Future<Output = _>>> = Box::pin(turns.take());
        assert!(turn.as_mut().now_or_never().is_none(), "somebody has it");
        turn
    }

    #[test]
    fn the_newest_comes_first_and_the_oldest_gives_up() {
        let turns = Turns::new(3);
        let first = turns.take().now_or_never().unwrap().unwrap();
        let mut waiting: Vec<_> = (0..5).map(|_| ask(&turns)).collect();
        let mut come = |who: usize| waiting[who].as_mut().now_or_never();
        // There is room for three of the five.
        assert!(come(0).unwrap().is_none() && come(1).unwrap().is_none());
        drop(first);
        assert!(come(2).is_none() && come(3).is_none());
        let newest = come(4).unwrap().unwrap();
        drop(newest);
        assert!(come(2).is_none());
        drop(come(3).unwrap().unwrap());
        drop(come(2).unwrap().unwrap());
        assert!(turns.take().now_or_never().unwrap().is_some(), "nobody has it");
    }

    #[test]
    fn who_is_gone_is_passed_over() {
        let turns = Turns::new(9);
        let first = turns.take().now_or_never().unwrap().unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| ask(&turns)).collect();
        // One goes before he is told, one after.
        waiting.pop();
        drop(first);
        waiting.pop();
        assert!(waiting[0].as_mut().now_or_never().unwrap().is_some());
    }
}
