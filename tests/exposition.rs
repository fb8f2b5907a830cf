//! Snapshots as text: what is in it, that it is well-formed, and that it is shared.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "exposition/bodies.rs"]
mod bodies;
#[path = "exposition/golden.rs"]
mod golden;
#[path = "exposition/limits.rs"]
mod limits;
#[path = "exposition/parse.rs"]
mod parse;
#[path = "exposition/series.rs"]
mod series;
#[path = "exposition/world.rs"]
mod world;

use flexvm_exporter::config::Metrics;
use flexvm_exporter::exposition::{Exposition, PlainText, TenantView};
use flexvm_exporter::snapshot::Snapshot;

use self::parse::{Family, families};

/// All parts of `tenants` as one text.
fn text(tenants: &[TenantView<'_>], options: &Metrics) -> String {
    let exposition = Exposition::of(tenants, options);
    whole(exposition.plain(None, &[]))
}

/// Joins all blocks of a plain text.
fn whole(text: PlainText) -> String {
    let blocks: Vec<_> = text.collect::<Result<_, _>>().unwrap();
    String::from_utf8(blocks.concat()).unwrap()
}

/// A tenant named `k1` of which only `snapshot` is known.
fn only(snapshot: &Snapshot) -> [TenantView<'_>; 1] {
    [TenantView { name: "k1", snapshot, up: None, closed: &[] }]
}

/// The parsed families of one tenant.
fn rendered(snapshot: &Snapshot, options: &Metrics) -> Vec<Family> {
    families(&text(&only(snapshot), options))
}

/// The samples of `family` whose labels have the given values, as `(values of `show`, value)`.
fn values(families: &[Family], family: &str, given: &[(&str, &str)], show: &[&str]) -> Vec<(String, String)> {
    let samples = families.iter().filter(|each| each.name == family).flat_map(|each| &each.samples);
    let wanted = samples.filter(|(labels, _)| {
        given.iter().all(|(name, value)| labels.get(*name).is_some_and(|found| found == value))
    });
    let shown = wanted.map(|(labels, value)| {
        let shown: Vec<_> = show.iter().map(|name| labels.get(*name).map_or("-", String::as_str)).collect();
        (shown.join(" "), value.clone())
    });
    shown.collect()
}

/// What [`values`] gives, without the cloning.
fn pairs(values: &[(String, String)]) -> Vec<(&str, &str)> {
    values.iter().map(|(labels, value)| (labels.as_str(), value.as_str())).collect()
}
