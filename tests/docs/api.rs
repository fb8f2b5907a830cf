//! The API of docs/figures.md, written by hand: three VMs in one cloud, as of a clock moved by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;
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

pub const OCTOBER: &str = "2026-10";

pub fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

pub fn time(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}

/// What became of the VM that the document follows: from when on it has which status.
pub const LIFE: [(&str, &str); 4] = [
    ("2026-10-31T20:10:20Z", "provisioning"),
    ("2026-10-31T20:12:40Z", "running"),
    ("2026-10-31T22:00:30Z", "stopped"),
    ("2026-10-31T22:40:00Z", "running"),
];

pub fn status(at: i64) -> Option<&'static str> {
    static LIVED: LazyLock<[(i64, &str); 4]> = LazyLock::new(|| LIFE.map(|(from, it)| (second(from), it)));
    LIVED.iter().rev().find(|(from, _)| *from <= at).map(|(_, status)| *status)
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

pub async fn serve(listener: TcpListener, clock: Clock) {
    while let Ok((stream, _)) = listener.accept().await {
        let clock = clock.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let query = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
            let now = clock.now();
            let found = answer(request.uri().path(), &query.into_owned().collect(), now.as_second());
            let mut response = Response::new(Full::new(Bytes::new()));
            // The clock of the server would differ from the clock in the example.
            let date =
                httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now.as_second().unsigned_abs()))
                    .parse()
                    .unwrap();
            response.headers_mut().insert(hyper::header::DATE, date);
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
