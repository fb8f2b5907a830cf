//! What is sent again, when, and how often.

use std::time::{Duration, Instant};

use flexvm_exporter::api::Reason;

use crate::common::{LONG, client_with, clouds, everything, page, run};
use crate::server::{Reply, Server, status};

#[tokio::test]
async fn a_passing_failure_is_outlived() {
    for code in [429, 500, 502, 503, 504] {
        let server = Server::start(
            move |request, before| {
                if before < 2 { status(code, "", "") } else { everything(request) }
            },
        )
        .await;
        let (run, seen) = run(&server);
        run.clouds().await.unwrap();
        assert_eq!(seen.codes(), [code.to_string(), code.to_string(), "200".to_owned()]);
        assert_eq!(seen.retries(), 2);
    }
}

#[tokio::test]
async fn what_will_not_pass_is_not_asked_again() {
    for code in [400, 401, 403, 404, 405, 409, 422, 301] {
        let server = Server::start(move |_, _| status(code, "Retry-After: 0\r\n", "")).await;
        let (run, seen) = run(&server);
        run.clouds().await.unwrap_err();
        assert_eq!((server.count(), seen.retries()), (1, 0), "{code}");
    }
}

#[tokio::test]
async fn a_connection_dropped_on_any_page_is_outlived_once_and_fails_the_list_for_good() {
    for bad_page in [0, 1, 3] {
        let rows = clouds(450);
        let bad = move |request: &crate::server::Request| request.range().unwrap().0 == bad_page * 100;
        let hits = std::sync::atomic::AtomicUsize::new(0);
        let (once, first) = (rows.clone(), bad);
        let server = Server::start(move |request, _| {
            if first(request) && hits.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                return Reply::Cut(Vec::new());
            }
            page(request, &once, 100)
        })
        .await;
        let (outlives, _) = run(&server);
        assert_eq!(outlives.clouds().await.unwrap().len(), 450);

        let server =
            Server::start(
                move |request, _| {
                    if bad(request) { Reply::Cut(Vec::new()) } else { page(request, &rows, 100) }
                },
            )
            .await;
        let (fails, _) = run(&server);
        assert_eq!(fails.clouds().await.unwrap_err().reason(), Reason::Transport, "{bad_page}");
    }
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let date = "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\nRetry-After: Tue, 24 Nov 2026 10:00:01 GMT\r\n";
    for headers in ["Retry-After: 1\r\n", date] {
        let server = Server::start(
            move |request, before| {
                if before == 0 { status(429, headers, "") } else { everything(request) }
            },
        )
        .await;
        let begun = Instant::now();
        run(&server).0.clouds().await.unwrap();
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(5), "{waited:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_understood_as_a_wait_is_none() {
    // No `Date` to compare with, a date that has passed, and nonsense.
    let past = "Date: Tue, 24 Nov 2026 10:00:00 GMT\r\nRetry-After: Tue, 24 Nov 2026 09:00:00 GMT\r\n";
    for headers in [
        "Retry-After: Tue, 24 Nov 2099 10:00:00 GMT\r\n",
        past,
        "Retry-After: soon\r\n",
        "Retry-After: -5\r\n",
        "Retry-After:\r\n",
    ] {
        let server = Server::start(
            move |request, before| {
                if before == 0 { status(503, headers, "") } else { everything(request) }
            },
        )
        .await;
        let begun = Instant::now();
        run(&server).0.clouds().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{headers}");
    }
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let absurd = format!("Retry-After: {}\r\n", "9".repeat(40));
    let server = Server::start(move |_, _| status(429, &absurd, "")).await;
    let (client, seen) = client_with(&server, |_| {});
    let begun = Instant::now();
    let error = client.run(Duration::from_secs(20)).clouds().await.unwrap_err();
    assert_eq!(error.reason(), Reason::RateLimited);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!((server.count(), seen.retries()), (1, 0));
}

#[tokio::test]
async fn the_requests_of_a_run_share_a_budget() {
    let server = Server::start(|_, _| status(500, "", "")).await;
    let (client, seen) = client_with(&server, |tenant| tenant.api.retries = 1);
    let run = client.run(LONG);
    for _ in 0..14 {
        assert_eq!(run.capacity().await.unwrap_err().reason(), Reason::Server);
    }
    // Ten retries for a run; four requests had none left.
    assert_eq!((server.count(), seen.retries()), (24, 10));
    client.run(LONG).capacity().await.unwrap_err();
    assert_eq!(seen.retries(), 11);
}

#[tokio::test]
async fn no_retries_when_none_are_configured() {
    let server = Server::start(|_, _| status(500, "", "")).await;
    let (client, _) = client_with(&server, |tenant| tenant.api.retries = 0);
    client.run(LONG).capacity().await.unwrap_err();
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_run_ends_at_its_deadline() {
    let server = Server::start(|_, _| Reply::Stall(Vec::new())).await;
    let (client, seen) = client_with(&server, |tenant| {
        tenant.api.timeout = LONG;
        tenant.api.concurrency = 1;
    });
    let run = client.run(Duration::from_millis(300));
    let begun = Instant::now();
    // One is being answered, the other waits for its turn.
    let (one, two) = futures_util::future::join(run.clouds(), run.images()).await;
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!(error.reason(), Reason::Deadline);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((server.count(), seen.codes()), (1, vec!["deadline".to_owned()]));
}

#[tokio::test]
async fn nobody_there_is_a_failed_transport() {
    let server = Server::start(|request, _| everything(request)).await;
    let (client, seen) = client_with(&server, |tenant| {
        tenant.api.retries = 1;
        // The discard port: nothing listens there.
        tenant.base_url = "http://127.0.0.1:9".parse().unwrap();
    });
    let error = client.run(LONG).clouds().await.unwrap_err();
    assert_eq!((error.reason(), error.status), (Reason::Transport, None));
    assert_eq!(seen.codes(), ["transport", "transport"]);
}
