//! Writes the samples of families of gauges into one buffer, quickly.
//!
//! The bytes are valid in the text format 0.0.4 and in OpenMetrics 1.0 alike: every family is a
//! gauge, HELP holds neither quotes nor line feeds, and values are plain decimals. So one rendering
//! serves both.

use crate::report::sha256;

/// What stands between the beginning of a long value and its digest.
const MARK: &str = "…";

/// Hexadecimal digits of the SHA-256 of a long value.
const DIGEST_DIGITS: usize = 16;

/// The buffer that a part is rendered into.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Name, HELP and the place of the first sample.
    families: Vec<(&'static str, &'static str, usize)>,
    /// Longest value of a label, in bytes.
    max_length: usize,
}

/// A family that is being written.
pub struct Family<'a> {
    writer: &'a mut Writer,
    name: &'static str,
}

impl Writer {
    /// Writes behind what `bytes` holds.
    pub fn new(bytes: Vec<u8>, max_label_length: usize) -> Self {
        Self { bytes, families: Vec::new(), max_length: max_label_length }
    }

    /// Begins a family; everything about it must be written before the next begins.
    pub fn family(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        debug_assert!(!help.contains(['"', '\\', '\n']), "HELP of {name}");
        self.families.push((name, help, self.bytes.len()));
        Family { writer: self, name }
    }

    /// Name, HELP and samples of every family, also of those without a sample.
    pub fn families(&self) -> impl Iterator<Item = (&'static str, &'static str, &[u8])> {
        let starts = self.families.iter().skip(1).map(|(_, _, start)| *start);
        let ends = starts.chain(std::iter::once(self.bytes.len()));
        self.families
            .iter()
            .zip(ends)
            .map(|((name, help, start), end)| (*name, *help, self.bytes.get(*start..end).unwrap_or_default()))
    }

    /// All samples.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Family<'_> {
    /// A sample with a whole number.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let max_length = self.writer.max_length;
        let bytes = self.begin();
        write_labels(bytes, labels, false, max_length);
        end(bytes, value);
    }

    /// A sample whose value is decimal text made by this program.
    pub fn decimal(&mut self, labels: &[(&str, &str)], value: &str) {
        let max_length = self.writer.max_length;
        let bytes = self.begin();
        write_labels(bytes, labels, false, max_length);
        bytes.extend_from_slice(b"} ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }

    /// A sample of labels that [`write_labels`] wrote already, in two pieces.
    pub fn written(&mut self, ids: &[u8], labels: &[u8], value: impl itoa::Integer) {
        let bytes = self.begin();
        bytes.extend_from_slice(ids);
        bytes.extend_from_slice(labels);
        end(bytes, value);
    }

    /// A sample of labels that are written already, with one of its own between them.
    pub fn named(&mut self, ids: &[u8], label: (&str, &str), labels: &[u8], value: u64) {
        let max_length = self.writer.max_length;
        let bytes = self.begin();
        bytes.extend_from_slice(ids);
        write_labels(bytes, &[label], true, max_length);
        bytes.extend_from_slice(labels);
        end(bytes, value);
    }

    /// Begins a line.
    fn begin(&mut self) -> &mut Vec<u8> {
        let bytes = &mut self.writer.bytes;
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.push(b'{');
        bytes
    }
}

/// Ends the labels and writes the value.
fn end(bytes: &mut Vec<u8>, value: impl itoa::Integer) {
    bytes.extend_from_slice(b"} ");
    bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    bytes.push(b'\n');
}

/// Writes labels without their braces; `behind_others` puts a comma first. Values longer than
/// `max_length` bytes are cut.
pub fn write_labels(
    bytes: &mut Vec<u8>,
    labels: &[(&str, &str)],
    mut behind_others: bool,
    max_length: usize,
) {
    for (name, value) in labels {
        if behind_others {
            bytes.push(b',');
        }
        behind_others = true;
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"=\"");
        if value.len() > max_length {
            write_escaped(bytes, &cut(value, max_length));
        } else {
            write_escaped(bytes, value);
        }
        bytes.push(b'"');
    }
}

/// The beginning of a long value, then a digest of the whole: different values stay different.
fn cut(value: &str, max_length: usize) -> String {
    let mut digest = sha256(value.as_bytes());
    digest.truncate(DIGEST_DIGITS);
    let mut end = max_length.saturating_sub(MARK.len() + DIGEST_DIGITS);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    [&value[..end], MARK, &digest].concat()
}

fn write_escaped(bytes: &mut Vec<u8>, text: &str) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\n');
    let mut rest = text.as_bytes();
    // Nearly all text needs no escape. To look at every byte without a way out is what the compiler
    // can do many at a time.
    if !rest.iter().fold(false, |found, byte| found | special(byte)) {
        bytes.extend_from_slice(rest);
        return;
    }
    while let Some(at) = rest.iter().position(special) {
        bytes.extend_from_slice(&rest[..at]);
        bytes.push(b'\\');
        bytes.push(if rest[at] == b'\n' { b'n' } else { rest[at] });
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_at_a_character_and_ends_in_a_digest() {
        let of = |value: &str| {
            let mut writer = Writer::new(Vec::new(), 64);
            writer.family("f", "Help.").sample(&[("l", value)], 1);
            let line = String::from_utf8(writer.into_bytes()).unwrap();
            line.strip_prefix("f{l=\"").unwrap().strip_suffix("\"} 1\n").unwrap().to_owned()
        };
        let fits = "x".repeat(64);
        assert_eq!(of(&fits), fits);
        // 'é' has two bytes, and the 45th byte is in the middle of one.
        let long = format!("x{}", "é".repeat(40));
        let shown = of(&long);
        assert!(shown.len() <= 64 && shown.starts_with("xéé"), "{shown}");
        assert_eq!(shown.rsplit_once(MARK).unwrap().1, &sha256(long.as_bytes())[..DIGEST_DIGITS]);
        assert_ne!(of(&format!("{long}a")), of(&format!("{long}b")));
    }

    #[test]
    fn times_before_1970_are_negative() {
        let mut writer = Writer::new(Vec::new(), 100);
        writer.family("made", "When.").written(b"id=\"a\"", &[], -86_400);
        assert!(writer.into_bytes().ends_with(b"made{id=\"a\"} -86400\n"));
    }
}
