//! Snapshots as text for Prometheus: rendered and compressed once per change, shared by all scrapes.
//!
//! Comes from `store`, goes to `web`. Each collector's families are a part of their own, and the
//! series of single VMs another, so that new capacity or usage does not cost a rendering of every VM; `gzip` puts compressed parts together.

mod capacity;
mod catalogue;
mod counts;
mod deleted_vms;
mod gzip;
mod inventory;
mod per_vm;
mod status;
mod tags;
mod usage;
mod writer;

use std::collections::BTreeSet;

use bytes::Bytes;

use self::gzip::Piece;
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
    /// The newest closed month.
    pub closed: Option<&'a ClosedMonth>,
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

/// All domain families, rendered. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    parts: [Rendered; Part::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct Rendered {
    plain: Bytes,
    compressed: Piece,
}

impl Exposition {
    /// Renders `changed` parts from `tenants` (in the order given) and shares the others with
    /// `previous`; without `previous` everything is rendered.
    #[must_use]
    pub fn render(
        tenants: &[TenantView<'_>],
        options: &Metrics,
        previous: Option<&Self>,
        changed: &[Part],
    ) -> Self {
        let mut exposition = previous.cloned().unwrap_or_default();
        for (part, rendered) in Part::ALL.iter().zip(&mut exposition.parts) {
            if previous.is_none() || changed.contains(part) {
                *rendered = render_part(*part, tenants, options, rendered.plain.len());
            }
        }
        exposition
    }

    /// A whole body in pieces: all parts, or the status and the named collectors, and `own`, the
    /// exporter's own series, behind them.
    #[must_use]
    pub fn body(&self, collect: Option<&[Collector]>, own: Vec<u8>, gzip: bool) -> Vec<Bytes> {
        let wanted = |part: &Part| match part {
            Part::Status => true,
            Part::Collector(collector) => collect.is_none_or(|named| named.contains(collector)),
            Part::Vms => collect.is_none_or(|named| named.contains(&Collector::Inventory)),
        };
        let parts = Part::ALL.iter().zip(&self.parts).filter(|(part, _)| wanted(part));
        let parts = parts.map(|(_, rendered)| rendered).filter(|rendered| !rendered.plain.is_empty());
        if gzip {
            gzip::member(parts.map(|rendered| &rendered.compressed), &own)
        } else {
            let own = (!own.is_empty()).then(|| own.into());
            parts.map(|rendered| rendered.plain.clone()).chain(own).collect()
        }
    }
}

/// `likely` is how long the text probably becomes.
fn render_part(part: Part, tenants: &[TenantView<'_>], options: &Metrics, likely: usize) -> Rendered {
    // A little more, so that a few new VMs do not make it twice as large.
    let mut plain = write_part(part, tenants, options, Vec::with_capacity(likely + likely / 32));
    // The text lives until the next change: spare room would be kept for as long.
    plain.shrink_to_fit();
    if plain.is_empty() {
        return Rendered::default();
    }
    Rendered { compressed: Piece::of(&plain), plain: plain.into() }
}

/// One part as plain text behind what `buffer` holds, not compressed.
#[must_use]
pub fn write_part(part: Part, tenants: &[TenantView<'_>], options: &Metrics, buffer: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::new(buffer);
    match part {
        Part::Status => status::write(tenants, &mut writer),
        Part::Collector(Collector::Capacity) => capacity::write(tenants, &mut writer),
        Part::Collector(Collector::Inventory) => inventory::write(tenants, options, &mut writer),
        Part::Vms => per_vm::write(tenants, options, &mut writer),
        Part::Collector(Collector::DeletedVms) => deleted_vms::write(tenants, &mut writer),
        Part::Collector(Collector::Usage) => usage::write(tenants, options, &mut writer),
        Part::Collector(Collector::Catalogue) => catalogue::write(tenants, &mut writer),
    }
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

/// `plain` as gzip, compressed as parts are.
#[must_use]
pub fn gzip(plain: &[u8]) -> Vec<u8> {
    gzip::member(std::iter::empty(), plain).concat()
}
