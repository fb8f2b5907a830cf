//! A clock to move by hand, the world without HTTP, and the world behind HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::simulator::{Options, Simulator};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;

pub const API: &str = "/v3/flexVM";

/// A clock that stands still until a test moves it.
#[derive(Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn at(time: &str) -> Self {
        Self(Arc::new(AtomicI64::new(time.parse::<Timestamp>().unwrap().as_second())))
    }

    pub fn clock(&self) -> Clock {
        let seconds = self.0.clone();
        Clock::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap())
    }

    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn set(&self, time: &str) {
        self.0.store(time.parse::<Timestamp>().unwrap().as_second(), Ordering::SeqCst);
    }
}

/// A simulator that is asked without HTTP.
pub struct World {
    pub hand: Hand,
    pub simulator: Simulator,
}

pub fn quiet(vms: usize, clouds: usize) -> Options {
    Options { vms, clouds, churn: false, ..Options::default() }
}

impl World {
    pub fn new(time: &str, options: Options) -> Self {
        let hand = Hand::at(time);
        let simulator = Simulator::new(options, hand.clock());
        Self { hand, simulator }
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.simulator.call(method, &format!("{API}{path}"), None, &body);
        let value =
            if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() };
        (answer.status, value)
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, value) = self.send("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    pub fn page(&self, path: &str, start: usize, results: usize) -> Vec<Value> {
        let range = format!("start={start},results={results}");
        let answer = self.simulator.call("GET", &format!("{API}{path}"), Some(&range), "");
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// A whole list.
    pub fn list(&self, path: &str) -> Vec<Value> {
        self.page(path, 0, 1_000_000)
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.send("POST", path, body);
        assert!(status == 201 || status == 202, "{path}: {status} {value}");
        value
    }

    pub fn delete(&self, path: &str) -> u16 {
        self.send("DELETE", path, &Value::Null).0
    }

    /// Ids of the clouds, whose order is not promised.
    pub fn clouds(&self) -> Vec<String> {
        self.list("/clouds").iter().map(|cloud| text(&cloud["id"])).collect()
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A simulator behind a loopback socket.
pub struct Served {
    pub simulator: Simulator,
    pub base: String,
    pub client: reqwest::Client,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Served {
    pub async fn new(options: Options, clock: Clock) -> Self {
        // Fails when another test has done so; plain HTTP needs none, but the builder asks.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let simulator = Simulator::new(options, clock);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, async { drop(stopped.await) }).await });
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { simulator, base, client, _stop: stop }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{API}{path}", self.base)).header("PRIVATE-TOKEN", "simulator")
    }
}
