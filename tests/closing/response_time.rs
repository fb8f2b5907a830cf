//! The time at which the provider's response was generated: its proof, and the consequences of a
//! missing proof.

use std::time::Duration;

use flexvm_exporter::close::{CloseOptions, Undated};
use flexvm_exporter::config::Restate;
use flexvm_exporter::report::Outcome;
use flexvm_exporter::simulator::{Fault, Operation};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::server::{Reply, Server, answer};
use crate::support::{Stage, TENANT, manifest, month, terms, texts};

const MONTH: &str = "2026-10";
/// October can be closed from half an hour after its end.
const SETTLED: &str = "2026-11-01T00:30:00Z";
const PERIOD: &str = "flexvm_exporter_report_failures_total{reason=\"period\",tenant=\"k12345\"}";
const NOTE: &str =
    "The provider's response had no usable Date: only this machine's clock proves that the month had ended.";
const HOUR: Duration = Duration::from_hours(1);

async fn october(time: &str) -> Stage {
    Stage::with(time, |config| config.report.backfill = 1).await
}

/// A header of the monthly response alone.
fn monthly(name: &'static str, values: &[&str]) -> Fault {
    Fault::header(name, values).on(Operation::Monthly)
}

/// The provider bills one VM for an hour more.
fn one_hour_more() -> Fault {
    Fault::edit(|report| {
        let hours = &mut report["vms"][0]["vm_hours"];
        *hours = (hours.as_u64().unwrap() + 1).into();
    })
    .on(Operation::Monthly)
}

/// The reason for which October cannot be closed with these headers; `None` if it can.
async fn refusal(time: &str, faults: &[Fault]) -> Option<String> {
    let stage = october(time).await;
    for fault in faults {
        stage.simulator.faults().add(fault.clone());
    }
    match stage.closer().close(month(MONTH), &terms()).await {
        Ok(outcome) => {
            assert!(matches!(outcome, Outcome::Written(_)));
            None
        }
        Err(error) => {
            assert_eq!(error.reason().as_str(), "period", "{error}");
            assert!(stage.files().is_empty());
            assert_eq!(stage.ledger.revision(TENANT, month(MONTH)).unwrap(), None);
            Some(error.to_string())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn date_must_not_be_before_the_settle_time() {
    let date = |text| [monthly("date", &[text])];
    let time = "2026-11-02T10:00:00Z";
    for early in
        ["Sat, 31 Oct 2026 23:59:59 GMT", "Sun, 01 Nov 2026 00:00:00 GMT", "Sun, 01 Nov 2026 00:29:59 GMT"]
    {
        let error = refusal(time, &date(early)).await.unwrap();
        assert!(error.contains("before 2026-11-01T00:30:00Z (end of the month + report.settle)"), "{error}");
    }
    for late in ["Sun, 01 Nov 2026 00:30:00 GMT", "Mon, 02 Nov 2026 10:00:00 GMT"] {
        assert_eq!(refusal(time, &date(late)).await, None, "{late}");
    }
    let several = monthly("date", &["Mon, 02 Nov 2026 10:00:00 GMT", "Sat, 31 Oct 2026 12:00:00 GMT"]);
    assert!(refusal(time, &[several]).await.is_some(), "the earlier of two");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_of_other_responses_does_not_count() {
    let early = "Sat, 31 Oct 2026 12:00:00 GMT";
    let others = [Operation::Clouds, Operation::InstanceTypes];
    let faults = others.map(|operation| Fault::header("date", &[early]).on(operation));
    assert_eq!(refusal(SETTLED, &faults).await, None);
    assert!(refusal(SETTLED, &[monthly("date", &[early])]).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_response_is_as_old_as_its_age() {
    let stored = |ages: &[&str]| [monthly("age", ages)];
    // One hour after the settle time; the simulator's Date is new.
    let time = "2026-11-01T01:30:00Z";
    for old in
        [&["3601"][..], &["86400"], &["0", "3601"], &["3601", "0"], &["0, 3601"], &["99999999999999999999"]]
    {
        let error = refusal(time, &stored(old)).await.unwrap_or_else(|| panic!("{old:?}"));
        assert!(error.contains("a cache returned an old response"), "{error}");
    }
    for new in [&["0"][..], &["3600"], &["60", "3600"], &["a while"], &["-86400"], &[""]] {
        assert_eq!(refusal(time, &stored(new)).await, None, "{new:?}");
    }
    // Without a Date, an Age can prove that a response is old, and nothing else.
    let undated = monthly("date", &[]);
    assert!(refusal(time, &[undated.clone(), monthly("age", &["3601"])]).await.is_some());
    let stage = october(time).await;
    stage.simulator.faults().add(undated);
    stage.simulator.faults().add(monthly("age", &["60"]));
    let wait = CloseOptions { undated: Undated::Wait(HOUR), ..terms() };
    let error = stage.closer().close(month(MONTH), &wait).await.unwrap_err();
    assert!(error.to_string().contains("no usable Date"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn daemon_refuses_an_old_response_until_a_new_one() {
    let stage = october("2026-11-01T01:30:00Z").await;
    stage.simulator.faults().add(monthly("age", &["7200"]));
    let mut worker = stage.worker();
    worker.wake(true).await;
    assert!(stage.files().is_empty());
    assert_eq!(stage.metric(PERIOD), Some(1.0));
    assert!(stage.due_error(month(MONTH)).contains("was generated at 2026-10-31T23:30:00Z"));
    let generated: Timestamp = "2026-10-31T23:30:00Z".parse().unwrap();
    // Time does not make it newer: this is proof of an early response, not a lack of proof.
    for _ in 0..3 {
        stage.hand.pass(24 * HOUR);
        stage.simulator.faults().clear();
        let age = stage.hand.now().duration_since(generated).as_secs().to_string();
        stage.simulator.faults().add(monthly("age", &[&age]));
        worker.wake(false).await;
        assert!(stage.files().is_empty());
    }
    stage.simulator.faults().clear();
    stage.hand.pass(HOUR);
    worker.wake(false).await;
    let published = stage.current(month(MONTH)).await.unwrap();
    assert!(!published.warnings.iter().any(|it| it.contains("Date")), "{:?}", published.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_date_the_daemon_waits_24_h_of_monotonic_time() {
    for fault in [monthly("date", &[]), monthly("date", &["soon"])] {
        let stage = october("2026-11-01T01:00:00Z").await;
        stage.simulator.faults().add(fault);
        let mut worker = stage.worker();
        worker.wake(true).await;
        assert!(stage.files().is_empty());
        assert_eq!(stage.metric(PERIOD), Some(1.0));
        let shown = stage.due_error(month(MONTH));
        assert!(shown.contains("no usable Date") && shown.contains("in 24 h"), "{shown}");
        assert!(shown.contains("report --month 2026-10"), "{shown}");
        stage.hand.pass(12 * HOUR);
        worker.wake(false).await;
        assert!(stage.due_error(month(MONTH)).contains("in 12 h"), "{}", stage.due_error(month(MONTH)));
        // The wall clock proves nothing.
        stage.hand.set("2026-11-20T00:00:00Z");
        stage.hand.pass(Duration::from_secs(12 * 3600 - 1));
        worker.wake(true).await;
        assert!(stage.files().is_empty());
        stage.hand.pass(HOUR);
        worker.wake(false).await;
        let published = stage.current(month(MONTH)).await.unwrap();
        assert!(texts(&manifest(&published)["warnings"]).contains(&NOTE), "{:?}", published.warnings);
        assert_eq!(published.revision, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_or_clock_set_back_begins_the_24_h_again() {
    let mut stage = october("2026-11-01T01:00:00Z").await;
    stage.simulator.faults().add(monthly("date", &[]));
    let mut worker = stage.worker();
    worker.wake(true).await;
    stage.hand.pass(22 * HOUR);
    worker.wake(false).await;
    // A reload of the configuration makes a new worker. It is not a restart.
    worker = stage.worker();
    stage.hand.pass(HOUR);
    worker.wake(true).await;
    assert!(stage.due_error(month(MONTH)).contains("in 1 h"), "{}", stage.due_error(month(MONTH)));
    stage.restarted();
    worker = stage.worker();
    worker.wake(true).await;
    stage.hand.pass(2 * HOUR);
    worker.wake(false).await;
    assert!(stage.files().is_empty(), "23 h and 2 h of two processes are not 24 h");
    assert!(stage.due_error(month(MONTH)).contains("in 22 h"), "{}", stage.due_error(month(MONTH)));
    // The clock was ahead: October has not ended yet, and the wait begins with its end.
    stage.hand.set("2026-10-31T20:00:00Z");
    stage.hand.pass(HOUR);
    worker.wake(false).await;
    stage.hand.pass(4 * HOUR);
    worker.wake(false).await;
    assert!(stage.due_error(month(MONTH)).contains("in 24 h"), "{}", stage.due_error(month(MONTH)));
    stage.hand.pass(24 * HOUR);
    worker.wake(false).await;
    assert!(stage.current(month(MONTH)).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn months_before_the_previous_one_wait_from_their_first_attempt() {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| config.report.backfill = 2).await;
    stage.simulator.faults().add(monthly("date", &[]));
    let mut worker = stage.worker();
    worker.wake(true).await;
    stage.hand.pass(23 * HOUR);
    worker.wake(false).await;
    assert!(stage.files().is_empty());
    stage.hand.pass(HOUR);
    worker.wake(false).await;
    for closed in ["2026-09", MONTH] {
        assert!(stage.current(month(closed)).await.is_some(), "{closed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn command_closes_without_a_date_and_warns() {
    let stage = october(SETTLED).await;
    stage.simulator.faults().add(monthly("date", &[]));
    let outcome = stage.closer().close(month(MONTH), &terms()).await.unwrap();
    assert!(texts(&manifest(outcome.published())["warnings"]).contains(&NOTE));
}

#[tokio::test(flavor = "multi_thread")]
async fn early_response_is_a_failed_comparison() {
    let stage = october("2026-11-01T01:00:00Z").await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    stage.hand.pass(25 * HOUR);
    stage.simulator.faults().add(monthly("age", &["100000"]));
    stage.simulator.faults().add(one_hour_more());
    worker.wake(false).await;
    let comparisons = "flexvm_exporter_report_comparison_failures_total{reason=\"period\",tenant=\"k12345\"}";
    assert_eq!((stage.metric(comparisons), stage.metric(PERIOD)), (Some(1.0), Some(0.0)));
    let changed = "flexvm_exporter_report_changed_seconds{month=\"2026-10\",scope=\"vms\",tenant=\"k12345\"}";
    assert_eq!(stage.metric(changed), None, "nothing was compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stored_response_is_not_two_readings() {
    let age = |_: Timestamp, hours: u64| monthly("age", &[&(hours * 3600).to_string()]);
    one_response_is_one_reading(age).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stored_response_without_age_is_not_two_readings() {
    let date = |first: Timestamp, _| {
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&first).unwrap();
        monthly("date", &[&date])
    };
    one_response_is_one_reading(date).await;
}

/// A cache returns the response of the first reading; `stored` makes its header from the time of that
/// reading and the hours since.
async fn one_response_is_one_reading(stored: impl Fn(Timestamp, u64) -> Fault) {
    let stage = Stage::with("2026-11-01T01:00:00Z", |config| {
        config.report.backfill = 1;
        config.report.restate = Restate::Auto;
    })
    .await;
    let mut worker = stage.worker();
    worker.wake(true).await;
    stage.hand.pass(25 * HOUR);
    let changed = one_hour_more();
    stage.simulator.faults().add(changed.clone());
    worker.wake(false).await;
    let first = stage.hand.now();
    let open = "flexvm_exporter_report_open_differences{tenant=\"k12345\"}";
    for hours in 6..=9_u64 {
        stage.hand.pass(if hours == 6 { 6 * HOUR } else { HOUR });
        stage.simulator.faults().clear();
        stage.simulator.faults().add(changed.clone());
        stage.simulator.faults().add(stored(first, hours));
        let before = stage.simulator.requests()[&Operation::Monthly];
        worker.wake(false).await;
        worker.wake(false).await;
        assert_eq!(stage.simulator.requests()[&Operation::Monthly], before + 1, "one reading per hour");
        assert_eq!(stage.metric(open), Some(0.0));
        assert_eq!(stage.current(month(MONTH)).await.unwrap().revision, 1);
    }
    stage.simulator.faults().clear();
    stage.simulator.faults().add(changed);
    stage.simulator.faults().add(monthly("date", &[]));
    stage.hand.pass(HOUR);
    worker.wake(false).await;
    let restated = stage.current(month(MONTH)).await.unwrap();
    assert_eq!(restated.revision, 2);
    assert!(restated.warnings.iter().any(|it| it == NOTE), "{:?}", restated.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_a_closed_month_bypass_caches() {
    let stage = october("2026-11-01T01:00:00Z").await;
    let simulator = stage.simulator.clone();
    let server = Server::start(move |request, _| {
        let range = request.headers.get("ranged-data").map(String::as_str);
        let response = simulator.call("GET", &request.target, range, "");
        let headers = "Content-Type: application/json\r\nDate: Sun, 01 Nov 2026 01:00:00 GMT\r\n";
        Reply::Whole(answer(response.status, headers, response.body))
    })
    .await;
    let mut proxied = stage;
    let url = format!("http://{}", server.address);
    proxied.configured(|config| {
        let mut tenant = (*config.tenants[0]).clone();
        tenant.base_url = url.parse().unwrap();
        config.tenants = vec![tenant.into()];
    });
    let closer = proxied.closer();
    closer.close(month(MONTH), &terms()).await.unwrap();
    closer.compare(month(MONTH)).await.unwrap();
    let requests = server.requests();
    let paths = |part: &str| requests.iter().filter(|request| request.target.contains(part)).count();
    assert_eq!((paths("/reports/monthly"), paths("/clouds")), (2, 1), "{requests:?}");
    for request in &requests {
        let control = request.headers.get("cache-control").map(String::as_str);
        assert_eq!(control, Some("no-cache"), "{}", request.target);
    }
}
