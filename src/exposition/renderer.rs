//! The pieces of every tenant and how they become one exposition.
//!
//! A piece holds the samples of one family of one tenant, compressed. It is replaced only if its text
//! differs, so the cost of a change does not depend on other tenants. Assembly puts the pieces in the
//! order of the families, each behind its HELP and TYPE; it copies no text.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;
use flate2::Crc;

use super::choice::Choice;
use super::gzip::Piece;
use super::writer::Writer;
use super::{Exposition, Part, Parts, TenantView, write_samples};
use crate::config::Metrics;
use crate::snapshot::Collector;

/// Renders tenants and keeps what was rendered.
#[derive(Debug, Default)]
pub struct Renderer {
    tenants: BTreeMap<Arc<str>, Pieces>,
    /// HELP and TYPE of each family, by name.
    headers: HashMap<&'static str, Arc<Piece>>,
    /// The parts with pieces that are not in `assembled`.
    changed: Parts,
    assembled: Exposition,
}

/// What was rendered of one tenant.
#[derive(Debug, Default)]
struct Pieces {
    /// The tags and groups that have series.
    choice: Choice,
    parts: [Vec<Family>; Part::ALL.len()],
}

/// A family of one tenant. Without samples its piece is empty.
#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Arc<Piece>,
}

/// A part of all tenants, in pieces.
#[derive(Debug, Default)]
pub struct Assembled {
    pub compressed: Vec<Bytes>,
    /// The checksum of the plain text.
    pub crc: Crc,
    /// The length of the plain text in bytes.
    pub length: u64,
}

/// The parts that depend on the choice of tags and groups.
const CHOOSING: [Part; 2] = [Part::Collector(Collector::Inventory), Part::Collector(Collector::Usage)];

/// Runs `work`; returns `None` if it panics. The panic is logged. A panic in one part of one tenant must not stop
/// the rendering of other parts and tenants.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Renderer {
    /// Renders `parts` of a tenant. Pieces whose text did not change are kept. Returns the parts whose
    /// rendering panicked. These parts keep their previous pieces.
    #[must_use]
    pub fn render(&mut self, tenant: &TenantView<'_>, options: &Metrics, parts: Parts) -> Parts {
        let mut failed = Parts::default();
        let pieces = match self.tenants.get_mut(tenant.name) {
            Some(pieces) => pieces,
            None => self.tenants.entry(tenant.name.into()).or_default(),
        };
        if parts.contains(Part::Collector(Collector::Inventory))
            || parts.contains(Part::Collector(Collector::Usage))
        {
            match caught(|| pieces.choice.next(tenant, options)) {
                Some(choice) => pieces.choice = choice,
                None => failed = CHOOSING.into_iter().collect(),
            }
        }
        for (part, old) in Part::ALL.into_iter().zip(&mut pieces.parts) {
            if !parts.contains(part) || failed.contains(part) {
                continue;
            }
            let choice = &pieces.choice;
            let rendered = caught(|| {
                fail_point!("exposition::part");
                // Nearly the same length as before: room for a few new objects.
                let likely: usize = old.iter().map(|family| family.samples.length).sum();
                let buffer = Vec::with_capacity(likely + likely / 32);
                let mut writer = Writer::new(buffer, options.max_label_length);
                write_samples(part, tenant, choice, options, &mut writer);
                update(old, &writer)
            });
            match rendered {
                Some(true) => self.changed.insert(part),
                Some(false) => {}
                None => failed.insert(part),
            }
        }
        failed
    }

    /// Drops the pieces of every tenant that is not wanted.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let before = self.tenants.len();
        self.tenants.retain(|name, _| wanted(name));
        if self.tenants.len() != before {
            self.changed = Parts::ALL;
        }
    }

    /// Whether something was rendered that [`Renderer::assemble`] has not put together yet.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Puts all pieces together. Parts without a change are shared with the exposition before.
    pub fn assemble(&mut self) -> Exposition {
        let changed = std::mem::take(&mut self.changed);
        for (number, part) in Part::ALL.into_iter().enumerate() {
            if changed.contains(part) {
                self.assembled.parts[number] = Arc::new(self.assemble_part(number));
            }
        }
        self.assembled.clone()
    }

    fn assemble_part(&mut self, number: usize) -> Assembled {
        let Self { tenants, headers, .. } = self;
        let mut families: Vec<(&Family, Vec<&Piece>)> = Vec::new();
        for pieces in tenants.values() {
            // All tenants have the same families in the same order, unless one was rendered with
            // another configuration: then its other families come behind the one before them.
            let mut at = 0;
            for family in &pieces.parts[number] {
                let known = families.iter().skip(at).position(|(known, _)| known.name == family.name);
                at += known.unwrap_or_default();
                if known.is_none() {
                    families.insert(at, (family, Vec::new()));
                }
                if !family.samples.is_empty() {
                    families[at].1.push(&family.samples);
                }
                at += 1;
            }
        }
        let mut assembled = Assembled::default();
        for (family, pieces) in families.into_iter().filter(|(_, pieces)| !pieces.is_empty()) {
            let header = headers.entry(family.name).or_insert_with(|| Arc::new(header(family)));
            assembled.push(header);
            for piece in pieces {
                assembled.push(piece);
            }
        }
        assembled
    }
}

impl Assembled {
    fn push(&mut self, piece: &Piece) {
        self.compressed.push(piece.compressed.clone());
        self.crc.combine(&piece.crc);
        self.length += piece.length as u64;
    }
}

/// Takes what was written in place of the `old` families. Returns whether anything differs.
fn update(old: &mut Vec<Family>, writer: &Writer) -> bool {
    let mut differs = false;
    let mut new = Vec::new();
    for (name, help, samples) in writer.families() {
        let before = old.iter().find(|family| family.name == name);
        let samples = if let Some(same) = before.filter(|before| before.samples.is_of(samples)) {
            Arc::clone(&same.samples)
        } else {
            differs |= before.is_some() || !samples.is_empty();
            Arc::new(Piece::of(samples))
        };
        new.push(Family { name, help, samples });
    }
    let is_gone = |before: &Family| !new.iter().any(|family| family.name == before.name);
    differs |= old.iter().any(|before| !before.samples.is_empty() && is_gone(before));
    *old = new;
    differs
}

fn header(family: &Family) -> Piece {
    let Family { name, help, .. } = family;
    Piece::of(format!("# HELP {name} {help}\n# TYPE {name} gauge\n").as_bytes())
}
