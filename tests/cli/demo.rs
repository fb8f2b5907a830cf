//! `demo`: the main job in one process, on loopback, whatever the environment says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::place::{Place, get, last_month, metric, request, until};
use crate::program::tool;

#[test]
fn it_does_the_whole_job_and_shows_where() {
    let place = Place::new();
    let directory = place.path("demo");
    let mut command = place.command(["demo", "--listen", "127.0.0.1:0", "--dir", "demo"]);
    for name in ["API_URL", "API_TOKEN", "API_TOKEN_FILE", "CONFIG_FILE", "LEDGER_URL", "REPORT_DIRECTORY"] {
        command.env(format!("FLEXVM_{name}"), "nonsense://nowhere");
    }
    let mut demo = place.start("demo-log", command);
    let text = until("the report's first lines", || {
        Some(demo.stdout()).filter(|text| text.contains("  \"tenant\",\"period_start\","))
    });
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap();
        line.trim_start().trim_start_matches(word).split_whitespace().next().unwrap().to_owned()
    };
    let metrics = after("metrics");
    let address = metrics.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{text}");
    assert_eq!(after("status page"), format!("http://{address}/"));

    // The report: where it says, whole, of last month, and shown as it is.
    let month = last_month().to_string();
    let folder = place.path("").join(after("report"));
    assert_eq!(folder, directory.join("reports/demo").join(&month).join("r01"));
    let prefix = format!("flexvm-usage_demo_{month}_r01_");
    for name in
        ["by-tag.csv", "by-group.csv", "by-vm.csv", "control.csv", "provider-report.json", "manifest.json"]
    {
        assert!(std::fs::metadata(folder.join(format!("{prefix}{name}"))).unwrap().len() > 2, "{name}");
    }
    let csv = std::fs::read_to_string(folder.join(format!("{prefix}by-group.csv"))).unwrap();
    assert!(csv.lines().count() > 2, "{csv}");
    for line in csv.lines().take(2) {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(directory.join("reports/demo/index.csv").exists());
    sums_are_right(&folder, &format!("{prefix}SHA256SUMS"));

    // And the daemon runs.
    until("flexvm_up 1", || metric(&address, "flexvm_up{tenant=\"demo\"} ").filter(|up| up == "1"));
    until("the closed month", || metric(&address, "flexvm_report_reported_vm_seconds{"));
    until("ready", || (get(&address, "/-/ready", "").0 == 200).then_some(()));
    // There is no file to read again, so a reload finds none wrong, and no alert fires.
    assert_eq!(request("POST", &address, "/-/reload", "").0, 500);
    let gauge = metric(&address, "flexvm_exporter_config_last_reload_successful ");
    assert_eq!(gauge.as_deref(), Some("1"));
    demo.signal("INT");
    assert_eq!(demo.code(Duration::from_secs(10)), Some(0), "{}", demo.stderr());
    assert!(!demo.stderr().contains("nonsense"), "{}", demo.stderr());
}

fn sums_are_right(folder: &Path, sums: &str) {
    let Some(sha256sum) = tool("sha256sum") else { return };
    let output = Command::new(sha256sum).arg("-c").arg(sums).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.ends_with(": OK")).count() >= 6
    );
}

#[test]
fn it_ends_at_once_when_asked_to_before_it_is_up() {
    let place = Place::new();
    let mut demo = place.start("log", place.command(["demo", "--listen", "127.0.0.1:0", "--dir", "demo"]));
    until("the first line", || Some(()).filter(|()| demo.stdout().contains("Ctrl-C")));
    demo.signal("INT");
    assert_eq!(demo.code(Duration::from_secs(10)), Some(0), "{}", demo.stderr());
}

#[test]
fn a_second_demo_in_one_folder_finds_the_month_closed() {
    let place = Place::new();
    let mut before = None;
    for name in ["first", "second"] {
        let mut demo = place.start(name, place.command(["demo", "--listen", "127.0.0.1:0", "--dir", "d"]));
        until("the report", || Some(()).filter(|()| demo.stdout().contains("\"tenant\",\"period_start\",")));
        let files = place.files("d/reports/demo");
        demo.signal("TERM");
        assert_eq!(demo.code(Duration::from_secs(10)), Some(0), "{}", demo.stderr());
        let r01: Vec<_> =
            files.into_iter().filter(|(path, _)| path.to_string_lossy().contains("/r01/")).collect();
        assert!(r01.len() >= 7);
        assert_eq!(*before.get_or_insert_with(|| r01.clone()), r01);
    }
}
