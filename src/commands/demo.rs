//! `demo`: the main job on the built-in simulator, all on loopback, in one process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::net::TcpListener;

use super::listen::{listen, shutdown_on_signals};
use super::output::say;
use super::{Failure, health};
use crate::api::Client;
use crate::cli::{self, Flags};
use crate::clock::Clock;
use crate::close::{CloseOptions, Closer};
use crate::config::load::simulated_tenant;
use crate::config::{Config, Ledger, Metrics, Poll, Prices, Report, Web};
use crate::filesystem::{absolute, create_directories};
use crate::period::Month;
use crate::progress::Progress;
use crate::report::Published;
use crate::simulator::{Options, Simulator};
use crate::web::Access;

/// Name of the demo's tenant.
const TENANT: &str = "demo";

/// Lines of a report that are shown.
const FIRST_LINES: usize = 6;

/// Longest wait for the daemon's answer, and for the next question.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Prices that the demo makes up: an hour of each of the simulator's VM sizes, in cents.
const CENTS: [(&str, u32); 8] = [
    ("vm.2c.4g", 3),
    ("vm.4c.8g", 6),
    ("vm.8c.32g", 15),
    ("vm.16c.64g.nvme", 32),
    ("vm.gpu.1rtx4000.15c.248g", 95),
    ("vm.gpu.2rtx4000.30c.496g", 190),
    ("vm.gpu.1l4.15c.240g", 120),
    ("vm.gpu.2l4.30c.480g", 240),
];

/// What the demo groups usage by: the simulator's VMs carry this tag key.
const GROUP_BY: &str = "project";

pub async fn run(flags: &Flags, arguments: &cli::Demo) -> Result<(), Failure> {
    if flags.config_file.is_some() || flags.web_config.is_some() || !flags.listen_addresses.is_empty() {
        return Err(Failure::Usage(
            "demo makes its own configuration: it takes --dir and --listen, but no --config.file, --web.config.file \
             or --web.listen-address"
                .to_owned(),
        ));
    }
    let paths = flags.paths()?;
    let clock = Clock::system();
    let shutdown = shutdown_on_signals()?;
    let directory = match &arguments.dir {
        Some(directory) => absolute(directory),
        None => temporary_folder(&clock)?,
    };
    create_directories(&directory).map_err(|(path, error)| {
        anyhow::Error::new(error).context(format!("cannot make the folder {}", path.display()))
    })?;
    let listener = listen(&arguments.listen).await?;
    let address = listener.local_addr().context("no address")?;
    let simulator_listener =
        TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the simulator")?;
    let simulator_url = format!("http://{}", simulator_listener.local_addr().context("no address")?);
    let options = Options::default();
    let token = options.token.clone();
    let simulator = Simulator::new(options, clock.clone());
    arguments.faults.iter().for_each(|fault| simulator.inject(*fault));
    let mut stop = shutdown.clone();
    let simulating = tokio::spawn(async move {
        let stop = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        simulator.serve(simulator_listener, stop).await
    });
    let config = configuration(&simulator_url, &token, &directory)?;
    say!("flexvm-exporter demo: the exporter against a simulated FlexVM API. Ctrl-C ends it.")?;
    say!("  simulator    {simulator_url}  (token {token})")?;
    say!("  status page  http://{address}{}", paths.local("/"))?;
    say!("  metrics      http://{address}{}", paths.local(&paths.telemetry))?;
    let progress = Progress::new();
    // The simulator stops with everything else, so nothing could be closed any more.
    let mut stop = shutdown.clone();
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        published = close_last_month(&config, &clock, &progress) => match published {
            Ok(published) => show(&published)?,
            // The user chose a fault, so a refused month is a result to show. The daemon retries.
            Err(error) if !arguments.faults.is_empty() => say!("  no report    {error:#}")?,
            Err(error) => return Err(error.into()),
        },
    }
    let page = format!("http://{}{}", health::local(&address.to_string()), paths.local("/"));
    let waiting = tokio::spawn(first_poll(page, progress));
    crate::daemon::run(config, vec![listener], paths, Access::default(), clock, shutdown, None).await?;
    waiting.abort();
    match simulating.await {
        Ok(result) => result.context("the simulator")?,
        Err(error) => return Err(anyhow::Error::new(error).context("the simulator").into()),
    }
    say!("Ended. The reports stay in {}", directory.display())?;
    Ok(())
}

fn temporary_folder(clock: &Clock) -> Result<PathBuf, Failure> {
    let name = format!("flexvm-exporter-demo-{}-{}", clock.now().as_second(), std::process::id());
    let folder = std::env::temp_dir().join(name);
    // Fails if somebody else made it first: a shared temporary folder is no place to trust names.
    std::fs::create_dir(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}

fn configuration(simulator: &str, token: &str, directory: &Path) -> Result<Config, Failure> {
    let base_url = Url::parse(simulator).context("the simulator's address")?;
    let mut tenant = simulated_tenant(TENANT, base_url, token);
    tenant.group_by = vec![GROUP_BY.to_owned()];
    let price =
        |(size, cents): &(&str, u32)| ((*size).to_owned(), vec![(None, Decimal::new(i64::from(*cents), 2))]);
    let vm_hour = CENTS.iter().map(price).collect();
    tenant.prices = Some(Arc::new(Prices { currency: "EUR".to_owned(), vm_hour }));
    let seconds = Duration::from_secs;
    Ok(Config {
        tenants: vec![Arc::new(tenant)],
        // Faster than in earnest, so that a visitor sees figures move.
        poll: Poll {
            capacity: seconds(5),
            inventory: seconds(5),
            deleted_vms: seconds(30),
            usage: seconds(15),
            catalogue: seconds(60),
        },
        metrics: Metrics { tag_keys: vec!["project".to_owned(), "env".to_owned()], ..Metrics::default() },
        web: Web::default(),
        ledger: Ledger { path: directory.join("flexvm-exporter.db"), ..Ledger::default() },
        report: Report {
            directory: directory.join("reports"),
            // A visitor who comes just after a month's end need not wait.
            settle: Duration::ZERO,
            backfill: 1,
            ..Report::default()
        },
    })
}

/// Waits until every collector that matters has run once, and says so. Asks the status page, as a
/// visitor would.
async fn first_poll(page: String, progress: Arc<Progress>) -> anyhow::Result<()> {
    progress.begin("first poll".to_owned());
    let client = crate::api::plain_client(LOOK)?;
    loop {
        // The daemon itself may only just begin to listen.
        if let Ok(answer) = client.get(&page).header("accept", "application/json").send().await {
            let status: Value = serde_json::from_slice(&answer.bytes().await.unwrap_or_default())?;
            if status["ready"] == true {
                break;
            }
            let collectors = status["tenants"][0]["collectors"].as_array().into_iter().flatten();
            let waiting = collectors.filter(|collector| collector["last_success"].is_null());
            let names: Vec<_> = waiting.filter_map(|collector| collector["collector"].as_str()).collect();
            progress.step(&names.join(", "));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    progress.end();
    say!("Everything was polled once: status page and metrics are complete.")
}

async fn close_last_month(
    config: &Config,
    clock: &Clock,
    progress: &Arc<Progress>,
) -> anyhow::Result<Published> {
    let tenant = Arc::clone(&config.tenants[0]);
    let client = Client::new(&tenant, progress.clone())?;
    let ledger = crate::ledger::Ledger::beside(&config.ledger.path).context("the ledger cannot be opened")?;
    let closer = Closer::new(tenant, client, ledger, clock.clone(), Arc::new(config.clone()));
    let month = Month::of(clock.now()).previous();
    progress.begin(format!("closing {month}"));
    let outcome = closer.close(month, &CloseOptions::default()).await;
    progress.end();
    Ok(outcome?.published().clone())
}

fn show(published: &Published) -> anyhow::Result<()> {
    say!("  report       {}", published.dir.display())?;
    let by_group = published.files.iter().find(|path| path.to_string_lossy().ends_with("_by-group.csv"));
    if let Some(path) = by_group {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        say!("\nThe first lines of {}:", path.display())?;
        for line in text.lines().take(FIRST_LINES) {
            say!("  {line}")?;
        }
        say!("")?;
    }
    Ok(())
}
