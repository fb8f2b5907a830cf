//! Looks at one tenant: calls every read endpoint and keeps what was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::missing::{self, Facts, Missing, What};
use crate::api::{Client, Endpoint, Error, Monthly, PageSize, Reason, Run, Statistics};
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::period::{Month, seconds_between};
use crate::poll::describe;
use crate::progress::Progress;
use crate::report::{Coverage, Folder};
use crate::snapshot::{Cloud, InstanceType, VmStatus};
use crate::usage::{self, NoWitness};

/// Longest time to look at one tenant.
const DEADLINE: Duration = Duration::from_mins(10);

/// What was seen of one tenant.
#[derive(Debug, Serialize)]
pub struct TenantSeen {
    pub tenant: String,
    pub base_url: String,
    /// Why nothing could be asked at all.
    pub error: Option<String>,
    pub endpoints: Vec<Row>,
    /// Which tag keys cover how much of a month; none if no month could be read.
    pub tag_coverage: Option<MonthCoverage>,
    /// The newest month that is closed here.
    pub newest_closed_month: Option<String>,
    /// This machine's clock − the API's.
    pub clock_ahead_seconds: Option<i64>,
    pub missing: Vec<Missing>,
}

/// What was seen of one endpoint.
#[derive(Debug, Serialize)]
pub struct Row {
    pub tenant: String,
    pub endpoint: &'static str,
    /// `ok`, `failed`, or `skipped` when there was nothing to ask for.
    pub result: &'static str,
    pub http_status: Option<u16>,
    pub milliseconds: u128,
    pub requests: u64,
    pub pages: u64,
    pub rows: u64,
    pub largest_page: u64,
    /// Of lists; none if the list could not be read whole.
    pub page_size: Option<PageSizeSeen>,
    pub unknown_fields: Vec<String>,
    /// Why it failed: the value of the label `reason` in metrics.
    pub reason: Option<&'static str>,
    pub error: Option<String>,
    /// Why it was skipped.
    pub skipped: Option<&'static str>,
}

/// What the pages of a list tell of the server's largest page.
#[derive(Debug, Serialize)]
pub struct PageSizeSeen {
    /// `as_asked`, `clamped`, `at_least` or `header_ignored`.
    pub kind: &'static str,
    /// Rows of such a page.
    pub rows: u64,
    /// `api.page_size`.
    pub asked: u64,
}

/// [`Coverage`], and of what.
#[derive(Debug, Serialize)]
pub struct MonthCoverage {
    pub month: String,
    /// Whether the month has ended.
    pub ended: bool,
    #[serde(flatten)]
    pub coverage: Coverage,
}

/// What the endpoints answered, as far as it is looked at again.
#[derive(Default)]
struct Answers {
    results: BTreeMap<Endpoint, Result<(), Error>>,
    clouds: Vec<Cloud>,
    instance_types: Vec<InstanceType>,
    month: Option<(Month, Monthly)>,
}

pub async fn at(
    config: &Config,
    tenant: &Arc<Tenant>,
    clock: &Clock,
    progress: &Arc<Progress>,
) -> TenantSeen {
    progress.begin(tenant.name.to_string());
    let (newest_closed_month, missing) = newest_closed_month(config, &tenant.name);
    let mut seen = TenantSeen {
        tenant: tenant.name.to_string(),
        base_url: tenant.base_url.to_string(),
        error: None,
        endpoints: Vec::new(),
        tag_coverage: None,
        newest_closed_month,
        clock_ahead_seconds: None,
        missing,
    };
    let client = match Client::new(tenant, progress.clone()) {
        Ok(client) => client,
        Err(error) => {
            seen.error = Some(describe(&error));
            progress.end();
            return seen;
        }
    };
    let run = client.run(DEADLINE);
    let answers = ask(&run, Month::of(clock.now()), progress).await;
    progress.end();
    let (now, statistics, unknown) = (clock.now(), run.statistics(), run.unknown_fields());
    seen.clock_ahead_seconds = run.server_time().map(|theirs| now.as_second() - theirs.as_second());
    seen.endpoints = Endpoint::ALL
        .into_iter()
        .map(|endpoint| {
            let fields = unknown.keys().filter(|(of, _)| *of == endpoint).map(|(_, field)| field.clone());
            let met = statistics.get(&endpoint).copied().unwrap_or_default();
            row(tenant, endpoint, &answers, met, fields.collect())
        })
        .collect();
    seen.tag_coverage = answers.month.as_ref().map(|(month, monthly)| {
        let lines = usage::lines(&monthly.report, now, &NoWitness);
        let ended = seconds_between(month.period().end, now) > 0;
        MonthCoverage { month: month.to_string(), ended, coverage: Coverage::of(lines) }
    });
    seen.missing.extend(missing::of(&Facts {
        tenant,
        tag_rules: &config.report.tag_rules,
        results: &answers.results,
        clouds: answers.clouds.len(),
        instance_types: &answers.instance_types,
        month: answers.month.as_ref().map(|(month, monthly)| (*month, &monthly.report)),
        coverage: seen.tag_coverage.as_ref().map(|month| &month.coverage),
        clock_ahead_seconds: seen.clock_ahead_seconds,
    }));
    seen
}

/// Returns the latest month that is closed on this machine, and problems of the tenant's directory.
fn newest_closed_month(config: &Config, tenant: &str) -> (Option<String>, Vec<Missing>) {
    match Folder::existing(&config.report.directory, tenant).newest() {
        Ok(newest) => (newest.map(|published| published.month.to_string()), Vec::new()),
        Err(error) => (None, vec![Missing::new(What::ReportDirectory, describe(&error))]),
    }
}

fn row(
    tenant: &Tenant,
    endpoint: Endpoint,
    answers: &Answers,
    met: Statistics,
    unknown_fields: Vec<String>,
) -> Row {
    let result = answers.results.get(&endpoint);
    let error = result.and_then(|result| result.as_ref().err());
    let page_size = met.page_size.filter(|_| error.is_none()).map(|told| {
        let (kind, rows) = match told {
            PageSize::AtLeast(rows) => ("at_least", rows),
            PageSize::AsAsked => ("as_asked", tenant.api.page_size.into()),
            PageSize::Clamped(rows) => ("clamped", rows),
            PageSize::RangeIgnored => ("header_ignored", met.largest_page),
        };
        PageSizeSeen { kind, rows, asked: tenant.api.page_size.into() }
    });
    let clouds = answers.results.get(&Endpoint::Clouds);
    let skipped = match endpoint {
        _ if result.is_some() => None,
        _ if unreachable(clouds) => Some("the API cannot be reached"),
        _ if clouds.is_some_and(Result::is_err) => Some("the clouds are not known"),
        _ if answers.clouds.is_empty() => Some("there is no cloud"),
        Endpoint::Node => Some("no node is known"),
        _ => Some("no running VM is known"),
    };
    Row {
        tenant: tenant.name.to_string(),
        endpoint: endpoint.as_str(),
        result: match result {
            Some(Ok(())) => "ok",
            Some(Err(_)) => "failed",
            None => "skipped",
        },
        http_status: met.last_status,
        milliseconds: met.elapsed.as_millis(),
        requests: met.requests,
        pages: met.pages,
        rows: met.rows,
        largest_page: met.largest_page,
        page_size,
        unknown_fields,
        reason: error.map(|error| error.reason().as_str()),
        error: error.map(|error| describe(error)),
        skipped,
    }
}

/// Calls every read endpoint; those below a cloud for the cloud with most VMs, one node and one
/// running VM of it.
async fn ask(run: &Run, running: Month, progress: &Progress) -> Answers {
    let mut answers = Answers::default();
    let next = |endpoint: Endpoint| progress.step(&format!("asking for {endpoint}"));
    next(Endpoint::Clouds);
    let clouds = run.clouds().await.map(|clouds| answers.clouds = clouds);
    let results = &mut answers.results;
    results.insert(Endpoint::Clouds, clouds);
    if unreachable(results.get(&Endpoint::Clouds)) {
        // Each further call would only wait as long as this one.
        return answers;
    }
    next(Endpoint::InstanceTypes);
    let instance_types = run.instance_types().await.map(|types| answers.instance_types = types);
    results.insert(Endpoint::InstanceTypes, instance_types);
    next(Endpoint::Images);
    results.insert(Endpoint::Images, run.images().await.map(drop));
    next(Endpoint::CloudCapacity);
    results.insert(Endpoint::CloudCapacity, run.cloud_capacity().await.map(drop));
    next(Endpoint::Capacity);
    results.insert(Endpoint::Capacity, run.capacity().await.map(drop));
    next(Endpoint::Monthly);
    let month = whole_month(run, running).await.map(|month| answers.month = Some(month));
    results.insert(Endpoint::Monthly, month);
    let Some(cloud_id) = largest(&answers).map(|cloud| cloud.id.clone()) else { return answers };
    let results = &mut answers.results;
    next(Endpoint::Cloud);
    results.insert(Endpoint::Cloud, run.cloud(&cloud_id).await.map(drop));
    next(Endpoint::Nodes);
    let nodes = run.nodes(&cloud_id).await;
    if let Some(node) = nodes.as_ref().ok().and_then(|nodes| nodes.first()) {
        next(Endpoint::Node);
        results.insert(Endpoint::Node, run.node(&cloud_id, &node.id).await.map(drop));
    }
    results.insert(Endpoint::Nodes, nodes.map(drop));
    next(Endpoint::Vms);
    let vms = run.vms(&cloud_id, &VmStatus::Running).await;
    if let Some(vm) = vms.as_ref().ok().and_then(|vms| vms.first()) {
        next(Endpoint::Vm);
        results.insert(Endpoint::Vm, run.vm(&cloud_id, &vm.id).await.map(drop));
    }
    results.insert(Endpoint::Vms, vms.map(drop));
    answers
}

/// The month before, since it is whole: looked at twice it says the same, and it is what `report`
/// closes. The running one where that one had no VMs, or is refused.
async fn whole_month(run: &Run, running: Month) -> Result<(Month, Monthly), Error> {
    let before = running.previous();
    match run.monthly(Some(before.period())).await {
        Ok(monthly) if !monthly.report.vms.is_empty() => return Ok((before, monthly)),
        Err(error) if !matches!(error.reason(), Reason::Client | Reason::NotFound) => return Err(error),
        _ => {}
    }
    Ok((running, run.monthly(Some(running.period())).await?))
}

/// The cloud with most VMs: its lists tell most of pages, and it has a VM to ask for if any has.
fn largest(answers: &Answers) -> Option<&Cloud> {
    let rows = || answers.month.iter().flat_map(|(_, monthly)| &monthly.report.clouds);
    let vms = |cloud: &Cloud| rows().find(|row| row.id == cloud.id).map_or(0, |row| row.active_vms);
    // The first of those with most.
    answers.clouds.iter().rev().max_by_key(|cloud| vms(cloud))
}

/// Whether nobody answered at all.
fn unreachable(clouds: Option<&Result<(), Error>>) -> bool {
    let error = clouds.and_then(|clouds| clouds.as_ref().err());
    error.is_some_and(|error| {
        matches!(error.reason(), Reason::Transport | Reason::Timeout) && error.status.is_none()
    })
}
