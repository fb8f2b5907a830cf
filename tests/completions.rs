//! The shells' completions are those of the command line; `UPDATE_GOLDEN=1` rewrites them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

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
        // clap_complete 4.6 spells a hyphen in the program's name in two ways, and then nothing after a command is
        // completed by bash.
        let text = text.replace("flexvm__subcmd__exporter", "flexvm__exporter");
        assert!(text.contains("web.listen-address") && text.contains("restate"), "{shell}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        assert!(fs::read_to_string(&file).is_ok_and(|there| there == text), "{} differs", file.display());
    }
}

/// What bash offers for the last of `words`.
fn offered(words: &[&str]) -> Vec<String> {
    // As bash calls it: the words, the place of the cursor, then the function with the command, this word and the one
    // before.
    let script = r#"
        . "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _flexvm__exporter "$1" "${@: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/completions/flexvm-exporter.bash");
    let output = Command::new("bash").args(["-c", script]).arg(file).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    for (words, expected) in [
        (&["re"][..], &["report"][..]),
        (&["--log.f"], &["--log.format"]),
        (&["--log.format", ""], &["logfmt", "json"]),
        (&["report", "--re"], &["--restate", "--reason"]),
        (&["check", "--output", ""], &["table", "json"]),
        (&["ledger", "ba"], &["backup"]),
        (&["ledger", "inspect", "--output", "j"], &["json"]),
    ] {
        let line: Vec<_> = [&["flexvm-exporter"], words].concat();
        assert_eq!(offered(&line), expected, "{words:?}");
    }
    let commands = offered(&["flexvm-exporter", ""]);
    for command in Cli::command().get_subcommands() {
        assert!(commands.iter().any(|offered| offered == command.get_name()), "{commands:?}");
    }
}
