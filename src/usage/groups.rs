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

/// Text of a tag without a value in a group cell.
pub const NO_VALUE: &str = "(no value)";

/// Separator of several values in a group cell. A `|` inside a value is escaped.
const VALUES: &str = " | ";

/// Separator of the cells of several keys in the label `group`. A `/` inside a cell is escaped.
pub const CELLS: &str = " / ";

/// Kind of a group. It separates a reserved text from a tag of the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
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

/// A group: one cell per key, or one cell with the exact set of tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// Text of the cells in the report, without the guard against formulas.
    pub cells: Vec<String>,
    /// Kind of the group.
    pub kind: GroupKind,
}

impl Grouping<'_> {
    /// The group of a VM with `tags`.
    #[must_use]
    pub fn group(&self, tags: &[Text]) -> Group {
        if self.group_by.is_empty() {
            let set: BTreeSet<String> = tags.iter().map(|tag| self.whole(tag)).collect();
            let kind = if set.is_empty() { GroupKind::Absent } else { GroupKind::Value };
            return Group { cells: vec![cell_text(set.iter().map(|tag| Some(tag.as_str())))], kind };
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

    /// Returns a tag of an exact set: after its rule, or unchanged if no rule applies.
    fn whole(&self, tag: &str) -> String {
        if self.rule(split_tag(tag).0).is_none() {
            return tag.to_owned();
        }
        match self.normalise(tag) {
            (key, Some(value)) => format!("{key}:{value}"),
            (key, None) => key,
        }
    }

    /// A tag as key and value, after the rule for its key.
    fn normalise(&self, tag: &str) -> (String, Option<String>) {
        let (key, value) = split_tag(tag);
        let Some(rule) = self.rule(key) else {
            return (key.to_owned(), value.map(str::to_owned));
        };
        let value = value.map(|value| rule.value(value)).filter(|value| !value.is_empty());
        (rule.new_key().to_owned(), value)
    }

    /// The rule for tags with this key. There is at most one: the configuration refuses others.
    fn rule(&self, key: &str) -> Option<&TagRule> {
        self.tag_rules.iter().find(|rule| rule.matches(key))
    }

    /// Returns the key of tags with this key after the rules.
    #[must_use]
    pub fn new_key<'k>(&'k self, key: &'k str) -> &'k str {
        self.rule(key).map_or(key, TagRule::new_key)
    }

    /// Returns the text of a tag after the rules, and its contribution to the group of a VM. Two tags form the same
    /// groups if, and only if, their contributions are equal.
    pub(super) fn contribution(&self, tag: &str) -> (String, Contribution) {
        if self.group_by.is_empty() {
            let whole = self.whole(tag);
            return (whole.clone(), Contribution::Tag(whole));
        }
        let (key, value) = self.normalise(tag);
        let text = value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}:{value}"));
        let contribution = if self.group_by.contains(&key) {
            Contribution::Value(key, value)
        } else {
            Contribution::Nothing
        };
        (text, contribution)
    }
}

/// What a tag contributes to the group of a VM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contribution {
    /// Groups are the exact sets of tags, after the rules.
    Tag(String),
    /// A value, or none, of a key of `group_by`.
    Value(String, Option<String>),
    /// Its key is not in `group_by`.
    Nothing,
}

impl Group {
    /// Returns the value of the label `group`: the only cell, or the cells of several keys joined.
    #[must_use]
    pub fn label(&self) -> String {
        match self.cells.as_slice() {
            [cell] => cell.clone(),
            cells => {
                let cells: Vec<_> = cells.iter().map(|cell| cell.replace('/', "\\/")).collect();
                cells.join(CELLS)
            }
        }
    }
}

fn cell(values: &BTreeSet<Option<&String>>) -> (String, GroupKind) {
    let kind = match values.len() {
        0 => GroupKind::Absent,
        1 if values.contains(&None) => GroupKind::Valueless,
        1 => GroupKind::Value,
        _ => GroupKind::Several,
    };
    let mut sorted: Vec<Option<&str>> = values.iter().map(|value| value.map(String::as_str)).collect();
    // A stable sort: a tag without a value precedes the value of the same text.
    sorted.sort_by_key(|value| value.unwrap_or(NO_VALUE));
    (cell_text(sorted), kind)
}

/// Returns the text of a group cell: its sorted values, escaped and joined. `None` is a tag without
/// a value. Different lists of values have different texts, except that one empty value and no
/// value at all are both empty.
pub fn cell_text<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let texts: Vec<String> = values
        .into_iter()
        .map(|value| match value {
            None => NO_VALUE.to_owned(),
            Some(NO_VALUE) => format!("\\{NO_VALUE}"),
            Some(value) => value.replace('\\', "\\\\").replace('|', "\\|"),
        })
        .collect();
    texts.join(VALUES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Normalize;

    fn group(group_by: &[&str], tags: &[&str]) -> (Vec<String>, &'static str) {
        let group_by: Vec<String> = group_by.iter().map(ToString::to_string).collect();
        let rules = [
            TagRule {
                key: "Team".into(),
                rename: Some("team".into()),
                lowercase: true,
                trim: true,
                values: [("ops".to_owned(), "operations".to_owned()), ("none".to_owned(), String::new())]
                    .into(),
                ..TagRule::default()
            },
            TagRule {
                key: "Café".into(),
                ignore_case: true,
                normalize: Some(Normalize::Nfc),
                ..TagRule::default()
            },
        ];
        let tags: Vec<Text> = tags.iter().map(|tag| Text::from(*tag)).collect();
        let group = Grouping { group_by: &group_by, tag_rules: &rules }.group(&tags);
        (group.cells, group.kind.as_str())
    }

    #[test]
    fn every_kind_of_cell() {
        let cells = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (group_by, tags, wanted, kind) in [
            (&["a"][..], &["a:x;y"][..], &["x;y"][..], "value"),
            (&["a"], &["a:x|y\\"], &["x\\|y\\\\"], "value"),
            (&["a"], &["a:x|y", "a:b\\"], &["b\\\\ | x\\|y"], "several"),
            (&["a"], &["a"], &["(no value)"], "valueless"),
            (&["a"], &["a:(no value)"], &["\\(no value)"], "value"),
            (&["a"], &["a:\\(no value)"], &["\\\\(no value)"], "value"),
            (&["a"], &["a", "a:(no value)"], &["(no value) | \\(no value)"], "several"),
            (&["a"], &["b:1"], &[""], "absent"),
            (&["a", "b"], &["b:1"], &["", "1"], "absent"),
            (&["a", "b"], &["a", "a:1"], &["(no value) | 1", ""], "several"),
            (&[], &["b", "a:1|2"], &["a:1\\|2 | b"], "value"),
            (&[], &["a", "a:"], &["a | a:"], "value"),
            (&[], &["Team:", "Team:Ops"], &["team | team:operations"], "value"),
            (&[], &[], &[""], "absent"),
        ] {
            assert_eq!(group(group_by, tags), (cells(wanted), kind), "{group_by:?} {tags:?}");
        }
    }

    #[test]
    fn labels_join_the_cells_of_several_keys() {
        let label = |cells: &[&str]| {
            let cells = cells.iter().map(ToString::to_string).collect();
            Group { cells, kind: GroupKind::Value }.label()
        };
        assert_eq!(label(&["a/b | c"]), "a/b | c", "the cell as it is in the file");
        assert_eq!(label(&["a", "", "b"]), "a /  / b");
        assert_eq!(label(&["a / b", "c"]), "a \\/ b / c");
        assert_eq!(label(&["a", "b / c"]), "a / b \\/ c");
    }

    #[test]
    fn rules_trim_lower_replace_and_rename_in_this_order() {
        assert_eq!(group(&["team"], &["Team: Ops "]).0, ["operations"]);
        assert_eq!(group(&["team"], &["Team:NONE"]).1, "valueless");
        assert_eq!(group(&["team"], &["team: Ops "]).0, [" Ops "], "another key, another rule");
        assert_eq!(group(&["team"], &["Team:A", "team:a"]).1, "value", "the same after the rule");
    }

    #[test]
    fn rules_may_ignore_case_of_keys_and_normalise() {
        assert_eq!(group(&["Café"], &["CAFE\u{301}:e\u{301}"]).0, ["é"]);
        assert_eq!(group(&["Café"], &["CAFÉ:É", "Café:É"]), (vec!["É".to_owned()], "value"));
        assert_eq!(group(&["café"], &["café:1"]).1, "absent", "the key is spelt as in the rule");
        assert_eq!(group(&[], &["cafe\u{301}:1", "café:1"]).0, ["Café:1"]);
        assert_eq!(group(&["Café"], &["café"]).1, "valueless");
    }
}
