//! docs/metrics.md lists what is exposed: families, labels and meaning, from the golden text of the
//! domain's series and from the exporter's own series with everything having happened once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flexvm_exporter::api::{ClockState, Code, Defect, Endpoint, Observer as _, Reason};
use flexvm_exporter::ledger::{ChangedSeconds, Comparison, Ledger};
use flexvm_exporter::self_metrics::{CertificateUse, Difference, Handler, RequestObserver, SelfMetrics};
use flexvm_exporter::snapshot::{Collector, InventoryData};
use jiff::Timestamp;

use crate::{hold, read, rows};

/// Families in the order of the text: name, labels in the order met, meaning.
fn families(text: &str) -> Vec<(String, Vec<String>, String)> {
    let mut families: Vec<(String, Vec<String>, String)> = Vec::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            families.push((name.to_owned(), Vec::new(), help.replace("\\\\", "\\")));
        } else if !line.starts_with('#') && line.contains('{') {
            let known = &mut families.last_mut().unwrap().1;
            for label in labels(line) {
                let label = if label.starts_with("tag_") && label != "tag_key" { "tag_KEY" } else { &label };
                if label != "le" && !known.iter().any(|it| it == label) {
                    known.push(label.to_owned());
                }
            }
        }
    }
    for (_, labels, _) in &mut families {
        labels.sort_by_key(|label| label != "tenant");
    }
    families
}

/// The names of a series' labels.
fn labels(line: &str) -> Vec<String> {
    let (mut names, mut rest) = (Vec::new(), line.split_once('{').unwrap().1);
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = value.find(|c: char| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        });
        rest = &value[end.unwrap() + 1..];
        if rest.starts_with('}') {
            break;
        }
    }
    names
}

/// The exporter's own series after everything has happened once.
async fn own() -> String {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let (metrics, folder) = (Arc::new(SelfMetrics::new(now).unwrap()), tempfile::tempdir().unwrap());
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    let polled = Arc::<InventoryData>::default();
    ledger.observe("k1".into(), now, Duration::from_mins(3), polled).await.unwrap();
    metrics.watch(ledger);
    metrics.add_tenant("k1", Collector::ALL.into_iter());
    metrics.collector_succeeded("k1", Collector::Usage, Duration::from_secs(1), now);
    let observer = RequestObserver { metrics: Arc::clone(&metrics), tenant: "k1".into() };
    observer.request(Endpoint::Clouds, Code::Reason(Reason::Timeout), Duration::from_secs(1));
    observer.retry(Endpoint::Clouds);
    let fields = BTreeMap::from([((Endpoint::Clouds, "new".to_owned()), 1)]);
    metrics.unknown_fields("k1", Collector::Inventory, &fields);
    let defect = Defect { count: 1, example: String::new() };
    metrics.api_defects(
        "k1",
        Collector::Capacity,
        &BTreeMap::from([((Endpoint::Capacity, "available"), defect)]),
    );
    metrics.http_request(Handler::Metrics, 200);
    metrics.certificates(&[(CertificateUse::Server, now)]);
    observer.certificate(now);
    metrics.woke(now);
    metrics.report_due("k1", Some(0));
    metrics.report_succeeded("k1", now);
    metrics.reconciled(
        "k1",
        &Difference {
            month: "2026-10".into(),
            vms: BTreeMap::from([("created", 0)]),
            seconds: BTreeMap::from([("total", 0)]),
        },
    );
    let comparison =
        Comparison { at: now, seconds: ChangedSeconds::default(), first_read: None, open: false };
    metrics.ledger_new_beside_reports("k1", false);
    metrics.clock_compared("k1", ClockState::Agrees);
    metrics.compared("k1", &BTreeMap::from([("2026-10".parse().unwrap(), comparison)]));
    String::from_utf8(metrics.text()).unwrap()
}

fn table(families: &[(String, Vec<String>, String)]) -> String {
    families.iter().fold("| family | labels | meaning |\n|---|---|---|\n".to_owned(), |mut all, it| {
        let (name, labels, help) = it;
        writeln!(all, "| `{name}` | {} | {} |", labels.join(", "), help.replace('|', "\\|")).unwrap();
        all
    })
}

#[tokio::test]
async fn every_family_is_there_with_its_labels_and_meaning() {
    let (mut domain, mut exporter) = (families(&read("tests/golden/metrics.prom")), families(&own().await));
    exporter.extend(domain.extract_if(.., |family| family.0.starts_with("flexvm_exporter_")));
    exporter.sort();
    assert!(domain.len() > 50 && exporter.len() > 30, "{} and {}", domain.len(), exporter.len());
    for (name, _, help) in domain.iter().chain(&exporter) {
        assert!(help.ends_with('.'), "{name}: {help}");
    }
    // The prose before each table is kept.
    let document = read("docs/metrics.md");
    let (mut wanted, mut tables) = (String::new(), [table(&domain), table(&exporter)].into_iter());
    for line in document.lines() {
        if line == "| family | labels | meaning |" {
            wanted += &tables.next().unwrap();
        } else if !line.starts_with('|') {
            writeln!(wanted, "{line}").unwrap();
        }
    }
    hold("docs/metrics.md", &wanted);
    assert_eq!(rows(&wanted).len(), domain.len() + exporter.len());
}
