//! `report`: closes months now, with the daemon's own code.

use std::sync::Arc;

use super::output::say;
use super::{Failure, serve};
use crate::api::Client;
use crate::cli::{self, Flags};
use crate::clock::Clock;
use crate::close::{Closer, Standing};
use crate::ledger::Ledger;
use crate::period::{Month, rfc3339};
use crate::poll::describe;
use crate::progress::Progress;
use crate::report::{Outcome, Published};

/// Most months of one call: ten years.
const MOST_MONTHS: usize = 120;

pub async fn run(flags: &Flags, arguments: &cli::Report) -> Result<(), Failure> {
    let months = months(&arguments.month)?;
    if arguments.reason.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        return Err(Failure::Usage(
            "--reason: say why the month is restated; the manifest keeps it".to_owned(),
        ));
    }
    let config = Arc::new(serve::configuration(flags)?.0.config);
    let clock = Clock::system();
    // A daemon may be running on the same ledger: they take turns.
    let writes = !arguments.dry_run && arguments.out.is_none();
    let ledger = if writes {
        Ledger::beside(&config.ledger.path).map_err(anyhow::Error::from)?
    } else {
        Ledger::read_only(&config.ledger.path)
    };
    let progress = Progress::new();
    let mut closers = Vec::new();
    for tenant in &config.tenants {
        if arguments.tenant.as_ref().is_none_or(|name| **name == *tenant.name) {
            let client = Client::new(tenant, progress.clone()).map_err(anyhow::Error::from)?;
            let (ledger, clock) = (ledger.clone(), clock.clone());
            closers.push(Closer::new(Arc::clone(tenant), client, ledger, clock, Arc::clone(&config)));
        }
    }
    let Some(first) = closers.first() else {
        let known: Vec<_> = config.tenants.iter().map(|tenant| &*tenant.name).collect();
        let name = arguments.tenant.as_deref().unwrap_or_default();
        return Err(Failure::Usage(format!("there is no tenant {name:?}; there are {}", known.join(", "))));
    };
    // All months are looked at before any is touched.
    for month in &months {
        match first.standing(*month, clock.now()) {
            Standing::Future => return Err(Failure::Usage(format!("{month} has not begun yet"))),
            Standing::Settling(at) => {
                return Err(Failure::Usage(format!(
                    "{month} has ended, but is still settling: it can be closed from {} on (report.settle)",
                    rfc3339(at)
                )));
            }
            Standing::Running if arguments.restate => {
                return Err(Failure::Usage(format!("{month} has not ended: there is nothing to restate")));
            }
            Standing::Running | Standing::Ended => {}
        }
    }
    let mut failures = Vec::new();
    for closer in &closers {
        for month in &months {
            if let Err(error) = one(closer, *month, arguments, &clock, &progress).await {
                let text = format!("{} {month}: {error:#}", closer.tenant());
                eprintln!("flexvm-exporter: {text}");
                failures.push(text);
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let all = closers.len() * months.len();
    Err(Failure::Failed(anyhow::anyhow!("{} of {all} reports failed", failures.len())))
}

async fn one(
    closer: &Closer,
    month: Month,
    arguments: &cli::Report,
    clock: &Clock,
    progress: &Progress,
) -> anyhow::Result<()> {
    let tenant = closer.tenant();
    progress.begin(format!("{tenant} {month}"));
    let made = make(closer, month, arguments, clock).await;
    progress.end();
    match made? {
        Made::Seen(text) => {
            say!("{tenant} {month}: a dry run, nothing is written")?;
            say!("{text}")
        }
        Made::Files(published, what) => {
            say!("{tenant} {month}: {what}")?;
            show(&published)
        }
    }
}

/// What came of a month.
enum Made {
    /// Of a dry run: what it would be.
    Seen(String),
    /// Files, and what they are.
    Files(Box<Published>, &'static str),
}

async fn make(closer: &Closer, month: Month, arguments: &cli::Report, clock: &Clock) -> anyhow::Result<Made> {
    let reason = arguments.reason.as_deref().filter(|_| arguments.restate);
    if arguments.dry_run && reason.is_some() {
        return Ok(Made::Seen(closer.dry_restatement(month).await?.to_string()));
    }
    if arguments.dry_run {
        return Ok(Made::Seen(closer.dry_run(month).await?.to_string()));
    }
    let (published, what) = if let Some(reason) = reason {
        (closer.restate(month, reason).await?.published().clone(), "restated")
    } else if let Some(out) = &arguments.out {
        (closer.copy(month, out.clone()).await?, "a copy; nothing is closed")
    } else if closer.standing(month, clock.now()) == Standing::Running {
        (closer.provisional(month).await?, "provisional: the month has not ended")
    } else {
        match closer.close(month).await? {
            Outcome::Written(published) => (published, "closed"),
            Outcome::Already(published) => (published, "closed already"),
        }
    };
    Ok(Made::Files(Box::new(published), what))
}

fn show(published: &Published) -> anyhow::Result<()> {
    for path in &published.files {
        say!("  {}", path.display())?;
    }
    // From the provider's answer among the files, so that a month closed long ago tells it as well.
    let coverage = match published.coverage() {
        Ok(coverage) => coverage.to_string(),
        Err(error) => {
            eprintln!("warning: which tag keys cover how much is not known: {}", describe(&error));
            String::new()
        }
    };
    let notes: Vec<String> = published.warnings.iter().map(|note| format!("  note: {note}\n")).collect();
    say!("{}{}{coverage}{}", published.totals, published.total, notes.concat())
}

/// `2026-10`, or `2026-08..2026-10` with both ends.
fn months(text: &str) -> Result<Vec<Month>, Failure> {
    let parse =
        |text: &str| text.parse::<Month>().map_err(|error| Failure::Usage(format!("--month: {error}")));
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (parse(first)?, parse(last)?),
        None => (parse(text)?, parse(text)?),
    };
    if last < first {
        return Err(Failure::Usage(format!("--month: {last} is before {first}")));
    }
    let months: Vec<_> = std::iter::successors(Some(first), |month| Some(month.next()))
        .take_while(|month| *month <= last)
        .take(MOST_MONTHS + 1)
        .collect();
    if months.len() > MOST_MONTHS {
        return Err(Failure::Usage(format!("--month: {text} is more than {MOST_MONTHS} months")));
    }
    Ok(months)
}

#[cfg(test)]
mod tests {
    use super::months;

    #[test]
    fn a_range_holds_both_ends() {
        let text =
            |range| months(range).map(|months| months.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(text("2025-12..2026-02").unwrap(), ["2025-12", "2026-01", "2026-02"]);
        assert_eq!(text("2026-10").unwrap(), ["2026-10"]);
        for bad in ["", "..", "2026-10..", "2026-10..2026-09", "2026-10...2026-11", "2000-01..2999-12", "x"] {
            assert!(months(bad).is_err(), "{bad}");
        }
    }
}
