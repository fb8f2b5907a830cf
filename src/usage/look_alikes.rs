//! Tags that a reader cannot distinguish, although they form different groups. Pure.
//!
//! Two tags look alike if they are equal after normalisation form KC, without default-ignorable
//! characters, after case folding, and without white space around key and value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use twox_hash::XxHash3_128;

use super::Grouping;
use super::groups::Contribution;
use crate::snapshot::split_tag;
use crate::text::visible_form;

/// Maximum number of sets of tags, or of keys, in a text.
const MAX_SETS: usize = 10;

/// Maximum number of tags of one set in a text.
const MAX_NAMES: usize = 5;

/// Maximum number of characters of a tag in a text.
const MAX_CHARS: usize = 80;

/// Tags that look alike but are different groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookAlikes {
    /// Sets of tags, verbatim or after the rules. Each tag of a set forms a different group.
    pub tags: BTreeSet<Vec<String>>,
    /// Keys of tags, each with the key of `group_by` that looks alike.
    pub keys: BTreeSet<(String, String)>,
}

impl LookAlikes {
    /// Finds the tags that look alike among `tags`, which are distinct.
    #[must_use]
    pub fn of(grouping: &Grouping<'_>, tags: &[&str]) -> Self {
        Self { tags: sets(grouping, tags), keys: keys(grouping, tags) }
    }

    /// Returns the sets of tags as one text; `None` if the set is empty.
    #[must_use]
    pub fn tags_in_words(&self) -> Option<String> {
        in_words(self.tags.iter().map(|set| {
            let names: Vec<String> = set.iter().take(MAX_NAMES).map(|name| quoted(name)).collect();
            match set.len().checked_sub(MAX_NAMES) {
                Some(more @ 1..) => format!("{} and {more} more", names.join(", ")),
                _ => names.join(", "),
            }
        }))
    }

    /// Returns the keys as one text; `None` if the set is empty.
    #[must_use]
    pub fn keys_in_words(&self) -> Option<String> {
        in_words(self.keys.iter().map(|(key, wanted)| format!("{} and {}", quoted(key), quoted(wanted))))
    }
}

/// A text that is compared: a tag verbatim, or after the rules.
struct Entry {
    /// Digest of the form in which look-alikes are equal. The forms of all tags of a large month would
    /// need too much memory.
    digest: u128,
    /// Index of the tag.
    tag: usize,
    is_after_rules: bool,
}

fn sets(grouping: &Grouping<'_>, tags: &[&str]) -> BTreeSet<Vec<String>> {
    let mut entries = Vec::with_capacity(tags.len());
    for (index, tag) in tags.iter().enumerate() {
        let digest = digest(tag);
        entries.push(Entry { digest, tag: index, is_after_rules: false });
        // With keys, a tag with an empty value is the key alone.
        if !grouping.tag_rules.is_empty() || (tag.ends_with(':') && !grouping.group_by.is_empty()) {
            let after = self::digest(&grouping.contribution(tag).0);
            if after != digest {
                entries.push(Entry { digest: after, tag: index, is_after_rules: true });
            }
        }
    }
    entries.sort_unstable_by_key(|entry| (entry.digest, entry.tag, entry.is_after_rules));
    let same_form = entries.chunk_by(|one, other| one.digest == other.digest);
    let set = |entries: &[Entry]| {
        let mut names: BTreeMap<Contribution, String> = BTreeMap::new();
        for entry in entries {
            let tag = tags[entry.tag];
            let (after, contribution) = grouping.contribution(tag);
            // The text after the rules names the group.
            names.entry(contribution).or_insert(after);
        }
        let mut names: Vec<String> = names.into_values().collect();
        names.sort();
        // If the rules change two tags to one text, the tags form the same groups.
        names.dedup();
        names
    };
    same_form.filter(|entries| entries.len() > 1).map(set).filter(|names| names.len() > 1).collect()
}

/// Finds keys of tags, after the rules, that look like a key of `group_by` but differ from it.
fn keys(grouping: &Grouping<'_>, tags: &[&str]) -> BTreeSet<(String, String)> {
    let by_form: BTreeMap<Cow<'_, str>, &String> =
        grouping.group_by.iter().map(|key| (form(key), key)).collect();
    if by_form.is_empty() {
        return BTreeSet::new();
    }
    let there: BTreeSet<&str> = tags.iter().map(|tag| grouping.new_key(split_tag(tag).0)).collect();
    let others = there.into_iter().filter(|key| !grouping.group_by.iter().any(|wanted| wanted == key));
    others.filter_map(|key| Some((key.to_owned(), (*by_form.get(&form(key))?).clone()))).collect()
}

/// The form in which look-alikes are equal.
fn form(text: &str) -> Cow<'_, str> {
    let form = visible_form(text);
    let trimmed = |(key, value): (&str, &str)| {
        let (short, shorter) = (key.trim(), value.trim());
        (short.len() < key.len() || shorter.len() < value.len()).then(|| format!("{short}:{shorter}"))
    };
    match form.split_once(':') {
        Some(parts) => trimmed(parts).map_or(form.clone(), Cow::Owned),
        None if form.trim().len() < form.len() => Cow::Owned(form.trim().to_owned()),
        None => form,
    }
}

fn digest(text: &str) -> u128 {
    XxHash3_128::oneshot(form(text).as_bytes())
}

/// Quotes a name and escapes invisible characters: zero-width characters, combining accents, and all white space
/// except the space.
fn quoted(name: &str) -> String {
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

fn in_words(sets: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let more = sets.len().saturating_sub(MAX_SETS);
    let mut shown: Vec<String> = sets.take(MAX_SETS).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    (!shown.is_empty()).then(|| shown.join("; "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::TagRule;
    use crate::snapshot::Text;

    fn found(group_by: &[&str], rules: &[TagRule], tags: &[&str]) -> [Option<String>; 2] {
        let group_by: Vec<String> = group_by.iter().map(ToString::to_string).collect();
        let found = LookAlikes::of(&Grouping { group_by: &group_by, tag_rules: rules }, tags);
        [found.tags_in_words(), found.keys_in_words()]
    }

    fn tags(group_by: &[&str], rules: &[TagRule], tags: &[&str]) -> Option<String> {
        found(group_by, rules, tags)[0].clone()
    }

    fn ignoring_case() -> TagRule {
        TagRule { key: "project".into(), ignore_case: true, ..TagRule::default() }
    }

    #[test]
    fn values_that_differ_in_case_spaces_or_forms_look_alike() {
        for other in [
            "project:Atlas",
            "project: atlas",
            "project:atlas ",
            "project:at\u{200b}las",
            "project:\u{ff41}tlas",
            "project :atlas",
            "PROJECT:atlas",
            "project\u{ff1a}atlas",
        ] {
            let text = tags(&["project"], &[], &["project:atlas", other, "project:zeus"]);
            assert!(
                text.as_ref().is_some_and(|text| text.contains("\"project:atlas\"")),
                "{other:?} {text:?}"
            );
        }
        assert_eq!(
            tags(&["project"], &[], &["project:atl\u{200b}as", "project:atlas"]).unwrap(),
            "\"project:atlas\", \"project:atl\\u{200b}as\""
        );
        assert_eq!(tags(&["project"], &[], &["project:atlas", "project:at las", "project:zeus"]), None);
    }

    #[test]
    fn tags_of_one_group_are_not_listed() {
        let alike = ["owner:Bob", "owner:bob"];
        assert_eq!(tags(&["project"], &[], &alike), None, "the key is not in group_by");
        assert!(tags(&[], &[], &alike).is_some(), "groups are the exact sets");
        let rule = TagRule { key: "owner".into(), lowercase: true, ..TagRule::default() };
        assert_eq!(tags(&[], std::slice::from_ref(&rule), &alike), None);
        assert_eq!(tags(&["owner"], &[rule], &alike), None);
        assert_eq!(found(&["project"], &[ignoring_case()], &["Project:a", "project:a"]), [None, None]);
    }

    #[test]
    fn tags_that_rules_make_look_alike_are_listed() {
        let mut rule = TagRule { key: "project".into(), ..TagRule::default() };
        rule.values = [("x".to_owned(), "Atlas".to_owned())].into();
        let text = tags(&["project"], &[rule], &["project:atlas", "project:x"]);
        assert_eq!(text.unwrap(), "\"project:Atlas\", \"project:atlas\"");
    }

    #[test]
    fn keys_that_look_like_a_key_of_group_by_are_listed() {
        let keys = |rules: &[TagRule], tags: &[&str]| found(&["project"], rules, tags)[1].clone();
        assert_eq!(keys(&[], &["Project:a", "project:b"]).unwrap(), "\"Project\" and \"project\"");
        assert_eq!(keys(&[], &["project:b", "projects:c"]), None);
        assert_eq!(keys(&[ignoring_case()], &["Project:a"]), None);
        // The rule spells the key in another way than group_by.
        let rule = TagRule { key: "Project".into(), ignore_case: true, ..TagRule::default() };
        assert_eq!(keys(&[rule], &["project:a"]).unwrap(), "\"Project\" and \"project\"");
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> =
            (0..12).flat_map(|index| [format!("k:a{index:02}"), format!("k:A{index:02}")]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = tags(&[], &[], &many).unwrap();
        assert!(text.ends_with("; and 2 more") && text.contains("\"k:A09\", \"k:a09\""), "{text}");
        let spaces: Vec<String> = (0..7).map(|count| format!("k:a{}", " ".repeat(count))).collect();
        let spaces: Vec<&str> = spaces.iter().map(String::as_str).collect();
        assert!(tags(&[], &[], &spaces).unwrap().ends_with("\"k:a    \" and 2 more"));
        let long = ["k:".to_owned() + &"a".repeat(200), "k:".to_owned() + &"A".repeat(200)];
        assert!(tags(&[], &[], &[&long[0], &long[1]]).unwrap().len() < 200);
    }

    proptest! {
        #[test]
        fn two_tags_are_listed_if_they_look_alike_and_form_other_groups(
            one in "(k|K|o)(:[aA \u{200b}\u{ff21}bé]{0,3})?",
            other in "(k|K|o)(:[aA \u{200b}\u{ff21}be\u{301}]{0,3})?",
            ignore_case in any::<bool>(),
            by_key in any::<bool>(),
        ) {
            prop_assume!(one != other);
            let group_by = if by_key { vec!["k".to_owned()] } else { Vec::new() };
            let rules = [TagRule { key: "k".into(), ignore_case, lowercase: true, ..TagRule::default() }];
            let grouping = Grouping { group_by: &group_by, tag_rules: &rules };
            let group = |tag: &str| grouping.group(&[Text::from(tag)]);
            let found = LookAlikes::of(&grouping, &[&one, &other]);
            let forms = |tag: &str| {
                let after = grouping.contribution(tag).0;
                BTreeSet::from([form(tag).into_owned(), form(&after).into_owned()])
            };
            let expected = !forms(&one).is_disjoint(&forms(&other)) && group(&one) != group(&other);
            prop_assert_eq!(!found.tags.is_empty(), expected, "{:?}", found);
        }
    }
}
