//! The difference between a closed month and the provider's current report on it, in what counts:
//! VMs, the provider's totals per cloud and per tag. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::storage::hexadecimal;
use crate::ledger::ChangedSeconds;
use crate::period::rfc3339;
use crate::snapshot::{MonthlyReport, ProviderTotals, Text};
use crate::usage::{self, Counted, Line, NoWitness};

/// Seconds in an hour.
const HOUR: u64 = 3600;

/// What differs between a closed month and the provider's current report on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// VMs that were added, removed, or differ in their times, hours, type, cloud or tags, by id.
    pub vms: Vec<Text>,
    /// Clouds whose totals differ, by id.
    pub clouds: Vec<Text>,
    /// Tags whose totals differ, bytewise.
    pub tags: Vec<Text>,
    /// The size of the difference.
    pub seconds: ChangedSeconds,
}

impl Changed {
    /// Compares two responses about one month that has ended.
    #[must_use]
    pub fn between(before: &MonthlyReport, after: &MonthlyReport) -> Self {
        let mut changed = Self::default();
        changed.add_vms(before, after);
        (changed.clouds, changed.seconds.clouds) = changed_totals(&clouds(before), &clouds(after));
        (changed.tags, changed.seconds.tags) = changed_totals(&tags(before), &tags(after));
        changed
    }

    /// Whether nothing that counts differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty() && self.clouds.is_empty() && self.tags.is_empty()
    }

    fn add_vms(&mut self, before: &MonthlyReport, after: &MonthlyReport) {
        let end = before.period.end;
        let [old, new] =
            [before, after].map(|report| usage::lines(report, end, &NoWitness).collect::<Vec<_>>());
        let mut pairs: BTreeMap<&Text, [Option<&Line<'_>>; 2]> = BTreeMap::new();
        for (side, lines) in [&old, &new].into_iter().enumerate() {
            for line in lines {
                pairs.entry(&line.vm.id).or_default()[side] = Some(line);
            }
        }
        for (id, pair) in pairs {
            let moved = match pair {
                [Some(old), Some(new)] if Counted::of(old.vm, end) == Counted::of(new.vm, end) => continue,
                [Some(old), Some(new)] => {
                    let hours = old.vm.vm_hours.abs_diff(new.vm.vm_hours).saturating_mul(HOUR);
                    match old.seconds.total().abs_diff(new.seconds.total()).max(hours) {
                        // Only type, tags or cloud differ: all seconds of the VM moved.
                        0 => new.seconds.total(),
                        by => by,
                    }
                }
                [one, other] => one.or(other).map_or(0, |line| line.seconds.total()),
            };
            self.vms.push(id.clone());
            self.seconds.vms = self.seconds.vms.saturating_add(moved);
        }
        if !self.vms.is_empty() {
            self.seconds.vms = self.seconds.vms.max(1);
        }
    }
}

/// The provider's totals by id or tag. A tag may have several rows.
type Totals<'a> = BTreeMap<&'a Text, BTreeSet<[u64; 3]>>;

fn totals<'a>(rows: impl Iterator<Item = (&'a Text, ProviderTotals)>) -> Totals<'a> {
    let mut totals = Totals::new();
    for (key, usage) in rows {
        let row = [usage.vms_created, usage.vms_released, usage.vm_hours];
        // A row of zeros says as much as no row.
        if row != [0; 3] {
            totals.entry(key).or_default().insert(row);
        }
    }
    totals
}

fn clouds(report: &MonthlyReport) -> Totals<'_> {
    totals(report.clouds.iter().map(|row| (&row.id, row.usage)))
}

fn tags(report: &MonthlyReport) -> Totals<'_> {
    totals(report.by_tag.iter().map(|row| (&row.tag, row.usage)))
}

/// The keys whose rows differ, and their hours in seconds.
fn changed_totals(before: &Totals<'_>, after: &Totals<'_>) -> (Vec<Text>, u64) {
    let keys: BTreeSet<&Text> = before.keys().chain(after.keys()).copied().collect();
    let hours = |rows: Option<&BTreeSet<[u64; 3]>>| {
        rows.into_iter().flatten().fold(0, |sum: u64, row| sum.saturating_add(row[2]))
    };
    let (mut changed, mut seconds) = (Vec::new(), 0_u64);
    for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
        let by = hours(before.get(key)).abs_diff(hours(after.get(key)));
        changed.push(key.clone());
        seconds = seconds.saturating_add(by.saturating_mul(HOUR));
    }
    let least = u64::from(!changed.is_empty());
    (changed, seconds.max(least))
}

/// SHA-256, in hexadecimal, of everything that counts of a response about a month that has ended.
/// Two responses agree if, and only if, their fingerprints are equal.
#[must_use]
pub fn fingerprint(report: &MonthlyReport) -> String {
    let mut sha256 = Sha256::new();
    let mut part = |text: &str| {
        // The length keeps two texts apart from one that is their concatenation.
        sha256.update((text.len() as u64).to_le_bytes());
        sha256.update(text);
    };
    part(&rfc3339(report.period.start));
    part(&rfc3339(report.period.end));
    for line in usage::lines(report, report.period.end, &NoWitness) {
        let counted = Counted::of(line.vm, report.period.end);
        part("vm");
        part(&line.vm.id);
        part(&counted.created_at.to_string());
        part(&counted.released_at.map(|at| at.to_string()).unwrap_or_default());
        part(&counted.vm_hours.to_string());
        part(counted.instance_type);
        part(counted.cloud_id);
        part(&counted.tags.len().to_string());
        counted.tags.iter().for_each(|tag| part(tag));
    }
    for (scope, totals) in [("cloud", clouds(report)), ("tag", tags(report))] {
        for (key, rows) in totals {
            part(scope);
            part(key);
            part(&format!("{rows:?}"));
        }
    }
    hexadecimal(&sha256.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Monthly;

    /// A report on October with one VM; `edit` changes its JSON.
    fn report(edit: impl FnOnce(&mut serde_json::Value)) -> MonthlyReport {
        let mut json = serde_json::json!({
            "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
            "total_nodes": 1, "total_active_vms": 1,
            "clouds": [{"id": "c", "site": "s", "instance_type": "bm", "nodes": 1, "active_vms": 1,
                "period_usage": {"total_vms_created": 1, "total_vms_released": 0, "total_vm_hours": 24}}],
            "by_tag": [{"tag": "a:1", "active_vms": 1, "total_vms_created": 1, "total_vms_released": 0,
                "total_vm_hours": 24}],
            "vms": [{"vm_id": "v", "name": "n", "status": "running", "plan": "t", "image": "i", "cloud_id": "c",
                "site": "s", "tags": ["a:1"], "created_at": "2026-10-31T00:00:00Z", "released_at": null,
                "vm_hours": 24}]
        });
        edit(&mut json);
        Monthly::read(json.to_string().into()).unwrap().report
    }

    type Edit = fn(&mut serde_json::Value);

    #[test]
    fn every_part_that_counts_differs_in_its_scope() {
        let before = report(|_| ());
        let day = 24 * 3600;
        let cases: [(Edit, [u64; 3]); 12] = [
            (|json| json["vms"][0]["status"] = "failed".into(), [0, 0, 0]),
            (|json| json["vms"][0]["name"] = "other".into(), [0, 0, 0]),
            (|json| json["clouds"][0]["active_vms"] = 7.into(), [0, 0, 0]),
            // The VM is released after the month.
            (|json| json["vms"][0]["released_at"] = "2026-11-02T00:00:00Z".into(), [0, 0, 0]),
            (|json| json["vms"][0]["released_at"] = "2026-10-31T12:00:00Z".into(), [day / 2, 0, 0]),
            (|json| json["vms"][0]["vm_hours"] = 25.into(), [3600, 0, 0]),
            (|json| json["vms"][0]["tags"] = serde_json::json!([]), [day, 0, 0]),
            (|json| json["vms"][0]["plan"] = "u".into(), [day, 0, 0]),
            (|json| json["vms"] = serde_json::json!([]), [day, 0, 0]),
            (|json| json["clouds"][0]["period_usage"]["total_vm_hours"] = 30.into(), [0, 6 * 3600, 0]),
            (|json| json["clouds"][0]["period_usage"]["total_vms_created"] = 0.into(), [0, 1, 0]),
            (|json| json["by_tag"] = serde_json::json!([]), [0, 0, day]),
        ];
        for (number, (edit, expected)) in cases.into_iter().enumerate() {
            let after = report(edit);
            let changed = Changed::between(&before, &after);
            let ChangedSeconds { vms, clouds, tags } = changed.seconds;
            assert_eq!([vms, clouds, tags], expected, "case {number}");
            assert_eq!(changed.is_empty(), expected == [0; 3], "case {number}");
            assert_eq!(fingerprint(&before) == fingerprint(&after), changed.is_empty(), "case {number}");
        }
    }
}
