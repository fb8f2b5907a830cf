//! A month of many VMs: the API that reports on it, as a process of its own on loopback, and what
//! closes it. Two benchmarks share it.

use std::convert::Infallible;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MONTHLY: &str = "/v3/flexVM/reports/monthly";

/// What makes a benchmark be the server.
const SERVE: &str = "--serve-month";

/// The server of a month; it ends with this.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: String,
    /// Bytes of its report.
    pub body: u64,
}

impl Server {
    /// Serves a month of so many VMs.
    pub fn start(vms: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([SERVE, &vms.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let mut lines = std::io::BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let (url, body) = (line(), line().parse().expect("a length"));
        Self { child, url, body }
    }

    /// Is the server, if this process was started as one.
    pub fn is_this() -> bool {
        let arguments: Vec<String> = std::env::args().collect();
        let Some(at) = arguments.iter().position(|it| it == SERVE) else { return false };
        let vms = arguments[at + 1].parse().expect("a number");
        Runtime::new().expect("a runtime").block_on(serve(vms));
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The month that is closed.
pub fn last_month() -> Month {
    Month::of(Clock::system().now()).previous()
}

/// Closes the month from `url` into `folder`, as the daemon does; the folder of its files, and how
/// long that took.
pub async fn close(url: &str, folder: &Path, vms: usize) -> (PathBuf, Duration) {
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
    let started = Instant::now();
    let outcome = closer
        .close(last_month(), &flexvm_exporter::close::CloseOptions::default())
        .await
        .expect("a closed month");
    let took = started.elapsed();
    assert_eq!(outcome.published().totals.vms, vms as u64, "each VM is a line of its own");
    (outcome.published().dir.clone(), took)
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
        row["vm_id"] = json!(format!("0198{:04x}-0000-7000-8000-{index:012x}", index % 65_536));
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
