//! The API's spelling of ids that are not in their normal form.
//!
//! UUIDs that differ only in case identify one object, so domain types store them in lower case.
//! However, a server may compare the id in a path byte by byte, so requests use the spelling that the
//! API sent.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::snapshot::Text;

/// Maximum number of stored spellings. For further ids, requests try the id in lower case and in upper
/// case.
const MAX_SPELLINGS: usize = 100_000;

/// The latest spelling of each id that the API did not send in its normal form. `None` until the API
/// has sent an id.
#[derive(Debug, Default)]
pub(super) struct Spellings(Mutex<Option<HashMap<Text, Text>>>);

impl Spellings {
    /// Stores the spellings of a response that contains ids. `sent` contains the ids that the API did
    /// not send in their normal form, each with its spelling.
    pub fn learn(&self, sent: Vec<(Text, Text)>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        for (id, spelling) in sent {
            if known.len() < MAX_SPELLINGS || known.contains_key(&id) {
                known.insert(id, spelling);
            }
        }
    }

    /// Stores the spelling with which a request by id found an object.
    pub fn found(&self, id: &str, spelling: &str) {
        let normal = crate::text::normal_id(id);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if normal == spelling {
            known.remove(&*normal);
        } else if known.len() < MAX_SPELLINGS || known.contains_key(&*normal) {
            known.insert(normal.as_ref().into(), spelling.into());
        }
    }

    /// Returns the spelling of an id for use in a path.
    pub fn of(&self, id: &str) -> Text {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().and_then(|known| known.get(id)).cloned().unwrap_or_else(|| id.into())
    }

    /// Returns the spellings of an id that a request tries in order until the API finds the object.
    /// Returns one spelling if the API has sent ids and all of them were in their normal form. Until
    /// the API has sent an id, ids come from the ledger, which stores them in lower case.
    pub fn candidates(&self, id: &str) -> Vec<Text> {
        let mut candidates = vec![self.of(id)];
        let is_normal = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.as_ref().is_some_and(HashMap::is_empty)
        };
        if !is_normal {
            for other in [id.to_ascii_lowercase(), id.to_ascii_uppercase()] {
                let is_same_id = crate::text::normal_id(&other) == crate::text::normal_id(id);
                if is_same_id && !candidates.iter().any(|known| **known == *other) {
                    candidates.push(other.as_str().into());
                }
            }
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_use_the_spelling_that_was_sent() {
        let (lower, upper) = ("0192a000-0000-7000-8000-00000000abcd", "0192A000-0000-7000-8000-00000000ABCD");
        let mixed = "0192a000-0000-7000-8000-00000000ABCD";
        let spellings = Spellings::default();
        let texts = |texts: &[&str]| texts.iter().map(|text| Text::from(*text)).collect::<Vec<_>>();
        assert_eq!(spellings.candidates(lower), texts(&[lower, upper]), "nothing is known yet");
        spellings.learn(Vec::new());
        assert_eq!(spellings.candidates(lower), texts(&[lower]));
        spellings.learn(vec![(lower.into(), mixed.into())]);
        assert_eq!(&*spellings.of(lower), mixed);
        assert_eq!(spellings.candidates(lower), texts(&[mixed, lower, upper]));
        assert_eq!(spellings.candidates("vm-1"), texts(&["vm-1"]));
        // The API changes its spelling.
        spellings.found(lower, upper);
        assert_eq!(&*spellings.of(lower), upper);
        spellings.found(lower, lower);
        assert_eq!(&*spellings.of(lower), lower);
    }
}
