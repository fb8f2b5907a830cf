//! Fields that nobody documented: accepted, and counted by name so that they are noticed.

use std::collections::BTreeMap;

use serde_ignored::Path;

use super::error::one_line;

/// Most names kept of one endpoint's answers.
const MAX_NAMES: usize = 100;

/// Longest name kept, in characters.
const MAX_NAME: usize = 80;

/// Under which name fields are counted once there are [`MAX_NAMES`] others.
const OTHERS: &str = "(others)";

/// How often each unknown field was met. Bounded, whatever is sent.
#[derive(Debug, Default)]
pub(super) struct UnknownFields(BTreeMap<String, u64>);

impl UnknownFields {
    /// Counts the field at `path`.
    pub fn meet(&mut self, path: &Path<'_>) {
        let mut name = String::new();
        write(path, &mut name);
        self.add(one_line(&name, MAX_NAME), 1);
    }

    /// Takes over the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        for (name, count) in other.0 {
            self.add(name, count);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, u64)> {
        self.0.iter().map(|(name, count)| (name, *count))
    }

    fn add(&mut self, name: String, count: u64) {
        let full = self.0.len() >= MAX_NAMES;
        let name = if full && !self.0.contains_key(&name) { OTHERS.to_owned() } else { name };
        *self.0.entry(name).or_default() += count;
    }
}

/// The names on the way to a field, joined by dots; the places in lists are left out.
fn write(path: &Path<'_>, name: &mut String) {
    match path {
        Path::Root => {}
        Path::Map { parent, key } => {
            write(parent, name);
            if !name.is_empty() {
                name.push('.');
            }
            // Enough to fill the name; a key can be as long as a body.
            name.extend(key.chars().take(MAX_NAME + 1));
        }
        Path::Seq { parent, .. }
        | Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => write(parent, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let mut fields = UnknownFields::default();
        for number in 0..1000 {
            fields.meet(&Path::Map { parent: &Path::Root, key: format!("{number}\n{}", "x".repeat(1000)) });
        }
        assert_eq!(fields.iter().count(), MAX_NAMES + 1);
        assert_eq!(fields.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(fields.iter().all(|(name, _)| name.chars().count() <= MAX_NAME + 1 && !name.contains('\n')));
    }
}
