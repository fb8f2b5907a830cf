//! What is missing for full use of a tenant, each in a sentence with the way out. Names that the API
//! gave are quoted, so that they cannot play tricks with a terminal. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::api::{Endpoint, Error, Reason};
use crate::config::{TagRule, Tenant, TokenSource};
use crate::period::Month;
use crate::report::Coverage;
use crate::snapshot::{InstanceType, MonthlyReport};
use crate::usage::{self, Grouping, LookAlikes};

/// Most names in one sentence.
const MOST_NAMES: usize = 5;

/// A clock that is off by more, in seconds, dates polls and ends of months wrongly.
const CLOCK: u64 = 30;

/// Something that is missing.
#[derive(Debug, Serialize)]
pub struct Missing {
    pub what: What,
    pub text: String,
}

/// Kinds of what can be missing, named for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Credentials,
    Reachable,
    Endpoint,
    Clouds,
    GroupBy,
    Tags,
    Prices,
    InstanceTypes,
    Clock,
    ReportDirectory,
    Ledger,
}

impl Missing {
    pub fn new(what: What, text: String) -> Self {
        Self { what, text }
    }
}

/// What is known of a tenant.
pub struct Facts<'a> {
    pub tenant: &'a Tenant,
    pub tag_rules: &'a [TagRule],
    pub results: &'a BTreeMap<Endpoint, Result<(), Error>>,
    pub clouds: usize,
    pub instance_types: &'a [InstanceType],
    pub month: Option<(Month, &'a MonthlyReport)>,
    pub coverage: Option<&'a Coverage>,
    pub clock_ahead_seconds: Option<i64>,
}

impl Facts<'_> {
    fn grouping(&self) -> Grouping<'_> {
        Grouping { group_by: &self.tenant.group_by, tag_rules: self.tag_rules }
    }
}

pub fn of(facts: &Facts<'_>) -> Vec<Missing> {
    let mut missing = endpoints(facts);
    if facts.clouds == 0 && facts.results.get(&Endpoint::Clouds).is_some_and(Result::is_ok) {
        let text = "there are no clouds, so there is nothing to poll; is it the right organisation's token?";
        missing.push(Missing::new(What::Clouds, text.to_owned()));
    }
    missing.extend(group_by(facts));
    missing.extend(look_alikes(facts));
    missing.extend(prices(facts));
    missing.extend(sizes(facts));
    if let Some(ahead) = facts.clock_ahead_seconds.filter(|ahead| ahead.unsigned_abs() > CLOCK) {
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let text = format!(
            "this machine's clock is {} s {way} the API's; polls and ends of months are dated by it: let it follow \
             a time server",
            ahead.unsigned_abs()
        );
        missing.push(Missing::new(What::Clock, text));
    }
    missing
}

fn endpoints(facts: &Facts<'_>) -> Vec<Missing> {
    let failed: Vec<(Endpoint, &Error)> = facts
        .results
        .iter()
        .filter_map(|(endpoint, result)| Some((*endpoint, result.as_ref().err()?)))
        .collect();
    let all =
        |reason| failed.len() == facts.results.len() && failed.iter().all(|(_, it)| it.reason() == reason);
    if failed.is_empty() {
        return Vec::new();
    }
    if all(Reason::Credentials) {
        let place = match &facts.tenant.token {
            TokenSource::File(path) => format!("the file {}", path.display()),
            TokenSource::Env(name) => format!("the variable {name}"),
            TokenSource::Fixed(_) => "this program".to_owned(),
        };
        let text = format!(
            "the API refuses the token from {place}: it is wrong, has expired, or is limited to other source \
             addresses; put a valid one there"
        );
        return vec![Missing::new(What::Credentials, text)];
    }
    if all(Reason::Transport) || all(Reason::Timeout) {
        let text = format!(
            "nobody can be reached at {}: is the address right (base_url), and the way there open (firewall, \
             api.proxy, api.ca_file)?",
            facts.tenant.base_url
        );
        return vec![Missing::new(What::Reachable, text)];
    }
    let of = |(endpoint, error): &(Endpoint, &Error)| {
        let why = match error.reason() {
            Reason::Credentials => "is refused for this token",
            _ => "fails",
        };
        Missing::new(What::Endpoint, format!("{endpoint} {why}: {}", without(*endpoint)))
    };
    failed.iter().map(of).collect()
}

/// What there is not without an endpoint.
fn without(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Clouds => {
            "no metrics of clouds, nodes and VMs, no observed use (collectors inventory, deleted_vms), and no month \
             can be closed"
        }
        Endpoint::Nodes | Endpoint::Vms => {
            "no metrics of clouds, nodes and VMs, and no observed use (collector inventory)"
        }
        Endpoint::Cloud => "a poll fails while a cloud is being deleted (collector inventory)",
        Endpoint::Vm => "whether a VM that left every list is gone cannot be told (collector inventory)",
        Endpoint::Node => "nothing is lost, the exporter does not need it",
        Endpoint::InstanceTypes => {
            "no flexvm_instance_type_ series, no headroom (collector catalogue), and no month can be closed"
        }
        Endpoint::Images => "no flexvm_instance_type_ and flexvm_image_info series (collector catalogue)",
        Endpoint::CloudCapacity | Endpoint::Capacity => "no series of capacity (collector capacity)",
        Endpoint::Monthly => "no flexvm_usage_ series (collector usage), and no month can be closed",
    }
}

fn group_by(facts: &Facts<'_>) -> Option<Missing> {
    let (coverage, group_by) = (facts.coverage?, &facts.tenant.group_by);
    let there: BTreeSet<&str> = coverage.keys.iter().filter_map(|row| row.key.as_deref()).collect();
    if group_by.is_empty() {
        let best = coverage.keys.first()?;
        let text = format!(
            "report.group_by is empty, so each distinct set of tags is a group; {:?} covers {} of the hours: \
             group_by: [{}] would group by it",
            best.key.as_deref().unwrap_or_default(),
            best.share_of_hours.percent(),
            serde_json::Value::from(best.key.as_deref())
        );
        return Some(Missing::new(What::GroupBy, text));
    }
    let grouping = facts.grouping();
    let there: BTreeSet<&str> = there.into_iter().map(|key| grouping.new_key(key)).collect();
    let absent: Vec<&str> = group_by.iter().map(String::as_str).filter(|key| !there.contains(key)).collect();
    (!absent.is_empty() && coverage.vms > 0).then(|| {
        let text =
            format!("no VM of the month has a tag with this key of report.group_by: {}", names(absent));
        Missing::new(What::GroupBy, text)
    })
}

/// Reports tags of the month that a reader cannot distinguish, although they form different groups.
fn look_alikes(facts: &Facts<'_>) -> Vec<Missing> {
    let Some((month, report)) = facts.month else { return Vec::new() };
    let tags: BTreeSet<&str> = report.vms.iter().flat_map(|vm| vm.tags.iter().map(|tag| &**tag)).collect();
    let found = LookAlikes::of(&facts.grouping(), &tags.into_iter().collect::<Vec<_>>());
    let tags = found.tags_in_words().map(|tags| {
        format!(
            "tags of {month} look alike but are different groups: {tags}; correct the tags, or add rules to \
             report.tag_rules"
        )
    });
    let keys = found.keys_in_words().map(|keys| {
        format!(
            "tag keys of {month} look alike, but report.group_by contains only the second key of each pair: {keys}; correct the tags, or \
             add rules to report.tag_rules"
        )
    });
    tags.into_iter().chain(keys).map(|text| Missing::new(What::Tags, text)).collect()
}

/// Hours of the month by instance type, of types for which `holds`; most first.
fn hours(report: &MonthlyReport, holds: impl Fn(&str) -> bool) -> Vec<(&str, u64)> {
    let mut hours: BTreeMap<&str, u64> = BTreeMap::new();
    for vm in usage::by_id(report).into_iter().filter(|vm| holds(&vm.instance_type)) {
        *hours.entry(&vm.instance_type).or_default() += vm.vm_hours;
    }
    let mut hours: Vec<_> = hours.into_iter().collect();
    hours.sort_by_key(|(_, hours)| std::cmp::Reverse(*hours));
    hours
}

fn prices(facts: &Facts<'_>) -> Option<Missing> {
    let Some(prices) = &facts.tenant.prices else {
        let text =
            "there are no prices, so cost columns are empty and there is no cost gauge (prices.vm_hour)";
        return Some(Missing::new(What::Prices, text.to_owned()));
    };
    let (month, report) = facts.month?;
    let used = hours(report, |name| prices.at(name, month).is_none());
    let idle: Vec<String> = facts
        .instance_types
        .iter()
        .map(|it| &*it.name)
        .filter(|name| prices.at(name, month).is_none() && !used.iter().any(|(used, _)| used == name))
        .map(|name| format!("{name:?}"))
        .collect();
    let mut parts = Vec::new();
    if !used.is_empty() {
        let all: u64 = used.iter().map(|(_, hours)| hours).sum();
        let used = used.iter().map(|(name, hours)| format!("{name:?} ({hours} h)"));
        parts.push(format!("{all} h of {month} have no price: {}", names(used)));
    }
    if !idle.is_empty() {
        parts.push(format!("not used then, and without a price: {}", names(idle)));
    }
    // A mistyped name would show only as hours without a price.
    if facts.results.get(&Endpoint::InstanceTypes).is_some_and(Result::is_ok) {
        let strange: Vec<String> = prices
            .vm_hour
            .keys()
            .filter(|name| {
                !facts.instance_types.iter().any(|it| &*it.name == *name)
                    && !report.vms.iter().any(|vm| &*vm.instance_type == *name)
            })
            .map(|name| format!("{name:?}"))
            .collect();
        if !strange.is_empty() {
            parts.push(format!("priced, but neither in the catalogue nor used then: {}", names(strange)));
        }
    }
    (!parts.is_empty()).then(|| Missing::new(What::Prices, format!("{} (prices.vm_hour)", parts.join("; "))))
}

fn sizes(facts: &Facts<'_>) -> Option<Missing> {
    let (month, report) = facts.month?;
    if !facts.results.get(&Endpoint::InstanceTypes).is_some_and(Result::is_ok) {
        return None;
    }
    let known: BTreeSet<&str> = facts.instance_types.iter().map(|it| &*it.name).collect();
    let unknown = hours(report, |name| !known.contains(name));
    (!unknown.is_empty()).then(|| {
        let types = unknown.iter().map(|(name, hours)| format!("{name:?} ({hours} h)"));
        let text = format!(
            "types used in {month} that the catalogue does not have, so that vCPU, memory and GPU hours leave them \
             out: {}",
            names(types)
        );
        Missing::new(What::InstanceTypes, text)
    })
}

/// The first few names, and how many more.
fn names(all: impl IntoIterator<Item = impl Into<String>>) -> String {
    let mut all = all.into_iter().map(Into::into);
    let mut shown: Vec<String> = all.by_ref().take(MOST_NAMES).collect();
    match all.count() {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}
