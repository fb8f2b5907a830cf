//! When collectors run, and that nobody waits for them.

use std::time::{Duration, Instant};

use flexvm_exporter::simulator::{Fault, FaultKind, Operation};

use crate::rig::{Rig, failures, running_from, success, value};

#[tokio::test(flavor = "multi_thread")]
async fn collectors_that_are_off_ask_nothing_and_show_nothing() {
    let rig = Rig::with(|config| {
        config.poll.catalogue = Duration::ZERO;
        config.poll.usage = Duration::from_hours(1);
    })
    .await;
    let text = rig
        .until("the others", |text| {
            ["capacity", "inventory", "usage"].iter().all(|collector| success(text, collector) == Some(1.0))
        })
        .await;
    assert!(!text.contains("catalogue") && !text.contains("deleted_vms"), "{text}");
    let requests = rig.simulator.requests();
    assert!(!requests.contains_key(&Operation::Images), "{requests:?}");
    // Each has an interval of its own: usage asks once for each of two months.
    assert_eq!(requests[&Operation::Monthly], 2, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_that_every_required_collector_was_tried() {
    let rig = Rig::with(|config| config.poll.catalogue = Duration::ZERO).await;
    rig.simulator
        .faults()
        .add(Fault::new(FaultKind::Delay(Duration::from_millis(700))).on(Operation::Monthly));
    let (status, text) = rig.get("/-/ready").await;
    assert_eq!(status, 503, "{text}");
    assert_eq!(rig.get("/-/healthy").await.0, 200);
    rig.until_get("readiness", "/-/ready", |status, _| status == 200).await;
    let text = rig.text().await;
    assert!(text.contains("flexvm_usage_vms{"), "usage was tried: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_is_tried_too() {
    let rig = Rig::with(|_| ()).await;
    rig.simulator.faults().add(Fault::status(500));
    rig.until("failures", |text| value(text, "flexvm_up{tenant=\"one\"}") == Some(0.0)).await;
    rig.until_get("readiness", "/-/ready", |status, _| status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_waits_for_nothing_and_asks_nothing() {
    let rig = Rig::new().await;
    let good = rig.well().await;
    rig.simulator.faults().add(Fault::new(FaultKind::Stall));
    // From here on every request hangs, so a scrape that waited for one would not answer in time.
    for _ in 0..20 {
        let text = tokio::time::timeout(Duration::from_secs(1), rig.text()).await.unwrap();
        assert!(text.len() > good.len() / 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_collector_never_overlap() {
    let rig = Rig::new().await;
    rig.well().await;
    let delay = Duration::from_millis(300);
    rig.simulator.faults().add(Fault::new(FaultKind::Delay(delay)).on(Operation::CloudCapacity));
    let count = || rig.simulator.requests()[&Operation::CloudCapacity];
    let wait_for = async |wanted: u64| {
        rig.until_get("further runs", "/-/healthy", |_, _| count() >= wanted).await;
    };
    // The first of these began after the fault was armed.
    wait_for(count() + 2).await;
    let (from, started) = (count(), Instant::now());
    wait_for(from + 4).await;
    assert!(started.elapsed() >= delay * 3, "{:?} for 4 runs of {delay:?} each", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_runs_when_a_month_begins() {
    let rig = Rig::at(running_from("2026-10-31T23:59:57Z"), |config| {
        config.poll.usage = Duration::from_hours(1);
    })
    .await;
    let start = "flexvm_usage_period_start_timestamp_seconds{period=\"current\",tenant=\"one\"}";
    let other = "flexvm_usage_period_start_timestamp_seconds{tenant=\"one\",period=\"current\"}";
    let of = |text: &str| value(text, start).or_else(|| value(text, other));
    rig.until("October", |text| of(text) == Some(1_790_812_800.0)).await;
    rig.until("November", |text| of(text) == Some(1_793_491_200.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_run_is_repeated_before_its_interval() {
    let mut rig = Rig::new().await;
    rig.well().await;
    let rarely = Duration::from_hours(1);
    let poll = &mut rig.config.poll;
    (poll.capacity, poll.inventory, poll.usage, poll.catalogue) = (rarely, rarely, rarely, rarely);
    // The worker that closes months requests the organisation's capacity too, to read the API's clock.
    rig.restart(|rig| {
        for operation in [Operation::CloudCapacity, Operation::Clouds, Operation::Monthly, Operation::Images]
        {
            rig.simulator.faults().add(Fault::status(503).on(operation).times(1));
        }
    })
    .await;
    let text = rig.well().await;
    for collector in ["capacity", "inventory", "usage", "catalogue"] {
        assert!((failures(&text, collector, "server") - 1.0).abs() < 0.1, "{collector}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_run_is_not_repeated_before_retry_after() {
    let mut rig = Rig::new().await;
    rig.well().await;
    let pause = Duration::from_secs(4);
    rig.restart(|rig| {
        let fault = Fault::status(429).with_header("retry-after", "4").on(Operation::CloudCapacity).times(1);
        rig.simulator.faults().add(fault);
    })
    .await;
    let started = Instant::now();
    rig.until("the refusal", |text| success(text, "capacity") == Some(0.0)).await;
    // The interval is 100 ms.
    rig.until("success", |text| success(text, "capacity") == Some(1.0)).await;
    assert!(started.elapsed() >= pause, "{:?}", started.elapsed());
}
