//! A token that is missing, empty or wrong: what is said, and that its text never is.

use crate::place::{Place, config, get, metric, until};
use crate::program::{Ended, run};

const SECRET: &str = "s3cret-of-k1-9f1c";

fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
}

#[test]
fn without_a_token_every_command_that_needs_one_says_where_it_looked() {
    let place = Place::new();
    for arguments in
        [&[][..], &["serve"], &["check"], &["check", "--online"], &["report", "--month", "2026-01"]]
    {
        let words = ["default", "FLEXVM_API_TOKEN", "FLEXVM_API_TOKEN_FILE", "FLEXVM_CONFIG_FILE"];
        refused(&place.run(arguments), &words);
    }
    assert!(place.files("").is_empty(), "nothing is written");
}

#[test]
fn an_empty_token_names_its_tenant_and_variable() {
    let place = Place::new();
    for value in ["", "  \n"] {
        let ended = run(place.command(["check"]).env("FLEXVM_API_TOKEN", value));
        refused(&ended, &["tenant default", "FLEXVM_API_TOKEN is empty"]);
    }
    let file = place.write("token", " \n");
    let ended = run(place.command(["check"]).env("FLEXVM_API_TOKEN_FILE", &file));
    refused(&ended, &["tenant default", &format!("{} is empty", file.display())]);
}

#[test]
fn an_empty_variable_beside_a_token_file_is_no_second_token() {
    let place = Place::new();
    let file = place.write("token", SECRET);
    let mut command = place.command(["check"]);
    let ended = run(command.env("FLEXVM_API_TOKEN_FILE", &file).env("FLEXVM_API_TOKEN", ""));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = run(command.env("FLEXVM_API_TOKEN", SECRET));
    refused(&ended, &["FLEXVM_API_TOKEN_FILE", "keep one"]);
    assert!(!ended.stderr.contains(SECRET));
}

#[test]
fn a_token_that_is_not_there_names_its_tenant_and_place() {
    let place = Place::new();
    let (text, token) = (config("https://api.example", ""), place.path("token").display().to_string());
    refused(
        &place.run_with(&text, &["check"]),
        &["tenant k1", &format!("token file {token}"), "No such file"],
    );
    place.write("token", "");
    refused(&place.run_with(&text, &["check"]), &["tenant k1", &format!("token file {token} is empty")]);
    let text = text.replace("token_file: token", "token_env: K1_TOKEN_FOR_A_TEST");
    let ended = place.run_with(&text, &["check"]);
    refused(&ended, &["tenant k1", "variable K1_TOKEN_FOR_A_TEST is not set"]);
    let mut command = place.command(["--config.file", "l.yml", "check"]);
    refused(&run(command.env("K1_TOKEN_FOR_A_TEST", "")), &["tenant k1", "K1_TOKEN_FOR_A_TEST is empty"]);
    assert_eq!(run(command.env("K1_TOKEN_FOR_A_TEST", SECRET)).code, Some(0));
}

#[test]
fn a_token_is_missed_together_with_everything_else() {
    let place = Place::new();
    let text = config("https://api.example", "web: {colour: blue}\n");
    let ended = place.run_with(&text, &["serve"]);
    refused(
        &ended,
        &["2 problems", "tenants[0].token_file (line 4): tenant k1", "web.colour (line 7): unknown key"],
    );
}

#[test]
fn a_token_that_cannot_be_sent_is_not_shown() {
    let place = Place::new();
    place.write("token", &format!("{SECRET} {SECRET}"));
    let ended = place.run_with(&config("https://api.example", ""), &["check"]);
    refused(&ended, &["tenant k1", &format!("token file {}", place.path("token").display())]);
    assert!(!ended.stderr.contains(SECRET) && !ended.stdout.contains(SECRET));
}

#[test]
fn a_wrong_token_is_a_figure_and_a_log_line_and_never_shown() {
    let place = Place::new();
    place.write("token", SECRET);
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let (mut daemon, address) = place.serve("daemon", &config(&api, ""));
    until("flexvm_up 0", || metric(&address, "flexvm_up{tenant=\"k1\"}").filter(|up| up == "0"));
    until("a failure", || {
        let (_, text) = get(&address, "/metrics", "");
        let credentials = |line: &str| {
            line.starts_with("flexvm_exporter_collector_failures_total{")
                && line.contains("reason=\"credentials\"")
                && line.contains("collector=\"inventory\"")
                && !line.ends_with(" 0")
        };
        text.lines().any(credentials).then_some(())
    });
    assert_eq!(get(&address, "/-/healthy", "").0, 200);
    assert!(daemon.is_alive());
    assert!(daemon.stderr().contains("reason=credentials"), "{}", daemon.stderr());
    let pages = ["/", "/metrics"].map(|path| get(&address, path, "").1);
    for text in [daemon.stdout(), daemon.stderr(), pages.concat()] {
        assert!(!text.contains(SECRET));
    }
    for arguments in [
        &["check", "--online"][..],
        &["check", "--online", "--output", "json"],
        &["report", "--month", "2026-01"],
    ] {
        let debug = [arguments, &["--log.level", "debug"]].concat();
        let ended = place.run_with(&config(&api, ""), &debug);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(!(ended.stdout + &ended.stderr).contains(SECRET));
    }
}
