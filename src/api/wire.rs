//! The wire's JSON, read straight into the domain. Private to `api`.
//!
//! Tolerant where the API is open (unknown fields and statuses, null, absent and empty text, both
//! spellings of a name), strict where a guess would become a wrong figure (ids, counts, the times
//! of the monthly report). Rows are converted one by one as they are parsed, so that a body and
//! its rows never exist three times over. An error in a row names the row by its id.

mod capacity;
mod compound;
mod decode;
mod inventory;
mod monthly;
mod row;
mod time;
mod value;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use self::compound::Object;
use self::decode::{Decoded, decode, decode_marked};
use self::row::Report;
use self::time::Time;
use self::value::Str;
use super::defects::Defects;
use super::unknown::{Path, UnknownFields};
use super::volume::MAX_LIST_ROWS;
use crate::snapshot::{
    Capacity, Cloud, CloudCapacity, Image, InstanceType, MonthlyReport, Node, Text, Vm, VmStatus,
};
use crate::text::{normal_id, one_line};

/// What was read from a body.
#[derive(Clone, Debug)]
pub(super) struct Parsed<T> {
    pub value: T,
    /// Fields that nobody documented.
    pub unknown: UnknownFields,
    /// Values that were replaced or omitted.
    pub defects: Defects,
    /// Ids that were not sent in their normal form, each with its spelling.
    pub spellings: Vec<(Text, Text)>,
}

type Outcome<T> = Result<Parsed<T>, serde_json::Error>;

/// How a body is read.
pub(super) trait Parse<T>: Send + 'static {
    /// What the body is known to say, without parsing it.
    fn known(&self, _body: &[u8]) -> Option<Parsed<T>> {
        None
    }

    /// What it says.
    fn parse(self, body: &[u8], texts: &Texts) -> Outcome<T>;
}

impl<T, F: FnOnce(&[u8], &Texts) -> Outcome<T> + Send + 'static> Parse<T> for F {
    fn parse(self, body: &[u8], texts: &Texts) -> Outcome<T> {
        self(body, texts)
    }
}

/// Text and tag sets that repeat, each stored once.
#[derive(Default)]
pub(super) struct Texts {
    words: Mutex<HashSet<Text, RandomState>>,
    tags: Mutex<HashSet<Arc<[Text]>, RandomState>>,
}

impl Texts {
    fn word(&self, word: &str) -> Text {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = words.get(word) {
            return known.clone();
        }
        let new = Text::from(word);
        words.insert(new.clone());
        new
    }

    /// Sorted, distinct, without empty ones.
    fn tags<'t>(&self, tags: impl Iterator<Item = &'t str>) -> Arc<[Text]> {
        let mut sorted: Vec<Text> = tags.filter(|tag| !tag.is_empty()).map(|tag| self.word(tag)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut sets = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(sorted.as_slice()) {
            return known.clone();
        }
        let new: Arc<[Text]> = sorted.into();
        sets.insert(new.clone());
        new
    }
}

/// What the conversion of rows has at hand.
struct Context<'a> {
    texts: &'a Texts,
    unknown: UnknownFields,
    defects: Defects,
    spellings: Vec<(Text, Text)>,
    /// Whether ids keep their spelling.
    is_verbatim: bool,
}

impl<'a> Context<'a> {
    fn new(texts: &'a Texts) -> Self {
        Self {
            texts,
            unknown: UnknownFields::default(),
            defects: Defects::default(),
            spellings: Vec::new(),
            is_verbatim: false,
        }
    }

    /// Ends the conversion.
    fn parsed<T>(self, value: T) -> Parsed<T> {
        Parsed { value, unknown: self.unknown, defects: self.defects, spellings: self.spellings }
    }

    fn word(&self, word: &str) -> Text {
        self.texts.word(word)
    }

    /// Returns an id in its normal form, or unchanged if ids keep their spelling.
    fn id<'i>(&self, id: &'i str) -> Cow<'i, str> {
        if self.is_verbatim { Cow::Borrowed(id) } else { normal_id(id) }
    }

    /// Reads the id of an object that can be requested by id. Stores the spelling of the id for such
    /// requests.
    fn own_id(&mut self, id: &str) -> Text {
        let normal = normal_id(id);
        let text = Text::from(&*normal);
        if let Cow::Owned(_) = normal {
            self.spellings.push((text.clone(), id.into()));
        }
        text
    }

    /// Counts a value of `field` that was replaced or omitted. `what` describes the value and its
    /// object.
    fn defect(&mut self, field: &'static str, what: fmt::Arguments<'_>) {
        self.defects.add(field, 1, || what.to_string());
    }

    /// Counts parts of the body that are not valid Unicode and were replaced.
    fn replaced(&mut self, parts: usize) {
        let what = || "text that is not valid Unicode".to_owned();
        self.defects.add("(text)", parts as u64, what);
    }

    /// Reads a descriptive text of an object. A value of another type is omitted and counted as a
    /// defect.
    fn text(&mut self, of: fmt::Arguments<'_>, field: &'static str, text: &Str<'_>) -> Text {
        let text = self.plain(of, field, text);
        self.word(text)
    }

    /// Reads a descriptive text like [`Self::text`], for texts that rarely repeat and are therefore not
    /// shared.
    fn plain<'s>(&mut self, of: fmt::Arguments<'_>, field: &'static str, text: &'s Str<'_>) -> &'s str {
        self.optional(of, text.get(field).map(Some), field).unwrap_or_default()
    }

    /// Returns an optional part of an object. A part that cannot be read is omitted and counted as a
    /// defect.
    fn optional<T>(
        &mut self,
        of: fmt::Arguments<'_>,
        part: Result<Option<T>, String>,
        field: &'static str,
    ) -> Option<T> {
        part.unwrap_or_else(|what| {
            self.defect(field, format_args!("{of}: {what}"));
            None
        })
    }

    /// Returns an optional time of an object, which the API sends under one of two names. A time that
    /// cannot be read is omitted and counted as a defect.
    fn time(
        &mut self,
        of: fmt::Arguments<'_>,
        field: &'static str,
        [time, other_name]: [&Time; 2],
    ) -> Option<Timestamp> {
        match time.or(other_name) {
            Time::At(at) => Some(*at),
            Time::Absent => None,
            Time::Unreadable(text) => {
                self.defect(field, format_args!("{of}: {field}: {text}"));
                None
            }
        }
    }
}

/// The wire's shape of something, and how it becomes the domain's. `P` is what the row alone does
/// not say, such as the cloud that was asked.
trait Row<'de, P>: Deserialize<'de> + Report {
    type Domain;

    /// What the row describes, as errors name it.
    const KIND: &'static str;

    /// The text that names the row among others, checked; empty for an object that has none.
    fn key(&self) -> Result<&str, String>;

    /// Converts the row, whose key is `key`. An error need not name the row.
    fn convert(&self, key: &str, known: &P, context: &mut Context<'_>) -> Result<Self::Domain, String>;
}

/// Converts a row. The error names it.
fn converted<'de, P, R: Row<'de, P>>(
    row: &R,
    known: &P,
    context: &mut Context<'_>,
) -> Result<R::Domain, String> {
    let key = row.key()?;
    row.convert(key, known, context).map_err(|what| match key {
        "" => what,
        key => format!("{} {}: {what}", R::KIND, one_line(key, MAX_KEY)),
    })
}

/// Maximum number of characters of a row's key in an error.
const MAX_KEY: usize = 80;

/// Reads one row.
struct One<'c, 't, P, R>(&'c mut Context<'t>, &'c P, PhantomData<R>);

impl<'de, P, R: Row<'de, P>> DeserializeSeed<'de> for One<'_, '_, P, R> {
    type Value = R::Domain;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R::Domain, D::Error> {
        let row = R::deserialize(deserializer)?;
        row.report(&Path::default(), &mut self.0.unknown);
        converted(&row, self.1, self.0).map_err(D::Error::custom)
    }
}

/// Reads the row with this number in its list. An error names the number.
struct Element<R>(usize, PhantomData<R>);

impl<'de, R: Deserialize<'de>> DeserializeSeed<'de> for Element<R> {
    type Value = R;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R, D::Error> {
        let number = |what: &dyn fmt::Display| D::Error::custom(format!("row {}: {what}", self.0));
        match Object::deserialize(deserializer).map_err(|error| number(&error))? {
            Object::Read(row) => Ok(row),
            Object::Absent => Err(number(&"null is not an object")),
            Object::Wrong(what) => Err(number(&format_args!("{what} is not an object"))),
        }
    }
}

/// Reads a list of rows; where it is the value of a field, `null` is an empty one.
struct Rows<'c, 't, P, R> {
    context: &'c mut Context<'t>,
    known: &'c P,
    /// The field that the list is in; a bare list is in none.
    field: Option<&'static str>,
    row: PhantomData<R>,
}

impl<'de, P, R: Row<'de, P>> DeserializeSeed<'de> for Rows<'_, '_, P, R> {
    type Value = Vec<R::Domain>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P, R: Row<'de, P>> Visitor<'de> for Rows<'_, '_, P, R> {
    type Value = Vec<R::Domain>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "a list in {field}"),
            None => f.write_str("a list"),
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        if self.field.is_some() {
            return Ok(Vec::new());
        }
        Err(E::invalid_type(serde::de::Unexpected::Unit, &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let root = Path::default();
        let path = self.field.map_or(Path::default(), |field| root.field(field));
        let mut rows = Vec::new();
        while let Some(row) = list.next_element_seed(Element::<R>(rows.len(), PhantomData))? {
            row.report(&path, &mut self.context.unknown);
            let converted = converted(&row, self.known, self.context);
            rows.push(converted.map_err(|what| A::Error::custom(format!("row {}: {what}", rows.len())))?);
            if self.field.is_none() && rows.len() as u64 > MAX_LIST_ROWS {
                // The list has too many rows. The caller refuses it because of the row count, so the rest is not stored.
                while list.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(rows)
    }
}

/// Parses a whole body, which is [decoded](decode) once for all texts in it, with `seed`.
fn read<'de, S: DeserializeSeed<'de>>(body: &'de str, seed: S) -> Result<S::Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(body);
    let value = seed.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// Parses a bare list.
fn list<'de, P, R: Row<'de, P>>(body: &'de Decoded<'_>, texts: &Texts, known: &P) -> Outcome<Vec<R::Domain>> {
    let mut context = Context::new(texts);
    context.replaced(body.replaced);
    let value = read(&body.text, Rows { context: &mut context, known, field: None, row: PhantomData::<R> })?;
    Ok(context.parsed(value))
}

/// Parses a bare object.
fn object<'de, P, R: Row<'de, P>>(body: &'de Decoded<'_>, texts: &Texts, known: &P) -> Outcome<R::Domain> {
    let mut context = Context::new(texts);
    context.replaced(body.replaced);
    let value = read(&body.text, One(&mut context, known, PhantomData::<R>))?;
    Ok(context.parsed(value))
}

pub(super) fn clouds(body: &[u8], texts: &Texts) -> Outcome<Vec<Cloud>> {
    list::<_, inventory::CloudRow<'_>>(&decode(body)?, texts, &())
}

pub(super) fn cloud(body: &[u8], texts: &Texts) -> Outcome<Cloud> {
    object::<_, inventory::CloudRow<'_>>(&decode(body)?, texts, &())
}

pub(super) fn nodes(body: &[u8], texts: &Texts, cloud_id: &Text) -> Outcome<Vec<Node>> {
    list::<_, inventory::NodeRow<'_>>(&decode(body)?, texts, cloud_id)
}

pub(super) fn node(body: &[u8], texts: &Texts, cloud_id: &Text) -> Outcome<Node> {
    object::<_, inventory::NodeRow<'_>>(&decode(body)?, texts, cloud_id)
}

/// `asked` is the status of rows that say none.
pub(super) fn vms(body: &[u8], texts: &Texts, cloud_id: &Text, asked: &VmStatus) -> Outcome<Vec<Vm>> {
    list::<_, inventory::VmRow<'_>>(&decode(body)?, texts, &(cloud_id.clone(), Some(asked.clone())))
}

pub(super) fn vm(body: &[u8], texts: &Texts, cloud_id: &Text) -> Outcome<Vm> {
    object::<_, inventory::VmRow<'_>>(&decode(body)?, texts, &(cloud_id.clone(), None))
}

/// Parses a page of instance types. A type whose size cannot be read is a defect; its row is `None`,
/// because paging counts all rows.
pub(super) fn instance_types(body: &[u8], texts: &Texts) -> Outcome<Vec<Option<InstanceType>>> {
    list::<_, capacity::InstanceTypeRow<'_>>(&decode(body)?, texts, &())
}

pub(super) fn images(body: &[u8], texts: &Texts) -> Outcome<Vec<Image>> {
    list::<_, capacity::ImageRow<'_>>(&decode(body)?, texts, &())
}

pub(super) fn cloud_capacity(body: &[u8], texts: &Texts) -> Outcome<Vec<CloudCapacity>> {
    list::<_, capacity::CloudCapacityRow<'_>>(&decode(body)?, texts, &())
}

pub(super) fn capacity(body: &[u8], texts: &Texts) -> Outcome<Capacity> {
    object::<_, capacity::CapacityRow<'_>>(&decode(body)?, texts, &())
}

pub(super) fn monthly(body: &[u8], texts: &Texts) -> Outcome<MonthlyReport> {
    let Decoded { text, replaced } = decode(body)?;
    monthly_text(&text, texts, |context| context.replaced(replaced))
}

/// Parses a monthly report like [`monthly`], but keeps its ids as sent.
pub(super) fn monthly_verbatim(body: &[u8], texts: &Texts) -> Outcome<MonthlyReport> {
    monthly_text(&decode(body)?.text, texts, |context| context.is_verbatim = true)
}

/// Parses a monthly report [for comparisons](decode_marked); `None` if [`monthly`] returns an equal
/// report.
pub(super) fn monthly_marked(body: &[u8], texts: &Texts) -> Option<Outcome<MonthlyReport>> {
    decode_marked(body).map(|text| monthly_text(&text, texts, |_| ()))
}

fn monthly_text(body: &str, texts: &Texts, prepare: impl FnOnce(&mut Context<'_>)) -> Outcome<MonthlyReport> {
    let mut context = Context::new(texts);
    prepare(&mut context);
    let value = read(body, monthly::Report(&mut context))?;
    Ok(context.parsed(value))
}

/// What is wrong with a body that could not be parsed, without quoting it.
pub(super) fn explain(body: &[u8], error: &serde_json::Error) -> String {
    match body.trim_ascii_start() {
        [] => "the body is empty".to_owned(),
        [b'<', ..] => "the body is HTML or XML, not JSON".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
