//! No alert fires on a healthy demo: hours of a simulated fleet, polled and scraped by a clock moved by hand, over the
//! end of a month, and promtool runs every rule over what was scraped.
//!
//! Nothing is made up: the series are those of the collectors, the ledger and the closing of months. The same is done
//! with a fleet that nobody looks after, where alerts must fire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flexvm_exporter::api::Client;
use flexvm_exporter::clock::Clock;
use flexvm_exporter::close::Closer;
use flexvm_exporter::close::worker::TenantWorker;
use flexvm_exporter::close::worker::scheduler::Timetable;
use flexvm_exporter::config::load::simulated_tenant;
use flexvm_exporter::config::{Config, Ledger as LedgerConfig, Metrics, Poll, Prices, Report, Web};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::poll::{Poller, State};
use flexvm_exporter::self_metrics::{RequestObserver, SelfMetrics};
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::snapshot::Collector;
use flexvm_exporter::store::{Store, interval};
use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio::net::TcpListener;

use super::files::{root, rules, text};
use super::program::tool;
use super::rules::sources;

/// From one scrape, and one look at the rules, to the next: shorter than Prometheus's look-back of 5 minutes.
const STEP: Duration = Duration::from_mins(4);

/// Simulator and exporter, wired as the program wires them, but for the clock.
struct Demo {
    now: Arc<AtomicI64>,
    poller: Poller,
    timetable: Timetable,
    worker: TenantWorker,
    states: BTreeMap<Collector, State>,
    store: Arc<Store>,
    metrics: Arc<SelfMetrics>,
    ledger: Ledger,
    poll: Poll,
    _folder: tempfile::TempDir,
}

impl Demo {
    async fn start(options: Options, at: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = at.parse().unwrap();
        let now = Arc::new(AtomicI64::new(start.as_second()));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || Timestamp::from_second(read.load(Ordering::SeqCst)).unwrap());
        let token = options.token.clone();
        let simulator = Simulator::new(options, clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { simulator.serve(listener, std::future::pending()).await });
        let mut tenant = simulated_tenant("demo", url.parse().unwrap(), &token);
        tenant.prices = Some(Arc::new(prices()));
        tenant.group_by = vec!["project".to_owned()];
        let tenant = Arc::new(tenant);
        let poll = Poll {
            capacity: STEP,
            inventory: STEP,
            usage: STEP * 3,
            deleted_vms: STEP * 15,
            catalogue: STEP * 15,
        };
        let config = Arc::new(Config {
            tenants: vec![Arc::clone(&tenant)],
            poll: poll.clone(),
            metrics: Metrics::default(),
            web: Web::default(),
            ledger: LedgerConfig { path: folder.path().join("ledger.db"), ..LedgerConfig::default() },
            report: Report { directory: folder.path().join("reports"), backfill: 1, ..Report::default() },
        });
        let metrics = Arc::new(SelfMetrics::new(start).unwrap());
        let ledger = Ledger::open(&config.ledger.path).unwrap();
        metrics.watch(ledger.clone());
        metrics.add_tenant("demo", Collector::ALL.into_iter());
        let store = Arc::new(Store::new(&config.tenants, config.metrics.clone(), poll.clone()));
        let observer = RequestObserver { metrics: Arc::clone(&metrics), tenant: Arc::clone(&tenant.name) };
        let client = Client::new(&tenant, Arc::new(observer)).unwrap();
        let closer = Closer::new(
            Arc::clone(&tenant),
            client.clone(),
            ledger.clone(),
            clock.clone(),
            Arc::clone(&config),
        );
        let (kept, own) = (Arc::clone(&store), Arc::clone(&metrics));
        let timetable = Timetable::new(config.report.schedule.clone(), clock.clone(), Arc::clone(&own));
        let worker = TenantWorker::new(closer, &config.report, clock.clone(), kept, own);
        let (kept, own) = (Arc::clone(&store), Arc::clone(&metrics));
        let poller = Poller::new(tenant, client, kept, ledger.clone(), own, clock, config);
        let states = BTreeMap::new();
        Self { now, poller, timetable, worker, states, store, metrics, ledger, poll, _folder: folder }
    }

    /// Everything that is due at step `step`, then a scrape.
    async fn scrape(&mut self, step: u64) -> String {
        let passed = STEP * u32::try_from(step).unwrap();
        for collector in Collector::ALL {
            if passed.as_secs().is_multiple_of(interval(&self.poll, collector).as_secs()) {
                let state = self.states.remove(&collector).unwrap_or_default();
                self.states.insert(collector, self.poller.run_once(collector, state).await);
            }
        }
        let scheduled = self.timetable.wake(step == 0);
        self.worker.wake(scheduled).await;
        self.now.fetch_add(i64::try_from(STEP.as_secs()).unwrap(), Ordering::SeqCst);
        self.ledger.statistics().look();
        self.store.render_now();
        let blocks: Vec<_> =
            self.store.exposition().plain(None, &self.metrics.text()).collect::<Result<_, _>>().unwrap();
        String::from_utf8(blocks.concat()).unwrap()
    }
}

/// A rate for the sizes that most clouds have.
fn prices() -> Prices {
    let rates = [("vm.2c.4g", 6), ("vm.4c.8g", 12), ("vm.8c.32g", 24)];
    let rate = |(size, cents): (&str, i64)| (size.to_owned(), vec![(None, Decimal::new(cents, 2))]);
    Prices { currency: "EUR".to_owned(), vm_hour: rates.map(rate).into() }
}

/// What was scraped, as promtool's tests take it: a value for each step.
struct Recording {
    start: i64,
    steps: u64,
    series: BTreeMap<String, Runs>,
}

/// Values by the step that each begins at; `None` where the series was not there.
type Runs = Vec<(u64, Option<f64>)>;

impl Recording {
    async fn of(options: Options, from: &str, to: &str) -> Self {
        let second = |time: &str| time.parse::<Timestamp>().unwrap().as_second();
        let (start, length) = (second(from), u64::try_from(second(to) - second(from)).unwrap());
        let mut recording = Self { start, steps: length / STEP.as_secs(), series: BTreeMap::new() };
        let mut demo = Demo::start(options, from).await;
        for step in 0..recording.steps {
            recording.add(step, &demo.scrape(step).await);
        }
        recording
    }

    fn add(&mut self, step: u64, text: &str) {
        let mut now: BTreeMap<&str, f64> = BTreeMap::from([(r#"up{job="flexvm",instance="demo"}"#, 1.0)]);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            // promtool's time begins at 0.
            let timestamp = series.split('{').next().unwrap().ends_with("_timestamp_seconds");
            #[expect(clippy::cast_precision_loss, reason = "whole seconds")]
            let origin = if timestamp { self.start as f64 } else { 0.0 };
            now.insert(series, value.parse::<f64>().unwrap() - origin);
        }
        for (series, runs) in &mut self.series {
            let value = now.remove(series.as_str());
            if runs.last().is_none_or(|(_, last)| *last != value) {
                runs.push((step, value));
            }
        }
        for (series, value) in now {
            self.series.insert(series.to_owned(), vec![(0, None), (step, Some(value))]);
        }
    }

    fn values(&self, runs: &Runs) -> String {
        let ends = runs.iter().skip(1).map(|(step, _)| *step).chain([self.steps]);
        let mut text = String::new();
        for ((from, value), end) in runs.iter().zip(ends).filter(|((from, _), end)| from < end) {
            match value {
                Some(value) => write!(text, "{value}x{} ", end - from - 1),
                None if *from == 0 => write!(text, "_x{} ", end - from),
                // Prometheus marks a series that a scrape no longer brings.
                None => write!(text, "stale _x{} ", end - from - 1),
            }
            .unwrap();
        }
        text.replace(" _x0", "")
    }

    /// Lets promtool run the rules over all of it; each expression must have these answers at the end.
    fn judge(&self, promtool: &Path, expected: &[(&str, &[&str])]) {
        let minutes = STEP.as_secs() / 60;
        let mut test = format!(
            "rule_files: ['{}/config/rules/*.yml']\nevaluation_interval: {minutes}m\ntests:\n- interval: {minutes}m\n  input_series:\n",
            root().display()
        );
        for (series, runs) in &self.series {
            let quoted = series.replace('\'', "''");
            writeln!(test, "  - {{ series: '{quoted}', values: '{}' }}", self.values(runs)).unwrap();
        }
        test.push_str("  promql_expr_test:\n");
        for (expr, names) in expected {
            let samples: Vec<_> = names
                .iter()
                .map(|name| format!("{{ labels: '{{alertname=\"{name}\"}}', value: 1 }}"))
                .collect();
            writeln!(
                test,
                "  - {{ expr: '{}', eval_time: {}m, exp_samples: [{}] }}",
                expr.replace("$all", &format!("{}m", self.steps * minutes)),
                (self.steps - 1) * minutes,
                samples.join(", ")
            )
            .unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recorded.yml");
        std::fs::write(&path, test).unwrap();
        let output = Command::new(promtool).args(["test", "rules"]).arg(&path).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{said}");
    }
}

/// Counters of failures begin with the first one; fields that nobody documented are listed when they come.
/// Certificates are listed with TLS, which this stage does not use.
const ONLY_IN_TROUBLE: [&str; 5] = [
    "flexvm_exporter_api_certificate_expiry_timestamp_seconds",
    "flexvm_exporter_api_unknown_fields",
    "flexvm_exporter_certificate_expiry_timestamp_seconds",
    "flexvm_exporter_ledger_failures_total",
    "flexvm_exporter_report_failures_total",
];

const FIRED: &str = r#"count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[$all])) > bool 0"#;
const PENDING: &str = r#"count by (alertname) (count_over_time(ALERTS{alertstate="pending",alertname=~"FlexvmVmsFailed|FlexvmNodeNotRunning"}[$all])) > bool 0"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_alert_fires_on_a_healthy_demo() {
    let Some(promtool) = tool("promtool") else { return };
    let options = Options::default();
    let recording = Recording::of(options, "2026-10-31T18:00:00Z", "2026-11-02T14:00:00Z").await;
    assert!(recording.series.keys().any(|series| series.contains(r#"month="2026-10",revision="1""#)));
    // What an alert looks at was there: it was silent because all was well.
    let families: BTreeSet<_> = recording.series.keys().map(|it| it.split('{').next().unwrap()).collect();
    for rule in rules().iter().filter(|rule| rule.get("alert").is_some()) {
        for family in sources(text(rule, "expr")) {
            assert!(families.contains(&*family) || ONLY_IN_TROUBLE.contains(&&*family), "{family}");
        }
    }
    // Trouble was there to be seen, and gone in time.
    recording.judge(&promtool, &[(FIRED, &[]), (PENDING, &["FlexvmNodeNotRunning", "FlexvmVmsFailed"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_fire_where_nobody_looks_after_the_fleet() {
    let Some(promtool) = tool("promtool") else { return };
    let options = Options { churn: false, ..Options::default() };
    let recording = Recording::of(options, "2026-10-15T06:00:00Z", "2026-10-15T09:00:00Z").await;
    recording.judge(&promtool, &[(FIRED, &["FlexvmNodeNotRunning", "FlexvmVmsFailed", "FlexvmVmsStuck"])]);
}
