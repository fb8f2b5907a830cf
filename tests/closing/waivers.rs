//! An operator waives the difference of a closed month that exists now, and no other.

use flexvm_exporter::simulator::{Fault, Operation};

use crate::differences::{
    DAY, MONTH, OPEN, changed, confirm, more_hours, october_is_closed, only, open_in_index,
};
use crate::support::month;

#[tokio::test(flavor = "multi_thread")]
async fn waiver_settles_this_difference_and_no_other() {
    let (mut stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    assert_eq!((stage.metric(OPEN), open_in_index(&stage)), (Some(1.0), 7200));
    let files = stage.files();
    let kept = stage.closer().waive(month(MONTH), "agreed with the provider").await.unwrap();
    assert_eq!((kept.published.revision, open_in_index(&stage)), (1, 0));
    let without_index = |mut files: std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        files.retain(|path, _| !path.ends_with("index.csv"));
        files
    };
    assert_eq!(without_index(stage.files()), without_index(files));
    worker.wake(false).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)), (Some(0.0), [Some(0.0); 3]));
    // It stays waived for another process, and with the next comparisons.
    stage.restarted();
    worker = stage.worker();
    for _ in 0..3 {
        stage.hand.pass(DAY);
        worker.wake(true).await;
        assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(0.0), Some(0.0)));
    }
    only(&stage, more_hours(3));
    confirm(&stage, &mut worker).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(1.0), Some(10_800.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiver_without_a_known_difference_compares_first() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    let error = stage.closer().waive(month(MONTH), "no reason").await.unwrap_err();
    assert!(error.to_string().contains("nothing to waive"), "{error}");
    stage.simulator.faults().add(more_hours(2));
    stage.closer().waive(month(MONTH), "known already").await.unwrap();
    confirm(&stage, &mut worker).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(0.0), Some(0.0)));
    let error = stage.closer().waive(month("2026-09"), "not closed").await.unwrap_err();
    assert!(error.to_string().contains("2026-09 is not closed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiver_is_for_what_the_provider_reports_now() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    only(&stage, more_hours(3));
    let waived = stage.closer().waive(month(MONTH), "three hours").await.unwrap();
    assert_eq!(waived.reading.unwrap().seconds.vms, 10_800);
    assert_eq!(open_in_index(&stage), 0);
    confirm(&stage, &mut worker).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(0.0), Some(0.0)));
    only(&stage, more_hours(2));
    confirm(&stage, &mut worker).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(1.0), Some(7200.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_waived_if_the_provider_reports_what_is_closed() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    stage.simulator.faults().clear();
    let error = stage.closer().waive(month(MONTH), "two hours").await.unwrap_err();
    assert!(error.to_string().contains("nothing to waive"), "{error}");
    assert_eq!(open_in_index(&stage), 0, "the comparison found no difference");
    // The difference needs two readings again.
    stage.simulator.faults().add(more_hours(2));
    confirm(&stage, &mut worker).await;
    assert_eq!(stage.metric(OPEN), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn known_difference_is_waived_if_the_provider_does_not_respond() {
    let (stage, mut worker) = october_is_closed(|_| ()).await;
    let down = || Fault::status(500).on(Operation::Monthly);
    only(&stage, down());
    let error = stage.closer().waive(month(MONTH), "unknown").await.unwrap_err();
    assert_eq!(error.reason().as_str(), "server", "{error}");
    only(&stage, more_hours(2));
    confirm(&stage, &mut worker).await;
    only(&stage, down());
    let waived = stage.closer().waive(month(MONTH), "two hours").await.unwrap();
    assert_eq!(waived.unavailable.unwrap().reason().as_str(), "server");
    assert_eq!((waived.reading, open_in_index(&stage)), (None, 0));
    only(&stage, more_hours(2));
    stage.hand.pass(DAY);
    worker.wake(false).await;
    assert_eq!((stage.metric(OPEN), changed(&stage)[0]), (Some(0.0), Some(0.0)));
}
