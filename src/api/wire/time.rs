//! Times, in every spelling that is met.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::Deserializer;

use super::row::Report;
use super::value::{Value, any};
use crate::text::one_line;

/// A time, read leniently: what cannot be read is kept as text for the error or the log. All digits
/// of a second are kept, up to nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Time {
    #[default]
    Absent,
    At(Timestamp),
    Unreadable(String),
}

impl Time {
    /// This time, or `other` if it is absent.
    pub fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        if *self == Self::Absent { other } else { self }
    }

    /// A time that the row cannot be without; an error that names `field` if there is none.
    pub fn needed(&self, field: &str) -> Result<Timestamp, String> {
        match self {
            Self::At(at) => Ok(*at),
            Self::Absent => Err(format!("no {field}")),
            Self::Unreadable(what) => Err(format!("{field}: {what}")),
        }
    }

    /// ISO 8601 with date and time; without an offset it is UTC, as the API documents. A date
    /// alone is not a time.
    fn parse(text: &str) -> Self {
        if text.is_empty() || is_zero(text) {
            return Self::Absent;
        }
        let text = &*nanoseconds(text);
        let zoneless = || {
            let time: DateTime = text.parse().ok()?;
            let has_time = text.get(10..11).is_some_and(|mark| matches!(mark, "T" | "t" | " "));
            // A time zone name is not an offset.
            let has_zone = text.contains('[');
            (has_time && !has_zone).then(|| TimeZone::UTC.to_timestamp(time).ok())?
        };
        text.parse()
            .ok()
            .or_else(zoneless)
            .or_else(|| never(text))
            .map_or_else(|| Self::wrong(&format!("{:?}", one_line(text, 40))), Self::At)
    }
}

/// Nine digits of a second at most: what follows them is cut.
fn nanoseconds(text: &str) -> Cow<'_, str> {
    let Some((whole, rest)) = text.split_once('.') else { return text.into() };
    match rest.bytes().take_while(u8::is_ascii_digit).count() {
        digits @ 10.. => format!("{whole}.{}{}", &rest[..9], &rest[digits..]).into(),
        _ => text.into(),
    }
}

/// Whether this is the zero time `0001-01-01T00:00:00`, in any zone: programs in Go and .NET send it for
/// a time that is not set.
fn is_zero(text: &str) -> bool {
    let civil = text.get(..19).and_then(|civil| civil.parse::<DateTime>().ok());
    civil == Some(date(1, 1, 1).at(0, 0, 0, 0))
}

/// The last days of the year 9999, by which some mean "never": the newest time that there is.
fn never(text: &str) -> Option<Timestamp> {
    let civil: DateTime = text.get(..19)?.parse().ok()?;
    (civil.year() == 9999 && civil.month() == 12 && civil.day() >= 30).then_some(Timestamp::MAX)
}

impl<'de> Value<'de> for Time {
    fn null() -> Self {
        Self::Absent
    }
    fn wrong(what: &str) -> Self {
        Self::Unreadable(format!("{what} is not a time"))
    }
    fn text(text: Cow<'de, str>) -> Self {
        Self::parse(&text)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

impl Report for Time {}
