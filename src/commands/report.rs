//! `report`: closes months now, with the daemon's own code.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::output::{note, say};
use super::{Failure, serve};
use crate::api::{Client, ClockState};
use crate::cli::{self, Flags};
use crate::clock::Clock;
use crate::close::{CloseError, CloseOptions, Closer, Standing, Waived};
use crate::config::Config;
use crate::filesystem::absolute;
use crate::ledger::{Ledger, Reading};
use crate::period::{Month, rfc3339};
use crate::poll::describe;
use crate::progress::Progress;
use crate::report::{Outcome, Published, ReportError};
use crate::text::one_line;

/// Maximum number of characters of `--reason`.
const LONGEST_REASON: usize = 1000;

/// Most months of one call: ten years.
const MOST_MONTHS: usize = 120;

pub async fn run(flags: &Flags, arguments: &cli::Report) -> Result<(), Failure> {
    let months = months(&arguments.month)?;
    check_arguments(arguments, &months)?;
    let (loaded, _) = serve::configuration(flags)?;
    for warning in &loaded.warnings {
        note!("warning: {warning}");
    }
    let config = Arc::new(loaded.config);
    check_tenant(arguments, &config)?;
    let clock = Clock::system();
    let ledger = OpenLedger::open(&config, arguments)?;
    let progress = Progress::new();
    let mut closers = Vec::new();
    for tenant in &config.tenants {
        if arguments.tenant.as_ref().is_none_or(|name| **name == *tenant.name) {
            let client = Client::new(tenant, progress.clone()).map_err(anyhow::Error::from)?;
            let (opened, clock) = (ledger.ledger.clone(), clock.clone());
            let closer = Closer::new(Arc::clone(tenant), client, opened, clock, Arc::clone(&config));
            closers.push(closer.with_notes(ledger.notes.clone()));
        }
    }
    let Some(first) = closers.first() else {
        let known: Vec<_> = config.tenants.iter().map(|tenant| &*tenant.name).collect();
        let name = arguments.tenant.as_deref().unwrap_or_default();
        return Err(Failure::Usage(format!(
            "unknown tenant {name:?}; configured tenants: {}",
            known.join(", ")
        )));
    };
    // All months are checked before any is touched.
    for month in &months {
        let standing = first.standing(*month, clock.now());
        if standing != Standing::Ended {
            check_clock(first).await?;
        }
        check_standing(standing, *month, arguments)?;
    }
    let (mut failures, mut usage_errors) = (Vec::new(), 0);
    for closer in &closers {
        for month in &months {
            if let Err(error) = one(closer, *month, arguments, &config.ledger.path, &clock, &progress).await {
                usage_errors += usize::from(is_usage_error(&error));
                let text = format!("{} {month}: {error:#}", closer.tenant());
                note!("flexvm-exporter: {text}");
                failures.push(text);
            }
        }
    }
    let all = closers.len() * months.len();
    match failures.len() {
        0 => Ok(()),
        failed if failed == usage_errors => {
            Err(Failure::Usage(format!("{failed} of {all} reports were refused")))
        }
        failed => Err(Failure::Failed(anyhow::anyhow!("{failed} of {all} reports failed"))),
    }
}

/// Refuses combinations of flags that make no sense.
fn check_arguments(arguments: &cli::Report, months: &[Month]) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if reason(arguments).is_some_and(|reason| reason.is_empty()) {
        return usage("--reason is empty: state why; the manifest or the ledger keeps the text");
    }
    if arguments.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        return usage(&format!("--reason has more than {LONGEST_REASON} characters: state it more briefly"));
    }
    let terms = exclusive(arguments);
    if arguments.reason.is_some() && terms.is_none() && !arguments.restate {
        return usage("--reason needs --restate, --accept-incomplete, --from-file or --waive");
    }
    if arguments.force && !arguments.restate && arguments.from_file.is_none() {
        return usage("--force needs --restate");
    }
    match terms {
        Some(flag) if months.len() != 1 => {
            Err(Failure::Usage(format!("{flag} needs exactly one month; --month names {}", months.len())))
        }
        _ => Ok(()),
    }
}

/// Returns `--reason` on one line.
fn reason(arguments: &cli::Report) -> Option<String> {
    arguments.reason.as_deref().map(|reason| one_line(reason, LONGEST_REASON))
}

/// The first flag that is for one month and one tenant alone.
fn exclusive(arguments: &cli::Report) -> Option<&'static str> {
    [
        (arguments.accept_incomplete, "--accept-incomplete"),
        (arguments.from_file.is_some(), "--from-file"),
        (arguments.waive, "--waive"),
    ]
    .into_iter()
    .find_map(|(given, flag)| given.then_some(flag))
}

fn check_tenant(arguments: &cli::Report, config: &Config) -> Result<(), Failure> {
    match exclusive(arguments) {
        Some(flag) if arguments.tenant.is_none() && config.tenants.len() > 1 => {
            let known: Vec<_> = config.tenants.iter().map(|tenant| &*tenant.name).collect();
            Err(Failure::Usage(format!(
                "{flag} needs one tenant: name it with --tenant; configured tenants: {}",
                known.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

fn check_standing(standing: Standing, month: Month, arguments: &cli::Report) -> Result<(), Failure> {
    match standing {
        Standing::Future => Err(Failure::Usage(format!("{month} has not begun yet"))),
        Standing::Settling(at) => Err(Failure::Usage(format!(
            "{month} has ended, but is still settling: it can be closed from {} on (report.settle)",
            rfc3339(at)
        ))),
        Standing::Running if arguments.restate || exclusive(arguments).is_some() => {
            Err(Failure::Usage(format!("{month} has not ended: only a month that has ended can be closed")))
        }
        Standing::Running | Standing::Ended => Ok(()),
    }
}

/// Returns an error if the local clock differs from the API's, because a month that seems to be running
/// may have ended.
async fn check_clock(closer: &Closer) -> Result<(), Failure> {
    match closer.check_clock().await {
        ClockState::Differs { ahead_seconds } => {
            Err(Failure::Failed(ReportError::Clock { ahead_seconds }.into()))
        }
        ClockState::Agrees | ClockState::Undated | ClockState::Unknown => Ok(()),
    }
}

/// The ledger, and what reports must say about it.
struct OpenLedger {
    ledger: Ledger,
    notes: Vec<String>,
}

impl OpenLedger {
    fn open(config: &Config, arguments: &cli::Report) -> Result<Self, Failure> {
        let path = &config.ledger.path;
        let mut notes = Vec::new();
        if !path.exists() {
            let note = format!(
                "There was no ledger at {}: all time is unobserved, except what earlier revisions prove.",
                path.display()
            );
            note!("warning: {note} Check ledger.url if a daemon records polls elsewhere.");
            notes.push(note);
        }
        // A daemon may be running on the same ledger: they take turns.
        let writes = !arguments.dry_run && arguments.out.is_none();
        let ledger =
            if writes { Ledger::beside(path).map_err(anyhow::Error::from)? } else { Ledger::read_only(path) };
        Ok(Self { ledger, notes })
    }
}

/// Whether the command line, and not the run, is the cause.
fn is_usage_error(error: &anyhow::Error) -> bool {
    let report = error.downcast_ref::<CloseError>();
    matches!(report, Some(CloseError::Report(error)) if error.is_usage_error())
}

async fn one(
    closer: &Closer,
    month: Month,
    arguments: &cli::Report,
    ledger: &Path,
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
            say!("  ledger {}", ledger.display())?;
            say!("{text}")
        }
        Made::Files(published, what) => {
            say!("{tenant} {month}: {what}")?;
            say!("  ledger {}", ledger.display())?;
            show(&published)
        }
    }
}

/// What came of a month.
enum Made {
    /// Of a dry run: what it would be.
    Seen(String),
    /// Files, and what they are.
    Files(Box<Published>, Cow<'static, str>),
}

async fn make(closer: &Closer, month: Month, arguments: &cli::Report, clock: &Clock) -> anyhow::Result<Made> {
    let reason = reason(arguments);
    let options = CloseOptions {
        file: arguments.from_file.clone(),
        reason: reason.clone(),
        accept_incomplete: arguments.accept_incomplete,
        force: arguments.force,
        ..CloseOptions::default()
    };
    if arguments.waive {
        let reason = reason.as_deref().unwrap_or_default();
        let Waived { published, reading, unavailable } = closer.waive(month, reason).await?;
        let what = match reading {
            Some(Reading { seconds, .. }) => format!("of {} s", seconds.max()),
            None => "that the ledger has recorded".to_owned(),
        };
        if let Some(error) = unavailable {
            note!(
                "warning: {month} was not compared with the provider's current report: {}",
                describe(&error)
            );
        }
        let what = format!("the difference {what} is waived; no revision is written");
        return Ok(Made::Files(Box::new(published), what.into()));
    }
    // A saved response restates a month that is closed already.
    let is_restatement =
        arguments.restate || (arguments.from_file.is_some() && closer.closed(month).await?.is_some());
    if arguments.dry_run && is_restatement {
        return Ok(Made::Seen(closer.dry_restatement(month, &options).await?.to_string()));
    }
    if arguments.dry_run {
        return Ok(Made::Seen(closer.dry_run(month, &options).await?.to_string()));
    }
    let (published, what) = if is_restatement {
        (closer.restate(month, &options).await?.published().clone(), "restated")
    } else if let Some(out) = &arguments.out {
        (closer.copy(month, absolute(out)).await?, "a copy; nothing is closed")
    } else if closer.standing(month, clock.now()) == Standing::Running {
        (closer.provisional(month).await?, "provisional: the month has not ended")
    } else {
        match closer.close(month, &options).await? {
            Outcome::Written(published) => (published, "closed"),
            Outcome::Already(published) => {
                if arguments.accept_incomplete {
                    note!(
                        "warning: {month} is closed already, so --accept-incomplete and --reason change nothing; use --restate"
                    );
                }
                (published, "closed already")
            }
        }
    };
    Ok(Made::Files(Box::new(published), what.into()))
}

fn show(published: &Published) -> anyhow::Result<()> {
    for path in &published.files {
        say!("  {}", path.display())?;
    }
    // From the provider's answer among the files, so that a month closed long ago tells it as well.
    let coverage = match published.coverage() {
        Ok(coverage) => coverage.to_string(),
        Err(error) => {
            note!("warning: which tag keys cover how much is not known: {}", describe(&error));
            String::new()
        }
    };
    let notes: Vec<String> = published.warnings.iter().map(|note| format!("  note: {note}\n")).collect();
    let verdict =
        format!("  verdict            {}: {}\n", published.verdict().as_str(), published.verdict_in_words());
    say!("{}{}{verdict}{coverage}{}", published.totals, published.total, notes.concat())
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
