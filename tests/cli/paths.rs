//! Relative paths in a file, in the environment and in defaults, and the protection of an installation of 0.1.0.

use std::fs;

use crate::place::{Place, config, last_month};
use crate::program::{Ended, run};

/// A directory `etc` with a configuration and its token; programs run in the directory above.
fn with_file(text: &str) -> Place {
    let place = Place::new();
    fs::create_dir(place.path("etc")).unwrap();
    place.write("etc/token", "simulator\n");
    place.write("etc/x.yml", text);
    place
}

fn run_file(place: &Place, arguments: &[&str]) -> Ended {
    place.run(&[&["--config.file", "etc/x.yml"], arguments].concat())
}

/// The paths of a manifest's warnings and of printed files must not depend on where the program runs.
#[test]
fn written_paths_are_relative_to_the_file() {
    let place = Place::new();
    let (_simulator, api) = place.simulator(&["--vms", "5"]);
    let place = with_file(&config(&api, "report: {directory: out, settle: 0s}\n"));
    let ended = run_file(&place, &["report", "--month", &last_month().to_string()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(place.path("etc/l.db").exists() && place.path("etc/out/k1").is_dir());
    assert!(!place.path("l.db").exists() && !place.path("out").exists());
    let ledger = place.path("etc/l.db").display().to_string();
    assert!(ended.stdout.contains(&format!("\n  ledger {ledger}\n")), "{}", ended.stdout);
    let warning = format!("There was no ledger at {ledger}: all time is unobserved");
    assert!(ended.stderr.contains(&format!("warning: {warning}")), "{}", ended.stderr);
    let month = last_month().to_string();
    let manifest = format!("etc/out/k1/{month}/r01/flexvm-usage_k1_{month}_r01_manifest.json");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path(&manifest)).unwrap()).unwrap();
    let warnings = manifest["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|it| it.as_str().unwrap().contains(&warning)), "{warnings:?}");
    let again = run_file(&place, &["report", "--month", &month]);
    assert!(!again.stderr.contains("There was no ledger"), "{}", again.stderr);
    let copy = run_file(&place, &["report", "--month", &month, "--out", "copy"]);
    let printed = place.path("copy/flexvm-usage_k1_").display().to_string();
    assert!(copy.stdout.contains(&printed), "a flag is relative to the working directory: {}", copy.stdout);
}

#[test]
fn defaults_are_relative_to_the_working_directory() {
    let text = config("https://api.example", "").replace("ledger: {url: 'sqlite:l.db'}\n", "");
    let place = with_file(&text);
    place.write("flexvm-exporter.db", "");
    let inspect = run_file(&place, &["ledger", "inspect"]);
    let path = place.path("flexvm-exporter.db").display().to_string();
    assert!(inspect.stderr.contains(&path), "{}", inspect.stderr);
}

#[test]
fn environment_paths_are_relative_to_the_working_directory() {
    let place = Place::new();
    place.write("token", "t");
    let mut command = place.command(["ledger", "inspect"]);
    command.env("FLEXVM_API_TOKEN_FILE", "token").env("FLEXVM_LEDGER_URL", "sqlite:there/x.db");
    let ended = run(&mut command);
    let path = place.path("there/x.db").display().to_string();
    assert!(ended.stderr.contains(&format!("there is no ledger at {path}")), "{}", ended.stderr);
}

#[test]
fn ledger_at_the_place_of_0_1_0_is_refused() {
    let place = with_file(&config("http://127.0.0.1:1", "report: {directory: out}\n"));
    place.write("l.db", "the ledger of 0.1.0");
    let (old, new) = (place.path("l.db").display().to_string(), place.path("etc/l.db").display().to_string());
    let commands = [
        &["serve"][..],
        &["check"],
        &["check", "--online"],
        &["report", "--month", "2026-01"],
        &["ledger", "inspect"],
    ];
    for arguments in commands {
        let ended = run_file(&place, arguments);
        assert_eq!(ended.code, Some(78), "{arguments:?}: {}", ended.stderr);
        let start = format!("ledger.url (line 6): there is no ledger at {new}, but one at {old}, ");
        assert!(ended.stderr.lines().any(|line| line.starts_with(&start)), "{}", ended.stderr);
    }
    assert!(!place.path("etc/l.db").exists() && place.reports("etc/out").is_empty(), "nothing is created");
    // Where it was moved, and where the file is in the working directory, all is well.
    fs::rename(place.path("l.db"), place.path("etc/l.db")).unwrap();
    assert_eq!(run_file(&place, &["check"]).code, Some(0));
    let mut command = place.command(["--config.file", "x.yml", "check"]);
    assert_eq!(run(command.current_dir(place.path("etc"))).code, Some(0));
}

#[test]
fn reports_at_the_place_of_0_1_0_are_a_warning() {
    let place = with_file(&config("http://127.0.0.1:1", "report: {directory: out}\n"));
    fs::create_dir(place.path("out")).unwrap();
    let ended = run_file(&place, &["check"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for path in ["out", "etc/out"] {
        assert!(ended.stderr.contains(&place.path(path).display().to_string()), "{}", ended.stderr);
    }
    fs::create_dir(place.path("etc/out")).unwrap();
    assert_eq!(run_file(&place, &["check"]).stderr, "");
}
