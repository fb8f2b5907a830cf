//! Snapshots as text for Prometheus: rendered and compressed once per change, shared by all scrapes.
//!
//! Data comes from `store` and goes to `web`. Each collector's families are a part of their own, and the
//! series of single VMs another, so that new capacity or usage does not cost a rendering of every VM.
//! `renderer` keeps a piece for each family and tenant; `gzip` makes one member of compressed pieces.

mod capacity;
mod catalogue;
mod choice;
mod counts;
mod deleted_vms;
mod gzip;
mod inventory;
mod per_vm;
mod renderer;
mod status;
mod usage;
mod writer;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Crc;

use self::choice::Choice;
use self::gzip::Piece;
pub use self::gzip::PlainText;
use self::renderer::Assembled;
pub use self::renderer::Renderer;
use self::writer::Writer;
use crate::config::Metrics;
pub use crate::snapshot::ClosedMonth;
use crate::snapshot::{Collector, Snapshot};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A tenant as the families see it.
#[derive(Clone, Copy, Debug)]
pub struct TenantView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its newest data.
    pub snapshot: &'a Snapshot,
    /// The value of `flexvm_up`; `None` before the first run.
    pub up: Option<bool>,
    /// The current revision of each closed month, newest month first.
    pub closed: &'a [ClosedMonth],
}

/// A piece of the exposition that is rendered on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What belongs to no collector.
    Status,
    /// The families of a collector; of inventory, those that do not grow with the number of VMs.
    Collector(Collector),
    /// The series of single VMs, which belong to the collector inventory and are nearly the whole text.
    Vms,
}

impl Part {
    /// Every part, in the order of the output.
    pub const ALL: [Self; 7] = [
        Self::Status,
        Self::Collector(Collector::Capacity),
        Self::Collector(Collector::Inventory),
        Self::Vms,
        Self::Collector(Collector::DeletedVms),
        Self::Collector(Collector::Usage),
        Self::Collector(Collector::Catalogue),
    ];
}

/// A set of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts([bool; Part::ALL.len()]);

impl Parts {
    /// Every part.
    pub const ALL: Self = Self([true; Part::ALL.len()]);

    /// Adds a part.
    pub fn insert(&mut self, part: Part) {
        self.merge([part].into_iter().collect());
    }

    /// Adds every part of `other`.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Whether a part is in the set.
    #[must_use]
    pub fn contains(self, part: Part) -> bool {
        Part::ALL.into_iter().zip(self.0).any(|(each, is_in)| is_in && each == part)
    }

    /// Whether no part is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        Self(Part::ALL.map(|part| parts.contains(&part)))
    }
}

/// All domain families, rendered. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    parts: [Arc<Assembled>; Part::ALL.len()],
}

impl Exposition {
    /// Renders everything of these tenants.
    #[must_use]
    pub fn of(tenants: &[TenantView<'_>], options: &Metrics) -> Self {
        let mut renderer = Renderer::default();
        for tenant in tenants {
            let _ = renderer.render(tenant, options, Parts::ALL);
        }
        renderer.assemble()
    }

    /// Returns a body as one gzip member, in pieces. The body consists of all parts, or of the status
    /// and the parts of the collectors in `collect`, followed by `own` (the exporter's own series).
    #[must_use]
    pub fn compressed(&self, collect: Option<&[Collector]>, own: &[u8]) -> Vec<Bytes> {
        let (mut body, mut crc) = (vec![gzip::header()], Crc::new());
        for part in self.parts(collect) {
            body.extend_from_slice(&part.compressed);
            crc.combine(&part.crc);
        }
        body.push(gzip::end(crc, own));
        body
    }

    /// Returns the body of [`Self::compressed`] as plain text.
    #[must_use]
    pub fn plain(&self, collect: Option<&[Collector]>, own: &[u8]) -> PlainText {
        let mut pieces: VecDeque<_> =
            self.parts(collect).flat_map(|part| &part.compressed).cloned().collect();
        let length: u64 = self.parts(collect).map(|part| part.length).sum();
        // Compressed as well: a slow reader holds it until the end.
        pieces.push_back(Piece::of(own).compressed);
        PlainText::new(pieces, length + own.len() as u64)
    }

    fn parts(&self, collect: Option<&[Collector]>) -> impl Iterator<Item = &Assembled> {
        let wanted = move |part: &Part| match part {
            Part::Status => true,
            Part::Collector(collector) => collect.is_none_or(|named| named.contains(collector)),
            Part::Vms => collect.is_none_or(|named| named.contains(&Collector::Inventory)),
        };
        Part::ALL
            .iter()
            .zip(&self.parts)
            .filter(move |(part, _)| wanted(part))
            .map(|(_, assembled)| &**assembled)
    }
}

/// The samples of one part of one tenant.
fn write_samples(
    part: Part,
    tenant: &TenantView<'_>,
    choice: &Choice,
    options: &Metrics,
    writer: &mut Writer,
) {
    match part {
        Part::Status => status::write(tenant, options, writer),
        Part::Collector(Collector::Capacity) => capacity::write(tenant, writer),
        Part::Collector(Collector::Inventory) => inventory::write(tenant, choice, writer),
        Part::Vms => per_vm::write(tenant, options, writer),
        Part::Collector(Collector::DeletedVms) => deleted_vms::write(tenant, writer),
        Part::Collector(Collector::Usage) => usage::write(tenant, choice, writer),
        Part::Collector(Collector::Catalogue) => catalogue::write(tenant, writer),
    }
}

/// The samples of one part of one tenant behind what `buffer` holds, plain and without HELP and TYPE.
#[must_use]
pub fn write_part(part: Part, tenant: &TenantView<'_>, options: &Metrics, buffer: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::new(buffer, options.max_label_length);
    let choice = Choice::default().next(tenant, options);
    write_samples(part, tenant, &choice, options, &mut writer);
    writer.into_bytes()
}

/// The provider's hours in seconds, the base unit of every duration.
fn from_hours(hours: u64) -> u64 {
    hours.saturating_mul(3600)
}

/// The first row of each key: two rows of one id would be one series twice, and that is what scrapers
/// refuse or drop without a word.
fn distinct<'a, T, K: Ord>(rows: &'a [T], key: impl Fn(&'a T) -> K) -> impl Iterator<Item = &'a T> {
    let mut met = BTreeSet::new();
    rows.iter().filter(move |row| met.insert(key(row)))
}

/// `plain` as gzip, compressed as bodies are.
#[must_use]
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    [gzip::header(), gzip::end(Crc::new(), plain)].concat()
}
