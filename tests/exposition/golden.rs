//! The whole output of one world, kept as a file and read by the tools of others.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::parse::families;
use crate::text;
use crate::world::{World, options};

const GOLDEN: &str = "tests/golden/metrics.prom";

#[expect(clippy::disallowed_methods, reason = "switches of the test, not of the program")]
fn switched_on(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

#[test]
fn the_output_is_the_golden_file() {
    let body = text(&World::new().tenants(), &options());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if switched_on("UPDATE_GOLDEN") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &body).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let differing = body.lines().zip(golden.lines()).enumerate().find(|(_, (new, old))| new != old);
    assert!(body == golden, "UPDATE_GOLDEN=1 rewrites {GOLDEN}; first difference: {differing:#?}");
}

#[test]
fn families_are_whole_and_say_what_they_are() {
    let families = families(&text(&World::new().tenants(), &options()));
    for family in &families {
        assert!(!family.samples.is_empty(), "{} has no sample", family.name);
        assert!(family.samples.iter().all(|(labels, _)| labels.contains_key("tenant")), "{}", family.name);
        assert!(family.help.len() > 20 && family.help.ends_with('.'), "{}: {}", family.name, family.help);
        // In OpenMetrics a quote in HELP would have to be escaped, in the text format it must not.
        assert!(!family.help.contains(['"', '\\']), "{}", family.name);
        let in_seconds = family.name.ends_with("_seconds");
        assert!(!in_seconds || family.help.contains("second"), "{} has no unit", family.name);
        assert!(!family.name.ends_with("_bytes") || family.help.contains("iB"), "{}", family.name);
        // What grows through a month says so; what is as of now, a ratio or an estimate does not grow.
        let steady = ["_nodes", "active_vms", "_timestamp_seconds", "_ratio"];
        let grows = family.name.starts_with("flexvm_usage_")
            && !family.name.contains("_projected_")
            && !steady.iter().any(|end| family.name.ends_with(end));
        assert_eq!(grows, family.help.contains("never rate() it"), "{}", family.name);
    }
}

#[test]
fn promtool_finds_no_fault() {
    let found = check_metrics("promtool");
    assert!(found || !switched_on("FLEXVM_REQUIRE_TOOLS"), "promtool cannot be run");
}

/// Only 3.x finds series that are there twice. `tests/tools/prometheus3.sh` brings it where it can.
#[test]
fn promtool_of_prometheus_3_finds_no_fault() {
    check_metrics(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/prometheus3/promtool"));
}

/// Lets `promtool` judge the world's output. False, and said, if there is none.
fn check_metrics(promtool: &str) -> bool {
    let body = text(&World::new().tenants(), &options());
    let child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: {promtool} cannot be run: {error}");
            return false;
        }
    };
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    true
}
