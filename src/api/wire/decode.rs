//! Bodies as text. Invalid Unicode is read with U+FFFD in its place.
//!
//! A JSON text can contain two things that a string cannot: the escape of half a surrogate pair
//! (`\ud800`), and bytes that are not UTF-8. One such name must not block a complete list.
//!
//! Different texts of a body stay different:
//! - If the same unreadable unit is the only one in the body, and the body has no U+FFFD of its
//!   own, U+FFFD alone replaces the unit: `a\ud800` is read as `a�`.
//! - Otherwise a mark follows that names the unit: `a�(uD800)`, `a�(xFF)`. The mark begins with
//!   more `(` than follow any U+FFFD of the body itself, so no other text of the body reads alike.
//!
//! Which rule applies depends on the body. Therefore, different texts of two bodies can be read as
//! equal, and the same text of two bodies can be read as different. [`decode_marked`] is for
//! comparisons of two bodies: it marks each unit and each U+FFFD of the body itself.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error as _;

/// Bytes by which a text may be longer than twice its body. Bodies that need more are not text.
const SLACK: usize = 1024;

/// A body as text.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// Number of parts that are not valid Unicode and were replaced.
    pub replaced: usize,
}

/// Returns a body as text, borrowed if all of it is valid Unicode. Fails for a body whose text would
/// take more than twice its size, such as compressed data.
pub(super) fn decode(body: &[u8]) -> Result<Decoded<'_>, serde_json::Error> {
    if let Ok(text) = std::str::from_utf8(body)
        && lone_surrogates(text).next().is_none()
    {
        return Ok(Decoded { text: Cow::Borrowed(text), replaced: 0 });
    }
    let found = Found::of(body);
    let (opening, length) = (found.opening(), found.length());
    if length > body.len().saturating_mul(2).saturating_add(SLACK) {
        let message = format!("the body is not text: {} parts of it are not valid Unicode", found.units);
        return Err(serde_json::Error::custom(message));
    }
    let mut text = String::with_capacity(length);
    walk(body, |piece| match piece {
        Piece::Text(part) | Piece::Replacement(part, _) => text.push_str(part),
        Piece::Unreadable(unit) => {
            text.push(char::REPLACEMENT_CHARACTER);
            if opening > 0 {
                text.extend(std::iter::repeat_n('(', opening));
                text.push_str(&unit.to_string());
                text.push(')');
            }
        }
    });
    Ok(Decoded { text: Cow::Owned(text), replaced: found.units })
}

/// Returns a body as text in which a mark follows each U+FFFD: `(uD800)` or `(xFF)` if it replaces an
/// unreadable unit, `(FFFD)` if the body itself contains the U+FFFD. Texts of two bodies are read as
/// equal if and only if the API sent equal texts. `None` if the body contains nothing to mark.
pub(super) fn decode_marked(body: &[u8]) -> Option<String> {
    let found = Found::of(body);
    if found.units == 0 && !found.ambiguous {
        return None;
    }
    let mut text = String::with_capacity(body.len());
    walk(body, |piece| match piece {
        Piece::Text(part) => text.push_str(part),
        Piece::Replacement(..) => text.push_str("\u{fffd}(FFFD)"),
        Piece::Unreadable(unit) => {
            text.push_str("\u{fffd}(");
            text.push_str(&unit.to_string());
            text.push(')');
        }
    });
    Some(text)
}

/// The invalid Unicode of a body, and the valid text that could be mistaken for it.
#[derive(Default)]
struct Found<'a> {
    /// Number of unreadable units.
    units: usize,
    first: Option<Unit<'a>>,
    /// Whether units differ, or the body has a U+FFFD of its own.
    ambiguous: bool,
    /// Most `(` that follow a U+FFFD of the body itself.
    brackets: usize,
    /// Bytes of text that stay unchanged.
    readable: usize,
}

impl<'a> Found<'a> {
    fn of(body: &'a [u8]) -> Self {
        let mut found = Self::default();
        walk(body, |piece| match piece {
            Piece::Text(part) => found.readable += part.len(),
            Piece::Replacement(part, rest) => {
                found.readable += part.len();
                found.ambiguous = true;
                found.brackets = found.brackets.max(brackets(rest));
            }
            Piece::Unreadable(unit) => {
                found.units += 1;
                found.ambiguous |= *found.first.get_or_insert(unit) != unit;
            }
        });
        found
    }

    /// Number of `(` that a mark begins with; 0 if there are no marks.
    fn opening(&self) -> usize {
        if self.ambiguous { self.brackets + 1 } else { 0 }
    }

    /// Upper bound of the text's length in bytes.
    fn length(&self) -> usize {
        let mark = match self.opening() {
            0 => 0,
            // Of a unit, `x` and six digits at most; then `)`.
            opening => opening + 8,
        };
        let unit = char::REPLACEMENT_CHARACTER.len_utf8() + mark;
        self.readable.saturating_add(self.units.saturating_mul(unit))
    }
}

/// A part of a body.
enum Piece<'a> {
    Text(&'a str),
    /// A U+FFFD of the body itself, verbatim, and the text after it.
    Replacement(&'a str, &'a str),
    Unreadable(Unit<'a>),
}

/// A unit of invalid Unicode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit<'a> {
    /// Half a surrogate pair, written as an escape.
    Surrogate(u16),
    /// Bytes that are not UTF-8: the beginning of a character, or a byte that begins none.
    Bytes(&'a [u8]),
}

impl fmt::Display for Unit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surrogate(code) => write!(f, "u{code:04X}"),
            Self::Bytes(bytes) => {
                f.write_str("x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
        }
    }
}

/// Passes the parts of a body, in order.
fn walk<'a>(body: &'a [u8], mut on: impl FnMut(Piece<'a>)) {
    for chunk in body.utf8_chunks() {
        let text = chunk.valid();
        let mut done = 0;
        for (at, code) in lone_surrogates(text) {
            replacements(&text[done..at], &mut on);
            on(Piece::Unreadable(Unit::Surrogate(code)));
            done = at + ESCAPE;
        }
        replacements(&text[done..], &mut on);
        if !chunk.invalid().is_empty() {
            on(Piece::Unreadable(Unit::Bytes(chunk.invalid())));
        }
    }
}

/// Passes a valid text in parts: each U+FFFD is a separate part.
fn replacements<'a>(text: &'a str, on: &mut impl FnMut(Piece<'a>)) {
    const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
    let (mut done, mut from) = (0, 0);
    while let Some(at) = text[from..].find(['\\', REPLACEMENT]).map(|at| from + at) {
        let rest = &text[at..];
        let (length, code) = if rest.starts_with(REPLACEMENT) {
            (REPLACEMENT.len_utf8(), Some(REPLACEMENT.into()))
        } else {
            let (length, code) = escape(rest);
            (length, code.map(u32::from))
        };
        from = at + length;
        if code == Some(REPLACEMENT.into()) {
            on(Piece::Text(&text[done..at]));
            on(Piece::Replacement(&text[at..from], &text[from..]));
            done = from;
        }
    }
    on(Piece::Text(&text[done..]));
}

/// Returns how many `(` a JSON text begins with, verbatim or as escapes.
fn brackets(text: &str) -> usize {
    let (mut rest, mut count) = (text, 0);
    while let Some(next) = rest.strip_prefix('(').or_else(|| rest.strip_prefix("\\u0028")) {
        (rest, count) = (next, count + 1);
    }
    count
}

/// Length of `\uXXXX` in bytes.
const ESCAPE: usize = 6;

/// The escapes `\uXXXX` of a JSON text: where each begins, and its code unit.
struct Escapes<'a> {
    text: &'a str,
    from: usize,
}

impl Iterator for Escapes<'_> {
    type Item = (usize, u16);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.from + self.text[self.from..].find('\\')?;
            let (length, code) = escape(&self.text[at..]);
            self.from = at + length;
            if let Some(code) = code {
                return Some((at, code));
            }
        }
    }
}

/// Returns the length of the escape at the beginning of `text` in bytes, and the code unit of `\uXXXX`.
/// Of other escapes than `\uXXXX` and `\\`, the length is that of the backslash.
fn escape(text: &str) -> (usize, Option<u16>) {
    let rest = &text.as_bytes()[1..];
    match rest.strip_prefix(b"u").and_then(code_unit) {
        Some(code) => (ESCAPE, Some(code)),
        // An escaped backslash begins no escape.
        None => (if rest.starts_with(b"\\") { 2 } else { 1 }, None),
    }
}

/// The number that four hexadecimal digits at the beginning make.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.first_chunk::<4>()?;
    digits.iter().try_fold(0, |code: u16, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(code << 4 | u16::try_from(value).ok()?)
    })
}

/// The escapes of a valid text that are half a surrogate pair.
fn lone_surrogates(text: &str) -> impl Iterator<Item = (usize, u16)> {
    let mut escapes = Escapes { text, from: 0 }.peekable();
    std::iter::from_fn(move || {
        loop {
            let (at, code) = escapes.next()?;
            match code {
                0xD800..=0xDBFF => {
                    let other =
                        |next: &(usize, u16)| next.0 == at + ESCAPE && (0xDC00..0xE000).contains(&next.1);
                    if escapes.next_if(other).is_none() {
                        return Some((at, code));
                    }
                }
                0xDC00..=0xDFFF => return Some((at, code)),
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests;
