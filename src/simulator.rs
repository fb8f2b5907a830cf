//! A simulator of the whole FlexVM API, writes included: what newcomers meet first, and what tests
//! poll. Written from the API's description; it shares no types with the client, so that the two
//! can disagree.
//!
//! One in-memory [`world`](self::world) moves with the clock that is handed in; each request first
//! lets happen what is due. Same options and same clock, same answers, byte for byte.

mod answer;
mod catalogue;
mod faults;
mod monthly;
mod read;
mod routes;
mod seed;
mod server;
mod timeline;
mod wire;
mod world;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;

use self::world::World;
use crate::clock::Clock;
use crate::period::Month;

pub use faults::{Fault, Rule};

/// How the provider's totals are rounded: its documentation says only "rounded up".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Each VM's hours are rounded up, then summed.
    #[default]
    SumOfCeils,
    /// The exact sum is rounded up.
    CeilOfSum,
}

/// What the simulated organisation looks like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything that is random.
    pub seed: u64,
    /// Living VMs over all clouds at the start.
    pub vms: usize,
    /// Clouds.
    pub clouds: usize,
    /// Months of history before the running one.
    pub months: u32,
    /// The token that is accepted.
    pub token: String,
    /// Largest page: more is clamped without a word, as the real API may do.
    pub page_cap: Option<usize>,
    /// Whether VMs come and go by themselves; without, only the API's writes change the world.
    pub churn: bool,
    /// How totals of clouds and tags are rounded.
    pub rounding: Rounding,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            vms: 60,
            clouds: 3,
            months: 2,
            token: "simulator".to_owned(),
            page_cap: None,
            churn: true,
            rounding: Rounding::default(),
        }
    }
}

/// A running world and its API. Cheap to clone; clones share the world.
#[derive(Clone, Debug)]
pub struct Simulator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    faults: Mutex<faults::Faults>,
    clock: Clock,
    token: String,
}

impl Simulator {
    /// Makes the world as it is at the clock's time, with its months of history.
    #[must_use]
    pub fn new(options: Options, clock: Clock) -> Self {
        let now = clock.now();
        let first_month = Month::of(now).earlier_by(options.months).period().start;
        let token = options.token.clone();
        let world = seed::world(options, first_month.as_second(), now.as_second());
        Self(Arc::new(Shared { world: Mutex::new(world), faults: Mutex::default(), clock, token }))
    }

    /// Serves the API until `shutdown` completes.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        server::serve(self.clone(), listener, shutdown).await
    }

    /// Adds a fault that answers will have.
    pub fn inject(&self, rule: Rule) {
        self.faults().rules.push(rule);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.faults().rules.clear();
    }

    /// Requests so far by operation, such as `getFlexVMClouds`.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.faults().requests.clone()
    }

    /// The world, moved on to now.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.0.clock.now().as_second());
        world
    }

    fn faults(&self) -> MutexGuard<'_, faults::Faults> {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
