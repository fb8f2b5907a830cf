//! The HTTP paths of the README are those that `src/web.rs` answers.

use std::collections::BTreeSet;

use crate::{code, read, rows, section};

/// A path up to what varies in it.
fn fixed(path: &str) -> String {
    let fixed = path.split(['{', '?']).next().unwrap();
    if fixed.len() > 1 { fixed.trim_end_matches('/').to_owned() } else { fixed.to_owned() }
}

fn paths(rows: &[Vec<String>]) -> BTreeSet<String> {
    let code = rows.iter().flat_map(|row| code(&row[0]));
    code.filter(|code| code.starts_with('/')).map(fixed).collect()
}

#[test]
fn the_paths_are_those_that_are_answered() {
    let source = read("src/web.rs");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut routed = BTreeSet::from(["/metrics".to_owned()]);
    for line in code {
        routed.extend(line.split('"').skip(1).step_by(2).filter(|it| it.starts_with('/')).map(fixed));
    }
    assert!(routed.len() > 5, "{routed:?}");
    let readme = read("README.md");
    assert_eq!(paths(&rows(section(&readme, "## HTTP"))), routed);
    let module = source.replace("//! |", "|");
    assert_eq!(paths(&rows(&module)), routed, "the table in src/web.rs");
}
