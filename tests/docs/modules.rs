//! `src/lib.rs` says that data flows one way: no module uses one of a group below its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{at, read};

/// The place of each module's group in `src/lib.rs`.
fn groups() -> BTreeMap<String, usize> {
    let text = read("src/lib.rs");
    let groups = text.split("\n\n").enumerate();
    let modules = groups.flat_map(|(place, group)| group.lines().map(move |line| (place, line)));
    modules
        .filter_map(|(place, line)| {
            Some((line.strip_prefix("pub mod ")?.trim_end_matches(';').to_owned(), place))
        })
        .collect()
}

/// Every source file below a folder.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(at("src")).unwrap().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_module_uses_one_of_a_group_below() {
    let (groups, mut files, mut seen) = (groups(), Vec::new(), 0);
    sources(&at("src"), &mut files);
    for (name, text) in &files {
        let Some(own) = groups.get(name.split(['/', '.']).next().unwrap()) else { continue };
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in code.flat_map(|line| line.split("crate::").skip(1)) {
            let used = used.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap();
            let Some(place) = groups.get(used) else { continue };
            assert!(place <= own, "{name} uses {used}");
            seen += 1;
        }
    }
    assert!(groups.len() > 15 && seen > 100, "{} modules, {seen} uses", groups.len());
}
