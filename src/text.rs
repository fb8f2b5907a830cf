//! Text for people (one line, bounded, without invisible characters), the normal form of ids, and forms in
//! which different spellings are equal. Pure.

mod forms;

pub use forms::{case_folded, nfc, visible_form};

use std::borrow::Cow;

/// Returns `text` on one line: runs of white space become one space, control characters and
/// invisible characters are removed, and at most `longest` characters are kept (then `…` follows).
#[must_use]
pub fn one_line(text: &str, longest: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        for c in word.chars().filter(|c| !invisible(*c)) {
            if length >= longest {
                line.push('…');
                return line;
            }
            line.push(c);
            length += 1;
        }
    }
    line
}

/// Returns whether `text` contains U+FFFD, which stands for something that is not valid Unicode.
#[must_use]
pub fn has_replacement(text: &str) -> bool {
    text.contains(char::REPLACEMENT_CHARACTER)
}

/// Returns an id in its normal form: a UUID in lower case, because UUIDs that differ only in case are
/// equal (RFC 9562). Any other id is returned unchanged.
#[must_use]
pub fn normal_id(id: &str) -> Cow<'_, str> {
    if is_uuid(id) && id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(id.to_ascii_lowercase());
    }
    Cow::Borrowed(id)
}

/// Returns whether `id` has the form of a UUID: hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Characters that show nothing but turn or hide the text around them in a terminal.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_have_a_normal_form() {
        let lower = "0192a000-0000-7000-8000-00000000abcd";
        assert_eq!(normal_id(&lower.to_uppercase()), lower);
        assert!(matches!(normal_id(lower), Cow::Borrowed(id) if id == lower));
        for other in
            ["", "VM-1", "0192A000-0000-7000-8000-00000000ABC", "0192A000-0000-7000-8000-00000000ABCG"]
        {
            assert_eq!(normal_id(other), other);
        }
    }
}
