//! The Debian package: built by cargo-deb from this build's program, installed, started as the unit would, removed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::program::{Program, free_port, get, tool, until};
use crate::{at, run};

const CONFIG: &str = "/etc/flexvm-exporter";

/// The package with this build's program in it, and what cargo-deb has in mind for the release's.
fn build(folder: &Path, cargo_deb: &Path) -> PathBuf {
    let package = folder.join("flexvm-exporter.deb");
    fs::create_dir(folder.join("release")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_flexvm-exporter"), folder.join("release/flexvm-exporter")).unwrap();
    let mut command = Command::new(cargo_deb);
    command.args(["--no-build", "--no-strip", "--fast", "--output"]).arg(&package);
    run(command.current_dir(at("")).env("CARGO", env!("CARGO")).env("CARGO_TARGET_DIR", folder)).unwrap();
    package
}

/// The package is purged when this is dropped.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = Command::new("dpkg").args(["--purge", "flexvm-exporter"]).output();
    }
}

#[test]
fn the_debian_package_is_installed_started_and_removed() {
    let own = at("target/tools/cargo-deb/bin/cargo-deb");
    let Some(cargo_deb) = own.exists().then_some(own).or_else(|| tool("cargo-deb")) else { return };
    let Some(dpkg) = tool("dpkg") else { return };
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path(), &cargo_deb);
    let dpkg = |arguments: &[&str]| run(Command::new(&dpkg).args(arguments));

    let listed = dpkg(&["--contents", &package.display().to_string()]).unwrap();
    for file in [
        "usr/bin/flexvm-exporter",
        "usr/lib/systemd/system/flexvm-exporter.service",
        "usr/share/bash-completion/completions/flexvm-exporter",
        "usr/share/doc/flexvm-exporter/copyright",
        "usr/share/doc/flexvm-exporter/licences.md",
        "usr/share/doc/flexvm-exporter/notices.txt",
        "usr/share/flexvm-exporter/rules/flexvm-alerts.yml",
        "usr/share/flexvm-exporter/dashboards/capacity.json",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(&format!(" ./{file}"))), "{file}: {listed}");
    }
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root || Path::new(CONFIG).exists() || Path::new("/usr/bin/flexvm-exporter").exists() {
        eprintln!("SKIPPED: the package is built, but not installed: not root, or there is one already");
        return;
    }

    let installed = Installed;
    dpkg(&["--install", &package.display().to_string()]).unwrap();
    assert!(dpkg(&["--status", "flexvm-exporter"]).unwrap().contains("Status: install ok installed"));
    assert_eq!(dpkg(&["--verify", "flexvm-exporter"]).unwrap(), "");

    // What systemd would do: the unit's command in the state's folder, with the token as a credential.
    let simulator = Program::simulate(&["--vms", "5"]);
    let (config, token) = (Path::new(CONFIG).join("flexvm-exporter.yml"), Path::new(CONFIG).join("token"));
    fs::write(&token, "simulator\n").unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let credential = "/run/credentials/flexvm-exporter.service/token";
    assert!(text.contains(credential), "{text}");
    let text = text.replace(credential, &token.display().to_string());
    // Ledger and reports would be in the state directory of the unit.
    let state = folder.path().join("state");
    let packaged = "/var/lib/flexvm-exporter/";
    assert_eq!(text.matches(packaged).count(), 2, "{text}");
    let text = text.replace(packaged, &format!("{}/", state.display()));
    let token_line = format!("token_file: {}\n", token.display());
    assert!(text.contains(&token_line), "{text}");
    let text = text.replace(&token_line, &format!("{token_line}    base_url: {}\n", simulator.address));
    fs::write(&config, text).unwrap();
    let unit = fs::read_to_string("/usr/lib/systemd/system/flexvm-exporter.service").unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let address = format!("127.0.0.1:{}", free_port());
    fs::create_dir(&state).unwrap();
    command.args(words).args(["--web.listen-address", &address, "--log.level", "warn"]);
    let mut daemon = Program::start(command, address.clone());
    until("the installed daemon is ready", || get(&address, "/-/ready").filter(|(status, _)| *status == 200));
    assert!(state.join("flexvm-exporter.db").exists());
    daemon.signal("TERM");
    assert_eq!(daemon.wait(Duration::from_secs(10)).code(), Some(0));

    dpkg(&["--remove", "flexvm-exporter"]).unwrap();
    assert!(!Path::new("/usr/bin/flexvm-exporter").exists() && config.exists() && token.exists());
    dpkg(&["--purge", "flexvm-exporter"]).unwrap();
    assert!(!Path::new(CONFIG).exists(), "configuration or token is left");
    drop(installed);
}
