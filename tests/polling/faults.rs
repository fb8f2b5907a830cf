//! Whatever an answer is, the last good data stays, other collectors go on, and all heals by itself.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::TokenSource;
use flexvm_exporter::simulator::{Fault, FaultKind, Operation};
use jiff::SignedDuration;
use serde_json::json;

use crate::rig::{INVENTORY, Rig, failures, lines, running_from, success, tenant, value};

/// Fails the second page of the running VMs: the list's other pages are good.
async fn on_a_later_page(fault: Fault, reason: &str) {
    let rig = Rig::new().await;
    let good = rig.well().await;
    assert!(!lines(&good, &INVENTORY).is_empty());
    rig.simulator.faults().add(fault.on(Operation::Vms).after(1));
    let bad = rig
        .until(reason, |text| {
            failures(text, "inventory", reason) >= 2.0
                && success(text, "inventory") == Some(0.0)
                && value(text, "flexvm_up{tenant=\"one\"}") == Some(0.0)
        })
        .await;
    assert_eq!(lines(&bad, &INVENTORY), lines(&good, &INVENTORY), "{reason}: the last good data stays");
    assert_eq!(value(&bad, "flexvm_up{tenant=\"one\"}"), Some(0.0));
    assert_eq!((success(&bad, "capacity"), success(&bad, "usage")), (Some(1.0), Some(1.0)), "{reason}");
    assert_eq!(rig.get("/-/healthy").await.0, 200);
    let (_, page) = rig.get("/").await;
    assert!(page.contains("inventory"), "{page}");
    rig.simulator.faults().clear();
    let healed = rig.well().await;
    assert_eq!(lines(&healed, &INVENTORY), lines(&good, &INVENTORY), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_for_people() {
    on_a_later_page(Fault::html(200), "malformed").await;
    on_a_later_page(Fault::html(502), "server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_ends_early_or_is_something_else() {
    on_a_later_page(Fault::body(200, "application/json", "[{\"id\":\"x\""), "malformed").await;
    on_a_later_page(Fault::new(FaultKind::ObjectForList), "malformed").await;
    on_a_later_page(Fault::edit_rows(|row| row["id"] = 7.into()), "malformed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_or_never_come() {
    on_a_later_page(Fault::new(FaultKind::Endless), "too_large").await;
    on_a_later_page(Fault::new(FaultKind::StallInBody), "timeout").await;
    on_a_later_page(Fault::new(FaultKind::Stall), "timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break() {
    on_a_later_page(Fault::new(FaultKind::Drop), "transport").await;
    on_a_later_page(Fault::new(FaultKind::Truncate), "transport").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_mean_no() {
    on_a_later_page(Fault::status(500), "server").await;
    on_a_later_page(Fault::error(429, "slow down"), "rate_limited").await;
    on_a_later_page(Fault::error(400, "no such status"), "client").await;
    on_a_later_page(Fault::status(401), "credentials").await;
    on_a_later_page(Fault::redirect("http://127.0.0.1:9/"), "redirect").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_series_go_and_come_back() {
    let rig = Rig::with(|config| config.metrics.stale_after = Duration::from_millis(500)).await;
    rig.well().await;
    rig.simulator.faults().add(Fault::status(500).on(Operation::Vms));
    // Stale data is looked for every few seconds.
    let gone = rig.until("stale series to go", |text| lines(text, &INVENTORY).is_empty()).await;
    assert!(!lines(&gone, &["flexvm_capacity_vcpus{"]).is_empty(), "what is not stale stays");
    assert!(success(&gone, "inventory") == Some(0.0));
    rig.simulator.faults().clear();
    rig.until("them to come back", |text| !lines(text, &INVENTORY).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_fail_alone_and_a_mended_token_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "wr0ng").unwrap();
    let from = file.clone();
    let rig = Rig::with(move |config| {
        let mut other = tenant("two", config.tenants[0].base_url.as_str().trim_end_matches('/'));
        other.token = TokenSource::File(from);
        config.tenants.push(Arc::new(other));
    })
    .await;
    rig.well().await;
    let text = rig
        .until("the other to be refused", |text| value(text, "flexvm_up{tenant=\"two\"}") == Some(0.0))
        .await;
    assert_eq!(value(&text, "flexvm_up{tenant=\"one\"}"), Some(1.0));
    assert!(!text.contains("wr0ng"));
    let refused = "flexvm_exporter_collector_failures_total{collector=\"inventory\",reason=\"credentials\",tenant=\"two\"}";
    assert!(value(&text, refused) >= Some(1.0));
    assert!(!text.contains("flexvm_cloud_vms{tenant=\"two\""));
    fs::write(&file, "simulator\n").unwrap();
    rig.until("the mended token", |text| value(text, "flexvm_up{tenant=\"two\"}") == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_documented_is_counted_and_shown_and_no_failure() {
    let rig = Rig::new().await;
    rig.well().await;
    let faults = rig.simulator.faults();
    faults.add(Fault::set("shoe_size", 43.into()).on(Operation::Vms));
    faults.add(Fault::set("status", "hibernated".into()).on(Operation::Nodes));
    let unknown = "flexvm_exporter_api_unknown_fields{endpoint=\"vms\",field=\"shoe_size\",tenant=\"one\"}";
    let text = rig.until("the unknown field", |text| value(text, unknown).is_some()).await;
    assert_eq!(value(&text, "flexvm_up{tenant=\"one\"}"), Some(1.0));
    rig.until("the unknown status", |text| {
        lines(text, &["flexvm_node_status{"])
            .iter()
            .any(|line| line.contains("status=\"hibernated\"") && line.ends_with(" 1"))
    })
    .await;
    faults.clear();
    rig.until("it to be forgotten", |text| value(text, unknown).is_none() && !text.contains("hibernated"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_values_are_counted_until_they_are_readable() {
    let rig = Rig::new().await;
    rig.well().await;
    let faults = rig.simulator.faults();
    faults.add(Fault::set("created_at", "yesterday".into()).on(Operation::Vms));
    let defects = "flexvm_exporter_api_defects{endpoint=\"vms\",field=\"created_at\",tenant=\"one\"}";
    let text = rig.until("the defects", |text| value(text, defects).is_some()).await;
    assert_eq!(success(&text, "inventory"), Some(1.0));
    faults.clear();
    rig.until("the end of the defects", |text| value(text, defects).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_previous_month_keeps_the_figures_of_both_months() {
    let (clock, ahead) = (running_from("2026-10-15T12:00:00Z"), Arc::new(AtomicI64::new(0)));
    let seconds = Arc::clone(&ahead);
    let clock = Clock::new(move || clock.now() + SignedDuration::from_secs(seconds.load(Ordering::Relaxed)));
    let mut rig = Rig::at(clock, |_| ()).await;
    let usage = |period: &str| format!("flexvm_usage_vms{{tenant=\"one\",period=\"{period}\"}}");
    let (current, previous) = (usage("current"), usage("previous"));
    let defects = "flexvm_exporter_api_defects{endpoint=\"monthly\",field=\"previous_month\",tenant=\"one\"}";
    let well = rig.until("both months", |text| value(text, &previous).is_some()).await;
    let fault = || {
        let september = |report: &serde_json::Value| report["period"]["start"] == "2026-09-01T00:00:00Z";
        Fault::edit(move |report| {
            if september(report) {
                *report = json!({});
            }
        })
        .on(Operation::Monthly)
    };
    rig.simulator.faults().add(fault());
    // The previous month is outdated after an hour, so it is fetched again.
    ahead.store(7200, Ordering::Relaxed);
    let text = rig.until("the defect", |text| value(text, defects) == Some(1.0)).await;
    assert_eq!(value(&text, &previous), value(&well, &previous), "the last known figures");
    assert_eq!((success(&text, "usage"), value(&text, "flexvm_up{tenant=\"one\"}")), (Some(1.0), Some(1.0)));
    rig.simulator.faults().clear();
    rig.until("the end of the defect", |text| value(text, defects).is_none()).await;

    rig.restart(|rig| rig.simulator.faults().add(fault())).await;
    let text = rig.until("the current month", |text| value(text, &current).is_some()).await;
    assert_eq!(
        (value(&text, &previous), success(&text, "usage")),
        (None, Some(1.0)),
        "the previous month is not known yet"
    );
    rig.simulator.faults().clear();
    rig.until("both months again", |text| value(text, &previous) == value(&well, &previous)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overcommitted_capacity_is_shown_with_nothing_available() {
    let rig = Rig::new().await;
    rig.well().await;
    let vcpu = json!({"total": 16, "in_use": 20, "available": -4});
    let change = move |row: &mut serde_json::Value| row["resources"]["vcpu"] = vcpu.clone();
    rig.simulator.faults().add(Fault::edit_rows(change.clone()).on(Operation::Capacity));
    rig.simulator.faults().add(Fault::edit_rows(change).on(Operation::CloudCapacity));
    let defects = |endpoint: &str| {
        let field = "resources.vcpu.available";
        format!("flexvm_exporter_api_defects{{endpoint=\"{endpoint}\",field=\"{field}\",tenant=\"one\"}}")
    };
    let of = |text: &str, name: &str| value(text, &format!("flexvm_capacity_vcpus{name}{{tenant=\"one\"}}"));
    let text = rig
        .until("the defects", |text| {
            value(text, &defects("cloud_capacity")) == Some(2.0)
                && of(text, "_in_use") == Some(20.0)
                && lines(text, &["flexvm_cloud_vcpus_in_use{"]).iter().all(|line| line.ends_with(" 20"))
        })
        .await;
    assert_eq!(value(&text, &defects("capacity")), Some(1.0));
    assert_eq!(success(&text, "capacity"), Some(1.0));
    assert_eq!((of(&text, ""), of(&text, "_available")), (Some(16.0), Some(0.0)));
    let headroom = lines(&text, &["flexvm_cloud_headroom_upper_bound_vms{"]);
    assert!(!headroom.is_empty() && headroom.iter().all(|line| line.ends_with(" 0")), "{headroom:?}");
    assert_eq!(rig.get("/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_with_a_wrong_clock_are_served_but_not_recorded() {
    let rig = Rig::with(|_| ()).await;
    rig.well().await;
    let polls = |text: &str| value(text, "flexvm_exporter_ledger_polls_total").unwrap_or_default();
    let refused = |text: &str| {
        value(text, "flexvm_exporter_ledger_failures_total{reason=\"clock\"}").unwrap_or_default()
    };
    let trusted = |text: &str| value(text, "flexvm_exporter_clock_trusted");
    rig.until("polls to be recorded", |text| polls(text) >= 1.0 && trusted(text) == Some(1.0)).await;
    rig.simulator.faults().add(Fault::header("date", &["Wed, 15 Oct 2025 12:00:00 GMT"]));
    let text = rig.until("polls to be refused", |text| refused(text) >= 2.0).await;
    assert_eq!(trusted(&text), Some(0.0));
    let recorded = polls(&text);
    let text = rig.until("more polls", |text| refused(text) >= 5.0).await;
    assert!(polls(&text) <= recorded, "{text}");
    rig.well().await;
    let page = rig.accepting("/", "application/json").await.1;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let clock = &page["tenants"][0]["clock"];
    assert_eq!(clock["state"], "differs");
    assert!(clock["ahead_seconds"].as_i64().unwrap() > 31_000_000, "{clock}");
    let page = rig.accepting("/", "text/html").await.1;
    assert!(page.contains("ahead of the Date of the API"), "{page}");
    rig.simulator.faults().clear();
    rig.until("polls to be recorded again", |text| polls(text) > recorded && trusted(text) == Some(1.0))
        .await;
    let page = rig.accepting("/", "application/json").await.1;
    assert!(page.contains("\"clock\":{\"state\":\"agrees\",\"ahead_seconds\":null}"), "{page}");
}
