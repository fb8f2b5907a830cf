//! Values that the API writes in more than one way.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::super::error::one_line;
use super::super::unknown::{Path, UnknownFields};
use super::row::Report;

/// Text, where null, absent and empty are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Str<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor;
        impl<'de> Visitor<'de> for StrVisitor {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E: Error>(self) -> Result<Str<'de>, E> {
                Ok(Str::default())
            }
        }
        deserializer.deserialize_any(StrVisitor)
    }
}

/// A whole number that is not negative, or none; `360.0` is one, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(Option<u64>);

impl Count {
    /// The number; an error that names `field` if there is none.
    pub fn get(self, field: &str) -> Result<u64, String> {
        self.0.ok_or_else(|| format!("no {field}"))
    }
}

/// Up to here every whole number has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl Visitor<'_> for CountVisitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, not negative")
            }
            fn visit_unit<E: Error>(self) -> Result<Count, E> {
                Ok(Count(None))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
                Ok(Count(Some(number)))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Count, E> {
                u64::try_from(number)
                    .map(|number| Count(Some(number)))
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked: whole, not negative, exact"
            )]
            fn visit_f64<E: Error>(self, number: f64) -> Result<Count, E> {
                if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
                    return Ok(Count(Some(number as u64)));
                }
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

/// A time, read leniently: what cannot be read is kept as text for the error or the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Time {
    #[default]
    Absent,
    At(Timestamp),
    Unreadable(String),
}

impl Time {
    /// This time, or `other` if it is absent.
    pub fn or(self, other: Self) -> Self {
        if self == Self::Absent { other } else { self }
    }

    /// ISO 8601 with date and time; without an offset it is UTC, as the API documents. A date
    /// alone is not a time.
    fn parse(text: &str) -> Self {
        if text.is_empty() {
            return Self::Absent;
        }
        let text = &*nanoseconds(text);
        let zoneless = || {
            let time: DateTime = text.parse().ok()?;
            let has_time = text.get(10..11).is_some_and(|mark| matches!(mark, "T" | "t" | " "));
            has_time.then(|| TimeZone::UTC.to_timestamp(time).ok())?
        };
        text.parse()
            .ok()
            .or_else(zoneless)
            .or_else(|| never(text))
            .map_or_else(|| Self::Unreadable(format!("{:?} is not a time", one_line(text, 40))), Self::At)
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

/// The last days of the year 9999, by which some mean "never": the newest time that there is.
fn never(text: &str) -> Option<Timestamp> {
    let civil: DateTime = text.get(..19)?.parse().ok()?;
    (civil.year() == 9999 && civil.month() == 12 && civil.day() >= 30).then_some(Timestamp::MAX)
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl TimeVisitor {
            fn other(what: &str) -> Time {
                Time::Unreadable(format!("{what} is not a time"))
            }
        }
        impl<'de> Visitor<'de> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                Ok(Time::parse(text))
            }
            fn visit_unit<E: Error>(self) -> Result<Time, E> {
                Ok(Time::Absent)
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Time, E> {
                Ok(Self::other("a boolean"))
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Time, E> {
                Ok(Self::other("a number"))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Time, E> {
                Ok(Self::other("a number"))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Time, E> {
                Ok(Self::other("a number"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Time, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Self::other("a list"))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Time, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Self::other("an object"))
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

/// A flag; also as text or number. Absent and null are false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Flag, E> {
                Ok(Flag(number != 0))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Flag, E> {
                match text {
                    "true" | "1" => Ok(Flag(true)),
                    "false" | "0" | "" => Ok(Flag(false)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
            fn visit_unit<E: Error>(self) -> Result<Flag, E> {
                Ok(Flag(false))
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// A list within a row, where null and absent are empty. Its nulls are left out.
#[derive(Debug)]
pub(super) struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Option::<Vec<Option<T>>>::deserialize(deserializer)?;
        Ok(Self(items.into_iter().flatten().flatten().collect()))
    }
}

/// Tags as they came.
pub(super) type Tags<'a> = List<Str<'a>>;

/// An object within a row that may be null, absent, or written as its name or id alone.
#[derive(Debug)]
pub(super) struct Nested<T>(pub Option<T>);

/// What can be written as its name or id alone, without an object around it.
pub(super) trait Alone {
    fn alone(text: String) -> Self;
}

impl<T> Default for Nested<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de> + Alone> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NestedVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Alone> Visitor<'de> for NestedVisitor<T> {
            type Value = Nested<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_unit<E: Error>(self) -> Result<Nested<T>, E> {
                Ok(Nested(None))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Nested<T>, E> {
                Ok(Nested((!text.is_empty()).then(|| T::alone(text.to_owned()))))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Nested<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Some).map(Nested)
            }
        }
        deserializer.deserialize_any(NestedVisitor(std::marker::PhantomData))
    }
}

impl Report for Str<'_> {}
impl Report for Count {}
impl Report for Time {}
impl Report for Flag {}

impl<T: Report> Report for List<T> {
    fn report(&self, path: &Path<'_>, into: &mut UnknownFields) {
        for item in &self.0 {
            item.report(path, into);
        }
    }
}

impl<T: Report> Report for Nested<T> {
    fn report(&self, path: &Path<'_>, into: &mut UnknownFields) {
        self.0.report(path, into);
    }
}
