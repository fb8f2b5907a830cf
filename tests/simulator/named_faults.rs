//! Named faults over HTTP: each has the effect of its summary. `tests/polling/named_faults.rs` and `tests/cli/faults.rs`
//! show what the exporter does.

use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use flexvm_exporter::simulator::NamedFault;
use serde_json::{Value, json};

use super::support::{Hand, Served, quiet, text};

const START: &str = "2026-05-14T10:00:00Z";
const APRIL: &str = "/reports/monthly?start=2026-04-01T00:00:00Z&end=2026-05-01T00:00:00Z";
const MAY: &str = "/reports/monthly?start=2026-05-01T00:00:00Z&end=2026-06-01T00:00:00Z";

async fn served(fault: NamedFault) -> (Served, Hand) {
    let hand = Hand::at(START);
    let api = Served::new(quiet(60, 3), hand.clock()).await;
    api.simulator.inject(fault);
    (api, hand)
}

async fn get(api: &Served, path: &str) -> (u16, Value) {
    let request = api.request("GET", path).header("RANGED-DATA", "start=0,results=1000");
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

async fn header(api: &Served, name: &str) -> Option<String> {
    let response = api.request("GET", "/images").send().await.unwrap();
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// Everything that the API holds without a fault.
fn clean(api: &Served, path: &str) -> Value {
    let answer = api.simulator.call("GET", &format!("/v3/flexVM{path}"), Some("start=0,results=1000"), "");
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn names_are_unique_and_have_a_summary() {
    let mut names = Vec::new();
    for fault in NamedFault::value_variants() {
        let value = fault.to_possible_value().unwrap();
        assert!(value.get_help().is_some_and(|help| !help.to_string().is_empty()), "{fault:?}");
        names.push(value.get_name().to_owned());
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert!(count > 30 && names.len() == count, "{names:?}");
}

#[tokio::test]
async fn absent_values_become_null() {
    let (api, _) = served(NamedFault::NullValues).await;
    let cloud = text(&clean(&api, "/clouds")[0]["id"]);
    let vms = format!("/clouds/{cloud}/vms");
    let new = json!({"name": "n", "ssh_keys": ["k"], "instance_type_name": "vm.2c.4g"});
    let made = api.simulator.call("POST", &format!("/v3/flexVM{vms}"), None, &new.to_string());
    let id = text(&serde_json::from_slice::<Value>(&made.body).unwrap()["id"]);
    let vm = get(&api, &format!("{vms}/{id}")).await.1;
    for name in ["node", "deleted_at", "description"] {
        assert_eq!(vm.get(name), Some(&Value::Null), "{name}");
    }
    let report = get(&api, MAY).await.1;
    assert!(report["vms"].as_array().unwrap().iter().any(|vm| vm.get("released_at") == Some(&Value::Null)));
}

#[tokio::test]
async fn text_that_is_not_unicode_is_sent() {
    let (api, _) = served(NamedFault::UnreadableText).await;
    let body = api.request("GET", MAY).send().await.unwrap().text().await.unwrap();
    assert!(body.contains("\\ud800") && !body.contains("NOT-VALID"), "{body:.200}");
}

#[tokio::test]
async fn lists_contradict_requests_by_id() {
    for (fault, path, lost) in
        [(NamedFault::EmptyClouds, "/clouds", 3), (NamedFault::MissingCloud, "/clouds", 1)]
    {
        let (api, _) = served(fault).await;
        let (all, listed) = (clean(&api, path), get(&api, path).await.1);
        let (all, listed) = (all.as_array().unwrap(), listed.as_array().unwrap());
        assert_eq!(all.len() - listed.len(), lost, "{fault:?}");
        for cloud in all {
            assert_eq!(get(&api, &format!("/clouds/{}", text(&cloud["id"]))).await.0, 200, "{fault:?}");
        }
    }
    let (api, _) = served(NamedFault::MissingVms).await;
    let (mut lost, mut kept) = (0, 0);
    for cloud in clean(&api, "/clouds").as_array().unwrap() {
        let path = format!("/clouds/{}/vms?status=running", text(&cloud["id"]));
        let (all, listed) = (clean(&api, &path), get(&api, &path).await.1);
        for vm in all.as_array().unwrap() {
            if listed.as_array().unwrap().contains(vm) {
                kept += 1;
                continue;
            }
            lost += 1;
            let path = format!("/clouds/{}/vms/{}", text(&cloud["id"]), text(&vm["id"]));
            assert_eq!(get(&api, &path).await.1, *vm);
        }
    }
    assert!(lost > 0 && kept > lost, "{lost} of {}", lost + kept);
}

#[tokio::test]
async fn only_ended_months_change_late() {
    for fault in [NamedFault::LateChange, NamedFault::LateTotals] {
        let (api, hand) = served(fault).await;
        let before = get(&api, APRIL).await.1;
        assert_eq!(before, clean(&api, APRIL), "{fault:?}: not yet");
        hand.pass(121);
        let after = get(&api, APRIL).await.1;
        assert_ne!(after["clouds"], before["clouds"], "{fault:?}");
        assert_eq!(after["vms"] == before["vms"], fault == NamedFault::LateTotals, "{fault:?}");
        assert_eq!(get(&api, MAY).await.1, clean(&api, MAY), "{fault:?}: the running month");
    }
}

#[tokio::test]
async fn only_ended_months_are_wrong() {
    use NamedFault::{ConflictingRows, DuplicateRows, EmptyMonth, IncompleteMonth, WrongPeriod};
    for fault in [EmptyMonth, IncompleteMonth, DuplicateRows, ConflictingRows, WrongPeriod] {
        let (api, _) = served(fault).await;
        assert_ne!(get(&api, APRIL).await.1, clean(&api, APRIL), "{fault:?}");
        assert_eq!(get(&api, MAY).await.1, clean(&api, MAY), "{fault:?}");
    }
    let (api, _) = served(NamedFault::PreviousMonthFails).await;
    assert_eq!((get(&api, APRIL).await.0, get(&api, MAY).await.0), (500, 200));
    assert_eq!(get(&api, "/reports/monthly").await.0, 200);
}

#[tokio::test]
async fn clocks_and_caches_are_wrong() {
    let (api, _) = served(NamedFault::NoDate).await;
    assert_eq!(header(&api, "date").await, None);
    let (api, hand) = served(NamedFault::WrongDate).await;
    hand.pass(5);
    assert_eq!(header(&api, "date").await.unwrap(), "Fri, 15 May 2026 10:00:05 GMT");
    let (api, _) = served(NamedFault::CachedResponses).await;
    assert_eq!(header(&api, "date").await.unwrap(), "Thu, 14 May 2026 09:00:00 GMT");
    assert_eq!(header(&api, "age").await.unwrap(), "3600");
}

#[tokio::test]
async fn every_second_minute_is_refused() {
    for (fault, status) in
        [(NamedFault::RateLimit, 429), (NamedFault::ServerErrors, 502), (NamedFault::Forbidden, 403)]
    {
        let (api, hand) = served(fault).await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(get(&api, "/images").await.0);
            hand.pass(60);
        }
        assert_eq!(statuses, [200, status, 200, status], "{fault:?}");
    }
    let (api, hand) = served(NamedFault::RateLimit).await;
    hand.pass(60);
    assert_eq!(header(&api, "retry-after").await.unwrap(), "30");
}

#[tokio::test]
async fn connections_are_slow_closed_and_cut() {
    let (api, _) = served(NamedFault::Slow).await;
    let began = Instant::now();
    assert_eq!(get(&api, "/images").await.0, 200);
    assert!(began.elapsed() >= Duration::from_secs(3));
    for fault in [NamedFault::DroppedConnections, NamedFault::TruncatedResponses] {
        let (api, _) = served(fault).await;
        let mut failed = Vec::new();
        for number in 1..=20 {
            let response = api.request("GET", "/images").send().await;
            let whole = match response {
                Ok(response) => response.bytes().await.is_ok(),
                Err(_) => false,
            };
            if !whole {
                failed.push(number);
            }
        }
        assert_eq!(failed, [10, 20], "{fault:?}");
    }
}
