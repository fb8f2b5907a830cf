//! The cells of by-group.csv of version 0.1.0, for comparing its files with current ones. Pure.
//!
//! That version joined values by `;`, wrote `;` and `\` as `\;` and `\\` only where it joined, and did
//! not separate the value `(no value)` from a tag without a value. Some of its cells therefore have
//! several readings.

use rust_decimal::Decimal;

use super::apportion::SHARE_DECIMALS;
use super::columns::guarded;
use crate::usage::{NO_VALUE, cell_text};

/// Maximum number of readings of one row.
const MAX_READINGS: usize = 256;

/// Returns the current cells of a row of by-group.csv whose kind and group cells version 0.1.0 wrote,
/// the most likely reading first. `is_tag_set` is whether the only cell is an exact set of tags.
pub fn readings(kind: &str, cells: &[&str], is_tag_set: bool) -> Vec<Vec<String>> {
    let mut rows = vec![Vec::new()];
    for cell in cells {
        // The first apostrophe is the guard against formulas: it also precedes one of the text itself.
        let cell = cell.strip_prefix('\'').unwrap_or(cell);
        let texts = if is_tag_set { vec![tag_set(cell)] } else { cell_readings(kind, cell) };
        rows = rows
            .iter()
            .flat_map(|row: &Vec<String>| {
                texts.iter().map(|text| {
                    let mut row = row.clone();
                    row.push(guarded(text).into_owned());
                    row
                })
            })
            .take(MAX_READINGS)
            .collect();
    }
    rows
}

/// Returns whether a share of version 0.1.0 and a current share can have the same exact value. That version rounded
/// each share half up, and wrote 0 if the total was 0.
pub fn is_same_share(old: &str, new: &str) -> bool {
    let share = |cell: &str| Decimal::from_str_exact(cell).ok();
    match (share(old), share(new)) {
        (Some(old), Some(new)) => (old - new).abs() <= Decimal::new(1, SHARE_DECIMALS),
        (Some(old), None) => old.is_zero() && new.is_empty(),
        _ => false,
    }
}

fn tag_set(cell: &str) -> String {
    cell_text(split(cell).iter().map(|tag| Some(tag.as_str())))
}

fn cell_readings(kind: &str, cell: &str) -> Vec<String> {
    if cell.is_empty() {
        return vec![String::new()];
    }
    let one = cell_text([Some(cell)]);
    match kind {
        "several" => {
            let values = split(cell);
            let mut texts = joined(&values);
            if values.len() > 1 {
                texts.push(one);
            } else if cell != NO_VALUE {
                texts = vec![one];
            }
            texts
        }
        "valueless" if cell == NO_VALUE => vec![NO_VALUE.to_owned(), one],
        _ => vec![one],
    }
}

/// Returns the texts of these values: `(no value)` is a tag without a value, a value, or both.
fn joined(values: &[String]) -> Vec<String> {
    let text = |reserved: &[Option<&str>]| {
        let values = values.iter().flat_map(|value| match value.as_str() {
            NO_VALUE => reserved.to_vec(),
            value => vec![Some(value)],
        });
        cell_text(values)
    };
    let mut texts = vec![text(&[None])];
    if values.iter().any(|value| value == NO_VALUE) {
        texts.extend([text(&[Some(NO_VALUE)]), text(&[None, Some(NO_VALUE)])]);
    }
    texts
}

/// Splits a cell at each `;` that has no `\` before it, and removes the escapes.
fn split(cell: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut chars = cell.chars();
    while let Some(char) = chars.next() {
        match char {
            ';' => values.push(String::new()),
            '\\' => values.last_mut().into_iter().for_each(|value| value.extend(chars.next())),
            char => values.last_mut().into_iter().for_each(|value| value.push(char)),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(kind: &str, cell: &str) -> String {
        readings(kind, &[cell], false).swap_remove(0).swap_remove(0)
    }

    #[test]
    fn cells_of_one_key_have_one_likely_reading() {
        for (kind, cell, wanted) in [
            ("value", "core", "core"),
            ("value", "x;y", "x;y"),
            ("value", "a|b\\", "a\\|b\\\\"),
            ("value", "(no value)", "\\(no value)"),
            ("valueless", "(no value)", "(no value)"),
            ("several", "a\\;b;c\\\\d", "a;b | c\\\\d"),
            ("several", "(no value);1", "(no value) | 1"),
            ("absent", "", ""),
            ("value", "'=1", "'=1"),
            ("value", "''x", "''x"),
            ("value", "'-a|b", "'-a\\|b"),
        ] {
            assert_eq!(first(kind, cell), wanted, "{kind} {cell}");
        }
        let set = |cell| readings("value", &[cell], true);
        assert_eq!(set("a:1\\;2;b"), [["a:1;2 | b"]]);
        assert_eq!(set(""), [[""]]);
    }

    #[test]
    fn shares_of_another_rounding_are_the_same() {
        for (old, new, same) in [
            ("0.333333", "0.333334", true),
            ("0.333334", "0.333333", true),
            ("0.333333", "0.333335", false),
            ("0.000000", "", true),
            ("0.000001", "", false),
            ("", "0.000000", false),
        ] {
            assert_eq!(is_same_share(old, new), same, "{old} {new}");
        }
    }

    #[test]
    fn cells_that_are_ambiguous_have_every_reading() {
        let all = |kind, cells: &[&str]| readings(kind, cells, false);
        assert_eq!(all("several", &["a;b"]), [["a | b"], ["a;b"]]);
        assert_eq!(
            all("several", &["(no value)"]),
            [["(no value)"], ["\\(no value)"], ["(no value) | \\(no value)"]]
        );
        assert_eq!(
            all("several", &["a;b", "c"]),
            [["a | b", "c"], ["a;b", "c"]],
            "one key has several values, the other has one"
        );
        assert_eq!(all("valueless", &["(no value)", "c"]), [["(no value)", "c"], ["\\(no value)", "c"]]);
        assert_eq!(all("absent", &["", "(no value)"]), [["", "\\(no value)"]]);
        assert_eq!(all("several", &["a;b"; 20]).len(), MAX_READINGS);
    }
}
