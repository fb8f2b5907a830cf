//! Closing a month of 100,000 VMs, from the API to durable files: the most memory that the process
//! takes, beside the length of the provider's body, which is kept byte for byte and therefore is the
//! physical limit. Prints the ratio and fails above [`AT_MOST`].
//!
//! The API is a process of its own on loopback; the closing program is another, so that its peak is
//! its own. It is the library's own path that the daemon takes, with a ledger.

mod month;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tokio::runtime::Runtime;

use month::Server;

const VMS: usize = 100_000;

/// How many times the provider's body the peak may be.
const AT_MOST: f64 = 4.0;

fn main() {
    if Server::is_this() {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().position(|it| it == flag).map(|at| &arguments[at + 1..]);
    if let Some([url, folder, vms, ..]) = after("--close-month") {
        let vms = vms.parse().expect("a number");
        Runtime::new().expect("a runtime").block_on(month::close(url, Path::new(folder), vms));
        let status = std::fs::read_to_string("/proc/self/status");
        println!("{}", status.expect("what the system says of this process"));
        return;
    }
    let (small, body_of_one) = peak(1);
    let (large, body) = peak(VMS);
    #[expect(clippy::cast_precision_loss, reason = "KiB of one process")]
    let ratio = large as f64 / body as f64;
    println!(
        "{VMS} VMs: body {body} KiB, peak {large} KiB, of which {small} KiB for a month of one VM ({body_of_one} KiB)"
    );
    println!("peak is {ratio:.2} times the body");
    assert!(ratio <= AT_MOST, "more than {AT_MOST} times");
}

/// Closes a month of so many VMs; the peak of that process and the length of the body, in KiB.
fn peak(vms: usize) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(vms);
    let started = Instant::now();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("--close-month").arg(&server.url).arg(folder.path()).arg(vms.to_string());
    let closed = command.output().expect("a process");
    assert!(closed.status.success(), "{}", String::from_utf8_lossy(&closed.stderr));
    println!("{vms} VMs closed in {:?}", started.elapsed());
    let text = String::from_utf8_lossy(&closed.stdout).into_owned();
    let peak =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("what the system says of memory");
    (peak.trim().trim_end_matches(" kB").parse().expect("a number"), server.body / 1024)
}
