//! Writes the samples of families of gauges into one buffer, quickly.
//!
//! The bytes are valid in the text format 0.0.4 and in OpenMetrics 1.0 alike: every family is a
//! gauge, HELP holds neither quotes nor line feeds, and values are plain decimals. So one rendering
//! serves both.

/// The buffer that a part is rendered into.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Name, HELP and the place of the first sample.
    families: Vec<(&'static str, &'static str, usize)>,
}

/// A family that is being written.
pub struct Family<'a> {
    writer: &'a mut Writer,
    name: &'static str,
}

impl Writer {
    /// Writes behind what `bytes` holds.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, families: Vec::new() }
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
        self.families.iter().zip(ends).map(|((name, help, start), end)| {
            (*name, *help, self.bytes.get(*start..end).unwrap_or_default())
        })
    }

    /// All samples.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Family<'_> {
    /// A sample with a whole number.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let bytes = self.begin();
        write_labels(bytes, labels, false);
        end(bytes, value);
    }

    /// A sample whose value is decimal text made by this program.
    pub fn decimal(&mut self, labels: &[(&str, &str)], value: &str) {
        let bytes = self.begin();
        write_labels(bytes, labels, false);
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
        let bytes = self.begin();
        bytes.extend_from_slice(ids);
        write_labels(bytes, &[label], true);
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

/// Writes labels without their braces; `behind_others` puts a comma first.
pub fn write_labels(bytes: &mut Vec<u8>, labels: &[(&str, &str)], mut behind_others: bool) {
    for (name, value) in labels {
        if behind_others {
            bytes.push(b',');
        }
        behind_others = true;
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"=\"");
        write_escaped(bytes, value);
        bytes.push(b'"');
    }
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
    fn times_before_1970_are_negative() {
        let mut writer = Writer::new(Vec::new());
        writer.family("made", "When.").written(b"id=\"a\"", &[], -86_400);
        assert!(writer.into_bytes().ends_with(b"made{id=\"a\"} -86400\n"));
    }
}
