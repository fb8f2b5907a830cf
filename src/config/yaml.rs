//! Reads a YAML tree key by key and goes on after a problem, so that one look shows them all.
//!
//! Each key that is asked for is ticked off; what is left over is an unknown key.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use marked_yaml::types::{MarkedMappingNode, MarkedScalarNode};
use marked_yaml::{LoadError, LoaderOptions, Node, parse_yaml_with_options};

use super::problem::Problem;

/// Longest duration: no time overflows that it is added to, a few times over.
const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);

/// Problems found so far, shared by all sections of a file.
#[derive(Debug, Default)]
pub struct Found(RefCell<Vec<Problem>>);

impl Found {
    pub fn push(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// In the order of the file; what has no line there comes last.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        problems
    }

    pub fn at(&self, key: &str, node: &Node, message: impl Into<String>) {
        self.push(Problem { key: key.to_owned(), line: line_of(node), message: message.into() });
    }
}

fn line_of(node: &Node) -> Option<usize> {
    node.span().start().map(marked_yaml::Marker::line)
}

/// Parses `text`; a document that is empty is an empty mapping. Duplicate keys are problems, and
/// the rest is read nevertheless.
pub fn parse(text: &str, file: &str, found: &Found) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(line) = second_document(text) {
        let message =
            "a second document begins here, which would not be read; join it to the first".to_owned();
        found.push(Problem { key: file.to_owned(), line: Some(line), message });
    }
    // Without coercion of quoted text a price in quotes can be told from a float.
    let options = || LoaderOptions::default().prevent_coercion(true);
    let strict = options().error_on_duplicate_keys(true);
    let problem = match parse_yaml_with_options(0, text, strict) {
        Ok(node) => return Some(node),
        Err(LoadError::DuplicateKey(inner)) => {
            let tree = parse_yaml_with_options(0, text, options()).ok();
            let name = inner.key.as_str();
            let path = tree.as_ref().and_then(|tree| path_of(tree, &[&inner.prev_key, &inner.key]));
            found.push(Problem {
                key: path.unwrap_or_else(|| name.to_owned()),
                line: inner.key.span().start().map(marked_yaml::Marker::line),
                message: "stands here a second time; keep one".to_owned(),
            });
            return tree;
        }
        Err(LoadError::TopLevelMustBeMapping(_)) if is_blank(text) => {
            return Some(Node::Mapping(MarkedMappingNode::new_empty(marked_yaml::types::Span::new_blank())));
        }
        Err(LoadError::ScanError(at, error)) => {
            Problem { key: file.to_owned(), line: Some(at.line()), message: format!("not YAML: {error}") }
        }
        Err(error) => Problem::new(file, format!("not a configuration: {error}")),
    };
    found.push(problem);
    None
}

/// The full name of the key that is one of `keys`, which are told by their places.
fn path_of(node: &Node, keys: &[&MarkedScalarNode]) -> Option<String> {
    let here = |name: &MarkedScalarNode| keys.iter().any(|key| key.span().start() == name.span().start());
    match node {
        Node::Mapping(mapping) => mapping.iter().find_map(|(name, inner)| match path_of(inner, keys) {
            _ if here(name) => Some(name.as_str().to_owned()),
            Some(path) if path.starts_with('[') => Some(format!("{}{path}", name.as_str())),
            path => Some(format!("{}.{}", name.as_str(), path?)),
        }),
        Node::Sequence(list) => list.iter().enumerate().find_map(|(index, inner)| {
            let path = path_of(inner, keys)?;
            let dot = if path.starts_with('[') { "" } else { "." };
            Some(format!("[{index}]{dot}{path}"))
        }),
        Node::Scalar(_) => None,
    }
}

/// The line on which a `---` behind anything, or anything behind a `...`, begins another document.
fn second_document(text: &str) -> Option<usize> {
    let marks = |line: &str| {
        line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
    };
    let nothing = |line: &str| line.trim().is_empty() || line.starts_with(['#', '%']);
    let (mut begun, mut ended) = (false, false);
    text.lines().enumerate().find_map(|(index, line)| {
        if begun && (marks(line) || ended && !nothing(line)) {
            return Some(index + 1);
        }
        ended |= line.trim_end() == "...";
        begun |= !nothing(line);
        None
    })
}

fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// A mapping that is being read.
pub struct Section<'a> {
    path: String,
    node: Option<&'a MarkedMappingNode>,
    asked: RefCell<BTreeSet<&'static str>>,
    ignored: RefCell<BTreeSet<String>>,
    found: &'a Found,
}

impl<'a> Section<'a> {
    /// `path` is empty for the top of the file.
    pub fn new(path: impl Into<String>, node: &'a Node, found: &'a Found) -> Self {
        let path = path.into();
        let mapping = node.as_mapping();
        if mapping.is_none() && !is_null(node) {
            found.at(&path, node, "must be a mapping of keys to values");
        }
        Self { path, node: mapping, asked: RefCell::default(), ignored: RefCell::default(), found }
    }

    /// The full name of `key`.
    pub fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a problem with `key`, at its line if it is there.
    pub fn problem(&self, key: &'static str, message: impl Into<String>) {
        match self.node.and_then(|mapping| mapping.get_node(key)) {
            Some(node) => self.found.at(&self.key(key), node, message),
            None => self.found.push(Problem::new(self.key(key), message)),
        }
    }

    /// The node under `key`, ticked off. `null` is the same as absent.
    pub fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(key);
        self.node?.get_node(key).filter(|node| !is_null(node))
    }

    /// Reads the section under `key` with `read`, if it is there.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> Option<T> {
        let node = self.node(key)?;
        let section = Section::new(self.key(key), node, self.found);
        let value = read(&section);
        section.finish();
        Some(value)
    }

    /// The elements of the list under `key` with their full names; `None` if it is not there.
    pub fn list(&self, key: &'static str) -> Option<Vec<(String, &'a Node)>> {
        let node = self.node(key)?;
        let Some(sequence) = node.as_sequence() else {
            self.found.at(&self.key(key), node, "must be a list");
            return None;
        };
        Some(
            sequence
                .iter()
                .enumerate()
                .map(|(index, node)| (format!("{}[{index}]", self.key(key)), node))
                .collect(),
        )
    }

    /// The entries of the mapping under `key`, whose keys are free, with their full names.
    pub fn entries(&self, key: &'static str) -> Vec<(String, &'a str, &'a Node)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Some(mapping) = node.as_mapping() else {
            self.found.at(&self.key(key), node, "must be a mapping of keys to values");
            return Vec::new();
        };
        mapping
            .iter()
            .map(|(name, node)| (format!("{}.{}", self.key(key), name.as_str()), name.as_str(), node))
            .collect()
    }

    /// Marks a key as known, because it is a part of the previous value.
    pub fn ignore(&self, key: &str) {
        self.ignored.borrow_mut().insert(key.to_owned());
    }

    /// The names and values of the keys, in the order of the file.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a MarkedScalarNode, &'a Node)> + use<'a> {
        self.node.into_iter().flat_map(|mapping| mapping.iter())
    }

    /// The scalar under `key`, turned into a value by `read`, whose error says what was expected.
    pub fn value<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&MarkedScalarNode) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key)?;
        scalar(&self.key(key), node, self.found, read)
    }

    /// Text.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.value(key, |scalar| match scalar.as_str() {
            "" => Err("is empty".to_owned()),
            text => Ok(text.to_owned()),
        })
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        self.value(key, |scalar| {
            scalar.as_bool().ok_or_else(|| format!("{:?} is neither true nor false", scalar.as_str()))
        })
    }

    /// A whole number within `range`.
    pub fn number(&self, key: &'static str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.value(key, |scalar| {
            scalar.as_str().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                format!(
                    "{:?} is not a whole number from {} to {}",
                    scalar.as_str(),
                    range.start(),
                    range.end()
                )
            })
        })
    }

    /// A duration with its unit, such as `90s`, `10m` or `35d`.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.value(key, |scalar| duration(scalar.as_str()))
    }

    /// A list of texts.
    pub fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let read = |(name, node): (String, &Node)| {
            scalar(&name, node, self.found, |scalar| match scalar.as_str() {
                "" => Err("is empty".to_owned()),
                _ if null(scalar) => Err("is empty".to_owned()),
                text => Ok(text.to_owned()),
            })
        };
        Some(self.list(key)?.into_iter().filter_map(read).collect())
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        let (asked, ignored) = (self.asked.into_inner(), self.ignored.into_inner());
        let known = asked.iter().copied().collect::<Vec<_>>().join(", ");
        for (name, _) in self.node.into_iter().flat_map(|mapping| mapping.iter()) {
            if !asked.contains(name.as_str()) && !ignored.contains(name.as_str()) {
                let path = if self.path.is_empty() {
                    name.as_str().to_owned()
                } else {
                    format!("{}.{}", self.path, name.as_str())
                };
                self.found.push(Problem {
                    key: path,
                    line: name.span().start().map(marked_yaml::Marker::line),
                    message: match resembling(name.as_str(), &asked) {
                        Some(meant) => format!("unknown key; did you mean {meant:?}? Known here: {known}"),
                        None => format!("unknown key; known here: {known}"),
                    },
                });
            }
        }
    }
}

/// Returns the known key that `name` is probably a misspelling of; `None` if none resembles it.
fn resembling<'a>(name: &str, known: &BTreeSet<&'a str>) -> Option<&'a str> {
    // Case and the separator of words do not count.
    let plain = |key: &str| key.to_lowercase().replace(['-', '.', ' ', '_'], "");
    let name = plain(name);
    // A long key may have two mistakes, a short key one.
    let most = if name.chars().count() > 5 { 2 } else { 1 };
    let distances = known.iter().map(|key| (strsim::osa_distance(&name, &plain(key)), *key));
    distances.min().filter(|(distance, _)| *distance <= most).map(|(_, key)| key)
}

/// A scalar turned into a value.
pub fn scalar<T>(
    key: &str,
    node: &Node,
    found: &Found,
    read: impl FnOnce(&MarkedScalarNode) -> Result<T, String>,
) -> Option<T> {
    let Some(scalar) = node.as_scalar() else {
        found.at(key, node, "must be a single value");
        return None;
    };
    match read(scalar) {
        Ok(value) => Some(value),
        Err(message) => {
            found.at(key, node, message);
            None
        }
    }
}

/// Whether nothing stands there.
pub fn is_null(node: &Node) -> bool {
    node.as_scalar().is_some_and(null)
}

fn null(scalar: &MarkedScalarNode) -> bool {
    scalar.may_coerce() && matches!(scalar.as_str(), "" | "~" | "null" | "Null" | "NULL")
}

/// A duration with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration such as 90s, 10m or 35d: {error}"))?;
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than ten years"));
    }
    Ok(duration)
}
