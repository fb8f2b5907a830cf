//! A reload takes away what the configuration before it had started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::config::{Config, Ledger, Metrics, Poll, Report, Web};
use flexvm_exporter::daemon;
use flexvm_exporter::web::Access;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::rig::tenant;

const RELOADS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of tasks once it has been `wanted`, or after some time.
async fn tasks(wanted: impl Fn(usize) -> bool) -> usize {
    let started = Instant::now();
    loop {
        let alive = Handle::current().metrics().num_alive_tasks();
        if wanted(alive) || started.elapsed() > PATIENCE {
            return alive;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_leave_no_task_behind() {
    let folder = tempfile::tempdir().unwrap();
    let often = Duration::from_mins(10);
    let config = Config {
        // Nothing listens there, so no connection outlives a run.
        tenants: vec![Arc::new(tenant("one", "http://127.0.0.1:1"))],
        poll: Poll {
            capacity: often,
            inventory: often,
            deleted_vms: Duration::ZERO,
            usage: often,
            catalogue: often,
        },
        metrics: Metrics::default(),
        web: Web::default(),
        ledger: Ledger { path: folder.path().join("ledger.db"), ..Ledger::default() },
        report: Report { directory: folder.path().join("reports"), ..Report::default() },
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (shutdown, told) = watch::channel(false);
    let again = config.clone();
    let loader: daemon::Loader = Arc::new(move || Ok(again.clone()));
    let (path, access, clock) = ("/metrics".to_owned(), Access::default(), Clock::system());
    let daemon = tokio::spawn(daemon::run(config, vec![listener], path, access, clock, told, Some(loader)));
    let http = flexvm_exporter::api::plain_client(PATIENCE).unwrap();
    let reload = async || {
        let answer = http.post(format!("{url}/-/reload")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    // The client's own connection is there after the first.
    reload().await;
    let before = settled().await;
    for _ in 0..RELOADS {
        reload().await;
    }
    let after = tasks(|alive| alive == before).await;
    assert_eq!(after, before);
    shutdown.send_replace(true);
    daemon.await.unwrap().unwrap();
}

/// The number of tasks when it has not changed for a while.
async fn settled() -> usize {
    let started = Instant::now();
    let (mut known, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) && started.elapsed() < PATIENCE {
        let alive = tasks(|_| true).await;
        if alive != known {
            (known, since) = (alive, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    known
}
