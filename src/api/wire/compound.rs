//! Lists and objects within a row.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess};

use super::super::unknown::{Path, UnknownFields};
use super::row::Report;
use super::value::{Str, Value, any};

/// A list within a row, where null and absent are empty. Its nulls are left out.
#[derive(Debug)]
pub(super) enum List<T> {
    Items(Vec<T>),
    Wrong(Box<str>),
}

impl<T> List<T> {
    /// The items; an error that names `field` if it is another kind of value.
    pub fn get(&self, field: &str) -> Result<&[T], String> {
        match self {
            Self::Items(items) => Ok(items),
            Self::Wrong(what) => Err(format!("{field}: {what} is not a list")),
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::Items(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Value<'de> for List<T> {
    fn null() -> Self {
        Self::default()
    }
    fn wrong(what: &str) -> Self {
        Self::Wrong(what.into())
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Option<T>>()? {
            items.extend(item);
        }
        Ok(Self::Items(items))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

/// An object within a row that may be null or absent.
#[derive(Debug, Default)]
pub(super) enum Object<T> {
    #[default]
    Absent,
    Read(T),
    Wrong(Box<str>),
}

impl<T> Object<T> {
    /// The object, if there is one; an error that names `field` if it is another kind of value.
    pub fn get(&self, field: &str) -> Result<Option<&T>, String> {
        match self {
            Self::Absent => Ok(None),
            Self::Read(object) => Ok(Some(object)),
            Self::Wrong(what) => Err(format!("{field}: {what} is not an object")),
        }
    }

    /// The object; an error that names `field` if there is none.
    pub fn needed(&self, field: &str) -> Result<&T, String> {
        self.get(field)?.ok_or_else(|| format!("no {field}"))
    }
}

impl<'de, T: Deserialize<'de>> Value<'de> for Object<T> {
    fn null() -> Self {
        Self::Absent
    }
    fn wrong(what: &str) -> Self {
        Self::Wrong(what.into())
    }
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Self::Read)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

/// An object within a row that may also be written as its name or id alone.
#[derive(Debug)]
pub(super) struct Nested<T>(pub Object<T>);

/// What can be written as its name or id alone, without an object around it.
pub(super) trait Alone<'a> {
    fn alone(text: Str<'a>) -> Self;
}

impl<T> Default for Nested<T> {
    fn default() -> Self {
        Self(Object::Absent)
    }
}

impl<'de, T: Deserialize<'de> + Alone<'de>> Value<'de> for Nested<T> {
    fn null() -> Self {
        Self::default()
    }
    fn wrong(what: &str) -> Self {
        Self(Object::wrong(what))
    }
    fn text(text: Cow<'de, str>) -> Self {
        if text.is_empty() { Self::default() } else { Self(Object::Read(T::alone(Str::Text(text)))) }
    }
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Object::object(map).map(Self)
    }
}

impl<'de, T: Deserialize<'de> + Alone<'de>> Deserialize<'de> for Nested<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any(deserializer)
    }
}

impl<T: Report> Report for List<T> {
    fn report(&self, path: &Path<'_>, into: &mut UnknownFields) {
        if let Self::Items(items) = self {
            for item in items {
                item.report(path, into);
            }
        }
    }
}

impl<T: Report> Report for Object<T> {
    fn report(&self, path: &Path<'_>, into: &mut UnknownFields) {
        if let Self::Read(object) = self {
            object.report(path, into);
        }
    }
}

impl<T: Report> Report for Nested<T> {
    fn report(&self, path: &Path<'_>, into: &mut UnknownFields) {
        self.0.report(path, into);
    }
}
