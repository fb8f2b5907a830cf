//! The revision that a restatement supersedes, and what of its inputs the next revision keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::response::union;
use super::{CloseError, Closer};
use crate::api::Monthly;
use crate::ledger::LedgerError;
use crate::observe::Observations;
use crate::period::{Month, Period};
use crate::report::{Frozen, Header, Published};
use crate::snapshot::{MonthlyReport, ReportVm, Text};
use crate::usage::{self, NoWitness};

/// The inputs of a revision that is superseded.
pub(super) struct Previous {
    pub revision: u32,
    pub monthly: Monthly,
    header: Header,
    /// Whether the header was read from the revision's files, because the ledger does not have it.
    from_files: bool,
}

impl Closer {
    /// Reads the inputs of a revision from the ledger, or else from its files. Blocks.
    pub(super) fn previous(&self, published: &Published) -> Result<Previous, CloseError> {
        let (revision, monthly) = (published.revision, published.provider_report()?);
        let kept = self.kept(published.month, revision)?;
        let from_files = kept.is_none();
        let mut header = kept.map_or_else(|| Header::from_files(published, &monthly.report), Ok)?;
        header.normalise_ids();
        Ok(Previous { revision, monthly, header, from_files })
    }

    /// The frozen inputs of a revision; `None` if the ledger does not have them.
    fn kept(&self, month: Month, revision: u32) -> Result<Option<Header>, CloseError> {
        let row = match self.ledger.revision_at(self.tenant(), month, revision) {
            // A dry run creates no ledger.
            Err(LedgerError::Missing(_)) => None,
            row => row?,
        };
        let Some(packed) = row.and_then(|row| row.inputs) else { return Ok(None) };
        Ok(Some(Frozen::unpack(&packed).map_err(CloseError::Inputs)?.header))
    }
}

impl Previous {
    /// Keeps in `header` what is frozen: names, sizes, and the observed seconds of every VM whose life
    /// is unchanged. Adds only what the previous revision did not know.
    pub fn keep(&self, header: &mut Header, observations: &Observations, report: &MonthlyReport) {
        let old = &self.header;
        let clouds = std::mem::take(&mut header.clouds);
        header.clouds = union(old.clouds.clone(), clouds, |cloud| cloud.id.clone());
        let types = std::mem::take(&mut header.instance_types);
        header.instance_types = union(old.instance_types.clone(), types, |size| size.name.clone());
        // A VM of the previous revision keeps its size: its own, or else that of its type at that time.
        let known: BTreeSet<_> =
            self.monthly.report.vms.iter().map(|vm| (&vm.id, &vm.instance_type)).collect();
        let types: BTreeSet<_> = old.instance_types.iter().map(|of| &of.name).collect();
        let same_type = |vm: &&ReportVm| known.contains(&(&vm.id, &vm.instance_type));
        for vm in report.vms.iter().filter(same_type) {
            match old.vm_sizes.get(&vm.id) {
                Some(size) => drop(header.vm_sizes.insert(vm.id.clone(), *size)),
                None if types.contains(&vm.instance_type) => drop(header.vm_sizes.remove(&vm.id)),
                // The previous revision did not know it.
                None => {}
            }
        }
        // A ledger that was lost, restored from an old backup or cleaned up knows less than it did.
        let has_lost_polls = header.account.polls < old.account.polls;
        self.keep_observed(header, observations, report, has_lost_polls);
        if has_lost_polls {
            header.account = old.account.against(report);
            header.account.add_observed_in_use(old.observed.in_use(), report);
        }
        if self.from_files {
            header.terms.notes.push(format!(
                "The ledger does not have the inputs of revision {}: observed seconds, names and sizes are those of its files by-vm.csv and manifest.json.",
                self.revision
            ));
        }
    }

    fn keep_observed(
        &self,
        header: &mut Header,
        observations: &Observations,
        report: &MonthlyReport,
        has_lost_polls: bool,
    ) {
        let before = lives(&self.monthly.report, &self.header);
        let mut cut = 0_u64;
        for (id, life) in lives(report, header) {
            let Some(known) = before.get(&id) else { continue };
            let kept = self.header.observed.get(&id);
            if *known != life {
                // Recomputed from the ledger, if it still has the events.
                if !has_lost_polls && observations.histories.contains_key(&id) {
                    continue;
                }
                cut += u64::from(kept.is_some_and(|parts| parts.iter().sum::<u64>() > life.seconds()));
            }
            header.observed.set(id, kept.copied());
        }
        if cut > 0 {
            header.terms.notes.push(format!(
                "The observations of {cut} VMs whose life changed are gone: their observed seconds were cut to the new life, first other, then failed, stopped and running."
            ));
        }
    }

    /// The keys of the configuration that differ, and whether any of them counts for a restatement.
    pub fn configuration_changes(&self, after: &Header) -> (Vec<String>, bool) {
        let before = &self.header;
        let list =
            |keys: &[String]| if keys.is_empty() { "exact tag set".to_owned() } else { keys.join(", ") };
        let mut keys = Vec::new();
        if before.group_by != after.group_by {
            keys.push(format!("report.group_by ({} -> {})", list(&before.group_by), list(&after.group_by)));
        }
        if before.tag_rules != after.tag_rules {
            keys.push("report.tag_rules".to_owned());
        }
        keys.extend(price_changes(before, after));
        let counts = !keys.is_empty();
        if before.excel_bom != after.excel_bom {
            keys.push("report.excel_bom".to_owned());
        }
        (keys, counts)
    }

    /// Applies the prices, the grouping and the tag rules of the previous revision.
    pub fn keep_configuration(&self, header: &mut Header) {
        header.prices.clone_from(&self.header.prices);
        header.group_by.clone_from(&self.header.group_by);
        header.tag_rules.clone_from(&self.header.tag_rules);
        header.excel_bom = self.header.excel_bom;
    }
}

/// The keys of the price list whose value in the month differs, with both values.
fn price_changes(before: &Header, after: &Header) -> Vec<String> {
    let [old, new] = [before, after].map(|header| header.prices.as_ref());
    let currency = change("prices.currency", [old, new].map(|prices| Some(&prices?.currency)));
    let names: BTreeSet<&String> =
        old.into_iter().chain(new).flat_map(|prices| prices.vm_hour.keys()).collect();
    let prices = names.into_iter().filter_map(|name| {
        change(&format!("prices.vm_hour.{name}"), [old, new].map(|prices| prices?.at(name, after.month)))
    });
    currency.into_iter().chain(prices).collect()
}

/// A key and its two values, if they differ.
fn change<T: PartialEq + fmt::Display>(key: &str, [before, after]: [Option<T>; 2]) -> Option<String> {
    let text = |value: &Option<T>| value.as_ref().map_or_else(|| "none".to_owned(), T::to_string);
    (before != after).then(|| format!("{key} ({} -> {})", text(&before), text(&after)))
}

/// The life of each VM in the month, by id.
fn lives(report: &MonthlyReport, header: &Header) -> BTreeMap<Text, Period> {
    let lines = usage::lines(report, header.fetched_at, &NoWitness);
    lines.map(|line| (line.vm.id.clone(), line.life)).collect()
}
