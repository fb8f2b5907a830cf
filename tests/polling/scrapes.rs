//! `/metrics` as scrapers ask for it, over a socket.

use std::io::Read as _;

use flate2::bufread::GzDecoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::Rig;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What these send, word for word, and what they get.
const SCRAPERS: [(&str, &str, &str); 3] = [
    (
        "Prometheus 2.42",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
         text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPEN_METRICS,
    ),
    (
        "Prometheus 3.5",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
         application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
         text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        OPEN_METRICS,
    ),
    ("VictoriaMetrics", "text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT),
];

/// Head, in lower case, and body of an answer.
async fn ask(rig: &Rig, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(rig.url.trim_start_matches("http://")).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap().to_ascii_lowercase(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scraper_gets_its_format_and_its_encoding() {
    let rig = Rig::new().await;
    rig.well().await;
    for (scraper, accept, content_type) in SCRAPERS {
        for gzip in [true, false] {
            let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
            let headers =
                format!("Accept: {accept}\r\n{encoding}X-Prometheus-Scrape-Timeout-Seconds: 1.5\r\n");
            let (head, body) = ask(&rig, "GET", "/metrics", &headers).await;
            assert!(head.starts_with("http/1.1 200 "), "{scraper}: {head}");
            assert!(head.contains(&format!("\r\ncontent-type: {content_type}\r\n")), "{scraper}: {head}");
            assert!(head.contains("\r\nvary: accept, accept-encoding\r\n"), "{scraper}: {head}");
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{scraper}: {head}");
            assert_eq!(head.contains("\r\ncontent-encoding: gzip\r\n"), gzip, "{scraper}: {head}");
            let mut text = String::new();
            if gzip {
                GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
            } else {
                text = String::from_utf8(body).unwrap();
            }
            assert!(text.contains("\nflexvm_vm_info{"), "{scraper}");
            assert_eq!(text.ends_with("\n# EOF\n"), content_type == OPEN_METRICS, "{scraper}");
            // The same without the body. The exporter's own series may be longer by now.
            let (head, body) = ask(&rig, "HEAD", "/metrics", &headers).await;
            assert!(head.starts_with("http/1.1 200 ") && body.is_empty(), "{scraper}: {head}");
            assert!(head.contains(&format!("\r\ncontent-type: {content_type}\r\n")), "{scraper}: {head}");
            assert!(head.contains("\r\ncontent-length: "), "{scraper}: {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_can_be_named() {
    let rig = Rig::new().await;
    rig.well().await;
    let (capacity, vms) = ("\nflexvm_capacity_vcpus{", "\nflexvm_vm_info{");
    for (query, expected) in [
        ("", [true, true]),
        ("?collect[]=capacity", [true, false]),
        ("?collect%5B%5D=inventory", [false, true]),
        ("?collect[]=capacity&collect[]=inventory", [true, true]),
        ("?collect[]=catalogue&other=1", [false, false]),
    ] {
        let (status, text) = rig.get(&format!("/metrics{query}")).await;
        assert_eq!((status, [capacity, vms].map(|series| text.contains(series))), (200, expected), "{query}");
        // What tells whether any of it can be believed is always there.
        assert!(text.contains("\nflexvm_up{") || text.starts_with("# HELP flexvm_up "), "{query}");
        assert!(text.contains("\nflexvm_exporter_collector_success{"), "{query}");
    }
    for query in ["?collect[]=vms", "?collect[]=", "?collect[]=capacity&collect[]=Capacity"] {
        let (status, text) = rig.get(&format!("/metrics{query}")).await;
        assert!(status == 400 && text.contains("capacity, inventory"), "{query}: {text}");
    }
}
