//! The power is cut: nothing that was acknowledged may be missing, and nothing may be there by half.
//!
//! A process records polls and closes months, and says so after each; `strace` writes down what it
//! asked of the file system. That is played again on a [`disk`] that keeps for sure only what was
//! synced, and at hundreds of moments what may be left is opened as after a restart.

#[path = "power/disk.rs"]
mod disk;
#[path = "power/trace.rs"]
mod trace;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use flexvm_exporter::ledger::{Ledger, RevisionRow};
use flexvm_exporter::observe::{Observations, State};
use flexvm_exporter::period::Period;
use flexvm_exporter::report::Outcome;
use flexvm_exporter::snapshot::{InventoryData, Vm, VmStatus};
use jiff::Timestamp;

use self::disk::{Disk, Loss};
use self::trace::Event;
use crate::once::{MONTH, TIME, reports};
use crate::program;
use crate::support::{Hand, Stage, TENANT, closer, configuration, forced, month, terms};

/// Whose polls are recorded: another than the one whose month is closed, so that what a report says
/// does not depend on how many there were.
const POLLED: &str = "polled";

/// Polls, and after which of them something else happens.
const POLLS: usize = 24;
const REOPENED_AFTER: usize = 4;
const CLOSED_AFTER: usize = 12;
const RESTATED_AFTER: usize = 20;

/// VMs, half of which change from poll to poll: enough for the log to be merged into the file.
const VMS: usize = 800;

const GAP: Duration = Duration::from_mins(3);

/// Cuts of the power.
const CUTS: usize = 240;

/// Cuts of the power where something is not synced that should be.
const CUTS_OF_MUTANTS: usize = 30;

/// What the `index`th poll saw.
fn seen(index: usize) -> InventoryData {
    let statuses = [VmStatus::Starting, VmStatus::Running, VmStatus::Stopped];
    let text = |text: &str| text.into();
    let there = (0..VMS).filter(|vm| !(vm + index).is_multiple_of(50));
    let vms = there.map(|vm| Vm {
        id: format!("0198c0de-0000-7000-8000-{vm:012}").into(),
        cloud_id: text("0198c0de-0000-7000-8000-cccccccccccc"),
        name: text("vm"),
        instance_type: text("vm.4c.8g"),
        size: None,
        image: text("debian"),
        status: statuses[(vm + index / (1 + vm % 2)) % statuses.len()].clone(),
        node_id: None,
        created_at: None,
        deleted_at: None,
        ips: Box::default(),
        tags: [].into(),
    });
    InventoryData { vms: vms.map(Arc::new).collect(), ..InventoryData::default() }
}

fn time(index: usize) -> Timestamp {
    let start: Timestamp = "2026-10-31T23:50:00Z".parse().unwrap();
    Timestamp::from_second(start.as_second() + 60 * i64::try_from(index).unwrap()).unwrap()
}

async fn observe(ledger: &Ledger, index: usize) {
    ledger.observe(POLLED.into(), time(index), GAP, Arc::new(seen(index))).await.unwrap();
}

/// The whole run. Each thing that is done is said once it may never be lost.
async fn run(url: &str, folder: &Path, mut say: impl FnMut(&str)) {
    let config = configuration(url, folder);
    let path = config.ledger.path.clone();
    let mut ledger = Ledger::open(&path).unwrap();
    for index in 0..POLLS {
        observe(&ledger, index).await;
        say("poll");
        let closer = || closer(config.clone(), ledger.clone(), Hand::at(TIME).clock());
        match index {
            REOPENED_AFTER => {
                drop(ledger);
                ledger = Ledger::open(&path).unwrap();
            }
            CLOSED_AFTER => {
                closer().close(month(MONTH), &terms()).await.unwrap();
                say("revision");
            }
            RESTATED_AFTER => {
                closer().restate(month(MONTH), &forced("a reason")).await.unwrap();
                say("revision");
            }
            _ => {}
        }
    }
}

/// The run, as the process that is traced.
#[tokio::test]
#[ignore = "run by other tests, as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "this is how the parent tells the child")]
async fn child() {
    let Ok(url) = std::env::var("CHILD_URL") else { return };
    let folder = PathBuf::from(std::env::var("CHILD_FOLDER").unwrap());
    // Written at once, and past the test harness.
    run(&url, &folder, |done| writeln!(std::io::stdout(), "done: {done}").unwrap()).await;
}

/// What must be there, by how far the run has come.
struct Expected {
    url: String,
    /// What the first so many polls prove.
    observations: Vec<Observations>,
    /// The revisions, published.
    rows: Vec<RevisionRow>,
    /// All reports once there is no revision, one, both.
    reports: Vec<BTreeMap<PathBuf, Vec<u8>>>,
}

impl Expected {
    /// From the pure core, and from a run that nothing interrupts.
    async fn new(url: &str) -> Self {
        let (mut state, mut observations) = (State::default(), vec![Observations::default()]);
        for index in 0..=POLLS {
            let step = state.step(time(index), GAP, &seen(index)).unwrap();
            let mut next = observations.last().unwrap().clone();
            next.add_poll(step.at, step.observed_from);
            for event in &step.events {
                next.add(event.vm_id.clone(), step.at, event.kind, &event.status);
            }
            state.apply(&step);
            observations.push(next);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut made = vec![BTreeMap::new()];
        run(url, folder.path(), |done| {
            if done == "revision" {
                made.push(reports(folder.path()));
            }
        })
        .await;
        let ledger = Ledger::read_only(&folder.path().join("ledger.db"));
        let row = |revision| ledger.revision_at(TENANT, month(MONTH), revision).unwrap().unwrap();
        Self { url: url.to_owned(), observations, rows: vec![row(1), row(2)], reports: made }
    }
}

/// What was said before the power went.
#[derive(Clone, Copy, Debug, Default)]
struct Acknowledged {
    polls: usize,
    revisions: usize,
}

/// What is wrong after a cut.
#[derive(Debug, PartialEq)]
enum Wrong {
    /// Something that was acknowledged is not there.
    Missing(String),
    Other(String),
}

fn other(what: &'static str) -> impl Fn(String) -> Wrong {
    move |error| Wrong::Other(format!("{what}: {error}"))
}

/// Starts again on what a cut left in `folder`.
async fn judge(folder: &Path, acknowledged: Acknowledged, expected: &Expected) -> Result<(), Wrong> {
    let config = configuration(&expected.url, folder);
    let path = config.ledger.path.clone();
    let failed = other("the ledger");
    let ledger = Ledger::open(&path).map_err(|error| failed(error.to_string()))?;
    let sound: Result<String, _> = rusqlite::Connection::open(&path)
        .and_then(|database| database.query_row("PRAGMA integrity_check", [], |row| row.get(0)));
    if sound.as_deref() != Ok("ok") {
        return Err(Wrong::Other(format!("integrity_check: {sound:?}")));
    }
    let all = Period { start: Timestamp::UNIX_EPOCH, end: Timestamp::MAX };
    let observations =
        || ledger.observations(POLLED, all, Timestamp::MAX).map_err(|error| failed(error.to_string()));
    let found = observations()?;
    let polls = found.polls.len();
    if polls < acknowledged.polls {
        return Err(Wrong::Missing(format!("{polls} polls are left of {}", acknowledged.polls)));
    }
    if polls > acknowledged.polls + 1 || found != expected.observations[polls] {
        return Err(Wrong::Other(format!("{polls} polls are not what {polls} polls saw")));
    }
    // The state that the next poll is compared with is what those polls left.
    observe(&ledger, polls).await;
    if observations()? != expected.observations[polls + 1] {
        return Err(Wrong::Other("the poll after the restart tells something else".to_owned()));
    }
    judge_revisions(folder, &ledger, acknowledged, expected).await
}

async fn judge_revisions(
    folder: &Path,
    ledger: &Ledger,
    acknowledged: Acknowledged,
    expected: &Expected,
) -> Result<(), Wrong> {
    let mut recorded = 0;
    for (index, expected) in expected.rows.iter().enumerate() {
        let revision = u32::try_from(index + 1).unwrap();
        let row = ledger.revision_at(TENANT, month(MONTH), revision);
        let row = row.map_err(|error| other("a revision")(error.to_string()))?;
        let published = row.as_ref().is_some_and(|row| row.published);
        if index < acknowledged.revisions && !published {
            return Err(Wrong::Missing(format!("revision {revision} is {row:.200?}")));
        }
        if let Some(row) = row {
            recorded += 1;
            if (RevisionRow { published: true, ..row }) != *expected {
                return Err(Wrong::Other(format!("revision {revision} is another")));
            }
        }
    }
    if recorded == 0 {
        return Ok(());
    }
    // As the daemon does at its start.
    let closer = closer(configuration(&expected.url, folder), ledger.clone(), Hand::at(TIME).clock());
    let due = closer.due(Hand::at(TIME).now()).await;
    due.map_err(|error| other("what is due")(error.to_string()))?;
    let outcome = closer.close(month(MONTH), &terms()).await;
    // Files that are not what was recorded are told of here.
    let outcome = outcome.map_err(|error| Wrong::Missing(format!("closing: {error}")))?;
    let (Outcome::Already(there) | Outcome::Written(there)) = outcome;
    if there.revision as usize != recorded {
        return Err(Wrong::Other(format!("revision {} is current, {recorded} are recorded", there.revision)));
    }
    let found = reports(folder);
    // Of a revision that another replaced, the files are made again only when somebody needs them.
    for (path, bytes) in &expected.reports[recorded] {
        match found.get(path) {
            Some(there) if there == bytes => {}
            there => {
                return Err(Wrong::Missing(format!("{} is {:?} long", path.display(), there.map(Vec::len))));
            }
        }
    }
    if found.len() != expected.reports[recorded].len() {
        return Err(Wrong::Other(format!("there are other files: {:?}", found.keys())));
    }
    Ok(())
}

/// Cuts the power at so many moments of the trace, drawn from `seed`; what was wrong each time.
async fn cut(events: &[Event], cuts: usize, seed: u64, expected: &Expected) -> Vec<Wrong> {
    let mut random = Rng::with_seed(seed);
    // Half of them just after something was acknowledged, where most can be lost.
    let said: Vec<usize> =
        events.iter().enumerate().filter(|it| matches!(it.1, Event::Said(_))).map(|it| it.0 + 1).collect();
    let mut moments: Vec<usize> = (0..cuts)
        .map(
            |cut| if cut % 2 == 0 { random.usize(..=events.len()) } else { said[random.usize(..said.len())] },
        )
        .collect();
    moments.sort_unstable();
    // In memory, where there is such a folder: what is synced here does not matter.
    let memory = Path::new("/dev/shm");
    let (mut disk, mut acknowledged, mut done) = (Disk::new(), Acknowledged::default(), 0);
    let mut wrong = Vec::new();
    for moment in moments {
        for (number, event) in events.iter().enumerate().take(moment).skip(done) {
            disk.apply(number, event);
            match event {
                Event::Said(line) if line == "done: poll" => acknowledged.polls += 1,
                Event::Said(line) if line == "done: revision" => acknowledged.revisions += 1,
                _ => {}
            }
        }
        done = moment;
        let loss = Loss::any(&mut random);
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        disk.after_a_cut(loss, &mut random, folder.path());
        if let Err(problem) = judge(folder.path(), acknowledged, expected).await {
            eprintln!("seed {seed}, cut before event {moment}, {loss:?}, {acknowledged:?}: {problem:?}");
            wrong.push(problem);
        }
    }
    wrong
}

/// The trace of the run, with the ledger and the reports in a folder of their own.
fn traced(strace: &Path, url: &str) -> Vec<Event> {
    let place = tempfile::tempdir().unwrap();
    let (file, folder) = (place.path().join("trace"), place.path().join("disk"));
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new(strace);
    command
        .args(["-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-e", trace::CALLS, "-o"])
        .arg(&file);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "power::child", "--ignored"]);
    command.env("CHILD_URL", url).env("CHILD_FOLDER", &folder);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    trace::read(&fs::read_to_string(file).unwrap(), &folder)
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_loss_of_power() {
    let Some(strace) = program::tool("strace") else { return };
    let stage = Stage::new(TIME).await;
    let expected = Expected::new(&stage.url).await;
    let events = traced(&strace, &stage.url);
    let count = |of: &dyn Fn(&Event) -> bool| events.iter().filter(|event| of(event)).count();
    assert_eq!(count(&|event| matches!(event, Event::Said(line) if line.starts_with("done: "))), POLLS + 2);
    let merged = |event: &Event| matches!(event, Event::Sync { path, .. } if ends_with(path, "ledger.db"));
    assert!(count(&merged) > 3, "the log is not merged into the file on the way: {}", count(&merged));
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}, {} events", events.len());
    let wrong = cut(&events, CUTS, seed, &expected).await;
    assert_eq!(wrong, [], "{} of {CUTS} cuts", wrong.len());

    // The same with something not synced: the test would notice.
    let without = |forgets: &dyn Fn(&Path) -> bool| {
        let forgotten = |event: &Event| matches!(event, Event::Sync { path, .. } if forgets(path));
        let nothing = Event::Said(String::new());
        let events = events.iter().map(|event| if forgotten(event) { &nothing } else { event });
        events.cloned().collect::<Vec<_>>()
    };
    let mutants: [(&str, Vec<Event>); 2] = [
        ("the ledger's log", without(&|path| ends_with(path, "-wal"))),
        ("the files of reports", without(&|path| ends_with(path, ".csv"))),
    ];
    for (name, events) in mutants {
        let wrong = cut(&events, CUTS_OF_MUTANTS, seed, &expected).await;
        let missing = wrong.iter().filter(|wrong| matches!(wrong, Wrong::Missing(_))).count();
        eprintln!("{name} not synced: in {missing} of {CUTS_OF_MUTANTS} cuts something was missing");
        assert!(missing > 0, "{name} not synced, and nothing is missing");
    }
}
