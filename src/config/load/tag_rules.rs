//! `report.tag_rules`: how tags are normalised before they are grouped.

use super::sections::without_colon;
use crate::config::yaml::{Found, Section, scalar};
use crate::config::{Normalize, TagRule};

pub(super) fn tag_rules(section: &Section<'_>, found: &Found) -> Vec<TagRule> {
    let mut rules: Vec<TagRule> = Vec::new();
    for (path, node) in section.list("tag_rules").unwrap_or_default() {
        let section = Section::new(path, node, found);
        let key = section.text("key");
        if key.is_none() && section.node("key").is_none() {
            section.problem("key", "is missing: the tag key that the rule is for");
        }
        let mut rule = TagRule {
            key: key.unwrap_or_default(),
            ignore_case: section.boolean("ignore_case").unwrap_or(false),
            rename: section.text("rename"),
            lowercase: section.boolean("lowercase").unwrap_or(false),
            trim: section.boolean("trim").unwrap_or(false),
            normalize: section.value("normalize", |scalar| match scalar.as_str() {
                "nfc" => Ok(Normalize::Nfc),
                other => Err(format!("{other:?} is not a normalisation form; the only value is nfc")),
            }),
            values: [].into(),
        };
        let values = section.entries("values").into_iter().filter_map(|(path, name, node)| {
            let value = scalar(&path, node, found, |scalar| Ok(scalar.as_str().to_owned()))?;
            // The rule compares these names with normalised values.
            Some((rule.normalised(name).into_owned(), value))
        });
        let values: Vec<(String, String)> = values.collect();
        for (name, value) in values {
            if rule.values.insert(name.clone(), value).is_some() {
                let problem = format!("{name:?} is there twice after normalisation; remove one of them");
                section.problem("values", problem);
            }
        }
        without_colon(&section, "key", &rule.key);
        without_colon(&section, "rename", rule.rename.as_deref().unwrap_or_default());
        if !rule.key.is_empty()
            && let Some(other) = rules.iter().position(|other| other.overlaps(&rule))
        {
            let problem = format!(
                "{:?} has a rule already, report.tag_rules[{other}]; combine both in one rule",
                rule.key
            );
            section.problem("key", problem);
        }
        section.finish();
        rules.push(rule);
    }
    rules
}
