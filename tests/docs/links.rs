//! What the documents point to is there: files, headings, places in the code, tests.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{at, cells, code, read};

/// Every Markdown file of the project, by its path.
pub fn documents() -> Vec<(String, String)> {
    let mut paths = vec![];
    for folder in ["", "docs", "benches"] {
        let entries = std::fs::read_dir(at(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let root = at("");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), read(&name(path)))).collect()
}

fn is_source(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "rs")
}

/// The anchors of a document's headings, as they are made for readers.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut seen = 0;
    for (path, text) in documents() {
        let folder = Path::new(&path).parent().unwrap();
        let prose: String = text.split("```").step_by(2).collect();
        for target in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, it)| (file, Some(it)));
            let file =
                if file.is_empty() { path.clone() } else { folder.join(file).to_string_lossy().into_owned() };
            assert!(at(&file).exists(), "{path}: {target}");
            if let Some(anchor) = anchor {
                assert!(anchors(&read(&file)).contains(anchor), "{path}: {target}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_named_source_file_is_there() {
    let mut seen = 0;
    for (path, text) in documents() {
        let prose: String = text.split("```").step_by(2).collect();
        for name in code(&prose).into_iter().filter(|it| is_source(it) && !it.contains([' ', '*'])) {
            let places = [name.to_owned(), format!("src/{name}"), format!("tests/{name}")];
            assert!(places.iter().any(|place| at(place).exists()), "{path}: {name}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_unknown_of_the_api_names_its_code_and_a_test_that_exists() {
    let document = read("docs/api-unknowns.md");
    let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
    let rows: Vec<_> = rows.iter().filter(|row| row.len() == 4 && row[0] != "unknown").collect();
    assert!(rows.len() > 15, "{}", rows.len());
    for row in rows {
        assert!(code(&row[2]).iter().any(|it| it.starts_with("src/")), "no code: {row:?}");
        let (files, tests): (Vec<&str>, Vec<&str>) = code(&row[3]).into_iter().partition(|it| is_source(it));
        assert!(!files.is_empty() && !tests.is_empty(), "no test: {row:?}");
        let text: String = files.iter().map(|file| read(file)).collect();
        for test in tests {
            assert!(text.contains(&format!("fn {test}(")), "{files:?} hold no {test}");
        }
    }
}
