//! The shells' completions are those of the command line; `UPDATE_GOLDEN=1` rewrites them.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use flexvm_exporter::cli::Cli;

#[test]
#[expect(clippy::disallowed_methods, reason = "whether files are rewritten is asked of the environment")]
fn completions_are_those_of_the_command_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/completions");
    for (shell, name) in [
        (Shell::Bash, "flexvm-exporter.bash"),
        (Shell::Zsh, "_flexvm-exporter"),
        (Shell::Fish, "flexvm-exporter.fish"),
    ] {
        let mut text = Vec::new();
        generate(shell, &mut Cli::command(), "flexvm-exporter", &mut text);
        let (file, text) = (folder.join(name), String::from_utf8(text).unwrap());
        assert!(text.contains("web.listen-address") && text.contains("restate"), "{shell}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        assert!(fs::read_to_string(&file).is_ok_and(|there| there == text), "{} differs", file.display());
    }
}
