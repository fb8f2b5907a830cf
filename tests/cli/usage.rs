//! Words on the command line that nobody knows, and the ones that everybody does.

use crate::place::Place;

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
