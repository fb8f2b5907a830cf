//! `report.schedule`: a cron expression with seconds, always UTC.

use std::fmt;
use std::str::FromStr;

use chrono::DateTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;

/// A cron expression (second minute hour day month weekday) that has a next time.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

impl Schedule {
    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after `at` that it names.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = DateTime::from_timestamp(at.as_second(), 0)?;
        let next = self.cron.find_next_occurrence(&at, false).ok()?;
        Timestamp::from_second(next.timestamp()).ok()
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let way_out =
            "write six fields, second minute hour day month weekday in UTC, such as \"0 30 0 1 * *\"";
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
        let cron =
            parser.parse(text).map_err(|error| format!("{text:?} is not a schedule ({error}): {way_out}"))?;
        let schedule = Self { text: text.to_owned(), cron };
        // The scheduler takes a schedule that never comes and silently drops it. Any fixed moment
        // serves to find that out; leap days come round within the search.
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(format!("{text:?} names a time that never comes: {way_out}")),
        }
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.text)
    }
}
