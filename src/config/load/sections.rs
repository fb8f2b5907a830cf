//! The sections that are for all tenants; `api` and `report.group_by` may stand in a tenant too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use reqwest::Url;
use rust_decimal::Decimal;

use super::Look;
use super::tag_rules::tag_rules;
use crate::config::TagRule;
use crate::config::base_url::quoted;
use crate::config::schedule::Schedule;
use crate::config::yaml::{Found, Section, duration};
use crate::config::{Api, Completeness, Ledger, Metrics, Poll, Report, Restate, Web, WebReports};

pub(super) fn api(section: &Section<'_>, default: Api, look: Look<'_>) -> Api {
    let positive = |key: &'static str, default| match section.duration(key) {
        Some(duration) if duration.is_zero() => {
            section.problem(key, "must be more than zero: a request without a limit can hang for ever");
            default
        }
        Some(duration) => duration,
        None => default,
    };
    Api {
        timeout: positive("timeout", default.timeout),
        connect_timeout: positive("connect_timeout", default.connect_timeout),
        allow_http: section.boolean("allow_http").unwrap_or(default.allow_http),
        ca_file: section.value("ca_file", |scalar| ca_file(scalar.as_str(), look)).or(default.ca_file),
        proxy: section.value("proxy", |scalar| proxy(scalar.as_str())).or(default.proxy),
        page_size: section.number("page_size", 1..=10_000).unwrap_or(default.page_size),
        concurrency: section
            .number("concurrency", 1..=256)
            .map_or(default.concurrency, |number| number as usize),
        max_body: section.value("max_body", |scalar| bytes(scalar.as_str())).unwrap_or(default.max_body),
        retries: section.number("retries", 0..=20).unwrap_or(default.retries),
    }
}

fn ca_file(text: &str, look: Look<'_>) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let path = look.resolve(PathBuf::from(text));
    (look.ca_file)(&path).map_or(Ok(path), Err)
}

fn proxy(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // The text is not repeated: it may hold a password.
        _ => Err("is not the address of a proxy, such as http://proxy.example:3128".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() >= 1024 => Ok(size.as_u64()),
        Ok(_) => Err(format!("{text:?} is less than 1KiB")),
        Err(_) => Err(format!("{text:?} is not a size such as 256MiB")),
    }
}

pub(super) fn poll(section: &Section<'_>) -> Poll {
    let default = Poll::default();
    let interval = |key: &'static str, default| match section.duration(key) {
        Some(interval) if !interval.is_zero() && interval.as_secs() == 0 => {
            section.problem(key, "is less than a second; 0s switches the collector off");
            default
        }
        Some(interval) => interval,
        None => default,
    };
    Poll {
        capacity: interval("capacity", default.capacity),
        inventory: interval("inventory", default.inventory),
        deleted_vms: interval("deleted_vms", default.deleted_vms),
        usage: interval("usage", default.usage),
        catalogue: interval("catalogue", default.catalogue),
    }
}

/// Least value of `metrics.max_label_length`: UUIDs and months are never cut.
const MIN_LABEL_LENGTH: u32 = 64;

pub(super) fn metrics(section: &Section<'_>) -> Metrics {
    let default = Metrics::default();
    let tag_keys = section.texts("tag_keys").unwrap_or_default();
    let mut labels = BTreeMap::new();
    for key in &tag_keys {
        without_colon(section, "tag_keys", key);
        if let Some(other) = labels.insert(label_of(key), key) {
            section.problem(
                "tag_keys",
                format!("{other:?} and {key:?} become the same label tag_{}", label_of(key)),
            );
        }
    }
    Metrics {
        per_vm: section.boolean("per_vm").unwrap_or(default.per_vm),
        max_vms: section.number("max_vms", 0..=u32::MAX).map_or(default.max_vms, |number| number as usize),
        max_tags: section.number("max_tags", 0..=u32::MAX).map_or(default.max_tags, |number| number as usize),
        max_groups: section
            .number("max_groups", 0..=u32::MAX)
            .map_or(default.max_groups, |number| number as usize),
        max_label_length: section
            .number("max_label_length", MIN_LABEL_LENGTH..=u32::MAX)
            .map_or(default.max_label_length, |number| number as usize),
        max_months: section
            .number("max_months", 0..=u32::MAX)
            .map_or(default.max_months, |number| number as usize),
        tag_keys,
        stale_after: section.duration("stale_after").unwrap_or(default.stale_after),
    }
}

/// The label's part behind `tag_`: what Prometheus does not take becomes `_`.
#[must_use]
pub fn label_of(tag_key: &str) -> String {
    tag_key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

pub(super) fn web(section: &Section<'_>) -> Web {
    let reports = section.value("reports", |scalar| match scalar.as_str() {
        "auto" => Ok(WebReports::Auto),
        "on" => Ok(WebReports::On),
        "off" => Ok(WebReports::Off),
        other => Err(format!("{other:?} is none of auto, on, off")),
    });
    Web { reports: reports.unwrap_or_default() }
}

pub(super) fn ledger(section: &Section<'_>, look: Look<'_>) -> Ledger {
    let default = Ledger::default();
    let retention = section.value("retention", |scalar| match scalar.as_str() {
        "never" => Ok(None),
        text => duration(text).map(Some),
    });
    Ledger {
        path: section
            .value("url", |scalar| look.resolve_ledger(ledger_path(scalar.as_str())?))
            .unwrap_or(default.path),
        retention: retention.unwrap_or(default.retention),
    }
}

pub(super) fn ledger_path(url: &str) -> Result<PathBuf, String> {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(path.into()),
        _ => Err(format!("{} is not sqlite: and a path, such as sqlite:flexvm-exporter.db", quoted(url))),
    }
}

pub(super) fn report(section: &Section<'_>, found: &Found, look: Look<'_>) -> (Report, Vec<String>) {
    let default = Report::default();
    let restate = section.value("restate", |scalar| match scalar.as_str() {
        "flag" => Ok(Restate::Flag),
        "auto" => Ok(Restate::Auto),
        other => Err(format!("{other:?} is neither flag nor auto")),
    });
    let completeness = section.value("completeness", |scalar| match scalar.as_str() {
        "strict" => Ok(Completeness::Strict),
        "warn" => Ok(Completeness::Warn),
        other => Err(format!("{other:?} is neither strict nor warn")),
    });
    let report = Report {
        directory: section.text("directory").map_or(default.directory, |text| look.resolve(text.into())),
        schedule: section
            .value("schedule", |scalar| scalar.as_str().parse::<Schedule>())
            .unwrap_or(default.schedule),
        settle: section.duration("settle").unwrap_or(default.settle),
        backfill: section.number("backfill", 0..=120).unwrap_or(default.backfill),
        tag_rules: tag_rules(section, found),
        watch: section.duration("watch").unwrap_or(default.watch),
        completeness: completeness.unwrap_or_default(),
        restate: restate.unwrap_or_default(),
        restate_max_decrease: section
            .value("restate_max_decrease", |scalar| ratio(scalar.as_str()))
            .unwrap_or(default.restate_max_decrease),
        excel_bom: section.boolean("excel_bom").unwrap_or(default.excel_bom),
    };
    let group_by = group_by(section).unwrap_or_default();
    reachable_keys(section, &group_by, &report.tag_rules);
    (report, group_by)
}

/// A decimal from 0 to 1.
fn ratio(text: &str) -> Result<Decimal, String> {
    text.parse()
        .ok()
        .filter(|ratio| (Decimal::ZERO..=Decimal::ONE).contains(ratio))
        .ok_or_else(|| format!("{} is not a number from 0 to 1, such as 0.05", quoted(text)))
}

pub(super) fn group_by(section: &Section<'_>) -> Option<Vec<String>> {
    let keys = section.texts("group_by")?;
    let mut seen = BTreeSet::new();
    for key in &keys {
        if !seen.insert(key) {
            section.problem("group_by", format!("{key:?} stands here twice"));
        }
        without_colon(section, "group_by", key);
    }
    Some(keys)
}

/// A key of `group_by` that a tag rule changes is in no tag after the rules.
pub(super) fn reachable_keys(section: &Section<'_>, group_by: &[String], rules: &[TagRule]) {
    for key in group_by.iter().filter(|key| !rules.iter().any(|rule| rule.new_key() == **key)) {
        if let Some(number) = rules.iter().position(|rule| rule.matches(key)) {
            let new = rules[number].new_key();
            let problem =
                format!("report.tag_rules[{number}] changes the key {key:?} to {new:?}; write {new:?} here");
            section.problem("group_by", problem);
        }
    }
}

/// No tag has such a key.
pub(super) fn without_colon(section: &Section<'_>, at: &'static str, key: &str) {
    if key.contains(':') {
        let problem = format!("{key:?} is not a tag's key: the key is what stands before the first :");
        section.problem(at, problem);
    }
}
