//! The files around the binary: compose, systemd, Kubernetes, Debian, each judged by the program that reads it.
//!
//! `tests/all.sh` installs them; without one its test says that it is skipped, or fails where
//! `FLEXVM_REQUIRE_TOOLS=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "deployment/debian.rs"]
mod debian;
#[path = "deployment/kubernetes.rs"]
mod kubernetes;
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
fn the_image_is_of_this_version_and_compiler() {
    let text = fs::read_to_string(at("Dockerfile")).unwrap();
    let compiler = env!("CARGO_PKG_RUST_VERSION");
    for line in [
        concat!("ARG VERSION=", env!("CARGO_PKG_VERSION")).to_owned(),
        format!("ARG BUILD_IMAGE=docker.io/library/rust:{compiler}-bookworm"),
        "USER 65532:65532".to_owned(),
    ] {
        assert!(text.lines().any(|there| there == line), "{line}");
    }
    // What it copies out of the sources is there.
    assert!(text.contains("LICENSE docs/licences.md docs/notices.txt"));
    for label in ["title", "description", "licenses", "version", "revision", "created"] {
        assert!(text.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
}
