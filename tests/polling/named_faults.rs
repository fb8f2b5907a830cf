//! Series of the daemon while the simulator injects a fault that users can select with `--fault`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::simulator::NamedFault;

use crate::rig::{Rig, failures, lines, running_from, success, value, vm_ids};

const COLLECTORS: [&str; 4] = ["capacity", "inventory", "usage", "catalogue"];

fn defects(text: &str, endpoint: &str, field: &str) -> Option<f64> {
    let series =
        format!("flexvm_exporter_api_defects{{endpoint=\"{endpoint}\",field=\"{field}\",tenant=\"one\"}}");
    value(text, &series)
}

/// Any defect, by the beginning of its labels.
fn any_defect(text: &str, start: &str) -> bool {
    let wanted = format!("flexvm_exporter_api_defects{{{start}");
    text.lines().any(|line| line.starts_with(&wanted) && !line.ends_with(" 0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tolerated_faults_change_no_object() {
    use NamedFault::{
        EmptyClouds, IgnoredPaging, LongText, MissingCloud, MissingNode, MissingVms, NullValues, OddText,
        ShiftingPages, UnreadableText, UpperCaseIds,
    };
    let rig = Rig::new().await;
    for fault in [
        NullValues,
        OddText,
        LongText,
        UpperCaseIds,
        UnreadableText,
        IgnoredPaging,
        ShiftingPages,
        EmptyClouds,
        MissingCloud,
        MissingNode,
        MissingVms,
    ] {
        let before = rig.well().await;
        rig.simulator.inject(fault);
        let polls = "flexvm_exporter_ledger_polls_total";
        let recorded = value(&before, polls).unwrap();
        let after = rig
            .until(&format!("polls with {fault:?}"), |text| value(text, polls).unwrap() > recorded + 3.0)
            .await;
        for collector in COLLECTORS {
            assert_eq!(success(&after, collector), Some(1.0), "{fault:?}: {collector}");
        }
        assert_eq!(vm_ids(&after), vm_ids(&before), "{fault:?}");
        for family in ["flexvm_cloud_info{", "flexvm_node_info{"] {
            assert_eq!(
                lines(&after, &[family]).len(),
                lines(&before, &[family]).len(),
                "{fault:?}: {family}"
            );
        }
        if fault == NullValues {
            assert!(!any_defect(&after, ""), "null is the same as absent");
        }
        rig.simulator.faults().clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_values_and_lists_are_counted() {
    use NamedFault as Fault;
    type Shown = fn(&str) -> bool;
    let table: [(Fault, Shown); 11] = [
        (Fault::UnknownFields, |text| {
            text.contains("field=\"tier\"") && text.contains("status=\"hibernating\"")
        }),
        (Fault::UnreadableText, |text| defects(text, "vms", "(text)") > Some(0.0)),
        (Fault::UnreadableValues, |text| {
            defects(text, "vms", "created_at") > Some(0.0) && any_defect(text, "endpoint=\"instance_types\"")
        }),
        (Fault::EmptyClouds, |text| defects(text, "clouds", "id") == Some(2.0)),
        (Fault::MissingCloud, |text| defects(text, "clouds", "id") == Some(1.0)),
        (Fault::MissingCloudNotFound, |text| defects(text, "cloud", "id") == Some(1.0)),
        (Fault::MissingNode, |text| defects(text, "nodes", "id") > Some(0.0)),
        (Fault::StalledLookups, |text| defects(text, "vm", "id") > Some(0.0)),
        (Fault::NegativeCapacity, |text| defects(text, "capacity", "resources.vcpu.available") > Some(0.0)),
        (Fault::UnreadableCapacity, |text| any_defect(text, "endpoint=\"capacity\"")),
        (Fault::MissingInstanceType, |text| {
            !text.contains("flexvm_instance_type_info{tenant=\"one\",instance_type=\"vm.2c.4g\"")
        }),
    ];
    let rig = Rig::new().await;
    rig.well().await;
    for (fault, shown) in table {
        rig.simulator.inject(fault);
        rig.until(&format!("{fault:?}"), shown).await;
        rig.simulator.faults().clear();
        // A defect of this fault must not be counted for the next fault.
        rig.until(&format!("the end of {fault:?}"), |text| !any_defect(text, "")).await;
    }
    // A report of the previous month that was read is not requested again for an hour.
    let rig = Rig::faulty(running_from("2026-10-15T12:00:00Z"), Fault::PreviousMonthFails).await;
    rig.until("a previous month", |text| defects(text, "monthly", "previous_month") == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_clocks_are_shown() {
    for (fault, trusted) in
        [(NamedFault::NoDate, None), (NamedFault::WrongDate, Some(0.0)), (NamedFault::CachedResponses, None)]
    {
        let rig = Rig::faulty(running_from("2026-10-15T12:00:00Z"), fault).await;
        let text = rig.well().await;
        let text = if trusted.is_some() {
            rig.until("the clock", |text| value(text, "flexvm_exporter_clock_trusted") == trusted).await
        } else {
            text
        };
        assert_eq!(value(&text, "flexvm_exporter_clock_trusted"), trusted, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_connections_fail_runs_and_keep_data() {
    for (fault, reason) in [
        (NamedFault::RateLimit, "rate_limited"),
        (NamedFault::ServerErrors, "server"),
        (NamedFault::Forbidden, "credentials"),
        (NamedFault::Stalled, "timeout"),
        (NamedFault::DroppedConnections, "transport"),
        (NamedFault::TruncatedResponses, "transport"),
    ] {
        let (ahead, base) = (Arc::new(AtomicU64::new(0)), running_from("2026-10-15T12:00:00Z"));
        let shift = Arc::clone(&ahead);
        let clock = Clock::new(move || base.now() + Duration::from_secs(shift.load(Ordering::SeqCst)));
        let rig = Rig::at(clock, |_| ()).await;
        let before = rig.well().await;
        rig.simulator.inject(fault);
        ahead.store(61, Ordering::SeqCst);
        let failed = |text: &str| COLLECTORS.iter().any(|it| failures(text, it, reason) > 0.0);
        let after = rig.until(&format!("{fault:?}"), failed).await;
        assert_eq!(vm_ids(&after), vm_ids(&before), "{fault:?}: the last good data stays");
    }
}
