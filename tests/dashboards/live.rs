//! Every expression, run by a real Prometheus that scrapes the program on the simulator.
//!
//! First all is well: every expression is answered, apart from a few that tell of trouble, and no
//! alert is even pending. Then the simulator misbehaves, and a second exporter joins that lives
//! weeks later among VMs that failed. In the end every expression has been answered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::simulator::{Fault, Operation, Options};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::files::{Expression, asked, dashboards, panel_expressions, panels, root, rules, text};
use super::program::tool;
use super::series::{SELF, family};
use super::stage::{
    Later, PATIENCE, make_healthy, scrape, simulate, start_exporter, start_prometheus, until_ready,
};

/// Part of an expression that is not answered while all is well, and why. Later it must be.
const NOT_YET: [(&str, &str); 11] = [
    ("flexvm_exporter_api_unknown_fields", "the simulator sends documented fields alone"),
    ("flexvm_exporter_api_retries_total", "nothing had to be sent again"),
    ("rate(flexvm_exporter_collector_failures_total", "shows what is above 0"),
    ("rate(flexvm_exporter_report_failures_total", "shows what is above 0"),
    ("certificate_expiry_timestamp_seconds", "the exporter and the simulator serve without TLS"),
    ("flexvm_exporter_report_changed_seconds", "a closed month is first compared a day later"),
    ("code!~\"2..|429\"", "no request has failed"),
    ("flexvm_exporter_api_request_errors", "no request has failed"),
    ("flexvm_usage_projected", "projections are absent in a month's first 24 hours"),
    ("flexvm_usage_untagged_vm_seconds:ratio", "no use yet in a month's first seconds"),
    (
        "status=~\"failed|provisioning|created|starting|stopping|deleting\"",
        "VMs that failed or are stuck were deleted, to have a healthy world",
    ),
];

/// Figures on one number that an empty fleet does not have, and why.
const NOT_OF_NOTHING: [(&str, &str); 7] = [
    ("vCPUs in use", "a share of nothing"),
    ("Memory in use", "a share of nothing"),
    ("Only stood", "a share of nothing"),
    ("Observed", "a share of nothing"),
    ("Untagged", "a share of nothing"),
    ("rojected", "projections are absent in a month's first 24 hours"),
    ("Projection", "projections are absent in a month's first 24 hours"),
];

/// Families of the contract that this world's exporter need not serve, and why.
const NOT_SERVED: [(&str, &str); 4] = [
    ("up", "Prometheus's own"),
    ("flexvm_exporter_certificate_expiry_timestamp_seconds", "the exporter serves without TLS"),
    ("flexvm_exporter_api_certificate_expiry_timestamp_seconds", "the simulator serves without TLS"),
    ("flexvm_exporter_report_changed_seconds", "a closed month is first compared a day after it was closed"),
];

struct World {
    http: reqwest::Client,
    prometheus: String,
}

impl World {
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.prometheus)).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        let response = self.http.get(url).send().await.ok()?;
        serde_json::from_slice(&response.bytes().await.ok()?).ok()
    }

    /// Whether an expression has an answer; panics if it is an error.
    async fn answered(&self, expression: &Expression) -> bool {
        let query = [("query", expression.expr.as_str())];
        let Some(answer) = self.get("/api/v1/query", &query).await else { return false };
        assert_eq!(answer["status"], "success", "{}: {}: {answer}", expression.place, expression.expr);
        !answer["data"]["result"].as_array().unwrap().is_empty()
    }

    /// Waits until every expression has an answer; what has none in time.
    async fn unanswered(&self, mut expressions: Vec<Expression>) -> Vec<Expression> {
        let started = Instant::now();
        while !expressions.is_empty() && started.elapsed() < PATIENCE {
            let mut left = Vec::new();
            for expression in expressions {
                if !self.answered(&expression).await {
                    left.push(expression);
                }
            }
            expressions = left;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        expressions
    }

    /// The state of every alert, by name.
    async fn alerts(&self) -> BTreeMap<String, String> {
        let Some(answer) = self.get("/api/v1/rules", &[]).await else { return BTreeMap::new() };
        let mut states = BTreeMap::new();
        for group in answer["data"]["groups"].as_array().unwrap() {
            for rule in group["rules"].as_array().unwrap() {
                assert!(["ok", "unknown"].contains(&text(rule, "health")), "{rule}");
                if rule["type"] == "alerting" {
                    states.insert(text(rule, "name").to_owned(), text(rule, "state").to_owned());
                }
            }
        }
        states
    }
}

/// What somebody chose in the dashboards' variables; [`ALL`] is Grafana's All.
#[derive(Clone, Copy)]
struct Choice<'a> {
    tenant: &'a str,
    cloud: &'a str,
}

const ALL: &str = ".+";

/// As Grafana would send it.
fn filled_in(expr: &str, choice: Choice<'_>) -> String {
    let mut expr = expr.replace("$__rate_interval", "1m").replace("$search", "");
    for (variable, value) in
        [("$job", ALL), ("$instance", ALL), ("$tenant", choice.tenant), ("$cloud", choice.cloud)]
    {
        expr = expr.replace(&format!("=~\"{variable}\""), &format!("=~\"{value}\""));
    }
    expr
}

/// The expressions of all panels.
fn of_panels(choice: Choice<'_>) -> Vec<Expression> {
    let filled =
        |expression: Expression| Expression { expr: filled_in(&expression.expr, choice), ..expression };
    panel_expressions().into_iter().map(filled).collect()
}

fn all_expressions() -> Vec<Expression> {
    let choice = Choice { tenant: ALL, cloud: ALL };
    let mut all = of_panels(choice);
    for rule in rules().iter().filter(|rule| rule.get("record").is_some()) {
        let place = format!("rule {}", text(rule, "record"));
        all.push(Expression { place: place.clone(), expr: text(rule, "expr").to_owned() });
        all.push(Expression { place, expr: text(rule, "record").to_owned() });
    }
    for (name, dashboard) in dashboards() {
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let definition = filled_in(asked(variable), choice);
            if let Some((function, inside)) = definition.split_once('(') {
                let inside = inside.strip_suffix(')').unwrap();
                let selector =
                    if function == "label_values" { inside.rsplit_once(", ").unwrap().0 } else { inside };
                let place = format!("{name}: variable {}", variable["name"]);
                all.push(Expression { place, expr: selector.to_owned() });
            }
        }
    }
    all
}

fn not_yet(expression: &Expression) -> bool {
    NOT_YET.iter().any(|(part, _)| expression.expr.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_is_answered_by_prometheus_2() {
    if let Some(prometheus) = tool("prometheus") {
        every_expression_is_answered(&prometheus).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_is_answered_by_prometheus_3() {
    let prometheus = root().join("target/tools/prometheus3/prometheus");
    if prometheus.exists() {
        every_expression_is_answered(&prometheus).await;
    } else {
        eprintln!("SKIPPED: there is no Prometheus 3.x");
    }
}

async fn every_expression_is_answered(prometheus: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { churn: false, ..Options::default() };
    let (simulator, api) = simulate(options.clone(), Clock::system()).await;
    make_healthy(&simulator);
    let (_, empty) = simulate(Options { vms: 0, clouds: 0, ..options }, Clock::system()).await;
    let exporter = start_exporter(folder.path(), &api, &empty);
    let http = flexvm_exporter::api::plain_client(Duration::from_secs(10)).unwrap();
    until_ready(&http, &exporter.address).await;
    let (_prometheus, url) = start_prometheus(prometheus, folder.path(), &exporter.address);
    let world = World { http, prometheus: url };

    let nonsense = Expression { place: "nowhere".to_owned(), expr: "flexvm_no_such_series".to_owned() };
    assert!(!world.answered(&nonsense).await, "the test cannot tell an answer from none");
    let (others, needed): (Vec<_>, Vec<_>) = all_expressions().into_iter().partition(not_yet);
    for (part, _) in NOT_YET {
        assert!(others.iter().any(|expression| expression.expr.contains(part)), "{part} excuses nothing");
    }
    assert!(needed.len() > 150, "{}", needed.len());
    let unanswered = world.unanswered(needed).await;
    assert!(unanswered.is_empty(), "no answer: {unanswered:#?}");
    one_cloud_is_enough(&world).await;
    an_empty_fleet_has_its_figures(&world).await;
    no_alert_is_pending(&world).await;
    compare_with_what_is_served(&world.http, &exporter.address).await;

    simulator.faults().add(Fault::set("colour", json!("red")).on(Operation::Vms));
    simulator.faults().add(Fault::status(503).on(Operation::Images));
    let later = Later::start(folder.path()).await;
    until_ready(&world.http, &later.address).await;
    scrape(folder.path(), &[&exporter.address, &later.address]);
    let about = |part: &'static str| move |expression: &Expression| expression.expr.contains(part);
    let (failures, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(about("flexvm_exporter_report_failures_total"));
    let (changed, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(about("flexvm_exporter_report_changed_seconds"));
    // `tests/cli/certificates.rs` checks these series with TLS.
    let (certificates, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(about("certificate_expiry_timestamp_seconds"));
    assert!(!failures.is_empty() && !changed.is_empty() && !others.is_empty() && !certificates.is_empty());
    let unanswered = world.unanswered(others).await;
    assert!(unanswered.is_empty(), "no answer in trouble: {unanswered:#?}");
    later.passes(SignedDuration::from_hours(25), &world.http).await;
    let unanswered = world.unanswered(changed).await;
    assert!(unanswered.is_empty(), "no answer a day later: {unanswered:#?}");
    later.simulator.faults().add(Fault::status(503).on(Operation::Monthly));
    later.passes(SignedDuration::from_hours(31 * 24), &world.http).await;
    let again = async {
        loop {
            // Each reload tries the month again.
            later.passes(SignedDuration::ZERO, &world.http).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let unanswered = tokio::select! {
        unanswered = world.unanswered(failures) => unanswered,
        () = again => unreachable!("it goes on for ever"),
    };
    assert!(unanswered.is_empty(), "no answer when a month cannot be closed: {unanswered:#?}");
    for name in ["FlexvmCollectorFailing", "FlexvmUnknownFields"] {
        becomes_pending(&world, name).await;
    }
}

/// With one tenant and one cloud chosen, every panel still has its answers.
async fn one_cloud_is_enough(world: &World) {
    let query = [("query", r#"flexvm_cloud_info{tenant="live",node_type=~".*gpu.*"}"#)];
    let clouds = world.get("/api/v1/query", &query).await.unwrap();
    let cloud = text(&clouds["data"]["result"][0]["metric"], "cloud_id");
    assert!(!cloud.is_empty(), "{clouds}");
    let mut chosen = of_panels(Choice { tenant: "live", cloud });
    chosen.retain(|expression| !not_yet(expression));
    let unanswered = world.unanswered(chosen).await;
    assert!(unanswered.is_empty(), "no answer for one cloud: {unanswered:#?}");
}

/// An organisation without anything shows zeros, not blanks that could mean that nobody knows.
async fn an_empty_fleet_has_its_figures(world: &World) {
    let choice = Choice { tenant: "empty", cloud: ALL };
    let figures: BTreeSet<_> = dashboards()
        .iter()
        .flat_map(|(name, dashboard)| {
            let stats = panels(dashboard).filter(|panel| panel["type"] == "stat");
            stats.map(|panel| format!("{name} / {} / A", text(panel, "title"))).collect::<Vec<_>>()
        })
        .collect();
    let (mut stats, others): (Vec<_>, Vec<_>) =
        of_panels(choice).into_iter().partition(|expression| figures.contains(&expression.place));
    for expression in others {
        // An error fails here too.
        world.answered(&expression).await;
    }
    let excused = |place: &str| NOT_OF_NOTHING.iter().any(|(part, _)| place.contains(part));
    for (part, _) in NOT_OF_NOTHING {
        assert!(stats.iter().any(|expression| expression.place.contains(part)), "{part} excuses nothing");
    }
    stats.retain(|expression| !excused(&expression.place));
    assert!(stats.len() > 25, "{}", stats.len());
    let unanswered = world.unanswered(stats).await;
    assert!(unanswered.is_empty(), "no figure for an empty fleet: {unanswered:#?}");
}

/// Rules are looked at in turns, so an alert comes a moment after what it tells of.
async fn becomes_pending(world: &World, name: &str) {
    let started = Instant::now();
    loop {
        let states = world.alerts().await;
        if states.get(name).is_some_and(|state| state != "inactive") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{name}: {states:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// An alert may be pending while figures settle, such as when a VM is on its way.
async fn no_alert_is_pending(world: &World) {
    let started = Instant::now();
    loop {
        let states = world.alerts().await;
        assert!(states.values().all(|state| state != "firing"), "{states:?}");
        let pending: Vec<_> = states.iter().filter(|(_, state)| *state != "inactive").collect();
        if pending.is_empty() && states.len() >= 25 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{pending:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The list of series about the exporter itself is what it serves.
async fn compare_with_what_is_served(http: &reqwest::Client, address: &str) {
    let answer = http.get(format!("http://{address}/metrics")).send().await.unwrap().bytes().await.unwrap();
    let body = String::from_utf8(answer.to_vec()).unwrap();
    let families = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let domain = [
        "flexvm_exporter_exposition_timestamp_seconds",
        "flexvm_exporter_groups_omitted",
        "flexvm_exporter_tags_omitted",
        "flexvm_exporter_vms_omitted",
    ];
    let served: BTreeSet<_> = families
        .filter(|name| {
            (name.starts_with("flexvm_exporter_") || name.starts_with("process_")) && !domain.contains(name)
        })
        .map(family)
        .collect();
    let listed: BTreeSet<_> = SELF.into_iter().collect();
    let unknown: Vec<_> = served.difference(&listed).collect();
    assert!(unknown.is_empty(), "in no list: {unknown:?}");
    for missing in listed.difference(&served) {
        let troubled = NOT_YET.iter().any(|(part, _)| part.contains(*missing));
        assert!(troubled || NOT_SERVED.iter().any(|(name, _)| name == missing), "{missing} is not served");
    }
}
