//! Which tag keys cover how much of a month, so that a sensible `group_by` can be chosen. Pure.
//!
//! The same figures for `report` (of a month's files, or of a dry run) and for `check --online`.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::decimal::Share;
use crate::snapshot::split_tag;
use crate::usage::{Line, Totals};

/// Most tag keys that are shown to people: where tags hold numbers, there are as many as VMs.
const MOST_KEYS: usize = 20;

/// How much of a month each tag key covers. A VM counts under each of its keys, so they overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// VMs of the month.
    pub vms: u64,
    /// Their hours, in the provider's words.
    pub vm_hours: u64,
    /// Their exact seconds.
    pub vm_seconds: u64,
    /// By tag key; most hours first.
    pub keys: Vec<TagCoverage>,
    /// VMs without any tag; its key is `None`.
    pub untagged: TagCoverage,
}

/// How much of a month a tag key covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagCoverage {
    /// The key; `None` for VMs without any tag.
    pub key: Option<String>,
    /// VMs that have it.
    pub vms: u64,
    /// Their hours, in the provider's words.
    pub vm_hours: u64,
    /// Their exact seconds.
    pub vm_seconds: u64,
    /// Their hours ÷ all hours, six decimals.
    #[serde(serialize_with = "text")]
    pub share_of_hours: Share,
}

impl Coverage {
    /// Sums up lines of one month; a VM with two tags of one key counts once under it.
    #[must_use]
    pub fn of<'a>(lines: impl IntoIterator<Item: Borrow<Line<'a>>>) -> Self {
        let (mut all, mut untagged) = (Totals::default(), Totals::default());
        let mut keys: BTreeMap<&str, Totals> = BTreeMap::new();
        for line in lines {
            let line: &Line<'a> = line.borrow();
            let totals = line.totals();
            all += totals;
            if line.vm.tags.is_empty() {
                untagged += totals;
            }
            for key in line.vm.tags.iter().map(|tag| split_tag(tag).0).collect::<BTreeSet<_>>() {
                *keys.entry(key).or_default() += totals;
            }
        }
        let covers = |key: Option<&str>, totals: &Totals| TagCoverage {
            key: key.map(str::to_owned),
            vms: totals.vms,
            vm_hours: totals.vm_hours,
            vm_seconds: totals.seconds.total(),
            share_of_hours: Share::of(totals.vm_hours, all.vm_hours),
        };
        let mut keys: Vec<_> = keys.iter().map(|(key, totals)| covers(Some(key), totals)).collect();
        keys.sort_by(|a, b| b.vm_hours.cmp(&a.vm_hours).then_with(|| a.key.cmp(&b.key)));
        Self {
            vms: all.vms,
            vm_hours: all.vm_hours,
            vm_seconds: all.seconds.total(),
            keys,
            untagged: covers(None, &untagged),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted, so that a key cannot play tricks with the terminal.
        let name = |row: &TagCoverage| match &row.key {
            Some(key) => format!("{key:?}"),
            None => "(untagged)".to_owned(),
        };
        let shown = self.keys.iter().take(MOST_KEYS).chain([&self.untagged]);
        let rows: Vec<_> = shown.map(|row| (name(row), row)).collect();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let digits = self.vm_hours.to_string().len();
        writeln!(f, "  hours by tag key (a VM counts under each of its keys)")?;
        for (name, row) in rows {
            writeln!(
                f,
                "    {name:<width$}  {:>7}  {:>digits$} h  {} {}",
                row.share_of_hours.percent(),
                row.vm_hours,
                row.vms,
                if row.vms == 1 { "VM" } else { "VMs" }
            )?;
        }
        match self.keys.len().saturating_sub(MOST_KEYS) {
            0 => Ok(()),
            more => writeln!(f, "    … and {more} more keys with fewer hours"),
        }
    }
}

fn text<S: Serializer>(share: &Share, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(share)
}
