//! Series of the HTTP server about its requests and connections.

use std::time::Duration;

use flexvm_exporter::web::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::pki::Authority;
use crate::rig::{plain, serve};

const REJECTED: &str = "flexvm_exporter_http_connections_rejected_total";

fn rejected(reason: &str) -> String {
    format!("{REJECTED}{{reason=\"{reason}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_handler_and_code() {
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("basic_auth_users: {{me: {}}}\n", bcrypt::hash("pw", 4).unwrap());
    std::fs::write(folder.path().join("web.yml"), rules).unwrap();
    let serving = serve(folder.path(), Limits::default()).await;
    for (path, password, handler, code) in [
        ("/metrics", Some("pw"), "metrics", 200),
        ("/metrics", Some("wrong"), "metrics", 401),
        ("/", None, "status", 401),
        ("/-/ready", None, "health", 200),
        ("/-/healthy", None, "health", 200),
        ("/-/reload", Some("pw"), "reload", 405),
        ("/reports/k1/index.csv", Some("pw"), "reports", 404),
        ("/sd/vms?x", Some("pw"), "sd", 400),
        ("/favicon.ico", Some("pw"), "other", 404),
    ] {
        let series = format!("flexvm_exporter_http_requests_total{{code=\"{code}\",handler=\"{handler}\"}}");
        let before = serving.own(&series).unwrap_or(0);
        let mut request = plain().get(format!("http://{}{path}", serving.address));
        if let Some(password) = password {
            request = request.basic_auth("me", Some(password));
        }
        assert_eq!(request.send().await.unwrap().status(), code, "{path}");
        serving.shows(&series, before + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_are_counted_by_reason() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        header: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        connections: 3,
        ..Limits::default()
    };
    let serving = serve(folder.path(), limits).await;
    let open = "flexvm_exporter_http_connections";
    assert_eq!(serving.own(open), Some(0));
    for reason in ["limit", "handshake", "head", "stalled", "descriptors"] {
        assert_eq!(serving.own(&rejected(reason)), Some(0), "{reason}");
    }
    // A connection that is idle after its request is no rejection.
    let mut idle = TcpStream::connect(&serving.address).await.unwrap();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    idle.read_to_end(&mut Vec::new()).await.unwrap();
    serving.shows(open, 0).await;
    assert_eq!(serving.own(&rejected("head")), Some(0));
    for (number, sent) in ["", "GET / HTTP/1.1\r\nX: ", "\u{16}\u{3}\u{1}\r\n\r\n"].into_iter().enumerate() {
        let mut stream = TcpStream::connect(&serving.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        serving.shows(&rejected("head"), number as u64 + 1).await;
    }
    let mut slow = TcpStream::connect(&serving.address).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000);
    let _ = tokio::time::timeout(Duration::from_millis(200), slow.write_all(requests.as_bytes())).await;
    serving.shows(&rejected("stalled"), 1).await;
    serving.shows(open, 0).await;
    assert_eq!(serving.own(&rejected("limit")), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_limit_holds_for_all_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 4, ..Limits::default() };
    let serving = serve(folder.path(), limits).await;
    let mut streams = Vec::new();
    for address in [&serving.address, &serving.second].into_iter().cycle().take(8) {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    serving.shows(&rejected("limit"), 4).await;
    serving.shows("flexvm_exporter_http_connections", 4).await;
    for address in [&serving.address, &serving.second] {
        let response = plain().get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_handshakes_are_counted() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.issue().write(folder.path(), "server");
    let rules = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    std::fs::write(folder.path().join("web.yml"), rules).unwrap();
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let serving = serve(folder.path(), limits).await;
    // A health check of a load balancer only connects.
    drop(TcpStream::connect(&serving.address).await.unwrap());
    let silent = TcpStream::connect(&serving.address).await.unwrap();
    serving.shows(&rejected("handshake"), 1).await;
    drop(silent);
    let mut clear = TcpStream::connect(&serving.address).await.unwrap();
    clear.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    serving.shows(&rejected("handshake"), 2).await;
    serving.shows("flexvm_exporter_http_connections", 0).await;
    // The health check was not counted.
    assert_eq!(serving.own(&rejected("handshake")), Some(2));
}
