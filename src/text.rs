//! Text for people: one line, bounded, without invisible characters. Pure.

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

/// Characters that show nothing but turn or hide the text around them in a terminal.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
