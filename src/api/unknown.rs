//! Fields that nobody documented: accepted, and counted by name so that they are noticed.

use std::collections::BTreeMap;

use crate::text::one_line;

/// Most names kept of one endpoint's answers.
const MAX_NAMES: usize = 100;

/// Longest name kept, in characters.
const MAX_NAME: usize = 80;

/// Under which name fields are counted once there are [`MAX_NAMES`] others.
const OTHERS: &str = "(others)";

/// How often each unknown field was met. Bounded, whatever is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct UnknownFields(BTreeMap<String, u64>);

impl UnknownFields {
    /// Counts the field `name` of the object at `path`.
    pub fn meet(&mut self, path: &Path<'_>, name: &str) {
        let mut full = String::new();
        path.write(&mut full);
        // Enough to fill a name; a key can be as long as a body.
        full.extend(name.chars().take(MAX_NAME + 1));
        self.add(one_line(&full, MAX_NAME), 1);
    }

    /// Counts fields whose names nobody kept.
    pub fn others(&mut self, count: u64) {
        if count > 0 {
            *self.0.entry(OTHERS.to_owned()).or_default() += count;
        }
    }

    /// Takes over the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        for (name, count) in other.0 {
            self.add(name, count);
        }
    }

    /// The same under the names that `rename` gives.
    pub fn renamed(self, rename: impl Fn(&str) -> String) -> Self {
        let mut renamed = Self::default();
        for (name, count) in self.0 {
            renamed.add(rename(&name), count);
        }
        renamed
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, u64)> {
        self.0.iter().map(|(name, count)| (name, *count))
    }

    fn add(&mut self, name: String, count: u64) {
        let names = self.0.len() - usize::from(self.0.contains_key(OTHERS));
        let full = names >= MAX_NAMES;
        let name = if full && !self.0.contains_key(&name) { OTHERS.to_owned() } else { name };
        *self.0.entry(name).or_default() += count;
    }
}

/// The documented fields on the way to an object; places in lists are left out.
#[derive(Debug, Default)]
pub(super) struct Path<'a>(Option<(&'a Path<'a>, &'static str)>);

impl Path<'_> {
    /// The way on into the field `name`.
    pub fn field(&self, name: &'static str) -> Path<'_> {
        Path(Some((self, name)))
    }

    /// `a.b.`, or nothing.
    fn write(&self, full: &mut String) {
        if let Some((parent, name)) = self.0 {
            parent.write(full);
            full.push_str(name);
            full.push('.');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let mut fields = UnknownFields::default();
        for number in 0..1000 {
            fields.meet(&Path::default(), &format!("{number}\n{}", "x".repeat(1000)));
        }
        assert_eq!(fields.iter().count(), MAX_NAMES + 1);
        assert_eq!(fields.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(fields.iter().all(|(name, _)| name.chars().count() <= MAX_NAME + 1 && !name.contains('\n')));
    }
}
