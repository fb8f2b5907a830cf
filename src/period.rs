//! Calendar months and half-open periods, always UTC. Pure: the clock is handed in.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A half-open interval of time, `[start, end)`, UTC.
///
/// `start <= end` always holds for periods made by this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    /// First instant that belongs to the period.
    pub start: Timestamp,
    /// First instant that no longer does.
    pub end: Timestamp,
}

impl Period {
    /// Length in whole seconds.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        seconds_between(self.start, self.end)
    }

    /// Whether `at` lies within `[start, end)`.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// Whole seconds from `from` to `to`; 0 when `to` is not later. Both are first cut to whole
/// seconds, so that neighbouring intervals always add up to the interval that they make.
#[must_use]
pub fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second() - from.as_second()).unwrap_or(0)
}

/// A calendar month in UTC, written `YYYY-MM`.
///
/// ```
/// use flexvm_exporter::period::Month;
/// let month: Month = "2026-10".parse()?;
/// assert_eq!(month.period().seconds(), 744 * 3600); // no clock change in UTC
/// assert_eq!(month.next().to_string(), "2026-11");
/// # Ok::<(), flexvm_exporter::period::ParseMonthError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    /// The month that holds `at`.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(TimeZone::UTC.to_datetime(at).date().first_of_month())
    }

    /// `[first instant of the month, first instant of the next)`.
    #[must_use]
    pub fn period(self) -> Period {
        Period { start: midnight(self.0), end: midnight(self.next().0) }
    }

    /// The month after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1.month()))
    }

    /// The month before.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1.month()))
    }

    /// The month `count` months earlier.
    #[must_use]
    pub fn earlier_by(self, count: u32) -> Self {
        (0..count).fold(self, |month, _| month.previous())
    }
}

fn midnight(date: Date) -> Timestamp {
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

/// The text is not a month between 2000-01 and 2999-12 written `YYYY-MM`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a month: write it as YYYY-MM, such as 2026-10")]
pub struct ParseMonthError(String);

impl FromStr for Month {
    type Err = ParseMonthError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMonthError(text.to_owned());
        let (year, month) = text.split_once('-').ok_or_else(error)?;
        let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(error());
        }
        let (year, month): (i16, i8) =
            (year.parse().map_err(|_| error())?, month.parse().map_err(|_| error())?);
        if !(2000..3000).contains(&year) {
            return Err(error());
        }
        Date::new(year, month, 1).map(Self).map_err(|_| error())
    }
}

impl serde::Serialize for Month {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Month {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Cut to whole seconds: then lives, stretches and months add up exactly.
#[must_use]
pub fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A timestamp as every file writes it: whole seconds, `2026-10-01T00:00:00Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let mut text = String::new();
    write_rfc3339(&mut text, at);
    text
}

/// The same behind what `text` holds.
pub fn write_rfc3339(text: &mut String, at: Timestamp) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new();
    // Writing to a `String` cannot fail.
    let _ = PRINTER.print_timestamp(&whole(at), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_without_a_gap() {
        let mut month: Month = "2023-11".parse().unwrap();
        for _ in 0..40 {
            assert_eq!(month.period().end, month.next().period().start);
            assert_eq!(month.next().previous(), month);
            assert_eq!(Month::of(month.period().start), month);
            assert_eq!(Month::of(month.period().end), month.next());
            month = month.next();
        }
        assert_eq!("2024-02".parse::<Month>().unwrap().period().seconds(), 29 * 86_400);
    }

    #[test]
    fn refuses_what_is_not_a_month() {
        for text in [
            "",
            "2026",
            "2026-1",
            "2026-13",
            "2026-00",
            "26-01",
            "2026-10-01",
            " 2026-10",
            "+026-10",
            "9999-12",
        ] {
            assert!(text.parse::<Month>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn seconds_are_cut_before_they_are_subtracted() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (a, b, c) =
            (at("2026-01-01T00:00:00.9Z"), at("2026-01-01T00:00:01.1Z"), at("2026-01-01T00:00:02.9Z"));
        assert_eq!(seconds_between(a, b) + seconds_between(b, c), seconds_between(a, c));
        assert_eq!(seconds_between(c, a), 0);
        assert_eq!(rfc3339(a), "2026-01-01T00:00:00Z");
    }
}
