//! SIGHUP and `/-/reload`: a good file is put in force, a bad one changes nothing.

use std::fs;

use crate::place::{Place, config, get, request, until};

fn reloaded(address: &str) -> (bool, bool) {
    let (_, text) = get(address, "/metrics", "");
    let good = text.contains("flexvm_exporter_config_last_reload_successful 1\n");
    (good, text.contains("flexvm_exporter_config_last_reload_success_timestamp_seconds "))
}

#[test]
fn tenant_that_returns_shows_no_old_gauge() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let one = config(&api, "report: {directory: out}\n");
    let two =
        one.replace("api: {", "  - {name: k2, base_url: 'http://127.0.0.1:1', token_file: token}\napi: {");
    let works = two.replace("http://127.0.0.1:1", &api);
    let (daemon, address) = place.serve("daemon", &works);
    let success =
        "flexvm_exporter_collector_last_success_timestamp_seconds{collector=\"usage\",tenant=\"k2\"}";
    until("the first success", || get(&address, "/metrics", "").1.contains(success).then_some(()));
    for (text, has_k2) in [(&one, false), (&two, true)] {
        fs::write(place.path("daemon.yml"), text).unwrap();
        daemon.signal("HUP");
        let gauge = "flexvm_exporter_collector_failures_total{collector=\"usage\",reason=\"transport\",tenant=\"k2\"}";
        until("the reload", || (get(&address, "/metrics", "").1.contains(gauge) == has_k2).then_some(()));
        // The API of the tenant that returns is not reachable.
        assert!(!get(&address, "/metrics", "").1.contains(success));
    }
}

#[test]
fn tenants_come_and_go_and_a_bad_file_changes_nothing() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    let one = config(&api, "report: {directory: out}\n");
    let two =
        one.replace("api: {", &format!("  - {{name: k2, base_url: '{api}', token_file: token}}\napi: {{"));
    let (daemon, address) = place.serve("daemon", &one);
    let has = |text: &str| {
        let (_, metrics) = get(&address, "/metrics", "");
        metrics.contains(text).then_some(())
    };
    until("the first tenant", || has("flexvm_up{tenant=\"k1\"} 1\n"));
    assert_eq!(reloaded(&address), (true, true));

    fs::write(place.path("daemon.yml"), &two).unwrap();
    daemon.signal("HUP");
    until("the second tenant", || has("flexvm_up{tenant=\"k2\"} 1\n"));
    has("flexvm_up{tenant=\"k1\"} 1\n").expect("the first stays as it was");

    fs::write(place.path("daemon.yml"), format!("{two}nonsense: 1\n")).unwrap();
    let (status, body) = request("POST", &address, "/-/reload", "");
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("nonsense"), "{body}");
    assert!(!reloaded(&address).0);
    has("flexvm_up{tenant=\"k2\"} 1\n").expect("nothing changed");

    fs::write(place.path("daemon.yml"), two.replace("name: k1", "name: k3")).unwrap();
    let (status, body) = request("PUT", &address, "/-/reload", "");
    assert_eq!(status, 200, "{body}");
    let (_, metrics) = get(&address, "/metrics", "");
    assert!(!metrics.contains("\"k1\""), "the series of a tenant that is gone go at once");
    until("the new name", || has("flexvm_up{tenant=\"k3\"} 1\n"));
    assert!(reloaded(&address).0);

    fs::write(place.path("daemon.yml"), two.replace("sqlite:l.db", "sqlite:other.db")).unwrap();
    let (status, body) = request("PUT", &address, "/-/reload", "");
    assert!(status == 500 && body.contains("ledger.url"), "{body}");
}
