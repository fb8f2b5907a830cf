//! The command line in the documents is the one that is understood.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser as _};
use flexvm_exporter::cli::Cli;

use crate::links::documents;
use crate::{code, read, rows, section};

/// The names of long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c)));
    words
        .filter_map(|word| word.strip_prefix("--"))
        .map(|flag| flag.trim_end_matches('.').to_owned())
        .collect()
}

fn of(command: &clap::Command) -> BTreeSet<String> {
    let known = command.get_arguments().filter(|it| !it.is_global_set());
    known.filter_map(|it| it.get_long().map(str::to_owned)).filter(|flag| flag != "help").collect()
}

#[test]
fn every_command_and_flag_is_in_the_readme_and_no_other() {
    let (cli, readme) = (Cli::command(), read("README.md"));
    let (part, prose) = section(&readme, "## Commands").split_once("\nFlags ").unwrap();
    let prose = prose.split("\n\n").next().unwrap();
    let mut documented = BTreeSet::new();
    for row in rows(part) {
        for synopsis in code(&row[0]) {
            let name = synopsis.split(' ').next().unwrap();
            documented.insert(name.to_owned());
            let command = cli.find_subcommand(name).unwrap_or_else(|| panic!("no command {name}"));
            let inner = synopsis.split(' ').nth(1).and_then(|it| command.find_subcommand(it));
            assert_eq!(flags(synopsis), of(inner.unwrap_or(command)), "{synopsis}");
        }
    }
    let known: BTreeSet<_> = cli.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    assert_eq!(documented, known);
    let inner = cli.find_subcommand("ledger").unwrap().get_subcommands();
    for name in inner.map(clap::Command::get_name) {
        assert!(part.contains(&format!("`ledger {name}")), "ledger {name}");
    }
    // Flags of every command, in the paragraph below the table.
    let global = cli.get_arguments().filter(|it| it.is_global_set());
    let mut global: BTreeSet<_> = global.filter_map(|it| it.get_long().map(str::to_owned)).collect();
    global.insert("version".to_owned());
    assert_eq!(flags(prose), global);
    for argument in cli.get_arguments().filter(|it| it.is_global_set()) {
        let values = argument.get_possible_values();
        for value in values.iter().map(clap::builder::PossibleValue::get_name) {
            assert!(prose.contains(value), "{} {value}", argument.get_id());
        }
        for default in argument.get_default_values().iter().filter(|_| values.is_empty()) {
            assert!(prose.contains(default.to_str().unwrap()), "{default:?}");
        }
    }
}

#[test]
fn every_command_line_in_a_document_is_understood() {
    let mut seen = 0;
    for (path, text) in documents() {
        let shell = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
        for line in shell.flat_map(str::lines) {
            let line = line.split(" #").next().unwrap();
            let Some(words) = line.strip_prefix("flexvm-exporter") else { continue };
            let words = words.split(['|', '>', '&']).next().unwrap();
            // What stands between quotes is one word.
            let words = words.split('"').enumerate().flat_map(|(index, part)| {
                if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
            });
            let parsed = Cli::try_parse_from(["flexvm-exporter"].into_iter().chain(words));
            assert!(parsed.is_ok(), "{path}: {line}\n{}", parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}
