//! Words on the command line that nobody knows, and the ones that everybody does.

use std::process::Stdio;

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;

use crate::place::{PATIENCE, Place, config, last_month, metric, until};

#[test]
fn unknown_words_are_usage_errors() {
    let place = Place::new();
    for arguments in [
        &["--no-such-flag"][..],
        &["serve", "--no-such-flag"],
        &["no-such-command"],
        &["--log.level", "loud"],
        &["--log.format", "xml"],
        &["check", "--output", "xml"],
        &["report"],
        &["simulate", "--vms", "many"],
        &["simulate", "--page-cap", "0"],
        &["simulate", "--clouds", "0"],
        &["simulate", "--listen", "nowhere"],
        &["demo", "--config.file", "x.yml"],
        &["demo", "--listen", "nowhere"],
        &["health", "http://"],
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{arguments:?}: {}", ended.stdout);
    }
    assert!(place.files("").is_empty(), "nothing is written");
}

#[test]
fn version_and_help_are_answered_on_standard_output() {
    let place = Place::new();
    let version = place.run(&["--version"]);
    let expected = format!("flexvm-exporter {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.code, version.stdout), (Some(0), expected));
    let help = place.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in
        ["serve", "demo", "report", "check", "simulate", "health", "--config.file", "--web.listen-address"]
    {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    for command in ["serve", "demo", "report", "check", "simulate", "health"] {
        let help = place.run(&[command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn flags_stand_before_or_after_the_command() {
    let place = Place::new();
    for arguments in [["--config.file", "none.yml", "check"], ["check", "--config.file", "none.yml"]] {
        let ended = place.run(&arguments);
        assert_eq!(ended.code, Some(78));
        assert!(ended.stderr.contains("none.yml"), "{}", ended.stderr);
    }
}

#[test]
fn an_address_in_use_is_a_failure_with_a_way_out() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [["simulate", "--listen", &address], ["demo", "--listen", &address]] {
        let ended = place.run(&arguments);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&address) && ended.stderr.contains("--listen"), "{}", ended.stderr);
    }
}

/// A reader that leaves after the first line, as `head` does.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "10"]);
    place.write("l.yml", &config(&api, "report: {directory: out}\n"));
    let month = Month::of(Clock::system().now()).earlier_by(2).to_string();
    for arguments in [&["report", "--month", &month][..], &["check", "--online"], &["ledger", "inspect"]] {
        let mut command = place.command(arguments.iter().copied());
        command.args(["--config.file", "l.yml"]).stderr(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Closed before anything is printed.
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(place.path("out/k1").join(month).join("r01").is_dir(), "the month was closed all the same");
}

#[test]
fn closed_output_is_no_error_and_no_panic() {
    let place = Place::new();
    place.write("token", "simulator\n");
    // More than a buffer of the output.
    let (_simulator, api) = place.simulator(&["--vms", "300", "--months", "1"]);
    let (mut daemon, address) = place.serve("l", &config(&api, ""));
    until("a poll", || (metric(&address, "flexvm_exporter_ledger_polls_total")? != "0").then_some(()));
    daemon.signal("TERM");
    assert_eq!(daemon.code(PATIENCE), Some(0));
    let month = last_month().to_string();
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["ledger", "export"], 0),
        (&["ledger", "inspect"], 0),
        (&["ledger", "inspect", "--output", "json"], 0),
        (&["check"], 0),
        (&["check", "--online"], 0),
        (&["report", "--month", &month, "--dry-run"], 0),
        (&["report", "--month", &month], 0),
        (&["report", "--month", "2999-01"], 2),
        (&["health", "http://127.0.0.1:1"], 1),
        (&["nonsense"], 2),
    ] {
        for is_stderr_closed in [false, true] {
            // A pipe whose reader has closed it.
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = place.command(["--config.file", "l.yml"]);
            command.args(arguments).stdout(writer.try_clone().unwrap());
            if is_stderr_closed {
                command.stderr(writer);
            }
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
            assert!(!said.contains("panic") && !said.contains("roken pipe"), "{arguments:?}: {said}");
        }
    }
}
