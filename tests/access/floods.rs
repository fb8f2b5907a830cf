//! Floods of TLS handshakes and of requests for service discovery. They must not delay scrapes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{Api, Metrics, Poll, Secret, Tenant, TokenSource, WebReports};
use flexvm_exporter::snapshot::{Collector, InventoryData, IpAddress, Section, Vm, VmStatus};
use flexvm_exporter::store::Store;
use flexvm_exporter::web::{Access, Limits, Paths};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::pki::Authority;
use crate::rig::{Serving, app_of, client, plain, serve, serve_app, until};

/// A scraper's usual timeout.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// The first bytes of a TLS connection.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

async fn serve_tls(folder: &Path) -> (Serving, Authority) {
    let authority = Authority::new();
    authority.issue().write(folder, "server");
    let rules = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    std::fs::write(folder.join("web.yml"), rules).unwrap();
    (serve(folder, Limits::default()).await, authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_hello_flood_does_not_block_scrapes() {
    let folder = tempfile::tempdir().unwrap();
    let (serving, authority) = serve_tls(folder.path()).await;
    let (hello, sent) = (Arc::new(client_hello()), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let (address, hello, sent) = (serving.address.clone(), Arc::clone(&hello), Arc::clone(&sent));
            tokio::spawn(async move {
                // The connections stay open, so that each connection causes a handshake.
                let mut open = std::collections::VecDeque::new();
                loop {
                    let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
                    if stream.write_all(&hello).await.is_ok() {
                        sent.fetch_add(1, Ordering::SeqCst);
                        open.push_back(stream);
                    }
                    if open.len() > 400 {
                        open.pop_front();
                    }
                }
            })
        })
        .collect();
    until("the flood", async || sent.load(Ordering::SeqCst) > 2_000).await;
    let url = format!("https://{}/metrics", serving.address);
    for _ in 0..10 {
        // Each scrape makes a new connection.
        let scrape = client(&authority.pem, None, &["http/1.1"]).get(&url).send();
        let answer = tokio::time::timeout(SCRAPE_TIMEOUT, scrape).await.expect("within a scrape's timeout");
        assert_eq!(answer.unwrap().status(), 200, "after {} handshakes", sent.load(Ordering::SeqCst));
    }
    for client in &flood {
        client.abort();
    }
    let rejected = |reason: &str| {
        serving.own(&format!("flexvm_exporter_http_connections_rejected_total{{reason=\"{reason}\"}}"))
    };
    assert!(rejected("limit") > Some(0) || rejected("handshake") > Some(0));
    serving.shows("flexvm_exporter_http_connections", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn address_with_the_most_connections_loses_one() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(folder.path(), Limits { connections: 8, ..Limits::default() }).await;
    let connect = async |from: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        socket.connect(serving.address.parse().unwrap()).await.unwrap()
    };
    // A client of another address that sends nothing for a time.
    let mut other = connect("127.0.0.2:0").await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(connect("127.0.0.1:0").await);
    }
    serving.shows(r#"flexvm_exporter_http_connections_rejected_total{reason="limit"}"#, 33).await;
    other.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

const VMS: usize = 20_000;

/// A server with the inventory of one tenant.
async fn serve_vms(folder: &Path) -> Serving {
    let tenant = Tenant {
        name: "t".into(),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        token: TokenSource::Fixed(Secret::new("none")),
        api: Api::default(),
        prices: None,
        group_by: Vec::new(),
    };
    let vm = |number: usize| {
        let address = format!("10.{}.{}.{}", number / 62_500, number / 250 % 250, number % 250 + 1);
        Arc::new(Vm {
            id: format!("vm-{number}").as_str().into(),
            cloud_id: "c".into(),
            name: "agent".into(),
            instance_type: "vm.4c".into(),
            size: None,
            image: "debian".into(),
            status: VmStatus::Running,
            node_id: None,
            created_at: None,
            deleted_at: None,
            ips: [IpAddress { address: address.as_str().into(), public: false }].into(),
            tags: ["project:odyssey".into(), "team:engine".into()].into(),
        })
    };
    let data = Arc::new(InventoryData { vms: (0..VMS).map(vm).collect(), ..InventoryData::default() });
    let (at, store) =
        (Clock::system().now(), Store::new(&[Arc::new(tenant)], Metrics::default(), Poll::default()));
    store.succeeded("t", Collector::Inventory, at, Duration::ZERO, |snapshot| {
        snapshot.inventory = Some(Section { at, data });
    });
    serve_app(
        app_of(store, Arc::new(Access::default()), WebReports::Auto, folder, Paths::default()),
        Limits::default(),
    )
    .await
}

/// Sends the request for a list with this port, without reading the response.
async fn ask_for_list(serving: &Serving, port: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // With a small receive buffer, the server must keep the response.
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(serving.address.parse().unwrap()).await.unwrap();
    let request = format!("GET /sd/vms?port={port} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The targets of the whole list with this port.
async fn targets(serving: &Serving, port: usize) -> BTreeSet<String> {
    let answer = plain().get(format!("http://{}/sd/vms?port={port}", serving.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let list: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let targets = list.as_array().unwrap().iter().flat_map(|group| group["targets"].as_array().unwrap());
    targets.map(|target| target.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_do_not_block_other_lists() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve_vms(folder.path()).await;
    // The first list is made.
    assert_eq!(targets(&serving, 9100).await.len(), VMS);
    let mut slow = Vec::new();
    for port in 0..300 {
        slow.push(ask_for_list(&serving, 1_000 + port).await);
    }
    serving.shows("flexvm_exporter_http_connections", 300).await;
    let list = targets(&serving, 80).await;
    assert!(list.len() == VMS && list.contains("10.0.0.1:80"), "{}", list.len());
    let scrape = plain().get(format!("http://{}/metrics", serving.address)).send();
    let answer = tokio::time::timeout(SCRAPE_TIMEOUT, scrape).await.expect("within a scrape's timeout");
    assert_eq!(answer.unwrap().status(), 200);
    // A slow reader receives the whole list as soon as it reads.
    let mut whole = Vec::new();
    let reader = slow.last_mut().unwrap();
    while !whole.ends_with(b"\r\n0\r\n\r\n") {
        assert!(reader.read_buf(&mut whole).await.unwrap() > 0, "{} bytes", whole.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnected_clients_leave_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve_vms(folder.path()).await;
    let list = targets(&serving, 9100).await;
    for port in 0..500 {
        drop(ask_for_list(&serving, 1_000 + port).await);
    }
    serving.shows("flexvm_exporter_http_connections", 0).await;
    assert_eq!(targets(&serving, 9100).await, list);
}
