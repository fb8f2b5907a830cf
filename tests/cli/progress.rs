//! What a person sees while waiting: a line on a terminal, and not a byte of it anywhere else.

use std::process::Command;

use crate::place::{PATIENCE, Place, config, last_month, until};
use crate::program::tool;

/// How a line begins that is drawn again and again.
const DRAWN: &str = "\r\u{1b}[?7l";

/// A command of `script`, which gives the exporter a terminal as its standard error alone.
fn on_a_terminal(place: &Place, arguments: &str) -> Option<Command> {
    let script = tool("script")?;
    let exporter = place.command([]).get_program().to_string_lossy().into_owned();
    let mut command = Command::new(script);
    // Whatever becomes of the test, the program ends.
    let line = format!("echo $$ > pid; exec timeout --foreground 100 '{exporter}' {arguments} > stdout");
    command.current_dir(place.path("")).args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
    Some(command)
}

#[test]
fn check_and_report_show_what_they_wait_for_on_a_terminal_alone() {
    let place = Place::new();
    place.write("token", "simulator\n");
    let (_simulator, api) = place.simulator(&["--vms", "30"]);
    place.write("l.yml", &config(&api, "report: {directory: out, settle: 0s}\n"));
    let last = last_month();
    // Without a ledger, report warns on a pipe too.
    drop(flexvm_exporter::ledger::Ledger::open(&place.path("l.db")).unwrap());
    for (arguments, parts) in [
        ("check --online".to_owned(), ["k1: asking for clouds … 0 s", "k1: monthly answered, "]),
        (format!("report --month {last} --dry-run"), [&*format!("k1 {last} … 0 s"), "monthly answered, "]),
    ] {
        let arguments = format!("{arguments} --config.file l.yml");
        let piped = place.run(&arguments.split(' ').collect::<Vec<_>>());
        assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""), "{arguments}");
        assert!(!piped.stdout.contains('\u{1b}') && !piped.stdout.contains('\r'), "{}", piped.stdout);
        let Some(mut command) = on_a_terminal(&place, &arguments) else { return };
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{shown}");
        for part in parts {
            assert!(shown.contains(part) && shown.contains(DRAWN), "{part}: {shown:?}");
        }
        assert!(shown.ends_with("\r\u{1b}[K"), "nothing of it stays: {shown:?}");
        let stdout = std::fs::read_to_string(place.path("stdout")).unwrap();
        assert!(!stdout.contains('\u{1b}') && stdout.lines().count() > 5, "{stdout}");
        let dumb = command.env("TERM", "dumb").output().unwrap();
        assert_eq!(String::from_utf8(dumb.stdout).unwrap(), "", "{arguments}");
    }
}

#[test]
fn the_demo_shows_its_first_poll() {
    let place = Place::new();
    let Some(command) = on_a_terminal(&place, "demo --listen 127.0.0.1:0 --dir d") else { return };
    let mut demo = place.start("terminal", command);
    let stdout = || std::fs::read_to_string(place.path("stdout")).unwrap_or_default();
    until("the end of the first poll", || stdout().contains("Everything was polled once").then_some(()));
    let last = last_month();
    let shown = demo.stdout();
    for part in [format!("closing {last} … 0 s"), "first poll".to_owned()] {
        assert!(shown.contains(&format!("{DRAWN}{part}")), "{part}: {shown:?}");
    }
    // A line of the log begins where the line about progress was taken away.
    let log = shown.lines().map(|line| line.rsplit('\r').next().unwrap());
    assert!(
        log.filter(|line| line.contains("level="))
            .all(|line| line.trim_start_matches("\u{1b}[K").starts_with("ts="))
    );
    let pid = std::fs::read_to_string(place.path("pid")).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    assert_eq!(demo.code(PATIENCE), Some(0), "{}", demo.stdout());
}
