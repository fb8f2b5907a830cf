//! Several rows of one VM or cloud, and rows with text that is not Unicode, in a closed month.

use flexvm_exporter::api::{Monthly, Reason};
use flexvm_exporter::observe::{Kind, Observations};
use flexvm_exporter::report::{Account, Changed, Observed, dry_run};
use flexvm_exporter::snapshot::VmStatus;
use flexvm_exporter::usage::Witness as _;
use serde_json::{Value, json};

use crate::files::{closed, file, rows};
use crate::month::{A, at, odd};

#[test]
fn rows_that_drifted_count_once_and_the_last_is_shown() {
    let mut world = odd();
    let mut drifted = world.monthly.vms[0].clone();
    (drifted.name, drifted.status, drifted.image) = ("last".into(), VmStatus::Deleting, "other".into());
    world.monthly.vms.push(drifted);
    let (_directory, revision) = closed(&world);
    let by_vm = rows(&file(&revision, &world, "by-vm.csv"));
    assert_eq!(by_vm.len(), 16);
    let shown = ["vm", "status_at_fetch", "image", "flags"].map(|column| &*by_vm[0][column]);
    assert_eq!(shown, ["last", "deleting", "other", "duplicate_rows"]);
    let before = odd();
    let (_other, other) = closed(&before);
    for end in ["by-tag.csv", "by-group.csv", "control.csv"] {
        let read = |revision, world| std::fs::read(file(revision, world, end)).unwrap();
        assert!(read(&revision, &world) == read(&other, &before), "{end}");
    }
    let warnings = dry_run(&world.inputs()).unwrap().warnings;
    assert!(warnings.iter().any(|it| it.starts_with("duplicate_rows on 2 of 16 VMs: ")), "{warnings:?}");
}

#[test]
fn observations_are_compared_with_the_row_that_counts() {
    let end = "2026-11-01T00:30:00Z";
    let row = |vm: &str, status: &str, released: Value| {
        json!({"vm_id": vm, "name": "a", "status": status, "plan": "t", "image": "i", "cloud_id": "c",
               "site": "s", "tags": [], "created_at": "2026-10-02T09:00:00Z", "released_at": released, "vm_hours": 1})
    };
    // The rows of `v` agree on what counts: both releases are after the month.
    let body = json!({
        "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "total_nodes": 0, "total_active_vms": 0, "clouds": [], "by_tag": [],
        "vms": [row("v", "running", Value::Null), row("u", "running", Value::Null),
                row("v", "deleting", json!("2026-11-01T00:10:00Z")), row("v", "deleted", json!("2026-11-01T00:20:00Z"))],
    });
    let monthly = Monthly::read(body.to_string().into_bytes().into()).unwrap();
    let mut seen = Observations::default();
    let polls = ["2026-10-02T10:00:00Z", "2026-10-02T10:01:00Z", "2026-10-02T10:02:00Z"].map(at);
    let mut previous = None;
    for poll in polls {
        seen.add_poll(poll, previous);
        previous = Some(poll);
    }
    seen.add("v".into(), polls[0], Kind::Seen, &VmStatus::Running);
    seen.add("v".into(), polls[2], Kind::Gone, &VmStatus::Running);
    let account = Account::of(&seen, &monthly.report, at(end));
    assert!(account.only_observed.is_empty());
    assert_eq!(account.releases_differ.len(), 1);
    assert_eq!(account.releases_differ[0].released_at, Some(at("2026-11-01T00:20:00Z")));
    let observed = Observed::of(&seen, &monthly, at(end));
    assert!(observed.observed("v", monthly.report.period).is_some());
}

#[test]
fn repeated_cloud_rows_count_once_or_are_refused() {
    let mut world = odd();
    let mut drifted = world.monthly.clouds[1].clone();
    (drifted.active_vms, drifted.nodes, drifted.site) = (77, 9, "nlrtm1".into());
    world.monthly.clouds.push(drifted.clone());
    let summary = dry_run(&world.inputs()).unwrap();
    assert_eq!(summary.total, dry_run(&odd().inputs()).unwrap().total);
    assert!(
        summary.warnings.iter().any(|it| it.contains("repeat rows of clouds: 1")),
        "{:?}",
        summary.warnings
    );
    drifted.usage.vm_hours = 788;
    world.monthly.clouds.push(drifted);
    let error = dry_run(&world.inputs()).unwrap_err();
    assert_eq!(error.reason(), Reason::Inconsistent);
    let message = error.to_string();
    for part in [A, "6 released, 787 h; and: 6 VMs", "788 h", "report --month 2026-10 --from-file FILE"] {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}

#[test]
fn hours_that_no_month_can_hold_name_the_vm() {
    let mut world = odd();
    world.monthly.vms[3].vm_hours = 2_000_000_000_000;
    let message = dry_run(&world.inputs()).unwrap_err().to_string();
    assert!(message.contains("the VM vm-04 has most of them: 2000000000000"), "{message}");
}

#[test]
fn replaced_text_is_flagged_and_raw_tags_stay_apart() {
    let row = |id: u32, tag: &str, name: &str| {
        json!({"vm_id": format!("v-{id}"), "name": name, "status": "deleted", "plan": "vm.4c.8g", "image": "i",
               "cloud_id": A, "site": "s", "tags": [tag], "created_at": "2026-10-02T09:00:00Z",
               "released_at": "2026-10-02T10:00:00Z", "vm_hours": 1})
    };
    let body = |vms: Value| {
        let body = json!({
            "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
            "total_nodes": 0, "total_active_vms": 0, "clouds": [], "by_tag": [], "vms": vms});
        body.to_string().replace("<1>", "\\ud800").replace("<2>", "\\ud801").into_bytes()
    };
    let month = |vms: Value| {
        let monthly = Monthly::read(body(vms).into()).unwrap();
        let mut world = odd();
        (world.monthly, world.body) = (monthly.report, monthly.body.to_vec());
        world.group_by.clear();
        let (_directory, revision) = closed(&world);
        let read = |end: &str| rows(&file(&revision, &world, end));
        assert_eq!(std::fs::read(file(&revision, &world, "provider-report.json")).unwrap(), world.body);
        let warnings = dry_run(&world.inputs()).unwrap().warnings;
        (read("by-vm.csv"), read("by-tag.csv"), read("by-group.csv"), warnings)
    };
    let (by_vm, by_tag, _, warnings) = month(json!([row(1, "a<1>", "plain"), row(2, "plain", "plain")]));
    assert_eq!(by_vm[0]["tags"], "[\"a\u{fffd}\"]");
    assert!(by_vm[0]["flags"].contains("replaced_text") && !by_vm[1]["flags"].contains("replaced_text"));
    assert!(by_tag.iter().any(|row| row["tag"] == "a\u{fffd}"));
    assert!(warnings.iter().any(|it| it.starts_with("replaced_text on 1 of 2 VMs: ")), "{warnings:?}");

    let (by_vm, by_tag, by_group, _) = month(json!([
        row(1, "a<1>", "x"),
        row(2, "a<2>", "x"),
        row(3, "a\u{fffd}", "x"),
        row(4, "a<1>", "x")
    ]));
    assert!(by_vm.iter().all(|row| row["flags"].contains("replaced_text")));
    let count = |rows: &[crate::files::Row], vms: &str| rows.iter().filter(|row| row["vms"] == vms).count();
    assert_eq!((count(&by_tag, "1"), count(&by_tag, "2")), (2, 1), "{by_tag:?}");
    assert_eq!((count(&by_group, "1"), count(&by_group, "2")), (2, 1), "{by_group:?}");
}

#[test]
fn drift_and_cut_fractions_do_not_change_a_closed_month() {
    let before = odd().monthly;
    let mut after = odd().monthly;
    for vm in &mut after.vms {
        (vm.name, vm.image, vm.site) = ("other".into(), "other".into(), "other".into());
        vm.created_at = flexvm_exporter::period::whole(vm.created_at);
    }
    // The last of several rows is compared, too.
    after.vms.push(after.vms[2].clone());
    assert!(before.vms.iter().zip(&after.vms).any(|(one, other)| one.created_at != other.created_at));
    assert_eq!(Changed::between(&before, &after), Changed::default());
    after.vms[2].vm_hours += 1;
    after.vms.last_mut().unwrap().vm_hours += 1;
    let found = Changed::between(&before, &after);
    assert_eq!((found.vms, found.seconds.vms), (vec!["vm-03".into()], 3600));
}
