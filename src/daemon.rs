//! The daemon: everything started, wired, reloaded and ended in one place.
//!
//! What depends on a tenant's configuration (client, pollers, the closing of months) is replaced by a
//! reload if that configuration has changed. Listeners, ledger, store and self-metrics live as long as the
//! process.

mod tenants;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::tenants::{Lasting, Tenants};
use crate::clock::Clock;
use crate::close::Closer;
use crate::close::worker::EndedMonths;
use crate::close::worker::scheduler::{self, Timetable, Wake};
use crate::config::Config;
use crate::config::problem::Problems;
use crate::ledger::Ledger;
use crate::poll;
use crate::report::Folder;
use crate::self_metrics::SelfMetrics;
use crate::store::{Store, rendering};
use crate::web::{self, Access, App, Limits, Lists, Pages, Paths, Reload, Settings};

/// How long a shutdown waits for tasks that do not end by themselves.
const LEAVE: Duration = Duration::from_secs(8);

/// Maximum number of waiting reload requests. They are combined into the next reload.
const RELOADS: usize = 64;

/// Reads the configuration again; the error is every problem, in words.
pub type Loader = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// The sources of a reload: the loader of the configuration, and SIGHUP.
pub struct Reloads {
    loader: Loader,
    hangup: Signal,
}

impl Reloads {
    /// Registers the handler of SIGHUP, so that the signal no longer ends the process. A signal that arrives
    /// before the daemon runs is kept.
    ///
    /// # Errors
    /// If the system does not deliver signals.
    pub fn new(loader: Loader) -> anyhow::Result<Self> {
        Ok(Self { loader, hangup: hangups()? })
    }
}

fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot listen for signals")
}

/// Runs until `shutdown` turns true, then drains and returns. With `reloads`, SIGHUP and
/// `/-/reload` read the configuration again, and the rules of `access` with it.
///
/// # Errors
/// When something cannot even start, such as a client whose `ca_file` cannot be read.
pub async fn run(
    config: Config,
    listeners: Vec<TcpListener>,
    paths: Paths,
    access: Access,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
    reloads: Option<Reloads>,
) -> anyhow::Result<()> {
    // The handler is also necessary without a loader, because by default SIGHUP ends the process.
    let (loader, hangup) = match reloads {
        Some(Reloads { loader, hangup }) => (Some(loader), hangup),
        None => (None, hangups()?),
    };
    allow_files();
    let self_metrics = Arc::new(SelfMetrics::new(clock.now()).context("self-metrics")?);
    for tenant in &config.tenants {
        let reports = Folder::existing(&config.report.directory, &tenant.name);
        if reports.closed().is_ok_and(|closed| !closed.is_empty()) {
            Ledger::refuse_emptied(&config.ledger.path, reports.path())
                .context("the ledger cannot be opened")?;
        }
    }
    let ledger = Ledger::open(&config.ledger.path).context("the ledger cannot be opened")?;
    self_metrics.watch(ledger.clone());
    let store = Arc::new(Store::new(&config.tenants, config.metrics.clone(), config.poll.clone()));
    let (reload, reloads) = mpsc::channel(RELOADS);
    let access = Arc::new(access);
    self_metrics.certificates(&access.rules().expiries);
    let app = Arc::new(App {
        store: Arc::clone(&store),
        self_metrics: Arc::clone(&self_metrics),
        paths,
        settings: ArcSwap::from_pointee(Settings::from(&config)),
        access: Arc::clone(&access),
        clock: clock.clone(),
        reload,
        lists: Lists::default(),
        pages: Pages::default(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(ledger.clone().look_at_files(shutdown.clone()));
    tasks.spawn(watch_access(access, Arc::clone(&self_metrics), clock.clone(), shutdown.clone()));
    let schedules = watch::Sender::new(config.report.schedule.clone());
    let wakes = watch::Sender::new(Wake::default());
    let lasting = Lasting {
        store: Arc::clone(&store),
        self_metrics: Arc::clone(&self_metrics),
        ledger,
        clock: clock.clone(),
        schedules: schedules.clone(),
        wakes: wakes.subscribe(),
        permits: Closer::permits(),
        ended_months: EndedMonths::default(),
        limits: poll::Limits::default(),
    };
    let timetable = Timetable::new(config.report.schedule.clone(), clock, Arc::clone(&self_metrics));
    tasks.spawn(scheduler::run(timetable, schedules.subscribe(), wakes, shutdown.clone()));
    let config = Arc::new(config);
    let mut tenants = Tenants::default();
    let prepared = tenants.prepare(&config, &lasting)?;
    tenants.start(&config, prepared, &lasting);
    tasks.spawn(poll::expire(Arc::clone(&store), shutdown.clone()));
    tasks.spawn(rendering::run(store, self_metrics, shutdown.clone()));
    let (served, leave) = (Arc::clone(&app), shutdown.clone());
    tasks.spawn_blocking(move || {
        if let Err(error) = web::serve(listeners, &served, Limits::default(), &leave) {
            tracing::error!(%error, "nothing can be served");
        }
    });
    let mut reloading = Reloading { loader, lasting, app, config, tenants };
    notify(NotifyState::Ready);
    let result = reloading.until_told(hangup, reloads, shutdown, &mut tasks).await;
    tracing::info!("leaving");
    notify(NotifyState::Stopping);
    let all_end = async {
        reloading.tenants.end().await;
        while tasks.join_next().await.is_some() {}
    };
    if tokio::time::timeout(LEAVE, all_end).await.is_err() {
        tracing::warn!("some work did not end in time and is cut off");
    }
    result
}

/// A configuration that is in force, and the way to the next.
struct Reloading {
    loader: Option<Loader>,
    lasting: Lasting,
    app: Arc<App>,
    config: Arc<Config>,
    tenants: Tenants,
}

impl Reloading {
    /// Reloads on each request until the shutdown. Requests that arrive during a reload are combined into one
    /// further reload.
    async fn until_told(
        &mut self,
        mut hangup: Signal,
        mut reloads: mpsc::Receiver<Reload>,
        shutdown: watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<()> {
        let mut called = shutdown.clone();
        loop {
            tokio::select! {
                () = told(&mut called) => return Ok(()),
                ended = first_to_end(tasks) => return unless(&shutdown, ended),
                ended = self.tenants.first_to_end() => return unless(&shutdown, ended),
                Some(()) = hangup.recv() => {
                    // The result is in the log and in the metrics.
                    let _ = self.reload(&mut called).await;
                }
                Some(first) = reloads.recv() => {
                    let mut requests = vec![first];
                    while let Ok(request) = reloads.try_recv() {
                        requests.push(request);
                    }
                    let result = self.reload(&mut called).await;
                    for request in requests {
                        // The client may have disconnected.
                        let _ = request.send(result.clone());
                    }
                }
            }
        }
    }

    /// Reads the configuration and puts it in force; if anything is wrong with it, nothing changes.
    async fn reload(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<(), String> {
        let result = self.try_reload(shutdown).await;
        // Where there is nothing to read, as in the demo, no configuration is wrong.
        if self.loader.is_some() {
            self.lasting.self_metrics.reloaded(result.is_ok(), self.lasting.clock.now());
        }
        match &result {
            Ok(()) => {
                let tenants: Vec<_> = self.config.tenants.iter().map(|tenant| &*tenant.name).collect();
                tracing::info!(tenants = tenants.join(","), "the configuration was read again");
            }
            Err(problems) => {
                tracing::error!(problems, "the configuration was not taken; it stays as it was");
            }
        }
        result
    }

    async fn try_reload(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<(), String> {
        let loader = self.loader.clone().ok_or("there is no configuration file to read again")?;
        let access = Arc::clone(&self.app.access);
        // A disk, or a pipe in place of a file, may hang: nothing else waits for it, not even the end.
        let read = tokio::task::spawn_blocking(move || {
            let config = loader()?;
            let rules = access.read_again().map_err(|problems| problems.to_string())?;
            Ok::<_, String>((Arc::new(config), rules))
        });
        let (config, rules) = tokio::select! {
            read = read => read.map_err(|error| error.to_string())??,
            () = told(shutdown) => return Err("the daemon is leaving".to_owned()),
        };
        if config.ledger.path != self.config.ledger.path {
            return Err("ledger.url: another ledger needs a restart".to_owned());
        }
        let prepared = self.tenants.prepare(&config, &self.lasting).map_err(|error| format!("{error:#}"))?;
        // From here on only the end of the daemon stops the reload.
        tokio::select! {
            () = self.tenants.end_for(&config) => {}
            () = told(shutdown) => return Err("the daemon is leaving".to_owned()),
        }
        let lasting = &self.lasting;
        lasting.store.reconfigure(&config.tenants, config.metrics.clone(), config.poll.clone());
        let store = Arc::clone(&lasting.store);
        // The series of tenants that are gone go at once. If this fails, the renderer tries again.
        let _ = tokio::task::spawn_blocking(move || store.publish()).await;
        for tenant in &self.config.tenants {
            if !config.tenants.iter().any(|kept| kept.name == tenant.name) {
                lasting.self_metrics.remove_tenant(&tenant.name);
            }
        }
        lasting.self_metrics.certificates(&rules.expiries);
        self.app.access.take(rules);
        self.app.settings.store(Arc::new(Settings::from(&*config)));
        self.tenants.start(&config, prepared, lasting);
        self.config = config;
        Ok(())
    }
}

/// Lets the process open as many files as it may ever: what is usual at first is fewer than clients and
/// their downloads can need.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    // If not, it goes on with fewer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Tells a service manager that waits for it, such as systemd, where we are.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Takes a web configuration and certificates that change on disk.
async fn watch_access(
    access: Arc<Access>,
    self_metrics: Arc<SelfMetrics>,
    clock: Clock,
    mut shutdown: watch::Receiver<bool>,
) {
    let rules = Arc::clone(&access);
    let reloaded = |result: &Result<(), Problems>| {
        self_metrics.certificates(&rules.rules().expiries);
        self_metrics.reloaded(result.is_ok(), clock.now());
        match result {
            Ok(()) => tracing::info!("the web configuration was read again"),
            Err(problems) => {
                tracing::error!(%problems, "the web configuration was not taken; it stays as it was");
            }
        }
    };
    tokio::select! {
        () = access.watch(reloaded) => {}
        () = told(&mut shutdown) => {}
    }
}

/// Waits for the shutdown.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// No task ends before the shutdown; one that does has panicked, and the rest must not go on as if
/// nothing had happened: a service manager starts the daemon anew.
async fn first_to_end(tasks: &mut JoinSet<()>) -> anyhow::Error {
    match tasks.join_next().await {
        Some(Err(error)) => anyhow::Error::new(error).context("a task ended"),
        _ => anyhow::anyhow!("a task ended by itself"),
    }
}

/// Once the shutdown is called for, tasks end as they should, maybe before it is seen elsewhere.
fn unless(shutdown: &watch::Receiver<bool>, ended: anyhow::Error) -> anyhow::Result<()> {
    if *shutdown.borrow() { Ok(()) } else { Err(ended) }
}
