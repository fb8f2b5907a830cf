//! The files around the binary: compose, systemd, Kubernetes, each judged by the program that reads it.
//!
//! `tests/all.sh` installs them; without one its test says that it is skipped, or fails where
//! `FLEXVM_REQUIRE_TOOLS=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::tool;

fn at(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs to the end; what it says on both outputs, if it ends well.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn compose_is_understood_and_what_it_mounts_is_there() {
    let Some(compose) = tool("docker-compose") else { return };
    let said = run(Command::new(compose).arg("-f").arg(at("compose.yaml")).arg("config")).unwrap();
    for service in ["exporter", "simulator", "prometheus", "grafana"] {
        assert!(said.contains(&format!("  {service}:\n")), "{said}");
    }
    let text = fs::read_to_string(at("compose.yaml")).unwrap();
    let mounted: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next()).collect();
    assert_eq!(mounted.len(), 4);
    for path in mounted {
        assert!(at(path).exists(), "{path}");
    }
    assert_eq!(fs::read_to_string(at("config/simulator-token")).unwrap(), "simulator\n");
}

#[test]
fn the_systemd_unit_is_valid_and_hardened() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    // The program has to be where the unit says.
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(at("config/systemd/flexvm-exporter.service")).unwrap();
    let (file, program) = (folder.path().join("flexvm-exporter.service"), program::exporter());
    let there =
        unit.replace("/usr/bin/flexvm-exporter", &Path::new(program.get_program()).display().to_string());
    assert_ne!(unit, there);
    fs::write(&file, there).unwrap();
    let said = run(Command::new(&analyze).arg("verify").arg(&file)).unwrap();
    assert_eq!(said.trim(), "");
    // Ten times the level is the threshold.
    let mut security = Command::new(&analyze);
    let said = run(security.args(["security", "--offline=true", "--no-pager", "--threshold=24"]).arg(&file))
        .unwrap();
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn kubernetes_knows_every_key_of_its_files() {
    let python = at("target/tools/python/bin/kubernetes-validate");
    if !python.exists() {
        assert!(tool("kubernetes-validate").is_none());
        return;
    }
    let validate = |file: &Path| run(Command::new(&python).arg("--strict").arg(file));
    for name in ["configmap", "deployment", "persistentvolumeclaim", "service"] {
        let said = validate(&at(&format!("config/kubernetes/{name}.yaml"))).unwrap();
        assert!(said.contains("passed"), "{name}: {said}");
    }
    // It would say so.
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(at("config/kubernetes/deployment.yaml")).unwrap();
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, text.replace("readOnlyRootFilesystem", "readOnlyRoot")).unwrap();
    assert!(validate(&wrong).is_err());
    let listed = fs::read_to_string(at("config/kubernetes/kustomization.yaml")).unwrap();
    let files = fs::read_dir(at("config/kubernetes")).unwrap().map(|entry| entry.unwrap().file_name());
    for name in files.map(|name| name.into_string().unwrap()) {
        if Path::new(&name).extension().is_some_and(|end| end == "yaml") && name != "kustomization.yaml" {
            assert!(listed.contains(&format!("- {name}\n")), "{name} is not in the kustomization");
        }
    }
}

#[test]
fn the_prometheus_rule_is_made_from_the_rules() {
    let Some(python) = tool("python3") else { return };
    let made = run(Command::new(python).arg(at("config/kubernetes/prometheusrule.py"))).unwrap();
    assert_eq!(made, fs::read_to_string(at("config/kubernetes/prometheusrule.yaml")).unwrap());
    let rules = ["flexvm-alerts.yml", "flexvm-recording.yml"]
        .map(|name| fs::read_to_string(at("config/rules").join(name)).unwrap())
        .concat();
    for kind in ["- alert: ", "- record: "] {
        assert_eq!(made.matches(kind).count(), rules.matches(kind).count(), "{kind}");
    }
    assert!(made.matches("- alert: ").count() > 10);
}
