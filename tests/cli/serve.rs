//! `serve` and `health`: starting, being asked, and leaving.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::place::{PATIENCE, Place, Running, config, get, last_month, metric, until};
use crate::program::free_port;

/// The contract: signals end the daemon within this time.
const LEAVE: Duration = Duration::from_secs(10);

fn with_token() -> Place {
    let place = Place::new();
    place.write("token", "simulator\n");
    place
}

fn ready(address: &str) {
    until("readiness", || (get(address, "/-/ready", "").0 == 200).then_some(()));
}

#[test]
fn signals_end_it_although_a_client_hangs() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    for signal in ["TERM", "INT"] {
        let (mut daemon, address) = place.serve(signal, &config(&api, ""));
        let mut half = TcpStream::connect(&address).unwrap();
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").unwrap();
        let _silent = TcpStream::connect(&address).unwrap();
        // More answers than the kernel's buffers hold, and none is read.
        let mut stalled = TcpStream::connect(&address).unwrap();
        stalled.write_all(&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000)).unwrap();
        // A keep-alive connection that has been answered once and idles.
        let mut idle = TcpStream::connect(&address).unwrap();
        idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        ready(&address);
        ends_with_zero(&mut daemon, signal);
    }
}

#[test]
fn signals_end_it_although_the_api_does_not_answer() {
    let place = with_token();
    // Connections are taken by the system and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", silent.local_addr().unwrap());
    let (mut daemon, address) = place.serve("daemon", &config(&api, "report: {backfill: 1, settle: 0s}\n"));
    let (status, _) = get(&address, "/-/healthy", "");
    assert_eq!(status, 200);
    assert_eq!(get(&address, "/-/ready", "").0, 503);
    ends_with_zero(&mut daemon, "TERM");
}

#[test]
fn a_signal_just_after_it_listens_is_obeyed() {
    let place = with_token();
    let (mut daemon, _) = place.serve("daemon", &config("http://127.0.0.1:1", ""));
    ends_with_zero(&mut daemon, "TERM");
}

fn ends_with_zero(daemon: &mut Running, signal: &str) {
    let asked = Instant::now();
    daemon.signal(signal);
    assert_eq!(daemon.code(PATIENCE), Some(0), "{signal}: {}", daemon.stderr());
    assert!(asked.elapsed() < LEAVE, "{signal}: {:?}", asked.elapsed());
}

#[test]
fn a_hangup_does_not_end_it() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let (mut daemon, address) = place.serve("daemon", &config(&api, ""));
    ready(&address);
    daemon.signal("HUP");
    assert_eq!(get(&address, "/-/healthy", "").0, 200);
    assert!(daemon.is_alive());
    ends_with_zero(&mut daemon, "INT");
}

#[test]
fn health_tells_a_ready_daemon_from_none() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let (_daemon, address) = place.serve("daemon", &config(&api, ""));
    ready(&address);
    let url = format!("http://{address}");
    let full = format!("{url}/-/ready");
    for arguments in
        [&["health", &url][..], &["health", &full], &["health", "--web.listen-address", &address]]
    {
        let ended = place.run(arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(0), "ready\n"),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let ended = place.run(&["health", &nobody]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&nobody), "{}", ended.stderr);
    let ended = place.run(&["health", &format!("{url}/no-such-page")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("404"), "{}", ended.stderr);
}

#[test]
fn health_is_one_while_the_daemon_is_not_ready() {
    let place = with_token();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", silent.local_addr().unwrap());
    let (_daemon, address) = place.serve("daemon", &config(&api, ""));
    let ended = place.run(&["health", &format!("http://{address}")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("503"), "{}", ended.stderr);
}

#[test]
fn a_ledger_has_one_daemon() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let (mut first, address) = place.serve("first", &config(&api, ""));
    ready(&address);
    let second = place.run_with(&config(&api, ""), &["--web.listen-address", "127.0.0.1:0"]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("l.db is in use by another daemon"), "{}", second.stderr);
    assert!(first.is_alive());
    ends_with_zero(&mut first, "TERM");
    // What is left behind keeps nobody away.
    let (mut third, address) = place.serve("third", &config(&api, ""));
    ready(&address);
    ends_with_zero(&mut third, "TERM");
}

#[test]
fn a_file_that_is_no_ledger_of_this_version_ends_it_with_a_sentence() {
    let place = with_token();
    place.write("text.db", &"Dear diary, today I am not a database. ".repeat(200));
    let newer = rusqlite::Connection::open(place.path("newer.db")).unwrap();
    newer.pragma_update(None, "application_id", 0x4656_4d6c).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    for (file, words) in [
        ("text.db", "text.db is not a ledger of this program; move it away"),
        ("newer.db", "newer.db has schema 99, this program knows up to"),
        ("no/such/folder/l.db", "no/such/folder/l.db.lock"),
    ] {
        let before = std::fs::read(place.path(file)).ok();
        let text = config("http://127.0.0.1:1", "").replace("l.db", file);
        let ended = place.run_with(&text, &["--web.listen-address", "127.0.0.1:0"]);
        assert_eq!(ended.code, Some(1), "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{file}: {}", ended.stderr);
        assert_eq!(std::fs::read(place.path(file)).ok(), before, "{file} is left as it was");
    }
}

#[test]
fn two_daemons_on_one_report_folder_write_one_report() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "20"]);
    let text = |ledger: &str| {
        config(&api, "report: {directory: reports, settle: 0s, backfill: 1}\n").replace("l.db", ledger)
    };
    let mut daemons = ["one", "two"].map(|name| place.serve(name, &text(&format!("{name}.db"))));
    let month = last_month();
    for (daemon, address) in &mut daemons {
        let series =
            format!("flexvm_report_reported_vm_seconds{{tenant=\"k1\",month=\"{month}\",revision=\"1\"}} ");
        until("the closed month", || crate::place::metric(address, &series));
        assert!(daemon.is_alive());
        assert_eq!(get(address, "/-/healthy", "").0, 200);
    }
    let folders: Vec<_> = std::fs::read_dir(place.path(&format!("reports/k1/{month}"))).unwrap().collect();
    let names: Vec<_> = folders.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["r01"]);
    let wrote = daemons.iter().filter(|(daemon, _)| daemon.stderr().contains("month closed")).count();
    assert_eq!(wrote, 1, "{}\n{}", daemons[0].0.stderr(), daemons[1].0.stderr());
    for (daemon, _) in &mut daemons {
        ends_with_zero(daemon, "TERM");
    }
}

#[test]
fn what_is_left_off_or_open_beyond_loopback_is_said_at_start_and_on_the_page() {
    let place = with_token();
    let said = |name: &str, more: &str| {
        let text = config("http://127.0.0.1:1", &format!("report: {{directory: reports-{name}}}\n{more}"));
        let file = place.write(&format!("{name}.yml"), &text.replace("l.db", &format!("{name}.db")));
        let port = free_port().to_string();
        let mut command = place.command(["serve", "--web.listen-address"]);
        command.arg(format!("0.0.0.0:{port}")).arg("--config.file").arg(file);
        let daemon = place.start(name, command);
        until("the daemon's start", || daemon.stderr().contains("starting").then_some(()));
        let address = format!("127.0.0.1:{port}");
        let (_, page) = get(&address, "/", "");
        (daemon.stderr(), get(&address, "/reports/", ""), page)
    };
    let (log, (status, sentence), page) = said("auto", "");
    assert!(
        log.contains("level=warn") && log.contains("reports and reloads are off at this address"),
        "{log}"
    );
    assert_eq!(status, 403);
    // One sentence in one line.
    assert!(sentence.ends_with("or web.reports is on.\n") && sentence.lines().count() == 1, "{sentence}");
    assert!(
        page.contains("Reports cannot be read at this address") && !page.contains("href=\"reports"),
        "{page}"
    );
    let (log, (status, _), page) = said("on", "web: {reports: on}\n");
    assert!(log.contains("reports and reloads are open to whoever reaches this address"), "{log}");
    assert_eq!(status, 200);
    assert!(page.contains("href=\"reports/\"") && !page.contains("cannot be read"), "{page}");
    let (log, (status, _), _) = said("off", "web: {reports: off}\n");
    assert!(!log.contains("reports and reloads"), "{log}");
    assert_eq!(status, 403);
}

#[test]
fn hangup_just_after_the_start_does_not_end_it() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    // The configuration comes through a pipe: the daemon is still reading when the signal arrives.
    let pipe = place.path("config.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = place.command(["serve", "--web.listen-address", "127.0.0.1:0", "--config.file"]);
    command.arg(&pipe);
    let mut daemon = place.start("early", command);
    // This fails until the daemon opens the pipe to read.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let open = || std::fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe).ok();
    let mut writer = until("a reader of the pipe", open);
    daemon.signal("HUP");
    writer.write_all(config(&api, "").as_bytes()).unwrap();
    drop(writer);
    until("listening", || daemon.stderr().contains("listening").then_some(()));
    // The signal is not lost: the daemon reads the configuration again, which has no end yet.
    let mut writer = until("a second reader of the pipe", open);
    writer.write_all(config(&api, "").as_bytes()).unwrap();
    drop(writer);
    until("the reload", || daemon.stderr().contains("the configuration was read again").then_some(()));
    assert!(daemon.is_alive());
    ends_with_zero(&mut daemon, "TERM");
}

#[test]
fn poll_that_cannot_be_rendered_is_no_success() {
    let place = with_token();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let text = config(&api, "poll: {capacity: 1s, inventory: 1h, usage: 1h, catalogue: 1h}\n");
    let file = place.write("daemon.yml", &text);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut command = place.command(["serve", "--web.listen-address", &address, "--config.file"]);
    // Every rendering after the first ones of all parts fails.
    command.arg(file).env("FAILPOINTS", "exposition::part=30*off->panic");
    let mut daemon = place.start("panic", command);
    let series = |name: &str| {
        let start = format!("flexvm_exporter_collector_{name}{{collector=\"capacity\"");
        std::net::TcpStream::connect(&address).ok().and_then(|_| metric(&address, &start))
    };
    let malformed = || {
        let start = "flexvm_exporter_collector_failures_total{collector=\"capacity\",reason=\"malformed\"";
        metric(&address, start)?.parse::<u64>().ok()
    };
    until("the first success", || (series("success")? == "1").then_some(()));
    // Data that does not change is not rendered again, but after a reload it is.
    until("the failure", || {
        daemon.signal("HUP");
        (malformed()? > 1).then_some(())
    });
    let last = series("last_success_timestamp_seconds").unwrap();
    let failed = malformed().unwrap();
    // Later polls fetch their data and are no success either: the figures that are shown stay as old as they are.
    until("more failures", || (malformed()? > failed + 1).then_some(()));
    until("the old time", || (series("last_success_timestamp_seconds")? == last).then_some(()));
    assert!(daemon.is_alive());
    assert!(daemon.stderr().contains("cannot render the data of the latest poll"));
    let (_, page) = get(&address, "/", "Accept: application/json\r\n");
    assert!(page.contains("the exporter cannot render the data of the poll"), "{page}");
    ends_with_zero(&mut daemon, "TERM");
}
