//! A poll of 20,000 VMs from a server of pre-rendered pages, beside a bare fetch of the very same
//! pages: same HTTP client, as many requests in flight, bodies read and thrown away. Prints the ratio
//! and fails above [`AT_MOST`].
//!
//! The server is a process of its own on loopback, without TLS and compression. It shares the
//! machine's cores with what is measured, which favours neither side.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexvm_exporter::api::{Client, NoObserver, plain_client};
use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{Api, Secret, Tenant, TokenSource};
use flexvm_exporter::poll::inventory::{self, Memory};
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::snapshot::InventoryData;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const VMS: usize = 20_000;
const CLOUDS: usize = 8;

/// Rounds of both, one after the other; the first is not counted.
const ROUNDS: usize = 12;

/// How many times as long as a bare fetch a poll may take.
const AT_MOST: f64 = 1.5;

const RANGE: &str = "ranged-data";

/// Path with query, and range.
type Page = (String, String);

fn main() {
    if std::env::args().any(|argument| argument == "--serve-pages") {
        Runtime::new().expect("a runtime").block_on(serve());
        return;
    }
    let server = Server::start();
    Runtime::new().expect("a runtime").block_on(measure(&server));
}

async fn measure(server: &Server) {
    let api = Api { retries: 0, ..Api::default() };
    let concurrency = api.concurrency;
    let tenant = Tenant {
        name: "bench".into(),
        base_url: server.url.parse().expect("an address"),
        token: TokenSource::Fixed(Secret::new("simulator")),
        api,
        prices: None,
        group_by: Vec::new(),
    };
    let client = Client::new(&Arc::new(tenant), Arc::new(NoObserver)).expect("a client");
    let poll = async |before: Option<InventoryData>| {
        let started = Instant::now();
        let run = client.run(Duration::from_mins(5));
        let data = inventory::fetch(&run, before.as_ref(), None, &mut Memory::default(), Duration::ZERO)
            .await
            .expect("an inventory");
        assert_eq!(data.vms.len(), VMS);
        (started.elapsed(), data)
    };
    // The first poll also makes the server render and remember its pages. Each further one follows
    // the one before, as in the daemon.
    let (_, mut data) = poll(None).await;
    let http = plain_client(Duration::from_mins(1)).expect("a client");
    let pages =
        http.get(format!("{}/pages", server.url)).send().await.expect("pages").text().await.expect("text");
    let pages: Vec<Page> = serde_json::from_str(&pages).expect("the pages that were asked for");
    let fetch = async || {
        let started = Instant::now();
        let bodies = stream::iter(&pages).map(|(target, range)| {
            let request = http.get(format!("{}{target}", server.url)).header("private-token", "simulator");
            let request = if range.is_empty() { request } else { request.header(RANGE, range) };
            async { request.send().await.expect("an answer").bytes().await.expect("a body").len() }
        });
        let bytes: usize =
            bodies.buffer_unordered(concurrency).fold(0, async |sum, length| sum + length).await;
        (started.elapsed(), bytes)
    };
    let (mut polls, mut fetches, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..=ROUNDS {
        let (elapsed, read) = fetch().await;
        fetches.push(elapsed);
        bytes = read;
        let (elapsed, newest) = poll(Some(data)).await;
        data = newest;
        polls.push(elapsed);
    }
    let (poll, fetch) = (median(&mut polls[1..]), median(&mut fetches[1..]));
    let ratio = poll.as_secs_f64() / fetch.as_secs_f64();
    println!("{} pages, {bytes} bytes, {VMS} VMs in {CLOUDS} clouds", pages.len());
    println!("poll {poll:?}, bare fetch {fetch:?} (medians of {ROUNDS}): {ratio:.2} times as long");
    assert!(ratio <= AT_MOST, "more than {AT_MOST} times as long");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The server of pages; it ends with this.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child =
            Command::new(this).arg("--serve-pages").stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        std::io::BufReader::new(stdout).read_line(&mut line).expect("its address");
        Self { child, url: line.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers as the simulator does, each page rendered once.
async fn serve() {
    let options = Options { vms: VMS, clouds: CLOUDS, months: 0, churn: false, ..Options::default() };
    let simulator = Simulator::new(options, Clock::system());
    let pages: Arc<Mutex<HashMap<Page, Bytes>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}", listener.local_addr().expect("its address"));
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        // As servers do: answers are not held back to fill a packet.
        let _ = stream.set_nodelay(true);
        let (simulator, pages) = (simulator.clone(), Arc::clone(&pages));
        let service = service_fn(move |request: Request<Incoming>| {
            let body = answer(&simulator, &pages, &request);
            async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(simulator: &Simulator, pages: &Mutex<HashMap<Page, Bytes>>, request: &Request<Incoming>) -> Bytes {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let mut pages = pages.lock().expect("nobody panics");
    if target == "/pages" {
        return serde_json::to_vec(&pages.keys().collect::<Vec<_>>()).expect("JSON").into();
    }
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let page = (target.clone(), range.to_owned());
    let render = || {
        let answer = simulator.call("GET", &target, (!range.is_empty()).then_some(range), "");
        assert_eq!(answer.status, 200, "{target}");
        Bytes::from(answer.body)
    };
    pages.entry(page).or_insert_with(render).clone()
}
