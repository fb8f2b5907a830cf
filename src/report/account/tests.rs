//! Tests of what polls say about a response.

use super::*;
use crate::observe::Kind;
use crate::snapshot::VmStatus;

fn at(text: &str) -> Timestamp {
    format!("2026-10-{text}:00Z").parse().unwrap()
}

fn vm(id: &str, created: &str, released: Option<&str>) -> ReportVm {
    ReportVm {
        id: id.into(),
        name: "".into(),
        status: VmStatus::Running,
        instance_type: "".into(),
        image: "".into(),
        cloud_id: "".into(),
        site: "".into(),
        tags: Vec::new().into(),
        created_at: at(created),
        released_at: released.map(at),
        vm_hours: 0,
    }
}

#[test]
fn polls_and_provider_disagree_by_id() {
    let mut seen = Observations::default();
    let mut previous = None;
    for hour in 10..20 {
        let poll = at(&format!("02T{hour}:00"));
        seen.add_poll(poll, previous);
        previous = Some(poll);
    }
    let running = VmStatus::Running;
    for (id, gone) in [("agrees", 12), ("early", 12), ("late", 12), ("lives on", 12), ("unlisted", 12)] {
        seen.add(id.into(), at("02T10:00"), Kind::Seen, &running);
        seen.add(id.into(), at(&format!("02T{gone}:00")), Kind::Gone, &running);
    }
    seen.add("seen on".into(), at("02T10:00"), Kind::Seen, &running);
    seen.add("steady".into(), at("02T10:00"), Kind::Seen, &running);
    let month: crate::period::Month = "2026-10".parse().unwrap();
    let report = MonthlyReport {
        period: month.period(),
        total_nodes: 0,
        total_active_vms: 0,
        clouds: Vec::new(),
        by_tag: Vec::new(),
        vms: vec![
            vm("agrees", "02T09:30", Some("02T11:30")),
            vm("early", "02T09:30", Some("02T10:30")),
            vm("late", "02T09:30", Some("02T12:10")),
            vm("lives on", "02T09:30", None),
            vm("seen on", "02T09:30", Some("02T18:00")),
            vm("steady", "02T09:30", None),
            vm("never seen", "02T14:01", Some("02T14:02")),
        ],
    };
    let account = Account::of(&seen, &report, "2026-11-01T00:30:00Z".parse().unwrap());
    assert_eq!((account.polls, account.first_poll), (10, Some(at("02T10:00"))));
    assert_eq!(account.longest_gap_seconds, (29 * 24 + 5) * 3600);
    assert_eq!(account.only_observed, [Text::from("unlisted")]);
    let ids: Vec<&str> = account.releases_differ.iter().map(|it| &*it.vm_id).collect();
    assert_eq!(ids, ["early", "late", "lives on", "seen on"]);
    assert_eq!(account.releases_differ[0].last_seen, at("02T11:00"));
    assert_eq!(account.releases_differ[0].gone_at, Some(at("02T12:00")));
    // Nobody watched: no figure is invented.
    let account = Account::of(&Observations::default(), &report, "2026-11-01T00:30:00Z".parse().unwrap());
    assert_eq!((account.polls, account.first_poll), (0, None));
    assert!(account.only_observed.is_empty() && account.releases_differ.is_empty());
}

const OCTOBER: &str = "2026-10-01T00:00:00Z";
/// Seconds of October.
const END: i64 = 31 * 86_400;

/// The time so many seconds after the begin of October.
fn second(offset: i64) -> Timestamp {
    let start: Timestamp = OCTOBER.parse().unwrap();
    Timestamp::from_second(start.as_second() + offset).unwrap()
}

fn report(vms: Vec<ReportVm>) -> MonthlyReport {
    MonthlyReport {
        period: crate::period::Month::of(second(0)).period(),
        total_nodes: 0,
        total_active_vms: 0,
        clouds: Vec::new(),
        by_tag: Vec::new(),
        vms,
    }
}

/// Where a VM with these events is listed that a response of `fetched` lacks: `in use`, `other` or
/// nowhere. An event is a status, `lost` or `gone`.
fn listed(polls: &[i64], events: &[(i64, &str)], fetched: i64) -> &'static str {
    let mut seen = Observations::default();
    for poll in polls {
        seen.add_poll(second(*poll), None);
    }
    for (at, what) in events {
        let kind = match *what {
            "lost" => Kind::Lost,
            "gone" => Kind::Gone,
            _ => Kind::Status,
        };
        seen.add("v".into(), second(*at), kind, &VmStatus::from_api(what));
    }
    let account = Account::of(&seen, &report(Vec::new()), second(fetched));
    match (account.only_observed.len(), account.only_observed_other.len()) {
        (1, 0) => "in use",
        (0, 1) => "other",
        (0, 0) => "nowhere",
        more => panic!("{more:?}"),
    }
}

#[test]
fn two_polls_in_use_more_than_120_s_inside_count() {
    let running = |at| (at, "running");
    for (polls, events, expected) in [
        // The begin of the month.
        (&[121, 122][..], &[running(121)][..], "in use"),
        (&[120, 121], &[running(120)], "other"),
        (&[0, 60, 120], &[running(0)], "nowhere"),
        (&[-600, 121, 122], &[running(-600)], "in use"),
        (&[-600, 121, 200], &[running(-600), (200, "gone")], "other"),
        (&[-600, -300, 121, 122], &[running(-600), (121, "gone")], "nowhere"),
        // The end.
        (&[END - 122, END - 121], &[running(END - 122)], "in use"),
        (&[END - 121, END - 120, END - 1], &[running(END - 121)], "other"),
        (&[END - 120, END - 60], &[running(END - 120)], "nowhere"),
        (&[END - 500, END, END + 60], &[running(END - 500)], "other"),
        // One poll in use, and what is between two.
        (&[1000, 1060], &[running(1000), (1060, "gone")], "other"),
        (&[1000, 1060, 1120], &[running(1000), (1120, "gone")], "in use"),
        (&[1000, 1060, 1120], &[running(1000), (1060, "lost"), (1120, "gone")], "other"),
        (&[1000, 1060, 1120], &[running(1000), (1060, "lost"), (1120, "running")], "in use"),
        (&[1000, 1060, 1120], &[running(1000), (1060, "gone"), (1120, "running")], "in use"),
        (&[1000, 1060, 1120], &[running(1000), (1060, "failed"), (1120, "stopped")], "in use"),
        (&[1000, 1060, 1120], &[(1000, "provisioning"), (1060, "created")], "other"),
        (&[1000, 1060, 1120], &[(1000, "provisioning"), (1060, "running"), (1120, "deleting")], "other"),
    ] {
        assert_eq!(listed(polls, events, END + 3600), expected, "{polls:?} {events:?}");
    }
    // A month that has not ended ends at the time of the response.
    let polls = [1000, 1060, 1120];
    assert_eq!(listed(&polls, &[running(1000)], 1181), "in use");
    assert_eq!(listed(&polls, &[running(1000)], 1180), "other");
}

#[test]
fn only_running_and_stopped_statuses_are_in_use() {
    let polls = [1000, 2000, 3000];
    for status in ["running", "stopped", "stopping", "paused"] {
        assert_eq!(listed(&polls, &[(1000, status)], END), "in use", "{status}");
    }
    for status in ["provisioning", "created", "starting", "failed", "deleting", "deleted", "odd"] {
        assert_eq!(listed(&polls, &[(1000, status)], END), "other", "{status}");
    }
}

#[test]
fn another_response_is_compared_with_the_same_observations() {
    let texts = |ids: &[&str]| ids.iter().map(|id| Text::from(*id)).collect::<Vec<_>>();
    let differs = |id: &str| ReleaseDiffers {
        vm_id: id.into(),
        released_at: Some(at("02T10:30")),
        last_seen: at("02T12:00"),
        gone_at: Some(at("02T13:00")),
    };
    let account = Account {
        polls: 7,
        only_observed: texts(&["back", "still missing"]),
        only_observed_other: texts(&["other", "other back"]),
        creations_differ: texts(&["early", "lost"]),
        releases_differ: vec![differs("agrees now"), differs("differs still"), differs("lost")],
        ..Account::default()
    };
    let other = report(
        [("agrees now", "12:30"), ("back", "12:00"), ("differs still", "10:40"), ("early", "12:00")]
            .into_iter()
            .chain([("other back", "12:00")])
            .map(|(id, released)| vm(id, "02T09:30", Some(&format!("02T{released}"))))
            .collect(),
    );
    let mut compared = account.against(&other);
    assert_eq!(compared.polls, 7);
    assert_eq!(compared.only_observed, texts(&["still missing"]));
    assert_eq!(compared.only_observed_other, texts(&["other"]));
    assert_eq!(compared.creations_differ, texts(&["early"]));
    assert_eq!(compared.releases_differ, [differs("differs still")]);
    // VMs that the previous revision knew in use: those that the response lacks are missing, once.
    let in_use = texts(&["back", "lost", "other", "still missing"]);
    compared.add_observed_in_use(in_use.iter(), &other);
    assert_eq!(compared.only_observed, texts(&["lost", "other", "still missing"]));
    assert_eq!(compared.only_observed_other, texts(&[]));
}
