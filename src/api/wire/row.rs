//! How an object of the wire is read: known fields into a struct, fields of no use skipped,
//! fields that nobody documented remembered by name.
//!
//! Serde's derive would either drop unknown fields or buffer every field to keep them; wrapping
//! the deserializer to notice them tripled the time that a page of VMs takes.

use serde::de::Error;

use super::super::unknown::{Path, UnknownFields};
use crate::text::one_line;

/// Most unknown names remembered of one object.
const MAX_NAMES: usize = 32;

/// Maximum number of characters of the text that names an object in an error.
const MAX_NAME: usize = 80;

/// The unknown fields of one object: their names, and how many there are beyond those.
#[derive(Debug, Default)]
pub(super) struct Unknown(pub Vec<Box<str>>, pub u64);

impl Unknown {
    #[cold]
    pub fn meet(&mut self, name: &str) {
        if self.0.len() < MAX_NAMES {
            self.0.push(name.into());
        } else {
            self.1 += 1;
        }
    }
}

/// Tells the unknown fields within a value.
pub(super) trait Report {
    fn report(&self, _path: &Path<'_>, _into: &mut UnknownFields) {}

    /// The text that can name the object that the value belongs to.
    fn name(&self) -> Option<&str> {
        None
    }
}

/// Adds the name of an object to its error, if the object cannot be read completely: `name` is its
/// first field that has a text, with the text.
#[cold]
pub(super) fn within<E: Error>(error: E, name: Option<(&str, &str)>) -> E {
    match name {
        Some((field, text)) => E::custom(format!("{field} {}: {error}", one_line(text, MAX_NAME))),
        None => error,
    }
}

/// Declares the struct of an object: its fields with their names on the wire, and the documented
/// names that are of no use here. Every field may be absent; of a repeated one the last counts. The
/// first field is the one that names the object.
macro_rules! row {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($field:ident: $type:ty = $key:literal,)*
        }
        skip { $($skip:literal),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name<'a> {
            $($field: $type,)*
            unknown: $crate::api::wire::row::Unknown,
            borrows: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> serde::Deserialize<'a> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
                struct RowVisitor;
                impl<'a> serde::de::Visitor<'a> for RowVisitor {
                    type Value = $name<'a>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'a>>(self, mut map: A) -> Result<$name<'a>, A::Error> {
                        let mut row = $name::default();
                        match row.fill(&mut map) {
                            Ok(()) => Ok(row),
                            Err(error) => {
                                let names = [$($crate::api::wire::row::Report::name(&row.$field).map(|name| ($key, name)),)* None];
                                Err($crate::api::wire::row::within(error, names.into_iter().flatten().next()))
                            }
                        }
                    }
                }
                deserializer.deserialize_map(RowVisitor)
            }
        }

        impl<'a> $name<'a> {
            /// Reads every field.
            fn fill<A: serde::de::MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
                while let Some(key) = map.next_key::<$crate::api::wire::value::Key<'a>>()? {
                    match &*key.0 {
                        $($key => self.$field = map.next_value()?,)*
                        $($skip => drop(map.next_value::<serde::de::IgnoredAny>()?),)*
                        name => {
                            self.unknown.meet(name);
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(())
            }
        }

        impl $crate::api::wire::row::Report for $name<'_> {
            fn report(
                &self,
                path: &$crate::api::unknown::Path<'_>,
                into: &mut $crate::api::unknown::UnknownFields,
            ) {
                for name in &self.unknown.0 {
                    into.meet(path, name);
                }
                into.others(self.unknown.1);
                $(self.$field.report(&path.field($key), into);)*
            }
        }
    };
}

pub(super) use row;
