//! Tests that tenants do not wait for each other: the APIs of some tenants never respond, and the other
//! tenant is complete.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod program;

use std::net::{TcpListener, TcpStream};

use program::{Program, get, until};

/// An API that accepts connections, reads nothing and never responds. Returns its address.
fn silent_api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        // The connections stay open until the test ends.
        let connections: Vec<TcpStream> = listener.incoming().map_while(Result::ok).collect();
        drop(connections);
    });
    address
}

/// The value of the first sample whose line begins with `series`.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Requests to the silent API time out after 20 minutes, much later than the time limit of this test.
/// If any part of the daemon waits for such a request, the test fails.
#[test]
fn silent_api_of_one_tenant_does_not_delay_others() {
    let folder = tempfile::tempdir().unwrap();
    let works = Program::simulate(&["--listen", "127.0.0.1:0", "--vms", "50"]);
    let silent = silent_api();
    let token = folder.path().join("token");
    std::fs::write(&token, "simulator").unwrap();
    // The names of the silent tenants sort before and after the name of the working tenant, as do their
    // places in the file.
    let tenant = |name: &str, address: &str| {
        format!("  - {{name: {name}, base_url: 'http://{address}', token_file: '{}'}}\n", token.display())
    };
    let tenants: String = ["a-silent", "b-silent", "works", "x-silent"]
        .map(|name| {
            tenant(name, if name == "works" { works.address.trim_start_matches("http://") } else { &silent })
        })
        .concat();
    let config = folder.path().join("exporter.yml");
    let text = format!(
        "tenants:\n{tenants}api: {{timeout: 20m, retries: 0}}\npoll: {{inventory: 1s, capacity: 1s}}\n\
         report: {{directory: '{0}/reports', backfill: 3, settle: 0s, schedule: '* * * * * *'}}\n\
         ledger: {{url: 'sqlite:{0}/ledger.db'}}\n",
        folder.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let exporter = Program::serve(&config);
    let metrics = || get(&exporter.address, "/metrics").map(|(_, answer)| answer);
    let has = |series: &str, wanted: &dyn Fn(f64) -> bool| {
        metrics().filter(|metrics| value(metrics, series).is_some_and(wanted))
    };
    // All three months are closed.
    until("the closed months", || {
        let months = std::fs::read_dir(folder.path().join("reports/works")).ok()?;
        let closed = months.flatten().filter(|month| month.path().join("r01").is_dir()).count();
        (closed == 3).then_some(())
    });
    let metrics_now =
        until("no month is due", || has("flexvm_exporter_report_due{tenant=\"works\"}", &|due| due < 1.0));
    // Polls are repeated, and the scheduler wakes up.
    let polls = "flexvm_exporter_ledger_polls_total";
    let before = value(&metrics_now, polls).unwrap_or_default();
    until("more polls", || has(polls, &|now| now > before + 1.0));
    let wake = "flexvm_exporter_last_wake_timestamp_seconds";
    let before = value(&metrics_now, wake).unwrap();
    let metrics_now = until("the next wake", || has(wake, &|now| now > before));
    // The silent tenants are still waiting for their first response: none of their runs has ended.
    assert_eq!(value(&metrics_now, "flexvm_up{tenant=\"works\"}"), Some(1.0));
    for silent in ["a-silent", "b-silent", "x-silent"] {
        assert_eq!(value(&metrics_now, &format!("flexvm_up{{tenant=\"{silent}\"}}")), None);
        let success = format!("flexvm_exporter_report_last_success_timestamp_seconds{{tenant=\"{silent}\"}}");
        assert!(value(&metrics_now, &success).is_none_or(|time| time < 1.0), "{silent} has a report");
    }
}
