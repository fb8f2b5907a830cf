//! Kubernetes: what the kustomization builds is understood to the last key.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::{python_tool, tool};
use crate::{at, run};

/// What `kubectl apply -k` would send.
fn built() -> Option<String> {
    Some(run(Command::new(tool("kubectl")?).arg("kustomize").arg(at("config/kubernetes"))).unwrap())
}

#[test]
fn the_kustomization_builds_all_its_files() {
    let Some(built) = built() else { return };
    let mut files = 0;
    for entry in fs::read_dir(at("config/kubernetes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("kustomization.yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let kind = text.lines().find(|line| line.starts_with("kind: ")).unwrap();
            assert_eq!(built.lines().filter(|line| *line == kind).count(), 1, "{kind}");
            files += 1;
        }
    }
    assert_eq!(files, built.lines().filter(|line| line.starts_with("kind: ")).count());
}

#[test]
fn kubernetes_knows_every_key() {
    let (Some(built), Some(validate)) = (built(), python_tool("kubernetes-validate")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(Command::new(&validate).arg("--strict").arg(&file))
    };
    let said = check(&built).unwrap();
    for kind in ["configmap", "deployment", "persistentvolumeclaim", "service"] {
        assert!(said.contains(&format!("passed for resource {kind}/flexvm-exporter")), "{kind}: {said}");
    }
    // It would say so.
    assert!(check(&built.replace("readOnlyRootFilesystem", "readOnlyRoot")).is_err());
}

#[test]
fn the_operator_knows_every_key_of_its_objects() {
    let (Some(built), Some(python)) = (built(), python_tool("python")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(Command::new(&python).arg(at("tests/deployment/operator_objects.py")).arg(&file))
    };
    let said = check(&built).unwrap();
    assert_eq!(said, "PrometheusRule is understood\nServiceMonitor is understood\n");
    for (from, to) in
        [("honorLabels", "honourLabels"), ("annotations:", "annotation:"), ("for: 5m", "for: five")]
    {
        assert!(check(&built.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn the_prometheus_rule_is_made_from_the_rules() {
    let Some(python) = tool("python3") else { return };
    let made = run(Command::new(python).arg(at("config/kubernetes/prometheusrule.py"))).unwrap();
    assert_eq!(made, fs::read_to_string(at("config/kubernetes/prometheusrule.yaml")).unwrap());
    let rules = ["flexvm-alerts.yml", "flexvm-recording.yml"]
        .map(|name| fs::read_to_string(Path::new(&at("config/rules")).join(name)).unwrap())
        .concat();
    for kind in ["- alert: ", "- record: "] {
        assert_eq!(made.matches(kind).count(), rules.matches(kind).count(), "{kind}");
    }
    assert!(made.matches("- alert: ").count() > 10);
}

#[test]
fn promtool_takes_the_groups_of_the_prometheus_rule() {
    let Some(promtool) = tool("promtool") else { return };
    let text = fs::read_to_string(at("config/kubernetes/prometheusrule.yaml")).unwrap();
    let (_, groups) = text.split_once("spec:\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    fs::write(&file, groups).unwrap();
    let said = run(Command::new(promtool).args(["check", "rules"]).arg(&file)).unwrap();
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn the_pod_writes_nothing_but_its_volume_and_holds_no_secret() {
    let Some(built) = built() else { return };
    for line in [
        "readOnlyRootFilesystem: true",
        "runAsNonRoot: true",
        "allowPrivilegeEscalation: false",
        "automountServiceAccountToken: false",
        "path: /-/ready",
        "path: /-/healthy",
        "claimName: flexvm-exporter",
        "secretName: flexvm-exporter",
        "type: Recreate",
    ] {
        assert!(built.lines().any(|there| there.trim() == line), "{line}");
    }
    assert!(!built.contains("kind: Secret"));
}
