//! Exactly once, whatever the moment: the program is killed again and again, mid-instruction.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use flexvm_exporter::clock::Clock;
use flexvm_exporter::daemon;
use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::simulator::{Options, Simulator};
use flexvm_exporter::web::{Access, Paths};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::once::{MONTH, TIME, close_command, reports};
use crate::support::{Stage, TENANT, closer, configuration, month, terms};

/// Kills of a program that closes a month.
const KILLS: u32 = 200;

/// Kills of a daemon across a month's end.
const DAEMON_KILLS: u32 = 60;

/// Polls that must be recorded before the month ends.
const POLLS: usize = 5;

/// Shown when a test fails, so that its moments can be had again.
fn seed() -> u64 {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    seed
}

/// Kills `child` with SIGKILL after `moment`. Returns true if the child ended successfully before the kill.
fn killed_within(mut child: Child, moment: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < moment {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child failed by itself: {status}");
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// Files that show the progress of a child that closes a month, in the order in which they appear.
///
/// A kill waits for one of these signs, because a fixed time is too short on a busy machine.
#[derive(Clone, Copy)]
enum Sign {
    /// The child made its ledger.
    Ledger,
    /// The child writes the files in a temporary directory.
    Files,
    /// The directory of the revision is in place.
    Revision,
}

const SIGNS: [Option<Sign>; 4] = [None, Some(Sign::Ledger), Some(Sign::Files), Some(Sign::Revision)];

impl Sign {
    fn is_there(self, folder: &Path) -> bool {
        let tenant = folder.join("reports").join(TENANT);
        match self {
            Self::Ledger => folder.join("ledger.db").exists(),
            Self::Files => fs::read_dir(&tenant).is_ok_and(|mut entries| entries.next().is_some()),
            Self::Revision => tenant.join(MONTH).join("r01").exists(),
        }
    }
}

/// Waits until `sign` exists and then for `part` of the time since the start, and kills `child` with SIGKILL.
/// Returns true if the child ended successfully before the kill.
fn killed_after(mut child: Child, folder: &Path, sign: Sign, part: f64) -> bool {
    let started = Instant::now();
    let mut moment = None;
    while moment.is_none_or(|moment| started.elapsed() < moment) {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child failed by itself: {status}");
            return true;
        }
        if moment.is_none() && sign.is_there(folder) {
            moment = Some(started.elapsed().mul_f64(1.0 + part));
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_nothing_or_the_bytes_of_an_uninterrupted_run() {
    let stage = Stage::new(TIME).await;
    let whole = tempfile::tempdir().unwrap();
    let started = Instant::now();
    assert!(close_command(&stage.url, whole.path()).status().unwrap().success());
    let takes = started.elapsed();
    let expected = reports(whole.path());
    let mut random = fastrand::Rng::with_seed(seed());
    // How often a kill left nothing, a month that was only recorded, a month whole.
    let (mut kills, mut nothing, mut recorded, mut published) = (0, 0, 0, 0);
    while kills < KILLS || recorded == 0 || published == 0 {
        assert!(
            kills < 20 * KILLS,
            "{nothing} kills left nothing, {recorded} a recorded month, {published} a whole one"
        );
        let folder = tempfile::tempdir().unwrap();
        loop {
            let mut command = close_command(&stage.url, folder.path());
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let done = match SIGNS[random.usize(..SIGNS.len())] {
                None => killed_within(child, takes.mul_f64(random.f64())),
                Some(sign) => killed_after(child, folder.path(), sign, random.f64() * 0.2),
            };
            let ledger = folder.path().join("ledger.db");
            let row = ledger.exists().then(|| Ledger::read_only(&ledger).revision(TENANT, month(MONTH)));
            // Killed while the ledger is made, there is none yet.
            let row = row.and_then(Result::ok).flatten();
            let files = reports(folder.path());
            let visible: BTreeMap<_, _> = files.iter().filter(|(path, _)| in_r01(path)).collect();
            match &row {
                None => assert!(visible.is_empty(), "files without a record: {visible:?}"),
                Some(row) if row.published => assert_eq!(visible.len(), 7),
                Some(_) => assert!(visible.is_empty() || visible.len() == 7, "a part: {visible:?}"),
            }
            for (path, bytes) in &visible {
                assert_eq!(Some(*bytes), expected.get(*path), "{} differs", path.display());
            }
            if done {
                assert_eq!(files, expected);
                assert!(row.unwrap().published);
                break;
            }
            kills += 1;
            match row {
                None => nothing += 1,
                Some(row) if row.published => published += 1,
                Some(_) => recorded += 1,
            }
        }
    }
    eprintln!("{kills} kills: {nothing} left nothing, {recorded} a recorded month, {published} a whole one");
    assert!(nothing > 0, "no kill came before the month was recorded");
}

fn in_r01(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "r01")
}

/// Time that runs on over all lives of the daemon: the machine's, moved by this many seconds.
fn moved_by(seconds: Arc<AtomicI64>) -> Clock {
    let system = Clock::system();
    let now = move || system.now().as_second() + seconds.load(Ordering::Relaxed);
    Clock::new(move || Timestamp::from_second(now()).unwrap())
}

/// The daemon, as a process of its own, until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by other tests, as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "this is how the parent tells the child")]
async fn daemon_child() {
    let Ok(url) = std::env::var("CHILD_URL") else { return };
    let folder = PathBuf::from(std::env::var("CHILD_FOLDER").unwrap());
    let seconds: i64 = std::env::var("CHILD_CLOCK").unwrap().parse().unwrap();
    let clock = moved_by(Arc::new(seconds.into()));
    let mut config = configuration(&url, &folder);
    config.report.settle = Duration::ZERO;
    config.poll.inventory = Duration::from_millis(100);
    config.poll.usage = Duration::from_millis(300);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_stay, shutdown) = watch::channel(false);
    let path = Paths::default();
    daemon::run(config, vec![listener], path, Access::default(), clock, shutdown, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_across_a_months_end_closes_it_once() {
    // The clock starts an hour before the month's end, so that the required polls are recorded before the end.
    let end: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let offset = Arc::new(AtomicI64::new(end.as_second() - 3600 - Clock::system().now().as_second()));
    let clock = moved_by(offset.clone());
    let options = Options { vms: 60, clouds: 2, months: 1, churn: true, ..Options::default() };
    let simulator = Simulator::new(options, clock.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = simulator.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::daemon_child", "--ignored"]);
        command.env("CHILD_URL", &url).env("CHILD_FOLDER", folder.path());
        command.env("CHILD_CLOCK", offset.load(Ordering::Relaxed).to_string());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut random = fastrand::Rng::with_seed(seed());
    let mut kills = 0;
    let in_place = || folder.path().join("reports").join(TENANT).join("2026-10").join("r01").exists();
    let polls = || {
        let ledger = Ledger::read_only(&folder.path().join("ledger.db"));
        let observed = ledger.observations(TENANT, month("2026-10").period(), Timestamp::MAX);
        observed.map_or(0, |observed| observed.polls.len())
    };
    // Longest time before a kill. It grows, so that a slow machine also completes the required steps.
    let mut longest = Duration::from_millis(700);
    let mut kill_once = |random: &mut fastrand::Rng| {
        let life = longest.mul_f64(random.f64());
        assert!(!killed_within(start(), life), "a daemon does not end by itself");
        kills += 1;
        assert!(kills < 20 * DAEMON_KILLS, "the daemon is too slow: {} polls", polls());
        longest += Duration::from_millis(5);
    };
    while polls() <= POLLS {
        kill_once(&mut random);
    }
    offset.fetch_add(end.duration_since(clock.now()).as_secs() - 3, Ordering::Relaxed);
    let mut lives = 0;
    while lives < DAEMON_KILLS || clock.now() < end + Duration::from_secs(4) || !in_place() {
        kill_once(&mut random);
        lives += 1;
    }
    let config = configuration(&url, folder.path());
    let path = config.ledger.path.clone();
    let ledger = Ledger::open(&path).unwrap();
    let closer = closer(config, ledger.clone(), clock);
    // Whatever was begun is brought to its end, from what the ledger keeps.
    let outcome = closer.close(month("2026-10"), &terms()).await.unwrap();
    let published = outcome.published();
    assert_eq!(published.revision, 1);
    published.verify().unwrap();
    let row = ledger.revision(TENANT, month("2026-10")).unwrap().unwrap();
    assert_eq!((row.revision, row.published, &row.digest), (1, true, &published.digest));
    let before = reports(folder.path());
    let revisions: Vec<_> = before.keys().filter(|path| path.ends_with("r02")).collect();
    assert!(revisions.is_empty());
    // An uninterrupted run on what was recorded gives the very same bytes.
    fs::remove_dir_all(folder.path().join("reports").join(TENANT).join("2026-10")).unwrap();
    closer.close(month("2026-10"), &terms()).await.unwrap();
    assert_eq!(reports(folder.path()), before);
    // Polls went on through it all, and what they recorded is sound.
    let observed = ledger.observations(TENANT, month("2026-10").period(), Timestamp::MAX).unwrap();
    assert!(observed.polls.len() > POLLS, "{} polls", observed.polls.len());
    drop((ledger, closer));
    let database = rusqlite::Connection::open(&path).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let dangling = database.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
    assert!(!dangling);
}
