//! The month of docs/figures.md, written by hand: an API that answers by a clock moved by hand, polled
//! and closed by the library as the daemon does it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
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
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const VM: &str = "0198f1c2-7a3e-7000-8000-000000000001";
const SHORT: &str = "0198f1c2-7a3e-7000-8000-000000000002";
const UNTAGGED: &str = "0198f1c2-7a3e-7000-8000-000000000003";
const CLOUD: &str = "0198aaaa-0000-7000-8000-00000000000a";

const OCTOBER: &str = "2026-10";

/// Three intervals of `poll.inventory`: polls further apart prove nothing of the time between.
const LONGEST_GAP: i64 = 180;

pub fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

pub fn time(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}

/// What became of the VM that the document follows: from when on it has which status.
const LIFE: [(&str, &str); 4] = [
    ("2026-10-31T20:10:20Z", "provisioning"),
    ("2026-10-31T20:12:40Z", "running"),
    ("2026-10-31T22:00:30Z", "stopped"),
    ("2026-10-31T22:40:00Z", "running"),
];

fn status(at: i64) -> Option<&'static str> {
    static LIVED: LazyLock<[(i64, &str); 4]> = LazyLock::new(|| LIFE.map(|(from, it)| (second(from), it)));
    LIVED.iter().rev().find(|(from, _)| *from <= at).map(|(_, status)| *status)
}

/// A poll each minute of the evening, but for the half hour in which the API is down.
fn polls() -> Vec<i64> {
    let (first, last) = (second("2026-10-31T20:00:00Z"), second("2026-11-01T00:00:00Z"));
    let down = second("2026-10-31T22:21:00Z")..second("2026-10-31T22:50:00Z");
    (first..=last).step_by(60).filter(|at| !down.contains(at)).collect()
}

fn size(name: &str) -> Value {
    let gpu = json!([{"type": "gpu", "spec": "L40S"}]);
    let (vcpu, memory, devices) = match name {
        "vm.8c.32g.gpu" => (8, 32_768, gpu),
        "vm.4c.8g" => (4, 8192, json!([])),
        _ => (2, 4096, json!([])),
    };
    json!({"id": name, "name": name, "vcpu": vcpu, "memory": memory, "disk": 80, "pciDevices": devices})
}

fn cloud() -> Value {
    json!({"id": CLOUD, "name": "render", "site": "nlrtm1", "instance_type": "bm9.gpu",
           "created_at": "2026-01-05T09:00:00Z"})
}

/// Id, size, tags, creation and release of all VMs of the month.
type Row = (&'static str, &'static str, Vec<&'static str>, &'static str, Option<&'static str>);

fn vms() -> [Row; 3] {
    let (odyssey, ci) = (vec!["project:odyssey", "team:render"], vec!["project:odyssey"]);
    [
        (VM, "vm.8c.32g.gpu", odyssey, LIFE[0].0, Some("2026-11-01T02:00:00Z")),
        (SHORT, "vm.4c.8g", ci, "2026-10-31T20:30:00Z", Some("2026-10-31T20:35:00Z")),
        (UNTAGGED, "vm.2c.4g", vec![], "2026-10-31T21:00:00Z", Some("2026-10-31T21:40:00Z")),
    ]
}

fn name(id: &str) -> String {
    format!("agent-{}", &id[id.len() - 1..])
}

/// A VM as the API lists it, if it lives at `at`.
pub fn listed(id: &str, at: i64) -> Option<Value> {
    let (_, instance_type, tags, created, released) = vms().into_iter().find(|vm| vm.0 == id).unwrap();
    if at < second(created) || released.is_some_and(|released| second(released) <= at) {
        return None;
    }
    let status = if id == VM { status(at)? } else { "running" };
    Some(json!({
        "id": id, "name": name(id), "status": status,
        "instance_type": size(instance_type),
        "image": {"name": "debian-12", "os": "Debian 12", "os_type": "linux"},
        "tags": tags, "ips": [], "node": null, "cloud": cloud(),
        "created_at": created, "deleted_at": null,
    }))
}

/// A VM's row in the provider's report on October; its hours are the time rounded up.
pub fn reported(id: &str) -> Value {
    let (_, instance_type, tags, created, released) = vms().into_iter().find(|vm| vm.0 == id).unwrap();
    let within = if id == VM { None } else { released };
    let hours = if id == VM { 4 } else { 1 };
    json!({
        "vm_id": id, "name": name(id), "status": if within.is_some() { "deleted" } else { "running" },
        "plan": instance_type, "image": "debian-12", "cloud_id": CLOUD, "site": "nlrtm1", "tags": tags,
        "created_at": created, "released_at": within, "vm_hours": hours,
    })
}

fn monthly(start: &str) -> Value {
    let usage = |created, released, hours| json!({"total_vms_created": created, "total_vms_released": released, "total_vm_hours": hours});
    let october = start.starts_with(OCTOBER);
    let month: Month = start[..7].parse().unwrap();
    let tag = |tag: &str, mut usage: Value| {
        usage["tag"] = tag.into();
        usage["active_vms"] = 1.into();
        usage
    };
    let (by_tag, usage, vms) = if october {
        let tags = json!([tag("project:odyssey", usage(2, 1, 5)), tag("team:render", usage(1, 0, 4))]);
        // 16,480 seconds are 4.58 hours: the provider rounds the cloud's sum up.
        (tags, usage(3, 2, 5), vec![reported(VM), reported(SHORT), reported(UNTAGGED)])
    } else {
        (json!([]), usage(0, 0, 0), vec![])
    };
    let row = json!({"id": CLOUD, "site": "nlrtm1", "instance_type": "bm9.gpu", "nodes": 1,
                     "active_vms": 1, "period_usage": usage});
    json!({"period": {"start": time(month.period().start.as_second()), "end": time(month.period().end.as_second())},
           "total_nodes": 1, "total_active_vms": 1, "clouds": [row], "by_tag": by_tag, "vms": vms})
}

/// The API's answer to `path` with `query`, if there is such a thing.
fn answer(path: &str, query: &BTreeMap<String, String>, at: i64) -> Option<Value> {
    let word = |name: &str| query.get(name).map_or("", String::as_str);
    let path = path.strip_prefix("/v3/flexVM/")?;
    let of_cloud = path.strip_prefix(&format!("clouds/{CLOUD}/")).unwrap_or_default();
    let all = vms().map(|vm| vm.0);
    Some(match (path, of_cloud) {
        ("clouds", _) => json!([cloud()]),
        ("instanceTypes", _) => json!(["vm.2c.4g", "vm.4c.8g", "vm.8c.32g.gpu"].map(size)),
        ("reports/monthly", _) => monthly(word("start")),
        (_, "nodes") => json!([]),
        (_, "vms") => {
            let living = all.iter().filter_map(|id| listed(id, at));
            json!(living.filter(|vm| vm["status"] == word("status")).collect::<Vec<_>>())
        }
        (_, one) => listed(one.strip_prefix("vms/")?, at)?,
    })
}

async fn serve(listener: TcpListener, clock: Clock) {
    while let Ok((stream, _)) = listener.accept().await {
        let clock = clock.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let query = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
            let found = answer(request.uri().path(), &query.into_owned().collect(), clock.now().as_second());
            let mut response = Response::new(Full::new(Bytes::new()));
            match found {
                Some(value) => *response.body_mut() = value.to_string().into(),
                None => *response.status_mut() = hyper::StatusCode::NOT_FOUND,
            }
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
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
fn series(
    part: Part,
    snapshot: &Snapshot,
    closed: Option<&flexvm_exporter::snapshot::ClosedMonth>,
) -> String {
    let tenants = [TenantView { name: "k12345", snapshot, up: Some(true), closed }];
    String::from_utf8(write_part(part, &tenants, &Metrics::default(), Vec::new())).unwrap()
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
    let mut at_poll = String::new();
    for at in polls() {
        hand.store(at, Ordering::SeqCst);
        let mut data = inventory::fetch(&client.run(deadline), before.as_deref()).await.unwrap();
        let since =
            ledger.observe(Arc::clone(&tenant.name), clock.now(), gap, Arc::new(data.clone())).await.unwrap();
        data.status_since = since;
        let data = Arc::new(data);
        if time(at) == "2026-10-31T20:13:00Z" {
            let section = Section { at: clock.now(), data: Arc::clone(&data) };
            let snapshot = Snapshot { inventory: Some(section), ..Snapshot::default() };
            at_poll = series(Part::Collector(Collector::Inventory), &snapshot, None);
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
    let outcome = closer.close(october).await.unwrap();
    let newest = outcome.published().closed_month();
    let metrics = series(Part::Collector(Collector::Usage), &snapshot, None)
        + &series(Part::Status, &Snapshot::default(), Some(&newest));
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
