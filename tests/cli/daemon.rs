//! The daemon and the demo from outside: health, signals, and two of them at once.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;

use super::at;
use super::program::{Program, exporter, free_port, get, run, until};

/// The daemon for one tenant at `url`, in `folder`, ready.
fn serve(folder: &tempfile::TempDir, url: &str, change: impl FnOnce(&mut Command)) -> Program {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = at(folder, url);
    command.args(["--web.listen-address", &address, "--log.level", "debug"]);
    command.stderr(fs::File::create(folder.path().join("log")).unwrap());
    change(&mut command);
    let program = Program::start(command, address);
    until("the daemon to be ready", || {
        get(&program.address, "/-/ready").filter(|(status, _)| *status == 200)
    });
    program
}

#[test]
fn signals_end_it_within_ten_seconds_though_a_request_hangs() {
    let simulator = Program::simulate(&["--vms", "10"]);
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = serve(&folder, &simulator.address, |_| ());
        let mut hanging = TcpStream::connect(&daemon.address).unwrap();
        hanging.write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
        daemon.signal(signal);
        assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0), "SIG{signal}");
    }
}

#[test]
fn a_wrong_token_is_a_reason_and_the_rest_lives() {
    let simulator = Program::simulate(&["--vms", "10"]);
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = serve(&folder, &simulator.address, |command| {
        command.env("FLEXVM_API_TOKEN", "wr0ng-t0k3n");
    });
    let (_, text) = get(&daemon.address, "/metrics").unwrap();
    assert!(text.contains("flexvm_up{tenant=\"default\"} 0\n"), "{text}");
    let failures = "flexvm_exporter_collector_failures_total{collector=\"inventory\",reason=\"credentials\",tenant=\"default\"} ";
    let count = text.lines().find_map(|line| line.strip_prefix(failures)).unwrap();
    assert!(count.parse::<u64>().unwrap() >= 1);
    assert_eq!(get(&daemon.address, "/-/healthy").unwrap().0, 200);
    let (_, page) = get(&daemon.address, "/").unwrap();
    daemon.signal("TERM");
    assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0));
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("reason=credentials"), "{log}");
    for shown in [&text, &page, &log] {
        assert!(!shown.contains("wr0ng"), "{shown}");
    }
}

#[test]
fn health_tells_ready_from_not_there() {
    let simulator = Program::simulate(&["--vms", "10"]);
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(&folder, &simulator.address, |_| ());
    let ask = |url: &str| run(exporter().args(["health", url]));
    assert_eq!(ask(&format!("http://{}", daemon.address)).code, Some(0));
    assert_eq!(run(exporter().args(["health", "--web.listen-address", &daemon.address])).code, Some(0));
    let gone = ask(&format!("http://127.0.0.1:{}", free_port()));
    assert_eq!(gone.code, Some(1), "{}", gone.stderr);
    assert_eq!(ask("no address").code, Some(2));
}

#[test]
fn a_second_daemon_on_one_ledger_or_port_is_refused() {
    let simulator = Program::simulate(&["--vms", "10"]);
    let folder = tempfile::tempdir().unwrap();
    let first = serve(&folder, &simulator.address, |_| ());
    let second = run(at(&folder, &simulator.address).args(["--web.listen-address", "127.0.0.1:0"]));
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("in use by another daemon"), "{}", second.stderr);
    let other = tempfile::tempdir().unwrap();
    let second = run(at(&other, &simulator.address).args(["--web.listen-address", &first.address]));
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains(&first.address), "{}", second.stderr);
}

#[test]
fn two_daemons_on_one_report_folder_write_a_month_once() {
    let simulator = Program::simulate(&["--vms", "10"]);
    let folder = tempfile::tempdir().unwrap();
    let config = |name: &str| {
        let path = folder.path().join(format!("{name}.yml"));
        let text = format!(
            "tenants:\n  - name: k1\n    base_url: {}\n    token_env: FLEXVM_API_TOKEN\nledger:\n  url: sqlite:{name}.db\nreport:\n  backfill: 2\n  settle: 0s\n",
            simulator.address
        );
        fs::write(&path, text).unwrap();
        path
    };
    let paths = [config("one"), config("two")];
    let mut daemons = paths.each_ref().map(|path| {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = exporter();
        command.current_dir(&folder).env("FLEXVM_API_TOKEN", "simulator").arg("--config.file").arg(path);
        command.args(["--web.listen-address", &address, "--log.level", "error"]);
        Program::start(command, address)
    });
    for daemon in &daemons {
        until("both months to be closed", || {
            let (_, text) = get(&daemon.address, "/metrics")?;
            text.contains("flexvm_exporter_report_due{tenant=\"k1\"} 0\n").then_some(())
        });
    }
    for back in 1..=2 {
        let month = Month::of(Clock::system().now()).earlier_by(back).to_string();
        let folder = folder.path().join("reports/k1").join(month);
        let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["r01"]);
    }
    for daemon in &mut daemons {
        daemon.signal("TERM");
        assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0));
    }
}

#[test]
fn the_demo_does_the_whole_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = exporter();
    command.args(["demo", "--listen", "127.0.0.1:0", "--dir"]).arg(folder.path());
    command.env("FLEXVM_API_URL", "https://nowhere.invalid").env("FLEXVM_REPORT_DIRECTORY", "/nowhere");
    let (mut demo, lines) = Program::start_until(&mut command, "The first lines of");
    let address =
        lines.iter().find_map(|line| line.trim().strip_prefix("metrics")).unwrap().trim().to_owned();
    let address = address.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let report = lines.iter().find_map(|line| line.trim().strip_prefix("report")).unwrap().trim();
    assert!(report.starts_with(folder.path().to_str().unwrap()), "{report}");
    let sums = fs::read_dir(report).unwrap().map(|entry| entry.unwrap().path());
    let sums = sums.filter(|path| path.to_string_lossy().ends_with("SHA256SUMS")).collect::<Vec<_>>();
    let checked = Command::new("sha256sum").arg("-c").args(&sums).current_dir(report).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    until("its figures", || {
        let (_, text) = get(address, "/metrics")?;
        (text.contains("flexvm_up{tenant=\"demo\"} 1\n") && text.contains("flexvm_report_vm_seconds{"))
            .then_some(())
    });
    demo.signal("INT");
    assert_eq!(demo.wait(Duration::from_secs(10)).code(), Some(0));
}
