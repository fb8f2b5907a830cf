//! How tags with one key are normalised before they are grouped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::{case_folded, nfc};

/// `report.tag_rules[]`: how tags with one key are normalised before they are grouped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRule {
    /// The key that the rule is for.
    pub key: String,
    /// Whether the rule is also for keys that differ from `key` in case.
    #[serde(default)]
    pub ignore_case: bool,
    /// New name of the key; `None`: `key`, as the rule spells it.
    pub rename: Option<String>,
    /// Convert the value to lower case.
    pub lowercase: bool,
    /// Remove white space around the value.
    pub trim: bool,
    /// Normalisation of the value, and of keys before they are compared with `key`.
    #[serde(default)]
    pub normalize: Option<Normalize>,
    /// Replacements of whole values, after the other steps.
    pub values: BTreeMap<String, String>,
}

/// `report.tag_rules[].normalize`: a Unicode normalisation form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// Normalisation form C.
    Nfc,
}

impl TagRule {
    /// Returns whether the rule is for tags with this key.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        // ASCII text has one normalisation form. Nearly all tags are ASCII.
        if self.key.is_ascii() && key.is_ascii() {
            return if self.ignore_case { self.key.eq_ignore_ascii_case(key) } else { self.key == key };
        }
        self.compared(&self.key) == self.compared(key)
    }

    /// Returns the key of all tags that the rule is for, after the rule.
    #[must_use]
    pub fn new_key(&self) -> &str {
        self.rename.as_deref().unwrap_or(&self.key)
    }

    /// Returns a value after the rule: trimmed, in lower case, normalised, and replaced, in this order.
    #[must_use]
    pub fn value(&self, value: &str) -> String {
        let value = if self.trim { value.trim() } else { value };
        let value = if self.lowercase { Cow::Owned(value.to_lowercase()) } else { Cow::Borrowed(value) };
        let value = self.normalised(&value);
        self.values.get(&*value).cloned().unwrap_or_else(|| value.into_owned())
    }

    /// Returns `text` in the rule's normalisation form.
    #[must_use]
    pub fn normalised<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.normalize {
            Some(Normalize::Nfc) => nfc(text),
            None => Cow::Borrowed(text),
        }
    }

    /// Returns whether a tag can have a key that both rules are for.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let both = |key: &str| Self {
            key: key.to_owned(),
            ignore_case: self.ignore_case || other.ignore_case,
            normalize: self.normalize.or(other.normalize),
            ..Self::default()
        };
        both(&self.key).matches(&other.key)
    }

    /// Returns the form in which keys are compared.
    fn compared<'t>(&self, key: &'t str) -> Cow<'t, str> {
        let normalised = self.normalised(key);
        if !self.ignore_case {
            return normalised;
        }
        // Case folding can leave a letter and an accent that normalisation combines.
        let folded = case_folded(&normalised).into_owned();
        Cow::Owned(self.normalised(&folded).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(key: &str, ignore_case: bool, normalize: Option<Normalize>) -> TagRule {
        TagRule { key: key.into(), ignore_case, normalize, ..TagRule::default() }
    }

    const NFC: Option<Normalize> = Some(Normalize::Nfc);

    #[test]
    fn keys_are_exact_unless_the_rule_has_an_option() {
        let exact = rule("Équipe", false, None);
        assert!(exact.matches("Équipe") && !exact.matches("équipe") && !exact.matches("E\u{301}quipe"));
        let ignores_case = rule("Équipe", true, None);
        assert!(ignores_case.matches("ÉQUIPE") && !ignores_case.matches("e\u{301}quipe"));
        let normalises = rule("Équipe", false, NFC);
        assert!(normalises.matches("E\u{301}quipe") && !normalises.matches("e\u{301}quipe"));
        let both = rule("E\u{301}quipe", true, NFC);
        assert!(both.matches("Équipe") && both.matches("e\u{301}QUIPE") && !both.matches("Equipe"));
        assert!(rule("key", true, None).matches("KEY") && !rule("key", true, None).matches("keys"));
        assert!(rule("key", true, None).matches("\u{212a}ey"), "the sign of kelvin");
        assert!(!rule("key", false, NFC).matches("KEY"));
    }

    #[test]
    fn rules_overlap_if_one_key_matches_both() {
        let overlap = |one: &TagRule, other: &TagRule| {
            assert_eq!(one.overlaps(other), other.overlaps(one));
            one.overlaps(other)
        };
        assert!(!overlap(&rule("Project", false, None), &rule("project", false, None)));
        assert!(overlap(&rule("Project", true, None), &rule("project", false, None)));
        assert!(overlap(&rule("É", true, None), &rule("e\u{301}", false, NFC)));
        assert!(!overlap(&rule("É", true, None), &rule("e\u{301}", true, None)));
    }

    #[test]
    fn the_steps_of_a_value_have_a_fixed_order() {
        let mut all = rule("k", false, NFC);
        all.trim = true;
        all.lowercase = true;
        all.values = [("café".to_owned(), "coffee".to_owned())].into();
        assert_eq!(all.value(" CAFE\u{301} "), "coffee");
        assert_eq!(rule("k", true, None).value(" CAFE\u{301} "), " CAFE\u{301} ");
    }

    #[test]
    fn rules_of_version_0_1_0_are_read() {
        let old = r#"{"key": "a", "rename": null, "lowercase": true, "trim": false, "values": {}}"#;
        let rule: TagRule = serde_json::from_str(old).unwrap();
        assert_eq!((rule.ignore_case, rule.normalize), (false, None));
        assert_eq!(serde_json::to_value(Normalize::Nfc).unwrap(), "nfc");
    }
}
