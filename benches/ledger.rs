//! What a poll of 100,000 VMs costs the ledger, beside parsing the pages that it was read from: with
//! nothing changed, and with one VM in a hundred changed. Prints both ratios and fails above [`AT_REST`]
//! and [`CHANGING`].
//!
//! The ledger's cost is a whole recorded poll, durable. Parsing is the client's own, of every page, as
//! a run does that knows none of them; both take one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvm_exporter::api::read_vms;
use flexvm_exporter::clock::Clock;
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::snapshot::{InventoryData, Text, Vm, VmStatus};
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Runtime;

const VMS: usize = 100_000;

/// Rows of a page, as the daemon asks for them.
const PAGE: usize = 100;

/// Rounds of all three, one after the other; the first is not counted.
const ROUNDS: usize = 7;

/// Which part of the time of parsing a poll may cost.
const AT_REST: f64 = 1.0 / 5.0;
const CHANGING: f64 = 1.0 / 3.0;

/// One VM in so many changes.
const ONE_IN: usize = 100;

struct Page {
    cloud: Text,
    status: VmStatus,
    body: Vec<u8>,
}

fn main() {
    let pages = pages();
    let bytes: usize = pages.iter().map(|page| page.body.len()).sum();
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(&folder.path().join("ledger.db")).expect("a ledger");
    let runtime = Runtime::new().expect("a runtime");
    let mut now: Timestamp = "2026-10-01T00:00:00Z".parse().expect("a time");
    let mut record = |vms: &[Arc<Vm>]| {
        let data = Arc::new(InventoryData { vms: vms.into(), ..InventoryData::default() });
        now += Duration::from_mins(1);
        let started = Instant::now();
        let gap = Duration::from_mins(3);
        runtime.block_on(ledger.observe("bench".into(), now, gap, data)).expect("a recorded poll");
        started.elapsed()
    };
    let parse = || {
        let started = Instant::now();
        let vms = read_vms(pages.iter().map(|page| (&*page.body, &page.cloud, &page.status)));
        let vms = vms.expect("VMs");
        assert_eq!(vms.len(), VMS);
        (started.elapsed(), vms)
    };
    let mut vms: Vec<Arc<Vm>> = parse().1.into_iter().map(Arc::new).collect();
    vms.sort_by(|a, b| a.id.cmp(&b.id));
    println!("{} pages, {bytes} bytes; the first poll took {:?}", pages.len(), record(&vms));
    let (mut parses, mut rests, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        parses.push(parse().0);
        rests.push(record(&vms));
        for vm in vms.iter_mut().skip(round).step_by(ONE_IN) {
            let status = match vm.status {
                VmStatus::Running => VmStatus::Stopping,
                _ => VmStatus::Running,
            };
            *vm = Arc::new(Vm { status, ..Vm::clone(vm) });
        }
        changes.push(record(&vms));
    }
    let (parse, rest, change) = (median(&mut parses), median(&mut rests), median(&mut changes));
    let part = |of: Duration| of.as_secs_f64() / parse.as_secs_f64();
    println!("parsing {parse:?} (medians of {ROUNDS})");
    println!("nothing changed: {rest:?}, {:.3} of parsing; aim {AT_REST:.3}", part(rest));
    println!("one in {ONE_IN} changed: {change:?}, {:.3} of parsing; aim {CHANGING:.3}", part(change));
    assert!(part(rest) < AT_REST && part(change) < CHANGING, "the ledger costs too much");
}

/// The median, but for the first.
fn median(times: &mut [Duration]) -> Duration {
    let times = &mut times[1..];
    times.sort();
    times[times.len() / 2]
}

/// Every page of every list that a poll reads, as the simulator answers.
fn pages() -> Vec<Page> {
    let options = Options { vms: VMS, clouds: 8, months: 0, churn: false, ..Options::default() };
    let simulator = Simulator::new(options, Clock::system());
    let get = |target: &str, start: usize| {
        let range = format!("start={start},results={PAGE}");
        let answer = simulator.call("GET", &format!("/v3/flexVM/{target}"), Some(&range), "");
        assert_eq!(answer.status, 200, "{target}");
        answer.body
    };
    let clouds: Vec<Value> = serde_json::from_slice(&get("clouds", 0)).expect("clouds");
    let mut pages = Vec::new();
    for cloud in clouds.iter().map(|cloud| Text::from(cloud["id"].as_str().expect("an id"))) {
        for status in VmStatus::LIVING {
            for start in (0..).step_by(PAGE) {
                let body = get(&format!("clouds/{cloud}/vms?status={}", status.as_str()), start);
                if body == b"[]" {
                    break;
                }
                pages.push(Page { cloud: cloud.clone(), status: status.clone(), body });
            }
        }
    }
    pages
}
