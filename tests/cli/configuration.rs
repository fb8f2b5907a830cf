//! A configuration with problems: all of them are told, each with its key and line.

use crate::place::{Place, config};
use crate::program::{exporter, run};

/// Problems of a file as `check` prints them, without the line that counts them.
fn problems(place: &Place, text: &str) -> Vec<String> {
    let check = place.run_with(text, &["check"]);
    assert_eq!(check.code, Some(78), "{}{}", check.stdout, check.stderr);
    for command in [&["serve"][..], &["report", "--month", "2026-01"], &[]] {
        let other = place.run_with(text, command);
        assert_eq!((other.code, &other.stderr), (Some(78), &check.stderr), "the same from {command:?}");
    }
    let (first, rest) = check.stderr.split_once('\n').unwrap();
    let problems: Vec<String> = rest.lines().map(str::to_owned).collect();
    assert!(first.contains(&problems.len().to_string()), "{first}");
    problems
}

/// Every expected beginning is there once, and nothing else.
fn exactly(place: &Place, text: &str, expected: &[&str]) {
    let problems = problems(place, text);
    for start in expected {
        let found = problems.iter().filter(|problem| problem.starts_with(start)).count();
        assert_eq!(found, 1, "{start}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    assert!(problems.iter().zip(expected).all(|(found, start)| found.starts_with(start)), "{problems:#?}");
}

#[test]
fn a_telemetry_path_covers_no_other_page() {
    let place = Place::new();
    place.write("token", "t");
    let text = config("http://127.0.0.1:1", "");
    for path in ["/", "/-/healthy", "/reports", "/reports/", "/reports/k1/index.csv", "/sd", "/sd/vms"] {
        let ended = place.run_with(&text, &["check", "--web.telemetry-path", path]);
        assert_eq!(ended.code, Some(78), "{path}");
        assert!(ended.stderr.contains("is the path of another page"), "{path}: {}", ended.stderr);
    }
    for path in ["/metrics", "/reportsmetrics", "/-metrics", "/flexvm/metrics"] {
        assert_eq!(place.run_with(&text, &["check", "--web.telemetry-path", path]).code, Some(0), "{path}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let place = Place::new();
    place.write("token", "t");
    let text = "\
tenants:
  - name: ..
    token_file: token
  - name: K1
    token_file: token
    base_url: http://api.example
  - name: k1
    token_file: token
    colour: blue
  - token_file: token
poll:
  capacity: 60
  inventry: 1m
report:
  schedule: every month
  settle: -1s
prices:
  currency: EUX
  vm_hour:
    a: 0.12
    b: \"-0.12\"
    c:
      - { from: 2026-01-15, price: \"1\" }
    d: cheap
metrics: { max_vms: many }
unknown: 1
";
    let expected = [
        "tenants[0].name (line 2): \"..\"",
        "tenants[1].base_url (line 6): \"http://api.example\"",
        "tenants[2].name (line 7): \"k1\" is taken",
        "tenants[2].colour (line 9): unknown key",
        "poll.capacity (line 12): \"60\" is not a duration",
        "poll.inventry (line 13): unknown key",
        "report.schedule (line 15): ",
        "report.settle (line 16): ",
        "prices.currency (line 18): \"EUX\"",
        "prices.vm_hour.a (line 20): 0.12 is a YAML number",
        "prices.vm_hour.b (line 21): \"-0.12\"",
        "prices.vm_hour.c[0].from (line 23): \"2026-01-15\"",
        "prices.vm_hour.d (line 24): ",
        "metrics.max_vms (line 25): ",
        "unknown (line 26): unknown key",
        "tenants[3].name: is missing",
    ];
    exactly(&place, text, &expected);
    assert!(place.reports("reports").is_empty());
}

#[test]
fn flags_and_the_file_are_judged_together() {
    let place = Place::new();
    place.write("token", "t");
    let text = config("https://api.example", "web: {colour: blue}\n");
    let ended = place.run_with(&text, &["--web.telemetry-path", "metrics", "--web.config.file", "none.yml"]);
    assert_eq!(ended.code, Some(78));
    let web = format!("--web.config.file {}: ", place.path("none.yml").display());
    for start in ["--web.telemetry-path: ", &web, "web.colour (line 7): "] {
        assert!(ended.stderr.lines().any(|line| line.starts_with(start)), "{start}: {}", ended.stderr);
    }
}

#[test]
fn the_environments_problems_are_told_at_once() {
    let place = Place::new();
    let mut command = place.command(["check"]);
    command.env("FLEXVM_API_URL", "ftp://api.example").env("FLEXVM_LEDGER_URL", "postgres:x");
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(78));
    for start in ["FLEXVM_API_TOKEN: ", "FLEXVM_API_URL: ", "FLEXVM_LEDGER_URL: "] {
        assert!(ended.stderr.lines().any(|line| line.starts_with(start)), "{start}: {}", ended.stderr);
    }
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let place = Place::new();
    let ended = place.run(&["--config.file", "none.yml", "check"]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("none.yml: cannot be read: No such file"), "{}", ended.stderr);
    for text in ["", "tenants: [", "- x\n", "tenants: 5\n", "just words\n", "{}\n"] {
        let ended = place.run_with(text, &["check"]);
        assert_eq!(ended.code, Some(78), "{text:?}: {}", ended.stderr);
    }
    std::fs::write(place.path("l.yml"), [0xff, 0xfe, 0x00]).unwrap();
    let ended = place.run(&["check", "--config.file", "l.yml"]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
}

#[test]
fn http_stays_on_the_machine_unless_allowed() {
    let place = Place::new();
    place.write("token", "t");
    for url in
        ["http://api.example", "http://10.0.0.1:80/x", "http://localhost.example", "http://127.0.0.1.nip.io"]
    {
        let found = problems(&place, &config(url, ""));
        assert!(found.len() == 1 && found[0].starts_with("tenants[0].base_url (line 3): "), "{found:?}");
        let allowed = config(url, "").replace("retries: 0", "retries: 0, allow_http: true");
        assert_eq!(place.run_with(&allowed, &["check"]).code, Some(0), "{url}");
    }
    for url in
        ["http://127.0.0.1:1", "'http://[::1]:1'", "http://localhost:1/x/", "http://[::ffff:127.0.0.1]:1"]
    {
        let ended = place.run_with(&config(url, ""), &["check"]);
        assert_eq!(ended.code, Some(0), "{url}: {}", ended.stderr);
    }
    let found = problems(&place, &config("https://me:hunter2@api.example", ""));
    assert!(found.len() == 1 && !found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn the_example_configuration_is_fine_given_a_token() {
    let place = Place::new();
    let token = place.write("token", "t");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/flexvm-exporter.yml");
    let text = std::fs::read_to_string(example).unwrap();
    assert!(text.contains("/run/secrets/flexvm"));
    let text = text.replace("/run/secrets/flexvm", token.to_str().unwrap());
    let ended = place.run_with(&text, &["check"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("l.yml is fine; tenants: k12345."), "{}", ended.stdout);
}

#[test]
fn the_file_wins_over_the_environment_and_says_so() {
    let place = Place::new();
    place.write("token", "t");
    let file = place.write("l.yml", &config("https://api.example", ""));
    let mut command = exporter();
    command.current_dir(place.path("")).arg("check").env("FLEXVM_CONFIG_FILE", file);
    let ended = run(command.env("FLEXVM_API_TOKEN", "leftover-text").env("FLEXVM_API_URL", "nonsense"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("tenants: k1."), "{}", ended.stdout);
    for name in ["FLEXVM_API_TOKEN", "FLEXVM_API_URL"] {
        assert!(ended.stderr.contains(&format!("{name} is set but not used")), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("leftover-text"));
}
