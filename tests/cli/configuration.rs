//! Bad configuration: every problem at once, its key and line, and never a token.

use std::fs;

use super::program::{Ended, exporter, run};

fn check(text: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exporter.yml");
    fs::write(&path, text).unwrap();
    run(exporter()
        .current_dir(&folder)
        .args(["check", "--config.file"])
        .arg(&path)
        .env("TOKEN", "s3cr3t-t0k3n"))
}

const TENANT: &str = "tenants:\n  - name: k1\n    base_url: https://api.example.com\n    token_env: TOKEN\n";

#[test]
fn help_and_version_are_fine_and_unknown_flags_are_not() {
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["report", "--help"], 0),
        (&["--nonsense"], 2),
        (&["report"], 2),
        (&["frobnicate"], 2),
    ] {
        assert_eq!(run(exporter().args(arguments)).code, Some(code), "{arguments:?}");
    }
    let version = run(exporter().arg("--version")).stdout;
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn a_missing_token_says_which_tenant_and_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(exporter().current_dir(&folder));
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("FLEXVM_API_TOKEN"), "{}", ended.stderr);
    let empty = run(exporter().current_dir(&folder).env("FLEXVM_API_TOKEN", "  \n"));
    assert_eq!(empty.code, Some(78), "{}", empty.stderr);
    assert!(empty.stderr.contains("FLEXVM_API_TOKEN"), "{}", empty.stderr);
    let gone = run(exporter().current_dir(&folder).env("FLEXVM_API_TOKEN_FILE", "/nowhere/token"));
    assert_eq!(gone.code, Some(78), "{}", gone.stderr);
    assert!(gone.stderr.contains("/nowhere/token") && gone.stderr.contains("default"), "{}", gone.stderr);
    let file = folder.path().join("token");
    fs::write(&file, "\n").unwrap();
    let blank = run(exporter().current_dir(&folder).env("FLEXVM_API_TOKEN_FILE", &file));
    assert_eq!(blank.code, Some(78), "{}", blank.stderr);
    assert!(blank.stderr.contains("token") && blank.stderr.contains("empty"), "{}", blank.stderr);
    let unset = check(&TENANT.replace("TOKEN", "NOT_SET_ANYWHERE"));
    assert_eq!(unset.code, Some(78));
    assert!(unset.stderr.contains("k1") && unset.stderr.contains("NOT_SET_ANYWHERE"), "{}", unset.stderr);
}

#[test]
fn every_problem_is_named_with_its_key_and_line() {
    let ended = check(
        "tenants:\n  - name: ..\n    base_url: http://api.example.com\n    token_env: TOKEN\n  - name: K1\n    token_env: TOKEN\n  - name: k1\n    token_env: TOKEN\napi:\n  timeout: soon\n  page_sise: 100\nreport:\n  schedule: \"0 0 0 L * * nonsense\"\n  settle: -5m\nprices:\n  currency: DOUBLOONS\n  vm_hour:\n    a: 0.12\n    b: \"-1\"\n    c: [ { from: 2026-01-15, price: \"1\" } ]\n",
    );
    assert_eq!(ended.code, Some(78));
    for (line, key) in [
        (2, "tenants[0].name"),
        (3, "tenants[0].base_url"),
        (7, "tenants[2].name"),
        (10, "api.timeout"),
        (11, "api.page_sise"),
        (13, "report.schedule"),
        (14, "report.settle"),
        (16, "prices.currency"),
        (18, "prices.vm_hour.a"),
        (19, "prices.vm_hour.b"),
        (20, "prices.vm_hour.c"),
    ] {
        let named = ended.stderr.lines().find(|found| found.contains(key));
        let named = named.unwrap_or_else(|| panic!("{key} is not named:\n{}", ended.stderr));
        assert!(named.contains(&format!("line {line}")), "{key} is in line {line}: {named}");
    }
    assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
}

#[test]
fn a_file_that_is_no_configuration_is_an_error_with_its_line() {
    for text in [
        "tenants: [",
        "- a\n- b\n",
        "\u{0}\u{1}",
        "",
        "tenants: []\n",
        "tenants:\n  - name: a\n    name: b\n",
    ] {
        let ended = check(text);
        assert_eq!(ended.code, Some(78), "{text:?}: {}", ended.stderr);
        assert!(!ended.stderr.trim().is_empty() && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    let missing = run(exporter().args(["check", "--config.file", "/nowhere/exporter.yml"]));
    assert_eq!(missing.code, Some(78));
    assert!(missing.stderr.contains("/nowhere/exporter.yml"), "{}", missing.stderr);
}

#[test]
fn a_good_one_is_said_to_be_good() {
    let ended = check(TENANT);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("k1"), "{}", ended.stdout);
    let leftover = {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exporter.yml");
        fs::write(&path, TENANT).unwrap();
        run(exporter()
            .args(["check", "--config.file"])
            .arg(&path)
            .env("TOKEN", "t")
            .env("FLEXVM_API_URL", "http://x"))
    };
    assert_eq!(leftover.code, Some(0));
    assert!(
        leftover.stderr.contains("FLEXVM_API_URL"),
        "a leftover variable is warned of: {}",
        leftover.stderr
    );
}

#[test]
fn problems_come_as_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exporter.yml");
    fs::write(&path, format!("{TENANT}api:\n  timeout: soon\n")).unwrap();
    let ended =
        run(exporter().args(["check", "--output", "json", "--config.file"]).arg(&path).env("TOKEN", "t"));
    assert_eq!(ended.code, Some(78));
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["problems"][0]["key"], "api.timeout", "{json}");
    assert_eq!(json["problems"][0]["line"], 6, "{json}");
}
