//! Closing a month of 200,000 VMs, beside DuckDB doing the same grouping from the by-vm.csv that
//! closing it wrote. Prints the ratios and fails above [`AT_MOST`].
//!
//! Ours is closing as a whole: the request to the API on loopback, parsing, every sum, all files with
//! checksums, durable, and the ledger's record of what the month is made from. Its files are written
//! beside each other on two threads. The part from the provider's body to durable files is measured once
//! more alone. DuckDB's is reading by-vm.csv and writing by-tag and by-group as CSV, on one thread and on
//! two, measured within Python so that neither program's start counts.
//!
//! `tests/tools/python.sh target/tools/python` makes the Python that has DuckDB.

mod month;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flexvm_exporter::api::Monthly;
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::report::{Folder, Frozen};
use tokio::runtime::Runtime;

use month::Server;

const VMS: usize = 200_000;

/// Rounds of both, one after the other.
const ROUNDS: usize = 5;

/// How many times as long as DuckDB closing may take.
const AT_MOST: f64 = 1.0;

fn main() {
    if Server::is_this() {
        return;
    }
    let server = Server::start(VMS);
    let runtime = Runtime::new().expect("a runtime");
    let (mut whole, mut ours, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().expect("a folder");
        let (files, took) = runtime.block_on(month::close(&server.url, folder.path(), VMS));
        whole.push(took);
        ours.push(files_alone(folder.path()));
        one.push(duckdb(&files, folder.path(), 1));
        two.push(duckdb(&files, folder.path(), 2));
    }
    let (whole, ours, one, two) = (median(whole), median(ours), median(one), median(two));
    let beside = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{VMS} VMs, body {} KiB: closed in {whole:?}, of which files {ours:?}", server.body / 1024);
    println!("DuckDB on one thread {one:?}, on two {two:?} (medians of {ROUNDS})");
    for (what, ours) in [("as a whole", whole), ("files", ours)] {
        println!(
            "{what}: {:.2} of one thread's time, {:.2} of two threads'",
            beside(ours, one),
            beside(ours, two)
        );
    }
    assert!(beside(whole, one) <= AT_MOST, "more than {AT_MOST} times as long");
}

/// How long it takes from the body to all files, made again from what the ledger keeps.
fn files_alone(folder: &Path) -> Duration {
    let ledger = Ledger::read_only(&folder.join("ledger.db"));
    let row = ledger.revision("bench", month::last_month()).expect("the ledger").expect("a revision");
    let mut frozen = Frozen::unpack(&row.inputs.expect("what it was made from")).expect("the same unpacked");
    let reports = Folder::open(&folder.join("again"), "bench").expect("a folder");
    let body = frozen.monthly.body.clone();
    drop(frozen.monthly.report.vms.split_off(0));
    let started = Instant::now();
    frozen.monthly = Monthly::read(body).expect("a report");
    let turn = reports.turn().expect("a turn");
    let prepared = turn.prepare(&frozen.inputs(), 1, None).expect("files");
    turn.publish(prepared).expect("a revision");
    started.elapsed()
}

/// How long DuckDB takes.
fn duckdb(files: &Path, out: &Path, threads: usize) -> Duration {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/tools/python/bin/python");
    let entries = std::fs::read_dir(files).expect("the report's folder");
    let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let by_vm = paths.find(|path| path.to_string_lossy().ends_with("_by-vm.csv"));
    let mut command = Command::new(python);
    command.arg(root.join("benches/grouping.py")).arg(by_vm.expect("by-vm.csv")).arg(out);
    let output = command.arg(threads.to_string()).output().expect("Python with DuckDB");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seconds = String::from_utf8_lossy(&output.stdout).trim().parse().expect("seconds");
    Duration::from_secs_f64(seconds)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
