//! A FlexVM API of our own: all eighteen operations over one world in memory.
//!
//! It is what `simulate` and `demo` run and what the tests talk to. The world is made from a seed,
//! has months of history, and moves with the clock that is handed in: the same seed and the same
//! times give the same bytes. It shares no types with the client, so that the two can disagree.
//!
//! Data goes from `seed` into `world`, is changed by `write` and by the world's
//! own agenda, and leaves through `operations` and `monthly` as the JSON of `wire`.
//! `server` puts HTTP and the [`Fault`]s of tests around it.

mod answer;
mod care;
mod catalogue;
mod fault;
mod monthly;
mod named_fault;
mod operations;
mod route;
mod seed;
mod server;
mod timeline;
mod wire;
mod world;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::period::Month;

pub use answer::Answer;
pub use fault::{Asked, Fault, FaultKind, Faults};
pub use named_fault::NamedFault;
pub use route::Operation;

use operations::Call;
use route::Route;
use timeline::VmStatus;
use world::World;

/// The header that carries the token.
pub(crate) const TOKEN_HEADER: &str = "private-token";

/// How the totals of clouds and tags in the monthly report are rounded; the documentation does not
/// say which it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// The sum of the VMs' hours, each rounded up.
    #[default]
    SumOfCeils,
    /// The exact sum, rounded up once.
    CeilOfSum,
}

/// What world to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The same seed, at the same time, gives the same world.
    pub seed: u64,
    /// Living VMs over all clouds at the start; with churn the number stays near it.
    pub vms: usize,
    /// Clouds at the start; without one there are no VMs either.
    pub clouds: usize,
    /// Months of history before the current one.
    pub months: u32,
    /// The only PRIVATE-TOKEN that is taken.
    pub token: String,
    /// The most rows of a page; more are not refused, they just do not come.
    pub page_cap: Option<usize>,
    /// Whether build agents come and go, some VMs are switched off and on, and things break and are
    /// put right as time passes. Without it only requests change the world; its history is the same
    /// kind of history.
    pub churn: bool,
    /// How the monthly report's totals are rounded.
    pub rounding: Rounding,
    /// How long a deleted VM can still be listed and asked for; `None` is for ever. The monthly
    /// report remembers it in any case.
    pub forget_deleted: Option<Duration>,
    /// Whether a deleted cloud keeps its row in reports of periods in which it had VMs.
    pub deleted_clouds_in_reports: bool,
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
            forget_deleted: None,
            deleted_clouds_in_reports: true,
        }
    }
}

/// The world in numbers, counted without the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Clouds that are not deleted.
    pub clouds: usize,
    /// Nodes that are not deleted.
    pub nodes: usize,
    /// VMs that are not deleted.
    pub living_vms: usize,
    /// VMs ever.
    pub all_vms: usize,
    /// VMs by status, only statuses that some VM has.
    pub by_status: BTreeMap<&'static str, usize>,
}

/// A FlexVM API with its world; clones share it.
#[derive(Clone)]
pub struct Simulator(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
    clock: Clock,
    token: String,
    faults: Faults,
    requests: Mutex<BTreeMap<Operation, u64>>,
}

impl Simulator {
    /// Makes the world that `options` describe, as it is at the clock's time.
    #[must_use]
    pub fn new(options: Options, clock: Clock) -> Self {
        let now = clock.now();
        let first_month = Month::of(now).earlier_by(options.months).period().start;
        let token = options.token.clone();
        let world = seed::world(options, first_month.as_second(), now.as_second());
        Self(Arc::new(Shared {
            world: Mutex::new(world),
            clock,
            token,
            faults: Faults::default(),
            requests: Mutex::default(),
        }))
    }

    /// Serves the API on `listener` until `shutdown` is ready, then gives requests in flight two
    /// seconds.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        server::serve(self.clone(), listener, shutdown).await;
        Ok(())
    }

    /// The faults that hit requests over HTTP.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.0.faults.clone()
    }

    /// Applies a named fault to all later requests over HTTP.
    pub fn inject(&self, fault: NamedFault) {
        for part in fault.parts(&self.0.clock) {
            self.0.faults.add(part);
        }
    }

    /// Requests that came over HTTP so far, also those with a wrong token or a fault.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<Operation, u64> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does what a request would do, without HTTP, credentials, counting and faults.
    ///
    /// `target` is the path with its query, `range` the RANGED-DATA header, `body` the JSON or "".
    #[must_use]
    pub fn call(&self, method: &str, target: &str, range: Option<&str>, body: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match route::route(method, path) {
            Route::Unknown => Answer::empty(404),
            Route::WrongMethod(_) => Answer::empty(405),
            Route::Found(operation, ids) => {
                let body = body.as_bytes();
                self.answer(&Call { operation, ids, query, range, whole_list: false, shift: 0, body })
            }
        }
    }

    /// Deletes VMs that have failed or are being provisioned. The API refuses such requests, but the provider can do it.
    pub fn delete_unhealthy_vms(&self) {
        let mut world = self.world();
        let is_unhealthy = |status| matches!(status, VmStatus::Failed | VmStatus::Provisioning);
        let vms: Vec<usize> = world.living_vms().filter(|vm| is_unhealthy(world.vm_status(*vm))).collect();
        for vm in vms {
            // A VM in these statuses is not being deleted already.
            let _ = world.delete_vm(vm);
        }
    }

    /// The world in numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let world = self.world();
        let clouds = world.living_clouds();
        let mut by_status = BTreeMap::new();
        for vm in 0..world.vms.len() {
            *by_status.entry(world.vm_status(vm).word()).or_default() += 1;
        }
        let all_vms = world.vms.len();
        let gone = by_status.get(VmStatus::Deleted.word()).copied().unwrap_or(0);
        Summary {
            clouds: clouds.len(),
            nodes: clouds.iter().map(|cloud| world.nodes_of(*cloud).count()).sum(),
            living_vms: all_vms - gone,
            all_vms,
            by_status,
        }
    }

    /// The world, at the clock's time.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.0.clock.now().as_second());
        world
    }

    fn answer(&self, call: &Call<'_>) -> Answer {
        self.world().answer(call)
    }

    fn token(&self) -> &str {
        &self.0.token
    }

    fn count(&self, operation: Operation) {
        *self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(operation).or_default() += 1;
    }
}
