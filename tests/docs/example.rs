//! The month of docs/figures.md: the API of `api` polled and closed by the library as the daemon does
//! it, by a clock moved by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flexvm_exporter::api::{Client, NoObserver};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::close::Closer;
use flexvm_exporter::config::{
    Api, Config, Ledger as LedgerConfig, Metrics, Poll, Prices, Report, Secret, Tenant, TokenSource, Web,
};
use flexvm_exporter::exposition::{Part, TenantView, write_part};
use flexvm_exporter::ledger::{self, Ledger};
use flexvm_exporter::period::Month;
use flexvm_exporter::poll::inventory;
use flexvm_exporter::snapshot::{Collector, InventoryData, Section, Snapshot, UsageData};
use flexvm_exporter::usage::{Grouping, PeriodUsage};
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::api::{LIFE, OCTOBER, second, serve, status, time};

/// Three intervals of `poll.inventory`: polls further apart prove nothing of the time between.
const LONGEST_GAP: i64 = 180;

/// A poll each minute of the evening, but for the half hour in which the API is down.
fn polls() -> Vec<i64> {
    let (first, last) = (second("2026-10-31T20:00:00Z"), second("2026-11-01T00:00:00Z"));
    let down = second("2026-10-31T22:21:00Z")..second("2026-10-31T22:50:00Z");
    (first..=last).step_by(60).filter(|at| !down.contains(at)).collect()
}

/// What came out.
pub struct Made {
    /// Text of the metrics while the VM is being seen for the second time, and after the month's end.
    pub at_poll: String,
    pub metrics: String,
    /// The ledger's events as CSV.
    pub events: String,
    /// The files of the report by the ends of their names.
    pub files: BTreeMap<String, String>,
    /// See [`by_hand`].
    pub by_hand: Vec<(i64, i64, &'static str)>,
}

/// The series of one part of a snapshot.
fn series(part: Part, snapshot: &Snapshot, closed: &[flexvm_exporter::snapshot::ClosedMonth]) -> String {
    let tenant = TenantView { name: "k12345", snapshot, up: Some(true), closed };
    String::from_utf8(write_part(part, &tenant, &Metrics::default(), Vec::new())).unwrap()
}

fn config(url: &str, folder: &std::path::Path) -> Config {
    let price = |text: &str| vec![(None, text.parse().unwrap())];
    let vm_hour = [("vm.4c.8g".to_owned(), price("0.12")), ("vm.8c.32g.gpu".to_owned(), price("0.95"))];
    Config {
        tenants: vec![Arc::new(Tenant {
            name: "k12345".into(),
            base_url: url.parse().unwrap(),
            token: TokenSource::Fixed(Secret::new("none")),
            api: Api { retries: 0, ..Api::default() },
            prices: Some(Arc::new(Prices { currency: "EUR".into(), vm_hour: vm_hour.into() })),
            group_by: vec!["project".into()],
        })],
        poll: Poll::default(),
        metrics: Metrics::default(),
        web: Web::default(),
        ledger: LedgerConfig { path: folder.join("ledger.db"), ..LedgerConfig::default() },
        report: Report { directory: folder.join("reports"), ..Report::default() },
    }
}

/// Polls the evening, closes the month half an hour after its end.
pub async fn make() -> Made {
    let hand = Arc::new(AtomicI64::new(polls()[0]));
    let seconds = Arc::clone(&hand);
    let clock = Clock::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, clock.clone()));
    let folder = tempfile::tempdir().unwrap();
    let config = config(&url, folder.path());
    let tenant = Arc::clone(&config.tenants[0]);
    let client = Client::new(&tenant, Arc::new(NoObserver)).unwrap();
    let ledger = Ledger::open(&config.ledger.path).unwrap();

    let deadline = Duration::from_mins(1);
    let gap = Duration::from_secs(LONGEST_GAP.unsigned_abs());
    let mut before: Option<Arc<InventoryData>> = None;
    let mut memory = inventory::Memory::default();
    let mut at_poll = String::new();
    for at in polls() {
        hand.store(at, Ordering::SeqCst);
        let mut data =
            inventory::fetch(&client.run(deadline), before.as_deref(), None, &mut memory, clock.monotonic())
                .await
                .unwrap();
        let since =
            ledger.observe(Arc::clone(&tenant.name), clock.now(), gap, Arc::new(data.clone())).await.unwrap();
        data.status_since = since;
        let data = Arc::new(data);
        if time(at) == "2026-10-31T20:13:00Z" {
            let section = Section { at: clock.now(), data: Arc::clone(&data) };
            let snapshot = Snapshot { inventory: Some(section), ..Snapshot::default() };
            at_poll = series(Part::Collector(Collector::Inventory), &snapshot, &[])
                + &series(Part::Vms, &snapshot, &[]);
        }
        before = Some(data);
    }

    hand.store(second("2026-11-01T00:30:30Z"), Ordering::SeqCst);
    let october: Month = OCTOBER.parse().unwrap();
    let mut usages = Vec::new();
    for month in [october.next(), october] {
        let monthly = client.run(deadline).monthly(Some(month.period())).await.unwrap();
        let seen = ledger.observations(&tenant.name, month.period(), clock.now()).unwrap();
        let grouping = Grouping { group_by: &tenant.group_by, tag_rules: &[] };
        let prices = tenant.prices.as_deref();
        usages.push(PeriodUsage::of(&monthly.report, clock.now(), &grouping, prices, &seen));
    }
    let previous = usages.pop().map(Arc::new);
    let usage = UsageData { current: usages.pop().unwrap(), previous };
    let section = Section { at: clock.now(), data: Arc::new(usage) };
    let snapshot = Snapshot { usage: Some(section), ..Snapshot::default() };

    let closer = Closer::new(tenant, client, ledger, clock, Arc::new(config.clone()));
    let outcome = closer.close(october, &flexvm_exporter::close::CloseOptions::default()).await.unwrap();
    let newest = outcome.published().closed_month();
    let metrics = series(Part::Collector(Collector::Usage), &snapshot, &[])
        + &series(Part::Status, &Snapshot::default(), &[newest]);
    let mut events = Vec::new();
    ledger::export(&config.ledger.path, &mut events).unwrap();
    let files = outcome.published().files.iter().map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let end = name.rsplit('_').next().unwrap().to_owned();
        (end, std::fs::read_to_string(path).unwrap())
    });
    let (files, events) = (files.collect(), String::from_utf8(events).unwrap());
    Made { at_poll, metrics, events, files, by_hand: by_hand() }
}

/// The VM's seconds in October by hand, second by second: from, until, and what they count under.
fn by_hand() -> Vec<(i64, i64, &'static str)> {
    let polls = polls();
    let (from, until) = (second(LIFE[0].0), second("2026-11-01T00:00:00Z"));
    let polls: Vec<_> = polls.into_iter().map(|at| (at, status(at))).collect();
    let mut stretches: Vec<(i64, i64, &'static str)> = Vec::new();
    for now in from..until {
        let seen = polls.iter().rfind(|(at, _)| *at <= now);
        let next = polls.iter().find(|(at, _)| *at > now);
        let counts = match (seen, next) {
            (Some((seen, Some(status))), Some((next, _))) if next - seen <= LONGEST_GAP => match *status {
                "running" => "running",
                "stopped" => "stopped",
                _ => "other",
            },
            _ => "unobserved",
        };
        match stretches.last_mut() {
            Some((_, end, last)) if *last == counts => *end = now + 1,
            _ => stretches.push((now, now + 1, counts)),
        }
    }
    stretches
}
