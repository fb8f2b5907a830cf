//! Values of API responses that are out of range or unreadable. They are replaced or omitted, and
//! counted by field.
//!
//! The code defines the names of all fields, so a response cannot increase the number of series.

use std::collections::BTreeMap;

use crate::text::one_line;

/// Maximum number of characters of an example.
const MAX_EXAMPLE: usize = 200;

/// The defects of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defect {
    /// Number of values that were replaced or omitted.
    pub count: u64,
    /// The first defect of the field, on one line: its object, field and value. Empty if unknown.
    pub example: String,
}

/// The defects of one response or of one endpoint, by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Defects(BTreeMap<&'static str, Defect>);

impl Defects {
    /// Counts `count` defects of `field`. `example` describes the first defect; it is called only if
    /// the field has no example yet.
    pub fn add(&mut self, field: &'static str, count: u64, example: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        let defect = self.0.entry(field).or_default();
        defect.count = defect.count.saturating_add(count);
        if defect.example.is_empty() {
            defect.example = one_line(&example(), MAX_EXAMPLE);
        }
    }

    /// Adds the counts and examples of `other`. `shown` converts an example before it is stored.
    pub fn merge(&mut self, other: Self, shown: impl Fn(&str) -> String) {
        for (field, defect) in other.0 {
            self.add(field, defect.count, || shown(&defect.example));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Defect)> {
        self.0.iter().map(|(field, defect)| (*field, defect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_are_counted_with_a_bounded_first_example() {
        let mut defects = Defects::default();
        defects.add("a", 0, || "none".to_owned());
        assert!(defects.is_empty());
        let mut page = Defects::default();
        page.add("a", 2, || format!("secret\n{}", "x".repeat(1000)));
        defects.merge(page.clone(), |text| text.replace("secret", "***"));
        defects.merge(page, str::to_owned);
        let (field, defect) = defects.iter().next().unwrap();
        assert_eq!((field, defect.count), ("a", 4));
        assert!(defect.example.starts_with("*** x"), "{}", defect.example);
        assert!(defect.example.chars().count() <= MAX_EXAMPLE + 1);
    }
}
