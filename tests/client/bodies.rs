//! Bodies that are not what the API promises, on any page.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use flexvm_exporter::api::Reason;
use serde_json::json;

use crate::common::{LONG, client_with, clouds, everything, page, run};
use crate::server::{Reply, Server, answer, json as reply, status};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_is_not_a_list_is_malformed_on_every_page_and_not_asked_again() {
    let bodies: [(&str, &str); 7] = [
        ("<!DOCTYPE html><html>maintenance</html>", "the body is HTML or XML, not JSON"),
        ("[{\"id\": \"c-1\"", "EOF while parsing"),
        ("{\"clouds\": []}", "invalid type: map, expected a list"),
        ("null", "invalid type: null, expected a list"),
        ("", "the body is empty"),
        ("[{\"name\": \"without\"}]", "row 0: no id"),
        ("[\u{0}]", "expected value"),
    ];
    for (body, problem) in bodies {
        for bad_page in [0, 1, 2, 4] {
            let rows = clouds(1000);
            let server = Server::start(move |request, _| match request.range() {
                Some((start, _)) if start == bad_page * 100 => status(200, "", body),
                _ => page(request, &rows, 100),
            })
            .await;
            let (run, seen) = run(&server);
            let error = run.clouds().await.unwrap_err();
            assert_eq!(error.reason(), Reason::Malformed, "{body} {error}");
            let message = error.to_string();
            assert!(message.contains(problem), "{message}");
            assert!(message.contains(&format!("in the page from row {}:", bad_page * 100)), "{message}");
            assert!(!message.contains("html>"), "{message}");
            assert_eq!(seen.retries(), 0);
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off_at_the_limit() {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[".to_vec();
    let server = Server::start(move |_, _| Reply::Endless(head.clone(), vec![b' '; 16 << 10])).await;
    let (client, seen) = client_with(&server, |tenant| tenant.api.timeout = LONG);
    let error = client.run(LONG).clouds().await.unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert_eq!(error.to_string(), "clouds: too_large (HTTP 200): the body is larger than 1048576 bytes");
    // The rest lies in the sockets' buffers.
    assert!(server.sent() < 24 << 20, "{}", server.sent());
    assert_eq!((server.count(), seen.retries()), (1, 0));
}

#[tokio::test]
async fn a_promised_body_beyond_the_limit_is_not_read() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX / 2).into_bytes();
    let server = Server::start(move |_, _| Reply::Stall(head.clone())).await;
    assert_eq!(run(&server).0.clouds().await.unwrap_err().reason(), Reason::TooLarge);
}

#[tokio::test]
async fn a_compressed_body_is_counted_as_it_unfolds() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let server = Server::start(move |_, _| status(200, "Content-Encoding: gzip\r\n", &bomb)).await;
    let (client, _) = client_with(&server, |tenant| tenant.api.timeout = LONG);
    assert_eq!(client.run(LONG).clouds().await.unwrap_err().reason(), Reason::TooLarge);

    let body = gzip(json!(clouds(3)).to_string().as_bytes());
    let server = Server::start(move |_, _| status(200, "Content-Encoding: gzip\r\n", &body)).await;
    assert_eq!(run(&server).0.clouds().await.unwrap().len(), 3);
    assert!(server.requests()[0].headers["accept-encoding"].contains("gzip"));
}

#[tokio::test]
async fn a_limit_is_a_limit_not_one_byte_less() {
    let body = json!(clouds(2)).to_string();
    let size = body.len() as u64;
    let server = Server::start(move |_, _| status(200, "", &body)).await;
    for (limit, fits) in [(size, true), (size - 1, false)] {
        let (client, _) = client_with(&server, |tenant| tenant.api.max_body = limit);
        assert_eq!(client.run(LONG).clouds().await.is_ok(), fits);
    }
}

#[tokio::test]
async fn a_body_that_was_cut_is_asked_again_and_never_taken_for_a_bad_one() {
    let whole = json!(clouds(3)).to_string();
    let cut_plain = answer(200, "", &whole);
    let cut_plain = cut_plain[..cut_plain.len() - 10].to_vec();
    let mut cut_gzip = answer(200, "Content-Encoding: gzip\r\n", gzip(whole.as_bytes()));
    cut_gzip.truncate(cut_gzip.len() - 10);
    let cut_chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"id\r\n".to_vec();
    for cut in [cut_plain, cut_gzip, cut_chunked] {
        let first = cut.clone();
        let server = Server::start(
            move |request, before| {
                if before == 0 { Reply::Cut(first.clone()) } else { everything(request) }
            },
        )
        .await;
        let (recovers, seen) = run(&server);
        recovers.clouds().await.unwrap();
        assert_eq!((seen.codes(), seen.retries()), (vec!["200".into(), "200".into()], 1));

        let server = Server::start(move |_, _| Reply::Cut(cut.clone())).await;
        let (fails, _) = run(&server);
        assert_eq!(fails.clouds().await.unwrap_err().reason(), Reason::Transport);
        assert_eq!(server.count(), 4);
    }
}

#[tokio::test]
async fn what_only_claims_to_be_compressed_is_malformed() {
    let server = Server::start(|_, _| status(200, "Content-Encoding: gzip\r\n", "this is plain text")).await;
    let (run, seen) = run(&server);
    assert_eq!(run.clouds().await.unwrap_err().reason(), Reason::Malformed);
    assert_eq!(seen.retries(), 0);
}

#[tokio::test]
async fn a_stall_ends_at_the_timeout() {
    let silent = Vec::new();
    let headers = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".to_vec();
    for (sent, code) in [(silent, "timeout"), (headers, "200")] {
        let server = Server::start(move |_, _| Reply::Stall(sent.clone())).await;
        let (run, seen) = run(&server);
        let begun = Instant::now();
        let error = run.clouds().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        // Sent again once: it might have been a dead connection.
        assert_eq!((seen.codes(), seen.retries()), (vec![code.to_owned(); 2], 1));
    }
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_outlast_the_timeout() {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[".to_vec();
    let server = Server::start(move |_, _| Reply::Drip(head.clone(), Duration::from_millis(50))).await;
    let (client, _) = client_with(&server, |tenant| tenant.api.retries = 0);
    let begun = Instant::now();
    assert_eq!(client.run(LONG).clouds().await.unwrap_err().reason(), Reason::Timeout);
    assert!(begun.elapsed() >= Duration::from_millis(400) && begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_object_for_an_object_and_a_list_for_an_object() {
    let server = Server::start(|_, _| reply(&json!([]))).await;
    let (run, _) = run(&server);
    assert_eq!(run.capacity().await.unwrap_err().reason(), Reason::Malformed);
    assert_eq!(run.cloud("c").await.unwrap_err().reason(), Reason::Malformed);
    assert_eq!(run.monthly(None).await.unwrap_err().reason(), Reason::Malformed);
}

#[tokio::test]
async fn text_that_is_not_unicode_is_read_and_the_body_kept() {
    let row = r#"{"vm_id": "v-1", "name": "a\ud800", "plan": "t", "tags": ["x\ud800"], "cloud_id": "c",
        "created_at": "2026-10-01T00:00:00.5Z", "vm_hours": 1}"#;
    let report = format!(
        r#"{{"period": {{"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}}, "total_nodes": 1,
        "total_active_vms": 1, "clouds": [], "by_tag": [], "vms": [{row}]}}"#
    );
    let body = report.clone().into_bytes();
    let server = Server::start(move |request, _| {
        if request.target.contains("monthly") {
            return status(200, "", &report);
        }
        status(200, "", b"[{\"id\": \"c-1\", \"name\": \"caf\xe9\"}]")
    })
    .await;
    let (run, _) = run(&server);
    assert_eq!(&*run.clouds().await.unwrap()[0].name, "caf\u{fffd}");
    let monthly = run.monthly(None).await.unwrap();
    assert_eq!((&*monthly.report.vms[0].name, &*monthly.report.vms[0].tags[0]), ("a\u{fffd}", "x\u{fffd}"));
    assert_eq!(monthly.report.vms[0].created_at, "2026-10-01T00:00:00.5Z".parse().unwrap());
    assert_eq!(*monthly.body, *body);
}

#[tokio::test]
async fn bad_ids_are_malformed_and_named() {
    for (body, problem) in [
        (&br#"[{"id": "c-1"}, {"site": "s", "id": 7}]"#[..], "row 1: id: 7 is not text"),
        (br#"[{"id": "c-\ud800"}]"#, "row 0: id: \"c-\u{fffd}\" is not valid Unicode"),
        (b"[{\"id\": \"c-\xff\"}]", "row 0: id: \"c-\u{fffd}\" is not valid Unicode"),
        (b"\x1f\x8b\xff\xfe", "expected value"),
    ] {
        let server = Server::start(move |_, _| status(200, "", body)).await;
        let error = run(&server).0.clouds().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Malformed);
        assert!(error.to_string().contains(problem), "{error}");
    }
}

/// Each page is small, and no row is known.
#[tokio::test]
async fn an_endless_list_of_new_ids_is_too_large() {
    let server = Server::start(|request, _| {
        let (start, results) = request.range().unwrap();
        let rows: Vec<_> = (start..start + results).map(|row| format!("{{\"id\":\"{row:x}\"}}")).collect();
        status(200, "", format!("[{}]", rows.join(",")))
    })
    .await;
    let (client, seen) = client_with(&server, |tenant| {
        tenant.api.timeout = LONG;
        tenant.api.page_size = 20_000;
    });
    let error = client.run(Duration::from_mins(2)).clouds().await.unwrap_err();
    assert_eq!(error.to_string(), "clouds: too_large (HTTP 200): the list has more than 400000 rows");
    assert_eq!(seen.retries(), 0);
}

#[tokio::test]
async fn a_body_of_too_many_rows_is_too_large() {
    let rows = vec!["{\"id\":\"a\"}"; 600_000].join(",");
    let server = Server::start(move |_, _| status(200, "", format!("[{rows}]"))).await;
    let (client, _) = client_with(&server, |tenant| {
        tenant.api.timeout = LONG;
        tenant.api.max_body = 1 << 30;
    });
    let error = client.run(Duration::from_mins(2)).clouds().await.unwrap_err();
    assert_eq!(error.to_string(), "clouds: too_large (HTTP 200): the list has more than 400000 rows");
}

#[tokio::test]
async fn rows_of_a_megabyte_each_are_too_large() {
    let name = "n".repeat(1 << 20);
    let server = Server::start(move |request, _| {
        let (start, results) = request.range().unwrap();
        let rows: Vec<_> =
            (start..start + results).map(|row| format!("{{\"id\":\"{row}\",\"name\":\"{name}\"}}")).collect();
        status(200, "", format!("[{}]", rows.join(",")))
    })
    .await;
    let (client, _) = client_with(&server, |tenant| {
        tenant.api.timeout = LONG;
        tenant.api.max_body = 256 << 20;
        tenant.api.page_size = 30;
    });
    let error = client.run(Duration::from_mins(2)).clouds().await.unwrap_err();
    let expected = "clouds: too_large (HTTP 200): the rows of the list have more than 4.0 KiB on average";
    assert_eq!(error.to_string(), expected);
    // The pages that were requested ahead are at most as many as `api.concurrency`.
    assert!(server.count() <= 11, "{}", server.count());
}
