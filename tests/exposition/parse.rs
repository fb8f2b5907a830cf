//! A strict reader of the text format, written against its grammar and not against the writer.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

#[derive(Debug)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub samples: Vec<(Labels, String)>,
}

/// The families of a body; fails on anything but HELP, TYPE gauge and the samples of one family,
/// family after family, each name once, each series once.
pub fn families(body: &str) -> Vec<Family> {
    assert!(body.is_empty() || body.ends_with('\n'), "the last line must end");
    let mut families: Vec<Family> = Vec::new();
    let mut names = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut lines = body.split_terminator('\n');
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            let (name, help) = text.split_once(' ').unwrap();
            assert!(names.insert(name.to_owned()), "{name} begins twice");
            assert_eq!(lines.next(), Some(&*format!("# TYPE {name} gauge")), "TYPE follows HELP");
            families.push(Family { name: name.to_owned(), help: help.to_owned(), samples: Vec::new() });
            continue;
        }
        let (name, labels, value) = sample(line);
        let family = families.last_mut().unwrap();
        assert_eq!(name, family.name, "a sample stands in another family");
        assert!(series.insert((name, labels.clone())), "a series stands twice: {line}");
        family.samples.push((labels, value));
    }
    families
}

fn sample(line: &str) -> (String, Labels, String) {
    let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("no labels: {line}"));
    assert!(is_name(name), "{line}");
    let (mut labels, mut chars) = (Labels::new(), rest.chars());
    loop {
        let label: String = chars.by_ref().take_while(|c| *c != '=').collect();
        assert!(is_name(&label), "label {label:?}: {line}");
        assert_eq!(chars.next(), Some('"'), "{line}");
        let mut value = String::new();
        loop {
            match chars.next().unwrap_or_else(|| panic!("no closing quote: {line}")) {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("no such escape {other:?}: {line}"),
                }),
                c => value.push(c),
            }
        }
        assert!(labels.insert(label, value).is_none(), "a label stands twice: {line}");
        match chars.next() {
            Some(',') => {}
            Some('}') => break,
            other => panic!("{other:?} behind a label: {line}"),
        }
    }
    let value = chars.as_str().strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    assert!(plain && value.parse::<f64>().is_ok(), "not a plain number: {line}");
    (name.to_owned(), labels, value.to_owned())
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
