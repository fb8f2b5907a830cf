//! Closing a month with many VMs takes memory in proportion to the provider's body, and no more.

use std::fmt::Write as _;
use std::process::Command;

use flexvm_exporter::report::Folder;

use crate::month::{A, B, Publish as _, odd, vm};

const VMS: usize = 100_000;

/// Prints the length of the body and the most memory that the process had, both in KiB.
#[test]
#[ignore = "run by another test, as a process of its own"]
fn child() {
    let mut world = odd();
    world.monthly.vms.clear();
    world.monthly.vms.reserve_exact(VMS);
    let mut body = String::from("{\"vms\":[");
    for index in 0..VMS {
        let id = format!("0198{:04x}-0000-7000-8000-{index:012x}", index % 65_536);
        let (hour, minute) = (index / 60 % 23, index % 60);
        let life =
            [format!("2026-10-12T{hour:02}:{minute:02}:00Z"), format!("2026-10-12T23:{minute:02}:07Z")];
        let tags = [["team:core", "env:prod"], ["team:ci", "env:test"]][index % 2];
        let row = vm(&id, [A, B][index % 2], [&life[0], &life[1]], &tags, 24 - hour as u64);
        // As the provider would write it: compact, every field once.
        let _ = write!(
            body,
            "{{\"id\":\"{id}\",\"name\":\"{}\",\"status\":\"deleted\",\"plan\":\"vm.4c.8g\",\"image\":\"debian-12\",\"cloud_id\":\"{}\",\"site\":\"frmtl1\",\"tags\":[\"{}\",\"{}\"],\"created_at\":\"{}\",\"released_at\":\"{}\",\"vm_hours\":{}}},",
            row.name, row.cloud_id, tags[0], tags[1], life[0], life[1], row.vm_hours
        );
        world.monthly.vms.push(row);
    }
    body.push_str("]}");
    world.body = body.into_bytes();
    world.body.shrink_to_fit();
    let directory = tempfile::tempdir().unwrap();
    // What making the world took does not count, only what it takes now and from here on.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let published = Folder::open(directory.path(), "k12345").unwrap().publish(&world.inputs()).unwrap();
    assert_eq!(published.published().totals.vms, VMS as u64);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown kB").trim();
    println!("\nbody={} peak={}", world.body.len() / 1024, peak.trim_end_matches(" kB"));
}

#[test]
fn a_hundred_thousand_vms_take_at_most_four_times_the_body() {
    let this = std::env::current_exe().unwrap();
    let output =
        Command::new(this).args(["--exact", "memory::child", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let figures =
        text.lines().find_map(|line| line.strip_prefix("body=")).unwrap_or_else(|| panic!("{text}"));
    let (body, peak) = figures.split_once(" peak=").unwrap();
    if peak == "unknown" {
        println!("SKIPPED: the system does not tell how much memory a process took");
        return;
    }
    let (body, peak): (u64, u64) = (body.parse().unwrap(), peak.parse().unwrap());
    println!("body {body} KiB, peak {peak} KiB");
    assert!(peak <= 4 * body, "{peak} KiB is more than 4 × {body} KiB");
}
