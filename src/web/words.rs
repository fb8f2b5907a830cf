//! Figures, times and text as people read them, ready to stand in HTML. Pure.

use jiff::Timestamp;

use crate::period::rfc3339;

/// Text as HTML shows it literally, also inside a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A decimal number with its whole part in thousands.
pub fn money(amount: &str) -> String {
    let (whole, part) = amount.split_once('.').map_or((amount, None), |(whole, part)| (whole, Some(part)));
    match (whole.parse().map(thousands), part) {
        (Ok(whole), Some(part)) => format!("{whole}.{part}"),
        (Ok(whole), None) => whole,
        (Err(_), _) => amount.to_owned(),
    }
}

/// How long ago, in the largest unit that fits.
pub fn ago(seconds: u64) -> String {
    match seconds {
        0..2 => "just now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", thousands(seconds / 86_400)),
    }
}

/// How long something took.
pub fn took(seconds: f64) -> String {
    if seconds < 0.001 {
        "below 1 ms".to_owned()
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

/// A share in whole percent; what is little but not nothing says so.
pub fn percent(part: u64, all: u64) -> String {
    match permille(part, all) {
        0 if part > 0 && all > 0 => "below 1 %".to_owned(),
        1..10 => "below 1 %".to_owned(),
        share => format!("{} %", share / 10),
    }
}

/// A share in thousandths, at most all of them.
pub fn permille(part: u64, all: u64) -> u128 {
    if all == 0 { 0 } else { (u128::from(part) * 1000 / u128::from(all)).min(1000) }
}

/// Size of a file.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", thousands(bytes.div_ceil(1_048_576))),
    }
}

/// A time, to the minute, that machines can read as well.
pub fn time(at: Timestamp) -> String {
    let exact = rfc3339(at);
    let minute = exact.get(..16).unwrap_or(&exact).replace('T', " ");
    format!("<time datetime=\"{exact}\">{minute} UTC</time>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        for (amount, text) in [("1234.50", "1,234.50"), ("0.12", "0.12"), ("12345", "12,345"), ("-1", "-1")] {
            assert_eq!(money(amount), text);
        }
        for (seconds, text) in [
            (1, "just now"),
            (45, "45 s ago"),
            (183, "3 min ago"),
            (7300, "2 h ago"),
            (86_400 * 3, "3 days ago"),
            (u64::MAX, "213,503,982,334,601 days ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
        for (seconds, text) in [(0.0, "below 1 ms"), (0.0404, "40 ms"), (1.25, "1.2 s"), (600.0, "10 min")] {
            assert_eq!(took(seconds), text);
        }
        for (part, all, text) in [
            (0, 0, "0 %"),
            (0, 9, "0 %"),
            (1, 1000, "below 1 %"),
            (1, 100_000, "below 1 %"),
            (999, 1000, "99 %"),
            (2, 1, "100 %"),
            (u64::MAX, u64::MAX, "100 %"),
        ] {
            assert_eq!(percent(part, all), text);
        }
        assert_eq!(
            (size(1023), size(1025), size(3 << 20)),
            ("1023 B".into(), "2 KiB".into(), "3 MiB".into())
        );
    }

    #[test]
    fn nothing_hostile_is_left() {
        assert_eq!(
            escape("<a href=\"x\" id='y'>&amp;"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;"
        );
    }
}
