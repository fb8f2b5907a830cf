//! Tells the program which revision and compiler it was built from, for `flexvm_exporter_build_info`.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=FLEXVM_REVISION");
    println!("cargo:rerun-if-changed=.git/HEAD");
    // A build without git (a source package, a container's build stage) hands the revision in.
    let revision = variable("FLEXVM_REVISION")
        .or_else(|| output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"])));
    let rustc = variable("RUSTC").and_then(|rustc| output(Command::new(rustc).arg("--version")));
    let version = rustc.as_deref().and_then(|line| line.split(' ').nth(1));
    println!("cargo:rustc-env=FLEXVM_BUILD_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=FLEXVM_BUILD_RUSTC={}", version.unwrap_or("unknown"));
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a build has no configuration but its environment")]
    std::env::var(name).ok()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|text| !text.is_empty())
}
