//! Which group a VM belongs to: by the values of chosen tag keys, or by its exact set of tags.

use std::collections::BTreeSet;

use crate::config::TagRule;
use crate::snapshot::{Text, split_tag};

/// How groups are made.
#[derive(Clone, Copy, Debug)]
pub struct Grouping<'a> {
    /// Tag keys; empty: the exact set of tags.
    pub group_by: &'a [String],
    /// Normalising of tags before they are grouped.
    pub tag_rules: &'a [TagRule],
}

/// The cell of a key that a VM's tag has without a value.
pub const NO_VALUE: &str = "(no value)";

/// What a group's cells are, so that a reserved text and a tag of the same text stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKind {
    /// A key has several values.
    Several,
    /// A key has a tag without a value.
    Valueless,
    /// A key has no tag (or there is no tag at all).
    Absent,
    /// Each key has one value.
    Value,
}

impl GroupKind {
    /// The word in the column `group_kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Several => "several",
            Self::Valueless => "valueless",
            Self::Absent => "absent",
            Self::Value => "value",
        }
    }
}

/// A group: one cell a key, or one cell with the exact set of tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// The cells, as the report shows them (before any guard against formulas).
    pub cells: Vec<String>,
    /// What they are.
    pub kind: GroupKind,
}

impl Grouping<'_> {
    /// The group of a VM with `tags`.
    #[must_use]
    pub fn group(&self, tags: &[Text]) -> Group {
        if self.group_by.is_empty() {
            let set: BTreeSet<String> = tags.iter().map(|tag| self.whole(tag)).collect();
            let kind = if set.is_empty() { GroupKind::Absent } else { GroupKind::Value };
            return Group { cells: vec![join(set.iter())], kind };
        }
        let tags: Vec<(String, Option<String>)> = tags.iter().map(|tag| self.normalise(tag)).collect();
        let mut kind = GroupKind::Value;
        let cells = self.group_by.iter().map(|key| {
            let values: BTreeSet<Option<&String>> =
                tags.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_ref()).collect();
            let (cell, cell_kind) = cell(&values);
            kind = kind.min(cell_kind);
            cell
        });
        Group { cells: cells.collect(), kind }
    }

    /// A tag in an exact set: as it is, unless a rule is for it.
    fn whole(&self, tag: &str) -> String {
        if !self.tag_rules.iter().any(|rule| rule.key == split_tag(tag).0) {
            return tag.to_owned();
        }
        match self.normalise(tag) {
            (key, Some(value)) => format!("{key}:{value}"),
            (key, None) => key,
        }
    }

    /// A tag as key and value, after the rule for its key: trim, lower-case, values, rename.
    fn normalise(&self, tag: &str) -> (String, Option<String>) {
        let (key, value) = split_tag(tag);
        let mut value = value.map(str::to_owned);
        let Some(rule) = self.tag_rules.iter().find(|rule| rule.key == key) else {
            return (key.to_owned(), value);
        };
        if rule.trim {
            value = value.map(|value| value.trim().to_owned());
        }
        if rule.lowercase {
            value = value.map(|value| value.to_lowercase());
        }
        value = value.map(|value| rule.values.get(&value).cloned().unwrap_or(value));
        (rule.rename.clone().unwrap_or_else(|| key.to_owned()), value.filter(|value| !value.is_empty()))
    }
}

impl Group {
    /// The value of the label `group`: the one cell, or the cells joined like values of a key.
    #[must_use]
    pub fn label(&self) -> String {
        match self.cells.as_slice() {
            [cell] => cell.clone(),
            cells => join(cells.iter()),
        }
    }
}

fn cell(values: &BTreeSet<Option<&String>>) -> (String, GroupKind) {
    let text = |value: Option<&String>| value.map_or(NO_VALUE, String::as_str).to_owned();
    match values.len() {
        0 => (String::new(), GroupKind::Absent),
        1 if values.contains(&None) => (NO_VALUE.to_owned(), GroupKind::Valueless),
        1 => (values.iter().copied().map(text).collect(), GroupKind::Value),
        _ => (join(values.iter().copied().map(text).collect::<BTreeSet<_>>().iter()), GroupKind::Several),
    }
}

/// Texts joined by `;`, with `;` and `\` inside them escaped.
fn join<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    let escaped: Vec<_> = texts.map(|text| text.replace('\\', "\\\\").replace(';', "\\;")).collect();
    escaped.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(group_by: &[&str], tags: &[&str]) -> (Vec<String>, &'static str) {
        let group_by: Vec<String> = group_by.iter().map(ToString::to_string).collect();
        let rules = [TagRule {
            key: "Team".into(),
            rename: Some("team".into()),
            lowercase: true,
            trim: true,
            values: [("ops".to_owned(), "operations".to_owned()), ("none".to_owned(), String::new())].into(),
        }];
        let tags: Vec<Text> = tags.iter().map(|tag| Text::from(*tag)).collect();
        let group = Grouping { group_by: &group_by, tag_rules: &rules }.group(&tags);
        (group.cells, group.kind.as_str())
    }

    #[test]
    fn every_kind_of_cell() {
        let cells = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(group(&["a"], &["a:x;y"]), (cells(&["x;y"]), "value"));
        assert_eq!(group(&["a"], &["a:x;y", "a:b\\"]), (cells(&["b\\\\;x\\;y"]), "several"));
        assert_eq!(group(&["a"], &["a"]), (cells(&["(no value)"]), "valueless"));
        assert_eq!(group(&["a"], &["a:(no value)"]), (cells(&["(no value)"]), "value"));
        assert_eq!(group(&["a"], &["b:1"]), (cells(&[""]), "absent"));
        assert_eq!(group(&["a", "b"], &["b:1"]), (cells(&["", "1"]), "absent"));
        assert_eq!(group(&["a", "b"], &["a", "a:1"]), (cells(&["(no value);1", ""]), "several"));
        assert_eq!(group(&[], &["b", "a:1;2"]), (cells(&["a:1\\;2;b"]), "value"));
        assert_eq!(group(&[], &["a", "a:"]), (cells(&["a;a:"]), "value"), "exact means as it is");
        assert_eq!(group(&[], &["Team:", "Team:Ops"]), (cells(&["team;team:operations"]), "value"));
        assert_eq!(group(&[], &[]), (cells(&[""]), "absent"));
    }

    #[test]
    fn rules_trim_lower_replace_and_rename_in_this_order() {
        assert_eq!(group(&["team"], &["Team: Ops "]).0, ["operations"]);
        assert_eq!(group(&["team"], &["Team:NONE"]).1, "valueless");
        assert_eq!(group(&["team"], &["team: Ops "]).0, [" Ops "], "another key, another rule");
        assert_eq!(group(&["team"], &["Team:A", "team:a"]).1, "value", "the same after the rule");
    }
}
