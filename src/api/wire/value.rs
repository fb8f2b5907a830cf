//! Values that the API writes in more than one way.
//!
//! A field reads every JSON value. A value of another kind than the field's is kept as such and
//! becomes an error when the row is converted, because only a completely read row has
//! an id to name.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::row::Report;
use crate::text::one_line;

/// Maximum number of characters of a value in an error.
const MAX_SHOWN: usize = 40;

/// How a field reads the kinds of JSON values. Those that it does not implement are wrong.
pub(super) trait Value<'de>: Sized {
    /// Returns the value of null.
    fn null() -> Self;

    /// Returns the value of a kind that the field does not have. `what` describes it.
    fn wrong(what: &str) -> Self;

    fn boolean(value: bool) -> Self {
        Self::wrong(if value { "true" } else { "false" })
    }

    fn unsigned(value: u64) -> Self {
        Self::wrong(&value.to_string())
    }

    fn signed(value: i64) -> Self {
        Self::wrong(&value.to_string())
    }

    fn float(value: f64) -> Self {
        Self::wrong(&value.to_string())
    }

    fn text(text: Cow<'de, str>) -> Self {
        Self::wrong(&format!("{:?}", one_line(&text, MAX_SHOWN)))
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::wrong("a list"))
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::wrong("an object"))
    }
}

/// Reads any JSON value as a `T`.
pub(super) fn any<'de, T: Value<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyVisitor(PhantomData))
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: Value<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::null())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        Ok(T::boolean(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Ok(T::unsigned(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        Ok(T::signed(value))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        Ok(T::float(value))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<T, E> {
        Ok(T::text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }
}

/// The key of a field.
pub(super) struct Key<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match any(deserializer)? {
            Str::Text(text) => Ok(Self(text)),
            Str::Wrong(what) => Err(D::Error::custom(format!("{what} is not a key"))),
        }
    }
}

/// Text, where null, absent and empty are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Str<'a> {
    Text(Cow<'a, str>),
    Wrong(Box<str>),
}

impl Str<'_> {
    /// The text; an error that names `field` if it is another kind of value.
    pub fn get(&self, field: &str) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Wrong(what) => Err(format!("{field}: {what} is not text")),
        }
    }
}

impl Default for Str<'_> {
    fn default() -> Self {
        Self::Text(Cow::Borrowed(""))
    }
}

impl<'de: 'a, 'a> Value<'de> for Str<'a> {
    fn null() -> Self {
        Self::default()
    }
    fn wrong(what: &str) -> Self {
        Self::Wrong(what.into())
    }
    fn text(text: Cow<'de, str>) -> Self {
        Self::Text(text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

/// A whole number that is not negative, or none; `360.0` is one, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Count {
    #[default]
    Absent,
    Number(u64),
    /// A number that the API sent as text.
    Text(u64),
    /// A negative number, as sent.
    Negative(Box<str>),
    Wrong(Box<str>),
}

impl Count {
    /// Returns the number. The error names `field`: the value is not a number, or it was sent as text.
    pub fn get(&self, field: &str) -> Result<u64, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Absent => Err(format!("no {field}")),
            Self::Text(number) => Err(format!("{field}: \"{number}\" is not a whole number of 0 or more")),
            Self::Negative(what) | Self::Wrong(what) => {
                Err(format!("{field}: {what} is not a whole number of 0 or more"))
            }
        }
    }

    /// Returns the number, also if it was sent as text. The error names `field`: the value is not a
    /// number, or it is larger than `max`.
    pub fn at_most(&self, max: u64, field: &str) -> Result<u64, String> {
        let number = if let Self::Text(number) = self { *number } else { self.get(field)? };
        if number <= max { Ok(number) } else { Err(format!("{field}: {number} is too large")) }
    }
}

/// Up to here every whole number has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Value<'_> for Count {
    fn null() -> Self {
        Self::Absent
    }
    fn wrong(what: &str) -> Self {
        Self::Wrong(what.into())
    }
    fn unsigned(value: u64) -> Self {
        Self::Number(value)
    }
    fn signed(value: i64) -> Self {
        u64::try_from(value).map_or_else(|_| Self::Negative(value.to_string().into()), Self::Number)
    }
    /// Text that consists of digits is a number. Any other text is invalid.
    fn text(text: Cow<'_, str>) -> Self {
        let (digits, is_negative) = text.strip_prefix('-').map_or((&*text, false), |rest| (rest, true));
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse() {
            Ok(number) if is_whole && (!is_negative || number == 0) => Self::Text(number),
            _ if is_whole && is_negative => Self::Negative((*text).into()),
            _ if text.is_empty() => Self::Absent,
            _ => Self::wrong(&format!("{:?}", one_line(&text, MAX_SHOWN))),
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: whole, not negative, exact"
    )]
    fn float(value: f64) -> Self {
        if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            Self::Number(value as u64)
        } else if value < 0.0 {
            Self::Negative(value.to_string().into())
        } else {
            Self::wrong(&value.to_string())
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

/// A flag; also as text or number. Absent and null are false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Is(bool),
    Wrong(Box<str>),
}

impl Flag {
    /// Whether the flag is set; an error that names `field` if it is another kind of value.
    pub fn get(&self, field: &str) -> Result<bool, String> {
        match self {
            Self::Is(flag) => Ok(*flag),
            Self::Wrong(what) => Err(format!("{field}: {what} is not true or false")),
        }
    }
}

impl Default for Flag {
    fn default() -> Self {
        Self::Is(false)
    }
}

impl<'de> Value<'de> for Flag {
    fn null() -> Self {
        Self::default()
    }
    fn wrong(what: &str) -> Self {
        Self::Wrong(what.into())
    }
    fn boolean(value: bool) -> Self {
        Self::Is(value)
    }
    fn unsigned(value: u64) -> Self {
        Self::Is(value != 0)
    }
    fn text(text: Cow<'de, str>) -> Self {
        match &*text {
            "true" | "1" => Self::Is(true),
            "false" | "0" | "" => Self::Is(false),
            _ => Self::wrong(&format!("{:?}", one_line(&text, MAX_SHOWN))),
        }
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

impl Report for Str<'_> {
    fn name(&self) -> Option<&str> {
        self.get("").ok().filter(|text| !text.is_empty())
    }
}

impl Report for Count {}
impl Report for Flag {}
