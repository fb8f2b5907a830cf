//! Closing a month of 100,000 VMs, from the API to durable files: the most memory that the process
//! takes, beside the length of the provider's body, which is kept byte for byte and therefore is the
//! physical limit. Prints the ratio and fails above [`AT_MOST`].
//!
//! The API is a process of its own on loopback; the closing program is another, so that its peak is
//! its own. It is the library's own path that the daemon takes, with a ledger.

use std::convert::Infallible;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use flexvm_exporter::api::{Client, NoObserver};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::close::Closer;
use flexvm_exporter::config::{Api, Config, Ledger as LedgerConfig, Metrics, Poll, Report, Web};
use flexvm_exporter::config::{Secret, Tenant, TokenSource};
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Options, Simulator};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const VMS: usize = 100_000;

/// How many times the provider's body the peak may be.
const AT_MOST: f64 = 4.0;

const MONTHLY: &str = "/v3/flexVM/reports/monthly";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().position(|it| it == flag).map(|at| &arguments[at + 1..]);
    if let Some([vms, ..]) = after("--serve-month") {
        Runtime::new().expect("a runtime").block_on(serve(vms.parse().expect("a number")));
    } else if let Some([url, folder, ..]) = after("--close-month") {
        Runtime::new().expect("a runtime").block_on(close(url, Path::new(folder)));
    } else {
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
}

/// Closes a month of so many VMs; the peak of that process and the length of the body, in KiB.
fn peak(vms: usize) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let this = std::env::current_exe().expect("this program");
    let mut server = Command::new(&this);
    let mut server = Ending(
        server.args(["--serve-month", &vms.to_string()]).stdout(Stdio::piped()).spawn().expect("a process"),
    );
    let mut lines = std::io::BufReader::new(server.0.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    let (url, body): (String, u64) = (line(), line().parse().expect("a length"));
    let started = Instant::now();
    let closed =
        Command::new(&this).arg("--close-month").arg(&url).arg(folder.path()).output().expect("a process");
    assert!(closed.status.success(), "{}", String::from_utf8_lossy(&closed.stderr));
    println!("{vms} VMs closed in {:?}", started.elapsed());
    let text = String::from_utf8_lossy(&closed.stdout).into_owned();
    let peak =
        text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("what the system says of memory");
    (peak.trim().trim_end_matches(" kB").parse().expect("a number"), body / 1024)
}

/// A process that ends with this.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn last_month() -> Month {
    Month::of(Clock::system().now()).previous()
}

async fn close(url: &str, folder: &Path) {
    let tenant = Arc::new(Tenant {
        name: "bench".into(),
        base_url: url.parse().expect("an address"),
        token: TokenSource::Fixed(Secret::new("simulator")),
        api: Api::default(),
        prices: None,
        group_by: Vec::new(),
    });
    let config = Config {
        tenants: vec![Arc::clone(&tenant)],
        poll: Poll::default(),
        metrics: Metrics::default(),
        web: Web::default(),
        ledger: LedgerConfig { path: folder.join("ledger.db"), ..LedgerConfig::default() },
        report: Report { directory: folder.join("reports"), ..Report::default() },
    };
    let ledger = Ledger::open(&config.ledger.path).expect("a ledger");
    let client = Client::new(&tenant, Arc::new(NoObserver)).expect("a client");
    let closer = Closer::new(tenant, client, ledger, Clock::system(), Arc::new(config));
    let outcome = closer.close(last_month()).await.expect("a closed month");
    assert!(outcome.published().totals.vms > 0);
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status").expect("what the system says of this process")
    );
}

/// Serves a month of so many VMs: rows of the simulator's, each again and again with ids of their own.
async fn serve(vms: usize) {
    let simulator =
        Simulator::new(Options { vms: 50, months: 1, churn: false, ..Options::default() }, Clock::system());
    let period = last_month().period();
    let target = format!("{MONTHLY}?start={}&end={}", period.start, period.end);
    let answer = simulator.call("GET", &target, None, "");
    assert_eq!(answer.status, 200);
    let mut report: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let rows = report["vms"].take();
    let rows = rows.as_array().expect("rows").iter().cycle().take(vms).enumerate();
    let rows = rows.map(|(index, row)| {
        let mut row = row.clone();
        row["id"] = json!(format!("0198{:04x}-0000-7000-8000-{index:012x}", index % 65_536));
        row
    });
    report["vms"] = rows.collect();
    let body = Bytes::from(serde_json::to_vec(&report).expect("JSON"));
    drop(report);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}\n{}", listener.local_addr().expect("its address"), body.len());
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (simulator, body) = (simulator.clone(), body.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            let body = if target.starts_with(MONTHLY) {
                body.clone()
            } else {
                simulator.call("GET", target, None, "").body.into()
            };
            async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
