//! What is served beside the metrics: discovery, reports, the status page.

use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::config::{Metrics, Poll, WebReports};
use flexvm_exporter::self_metrics::SelfMetrics;
use flexvm_exporter::simulator::{Fault, Operation};
use flexvm_exporter::store::Store;
use flexvm_exporter::web::{Access, App, Lists, Pages, Paths, Settings};
use serde_json::Value;

use crate::rig::{INVENTORY, Rig, lines, running_from};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn running_vms_are_discovered_and_kept_while_nothing_is_known() {
    let rig = Rig::with(|config| config.metrics.stale_after = Duration::from_millis(300)).await;
    let text = rig.well().await;
    let running =
        lines(&text, &["flexvm_vm_status{"]).iter().filter(|line| line.contains("\"running\"")).count();
    let (status, body) = rig.get("/sd/vms").await;
    assert_eq!(status, 200, "{body}");
    let groups = json(&body);
    let groups = groups.as_array().unwrap();
    assert!(running > 10 && groups.len() == running, "{} groups for {running} running VMs", groups.len());
    for group in groups {
        let labels = &group["labels"];
        assert_eq!(labels["__meta_flexvm_tenant"], "one");
        assert_eq!(labels["__meta_flexvm_status"], "running");
        for name in ["cloud_id", "cloud", "site", "vm_id", "vm", "instance_type", "image"] {
            assert!(labels[format!("__meta_flexvm_{name}")].is_string(), "{name}: {labels}");
        }
        for target in group["targets"].as_array().unwrap() {
            assert!(target.as_str().unwrap().ends_with(":9100"), "{target}");
        }
    }
    let (_, body) = rig.get("/sd/vms?port=80&tenant=one&public=true").await;
    for group in json(&body).as_array().unwrap() {
        assert!(group["targets"].as_array().unwrap().iter().all(|it| it.as_str().unwrap().ends_with(":80")));
    }
    let (_, private) = rig.get("/sd/vms?public=false").await;
    let (public, private) = (json(&body), json(&private));
    let count = |groups: &Value| -> usize {
        groups.as_array().unwrap().iter().map(|it| it["targets"].as_array().unwrap().len()).sum()
    };
    let all: usize = groups.iter().map(|it| it["targets"].as_array().unwrap().len()).sum();
    assert!(count(&public) > 0 && count(&private) > 0 && count(&public) + count(&private) == all);
    for (query, word) in [
        ("tenant=nobody", "tenant"),
        ("tenant=", "tenant"),
        ("tenant=ONE", "tenant"),
        ("port=none", "port"),
        ("port=", "port"),
        ("port=0", "port"),
        ("port=65536", "port"),
        ("public=yes", "public"),
        ("public=", "public"),
        ("ports=80", "Only port, tenant and public"),
    ] {
        let (status, sentence) = rig.get(&format!("/sd/vms?{query}")).await;
        assert_eq!(status, 400, "{query}: {sentence}");
        assert!(sentence.starts_with(word) && sentence.ends_with(".\n"), "{query}: {sentence}");
    }
    // What cannot be vouched for is not an empty list.
    rig.simulator.faults().add(Fault::status(500).on(Operation::Vms));
    rig.until("stale series to go", |text| lines(text, &INVENTORY).is_empty()).await;
    assert_eq!(rig.get("/sd/vms").await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_months_are_listed_and_their_files_and_no_others_are_given() {
    let rig = Rig::with(|config| config.report.backfill = 1).await;
    rig.until("a closed month", |text| text.contains("flexvm_report_vm_seconds{")).await;
    let (status, body) = rig.accepting("/reports/", "application/json").await;
    assert_eq!(status, 200);
    let list = json(&body);
    let row = &list["reports"][0];
    assert_eq!(
        (&row["tenant"], &row["month"], &row["revision"]),
        (&"one".into(), &"2026-09".into(), &1.into())
    );
    let files = row["files"].as_array().unwrap();
    assert_eq!(files.len(), 7);
    for file in files {
        let (status, body) = rig.get(file["path"].as_str().unwrap()).await;
        assert_eq!((status, body.len() as u64), (200, file["bytes"].as_u64().unwrap()), "{file}");
    }
    let (status, index) = rig.get("/reports/one/index.csv").await;
    assert!(status == 200 && index.contains("2026-09/r01"), "{index}");
    let (_, page) = rig.get("/reports/").await;
    assert!(page.starts_with("<!doctype html>") && page.contains("2026-09"), "{page}");
    let file = files[0]["name"].as_str().unwrap();
    for outside in [
        "/reports/one/2026-09/r01/".to_owned(),
        "/reports/one/2026-09/r01/.lock".to_owned(),
        format!("/reports/one/2026-09/r02/{file}"),
        format!("/reports/one/2026-09/r1/{file}"),
        format!("/reports/one/2026-09/r01/x/../{file}x"),
        format!("/reports/one/2026-09/r01/{file}/"),
        "/reports/..%2f..%2fledger.db".to_owned(),
        "/reports/one/2026-09/r01/..%2f..%2findex.csv".to_owned(),
        "/reports/one/2026-09/r01/%2e%2e/%2e%2e/index.csv".to_owned(),
        "/reports/one/../../ledger.db".to_owned(),
        "/reports//etc/passwd".to_owned(),
        "/reports/one/2026-09%00/r01/x".to_owned(),
        "/reportsx".to_owned(),
    ] {
        let status = rig.raw(&outside).await;
        assert_eq!(status, 404, "{outside}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_that_is_served_is_documented() {
    let rig = Rig::with(|config| config.report.backfill = 1).await;
    rig.until("a closed month", |text| text.contains("flexvm_report_vm_seconds{")).await;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let documented = std::fs::read_to_string(path).unwrap();
    let text = rig.well().await;
    let families: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 80, "{families:?}");
    for family in families {
        assert!(documented.contains(&format!("\n| `{family}` |")), "{family} is not in docs/metrics.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_reports_and_reloads_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (reload, _asked) = tokio::sync::mpsc::channel(1);
    let app = Arc::new(App {
        store: Arc::new(Store::new(&[], Metrics::default(), Poll::default())),
        self_metrics: Arc::new(SelfMetrics::new(jiff::Timestamp::UNIX_EPOCH).unwrap()),
        paths: Paths::default(),
        settings: arc_swap::ArcSwap::from_pointee(Settings {
            directory: folder.path().to_owned(),
            tenants: Vec::new(),
            reports: WebReports::Auto,
        }),
        access: Arc::new(Access::default()),
        clock: running_from("2026-10-15T12:00:00Z"),
        reload,
        lists: Lists::default(),
        pages: Pages::default(),
    });
    let ask = async |path: &str, loopback| {
        let request = hyper::Request::get(path).body(()).unwrap();
        Arc::clone(&app).answer(request, loopback).await.status().as_u16()
    };
    for path in ["/reports", "/reports/", "/reports/one/index.csv"] {
        assert_eq!(ask(path, false).await, 403, "{path}");
    }
    assert_eq!(ask("/reports/", true).await, 200);
    assert_eq!(ask("/metrics", false).await, 200);
    let reload = hyper::Request::post("/-/reload").body(()).unwrap();
    assert_eq!(Arc::clone(&app).answer(reload, false).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_reloads_can_be_closed() {
    let rig = Rig::with(|config| config.web.reports = WebReports::Off).await;
    for path in ["/reports/", "/reports/one/index.csv", "/reports"] {
        assert_eq!(rig.get(path).await.0, 403, "{path}");
    }
    assert_eq!(rig.send(reqwest::Method::POST, "/-/reload").await.0, 403);
    assert_eq!(rig.get("/-/reload").await.0, 405);
    assert_eq!(rig.send(reqwest::Method::POST, "/metrics").await.0, 405);
    let open = Rig::new().await;
    let (status, text) = open.send(reqwest::Method::PUT, "/-/reload").await;
    assert_eq!(status, 500, "there is no file: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_it_all_and_escapes_it() {
    let rig = Rig::with(|config| config.report.backfill = 1).await;
    rig.well().await;
    let cloud = {
        let text = rig.text().await;
        let line = lines(&text, &["flexvm_cloud_info{"])[0].to_owned();
        line.split_once("cloud_id=\"").unwrap().1.split('"').next().unwrap().to_owned()
    };
    rig.simulator
        .faults()
        .add(Fault::set("name", "<script>alert('x')</script>".into()).on(Operation::CloudCapacity));
    rig.until_get("the hostile name", "/", |_, page| page.contains("alert(")).await;
    let (_, page) = rig.get("/").await;
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
    let own = page.replace("<link rel=\"icon\" href=\"data:", "");
    for asset in ["src=", "<link", "@import", "url("] {
        assert!(!own.contains(asset), "no outside assets: {asset}");
    }
    let (_, body) = rig.accepting("/", "application/json").await;
    let status = json(&body);
    let tenant = &status["tenants"][0];
    assert_eq!((&tenant["tenant"], &tenant["up"]), (&"one".into(), &true.into()));
    assert!(
        tenant["capacity"].as_array().unwrap().iter().any(|place| place["cloud_id"] == cloud.as_str()),
        "{tenant}"
    );
    assert!(tenant["month_to_date"]["total"]["vm_seconds"].as_u64().unwrap() > 0);
}
