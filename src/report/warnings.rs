//! What a reader of the report should know, in words. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::reconcile::{Reconciliation, Rounding};
use super::tally::Tally;
use super::{Account, Inputs};
use crate::period::rfc3339;
use crate::snapshot::Text;
use crate::usage::{Flag, Grouping, LookAlikes};

/// Most names that one sentence spells out.
const MOST_NAMES: usize = 10;

/// Flags that are explained in one sentence, after the number of their VMs.
const FLAGS: [(Flag, &str); 5] = [
    (
        Flag::DuplicateRows,
        "the response has several rows for each, which agree on what counts; the last row is used",
    ),
    (Flag::HoursDiffer, "neither the exact time nor the whole seconds, rounded up, are the provider's hours"),
    (Flag::OutsidePeriod, "they did not exist within the month and have no seconds"),
    (Flag::ReleasedBeforeCreated, "released before created, which counts as released at once"),
    (Flag::ReplacedText, "texts of the response are not valid Unicode; U+FFFD replaces what cannot be read"),
];

/// Every sentence, in a fixed order.
pub fn of(inputs: &Inputs<'_>, tally: &Tally<'_>, reconciliation: &Reconciliation<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |holds: bool, sentence: &dyn Fn() -> String| {
        if holds {
            warnings.push(sentence());
        }
    };
    let fetched = rfc3339(inputs.fetched_at);
    warn(inputs.fetched_at < inputs.month.period().end, &|| {
        format!("The month had not ended when the provider was asked: usage is counted up to {fetched}.")
    });
    let mut flagged: BTreeMap<Flag, u64> = BTreeMap::new();
    let (mut unknown, mut unpriced) = (BTreeSet::new(), BTreeSet::new());
    for line in &tally.lines {
        for flag in tally.flags(line).iter() {
            *flagged.entry(flag).or_default() += 1;
            match flag {
                Flag::UnknownType => drop(unknown.insert(&*line.vm.instance_type)),
                Flag::NoPrice => drop(unpriced.insert(&*line.vm.instance_type)),
                _ => {}
            }
        }
    }
    let all = tally.lines.len();
    let vms = |flag: Flag| flagged.get(&flag).copied().unwrap_or_default();
    for (flag, sentence) in FLAGS {
        warn(vms(flag) > 0, &|| format!("{} on {} of {all} VMs: {sentence}.", flag.as_str(), vms(flag)));
    }
    warn(!unknown.is_empty(), &|| {
        format!(
            "unknown_type on {} of {all} VMs: the catalogue does not have {}; vCPU, memory and GPU hours leave them out.",
            vms(Flag::UnknownType),
            names(&unknown)
        )
    });
    warn(all == 0, &|| "The provider lists no VM in the month.".to_owned());
    warn(inputs.prices.is_none() && all > 0, &|| {
        "There is no price list: no internal cost is given, and all hours stand in unpriced_vm_hours."
            .to_owned()
    });
    warn(!unpriced.is_empty(), &|| {
        let (hours, types) = (tally.total.unpriced_hours, names(&unpriced));
        format!(
            "{hours} VM hours are of types without a price in {} ({types}); they have no internal cost.",
            inputs.month
        )
    });

    let with_vms = |id: &str| tally.clouds.get(id).is_some_and(|sums| sums.totals.vms > 0);
    let rowless =
        tally.clouds.keys().copied().filter(|id| !tally.provider_clouds.contains_key(id) && with_vms(id));
    let rowless: BTreeSet<&str> = rowless.collect();
    warn(!rowless.is_empty(), &|| {
        format!("The provider's totals have no row for clouds that have VMs ({}).", names(&rowless))
    });
    let repeated = inputs.monthly.clouds.len() - tally.provider_clouds.len();
    warn(repeated > 0, &|| {
        format!("The provider's totals repeat rows of clouds: {repeated}. Each cloud counts once.")
    });
    let listed: BTreeSet<&str> = inputs.clouds.iter().map(|cloud| &*cloud.id).collect();
    let unlisted: BTreeSet<&str> = tally.clouds.keys().copied().filter(|id| !listed.contains(id)).collect();
    warn(!unlisted.is_empty(), &|| {
        format!("The list of clouds does not have {}; their names are not known.", names(&unlisted))
    });
    let ambiguous: BTreeSet<&str> = reconciliation.ambiguous_tags().collect();
    warn(!ambiguous.is_empty(), &|| {
        format!(
            "The provider's totals have rows that differ for the same tag ({}); the verdict uses the row that differs most.",
            names(&ambiguous)
        )
    });
    let unexplained = |compared: &super::reconcile::Compared| {
        compared.provider.is_some_and(|theirs| theirs.rounding == Rounding::Unexplained)
    };
    let clouds: BTreeSet<&str> =
        reconciliation.clouds().filter(|(_, it)| unexplained(it)).map(|(id, _)| id).collect();
    let tags: BTreeSet<&str> =
        reconciliation.tags().filter(|(_, it)| unexplained(it)).map(|(tag, _)| tag).collect();
    for (what, rows) in [("clouds", &clouds), ("tags", &tags)] {
        warn(!rows.is_empty(), &|| {
            format!("No rounding explains the provider's hours for the {what} {}.", names(rows))
        });
    }
    let short = reconciliation.differences();
    warn(short.vms_created != 0 || short.vms_released != 0, &|| {
        format!(
            "Our count − the provider's: {:+} VMs created, {:+} VMs released.",
            short.vms_created, short.vms_released
        )
    });
    look_alikes(inputs, tally, &mut warnings);
    if let Some(account) = inputs.account {
        observed(account, inputs, &mut warnings);
    }
    warnings.extend(inputs.terms.notes.iter().cloned());
    warnings
}

/// Adds warnings about tags that a reader cannot distinguish, although they form different groups.
fn look_alikes(inputs: &Inputs<'_>, tally: &Tally<'_>, warnings: &mut Vec<String>) {
    let grouping = Grouping { group_by: inputs.group_by, tag_rules: inputs.tag_rules };
    let tags: Vec<&str> = tally.tags.keys().copied().collect();
    let found = LookAlikes::of(&grouping, &tags);
    if let Some(tags) = found.tags_in_words() {
        warnings.push(format!(
            "Tags look alike but are different groups: {tags}. Correct the tags, or add rules to report.tag_rules."
        ));
    }
    if let Some(keys) = found.keys_in_words() {
        warnings.push(format!(
            "Tag keys look alike, but report.group_by contains only the second key of each pair: {keys}. Correct the tags, or add rules to report.tag_rules."
        ));
    }
}

/// Where polls and the provider disagree.
fn observed(account: &Account, inputs: &Inputs<'_>, warnings: &mut Vec<String>) {
    let ids = |of: &[Text]| names(&of.iter().map(|id| &**id).collect());
    if !account.only_observed.is_empty() {
        let accepted = inputs.terms.accepted_incomplete.as_deref();
        let accepted = accepted.map(|reason| format!(" Accepted: {reason}.")).unwrap_or_default();
        warnings.push(format!(
            "Incomplete: the response lacks {} VMs that polls observed running or stopped in the month ({}).{accepted}",
            account.only_observed.len(),
            ids(&account.only_observed)
        ));
    }
    if !account.only_observed_other.is_empty() {
        warnings.push(format!(
            "The response lacks {} VMs that polls observed, but not in use by two polls ({}).",
            account.only_observed_other.len(),
            ids(&account.only_observed_other)
        ));
    }
    if !account.releases_differ.is_empty() {
        let differ: BTreeSet<&str> = account.releases_differ.iter().map(|it| &*it.vm_id).collect();
        warnings.push(format!(
            "releases_differ on {} VMs: polls contradict the time at which the provider ends them ({}).",
            differ.len(),
            names(&differ)
        ));
    }
    if !account.creations_differ.is_empty() {
        warnings.push(format!(
            "Polls observed {} VMs before the provider says that they were created ({}).",
            account.creations_differ.len(),
            ids(&account.creations_differ)
        ));
    }
}

fn names(of: &BTreeSet<&str>) -> String {
    let text = of.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    match of.len().checked_sub(MOST_NAMES) {
        Some(more @ 1..) => format!("{text} and {more} more"),
        _ => text,
    }
}
