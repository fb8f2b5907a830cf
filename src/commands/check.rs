//! `check`: reads the configuration and prints every problem; with `--online` also calls each read
//! endpoint once per tenant and prints what it saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::output::say;
use super::{Failure, serve};
use crate::api::{Client, Endpoint, Error, NoObserver, Run};
use crate::cli::{self, Flags, Output};
use crate::clock::Clock;
use crate::config::Tenant;
use crate::period::Month;
use crate::poll::describe;
use crate::snapshot::VmStatus;

/// Longest time to look at one tenant.
const DEADLINE: Duration = Duration::from_mins(10);

/// What was seen of one endpoint.
#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    endpoint: &'static str,
    /// `ok`, `failed`, or `skipped` when there was nothing to ask for.
    result: &'static str,
    http_status: Option<u16>,
    milliseconds: u128,
    pages: u64,
    rows: u64,
    largest_page: u64,
    unknown_fields: Vec<String>,
    error: Option<String>,
}

pub async fn run(flags: &Flags, arguments: &cli::Check) -> Result<(), Failure> {
    let loaded = match serve::configuration(flags) {
        Ok((loaded, _)) => loaded,
        Err(problems) => {
            // The sentences go to standard error in any case; this is for programs.
            if arguments.output == Output::Json {
                say!("{}", serde_json::json!({"problems": problems.0}))?;
            }
            return Err(problems.into());
        }
    };
    let from =
        loaded.file.as_ref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    if !arguments.online {
        let tenants: Vec<_> = loaded.config.tenants.iter().map(|tenant| &*tenant.name).collect();
        match arguments.output {
            Output::Table => {
                say!("The configuration from {from} is fine; tenants: {}.", tenants.join(", "))?;
            }
            Output::Json => {
                say!("{}", serde_json::json!({"source": from, "tenants": tenants, "problems": []}))?;
            }
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for tenant in &loaded.config.tenants {
        rows.extend(look_at(tenant).await.map_err(anyhow::Error::from)?);
    }
    match arguments.output {
        Output::Table => print_table(&rows)?,
        Output::Json => say!("{}", serde_json::to_string_pretty(&rows).map_err(anyhow::Error::from)?)?,
    }
    let failed = rows.iter().filter(|row| row.result == "failed").count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Failed(anyhow::anyhow!("{failed} of {} endpoints failed", rows.len())))
}

async fn look_at(tenant: &Arc<Tenant>) -> Result<Vec<Row>, crate::api::BuildError> {
    let client = Client::new(tenant, Arc::new(NoObserver))?;
    let run = client.run(DEADLINE);
    let results = ask(&run).await;
    let statistics = run.statistics();
    let unknown = run.unknown_fields();
    let row = |endpoint: Endpoint| {
        let result = results.get(&endpoint);
        let seen = statistics.get(&endpoint).copied().unwrap_or_default();
        let fields = unknown.keys().filter(|(of, _)| *of == endpoint).map(|(_, field)| field.clone());
        Row {
            tenant: tenant.name.to_string(),
            endpoint: endpoint.as_str(),
            result: match result {
                Some(Ok(())) => "ok",
                Some(Err(_)) => "failed",
                None => "skipped",
            },
            http_status: seen.last_status,
            milliseconds: seen.elapsed.as_millis(),
            pages: seen.pages,
            rows: seen.rows,
            largest_page: seen.largest_page,
            unknown_fields: fields.collect(),
            error: result.and_then(|result| result.as_ref().err()).map(|error| describe(error)),
        }
    };
    Ok(Endpoint::ALL.into_iter().map(row).collect())
}

/// Calls every read endpoint; those below a cloud for the first cloud, one node and one running VM.
async fn ask(run: &Run) -> BTreeMap<Endpoint, Result<(), Error>> {
    let mut results = BTreeMap::new();
    let clouds = run.clouds().await;
    let first = clouds.as_ref().ok().and_then(|clouds| clouds.first()).map(|cloud| cloud.id.clone());
    results.insert(Endpoint::Clouds, clouds.map(drop));
    if let Some(cloud_id) = first {
        results.insert(Endpoint::Cloud, run.cloud(&cloud_id).await.map(drop));
        let nodes = run.nodes(&cloud_id).await;
        if let Some(node) = nodes.as_ref().ok().and_then(|nodes| nodes.first()) {
            results.insert(Endpoint::Node, run.node(&cloud_id, &node.id).await.map(drop));
        }
        results.insert(Endpoint::Nodes, nodes.map(drop));
        let vms = run.vms(&cloud_id, &VmStatus::Running).await;
        if let Some(vm) = vms.as_ref().ok().and_then(|vms| vms.first()) {
            results.insert(Endpoint::Vm, run.vm(&cloud_id, &vm.id).await.map(drop));
        }
        results.insert(Endpoint::Vms, vms.map(drop));
    }
    results.insert(Endpoint::InstanceTypes, run.instance_types().await.map(drop));
    results.insert(Endpoint::Images, run.images().await.map(drop));
    results.insert(Endpoint::CloudCapacity, run.cloud_capacity().await.map(drop));
    results.insert(Endpoint::Capacity, run.capacity().await.map(drop));
    let month = Month::of(Clock::system().now()).period();
    results.insert(Endpoint::Monthly, run.monthly(Some(month)).await.map(drop));
    results
}

fn print_table(rows: &[Row]) -> anyhow::Result<()> {
    let header = ("tenant", "endpoint", "result", "status", "ms", "pages", "rows", "largest page");
    let (tenant, endpoint, result, status, ms, pages, count, largest) = header;
    say!("{tenant:<16} {endpoint:<15} {result:<8} {status:>6} {ms:>7} {pages:>6} {count:>7} {largest:>13}")?;
    for row in rows {
        let status = row.http_status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        say!(
            "{:<16} {:<15} {:<8} {status:>6} {:>7} {:>6} {:>7} {:>13}",
            row.tenant,
            row.endpoint,
            row.result,
            row.milliseconds,
            row.pages,
            row.rows,
            row.largest_page
        )?;
        if let Some(error) = &row.error {
            say!("    {error}")?;
        }
        if !row.unknown_fields.is_empty() {
            say!("    fields that are not documented: {}", row.unknown_fields.join(", "))?;
        }
    }
    Ok(())
}
