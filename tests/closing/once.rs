//! Exactly once: the program dies at every step of closing a month and is started again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use flexvm_exporter::ledger::Ledger;
use flexvm_exporter::report::Outcome;

use crate::support::{Hand, Stage, TENANT, closer, configuration, files, forced, month, terms};

pub const TIME: &str = "2026-11-05T10:00:00Z";
pub const MONTH: &str = "2026-10";

/// Closes the month as a process of its own, which a failpoint may end.
#[tokio::test]
#[ignore = "run by other tests, as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "this is how the parent tells the child")]
async fn child() {
    let Ok(url) = std::env::var("CHILD_URL") else { return };
    let folder = PathBuf::from(std::env::var("CHILD_FOLDER").unwrap());
    let _failpoints = fail::FailScenario::setup();
    let config = configuration(&url, &folder);
    let ledger = Ledger::open(&config.ledger.path).unwrap();
    let closer = closer(config, ledger, Hand::at(TIME).clock());
    closer.close(month(MONTH), &terms()).await.unwrap();
    if std::env::var("CHILD_RESTATES").is_ok() {
        closer.restate(month(MONTH), &forced("a reason")).await.unwrap();
    }
}

/// A process that closes the month.
pub fn close_command(url: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "once::child", "--ignored"]);
    command.env("CHILD_URL", url).env("CHILD_FOLDER", folder).env_remove("FAILPOINTS");
    command
}

fn close(stage: &Stage, folder: &Path, failpoint: &str, restates: bool) -> ExitStatus {
    let mut command = close_command(&stage.url, folder);
    command.env("FAILPOINTS", failpoint);
    if restates {
        command.env("CHILD_RESTATES", "1");
    }
    command.output().unwrap().status
}

/// Files by their path below `folder`, but for the ledger's.
pub fn reports(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = folder.join("reports");
    files(&root)
        .into_iter()
        .map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes))
        .collect()
}

/// Steps at which the program dies, in the order in which it comes by, the first file of the second
/// kind standing for all; and whether the month is recorded by then.
const STEPS: [(&str, bool); 8] = [
    ("close::fetched=return", false),
    ("report::file=return", false),
    ("report::file=5*off->return", false),
    ("close::prepared=return", false),
    ("close::pending=return", true),
    ("report::renamed=return", true),
    ("close::in_place=return", true),
    ("close::published=return", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_step_leaves_nothing_or_one_revision() {
    let stage = Stage::new(TIME).await;
    let whole = tempfile::tempdir().unwrap();
    assert!(close(&stage, whole.path(), "", false).success());
    let expected = reports(whole.path());
    assert_eq!(expected.len(), 8, "seven files and the index");
    for (step, recorded) in STEPS {
        let folder = tempfile::tempdir().unwrap();
        assert!(!close(&stage, folder.path(), step, false).success(), "{step} was not reached");
        let row = Ledger::read_only(&folder.path().join("ledger.db")).revision(TENANT, month(MONTH)).unwrap();
        assert_eq!(row.is_some(), recorded, "{step}");
        if recorded {
            // From here on the API is not needed any more.
            let before = stage.simulator.requests();
            assert!(close(&stage, folder.path(), "", false).success(), "{step}");
            assert_eq!(stage.simulator.requests(), before, "{step}");
        } else {
            let seen = reports(folder.path());
            assert!(seen.keys().all(|path| path.to_string_lossy().contains("/.tmp-")), "{step}: {seen:?}");
            assert!(close(&stage, folder.path(), "", false).success(), "{step}");
        }
        assert_eq!(reports(folder.path()), expected, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_while_a_month_is_restated_leaves_both_revisions() {
    let stage = Stage::new(TIME).await;
    let whole = tempfile::tempdir().unwrap();
    assert!(close(&stage, whole.path(), "", true).success());
    let expected = reports(whole.path());
    assert_eq!(expected.len(), 7 + 8 + 1);
    for step in
        ["close::pending=1*off->return", "report::renamed=1*off->return", "close::in_place=1*off->return"]
    {
        let folder = tempfile::tempdir().unwrap();
        assert!(!close(&stage, folder.path(), step, true).success(), "{step} was not reached");
        assert!(close(&stage, folder.path(), "", false).success(), "{step}");
        assert_eq!(reports(folder.path()), expected, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_files_are_made_again_and_strange_ones_are_not_touched() {
    let stage = Stage::new(TIME).await;
    let closer = stage.closer();
    let Outcome::Written(published) = closer.close(month(MONTH), &terms()).await.unwrap() else {
        panic!("there")
    };
    let files = stage.files();
    fs::remove_dir_all(&published.dir).unwrap();
    let before = stage.simulator.requests();
    assert!(matches!(closer.close(month(MONTH), &terms()).await.unwrap(), Outcome::Already(_)));
    assert_eq!((stage.files(), stage.simulator.requests()), (files.clone(), before));

    // Other bytes where the recorded ones should be: an alarm, and nothing is overwritten.
    let sums = published.files.last().unwrap();
    let mut changed = fs::read(sums).unwrap();
    changed[0] ^= 1;
    fs::write(sums, &changed).unwrap();
    let error = closer.close(month(MONTH), &terms()).await.unwrap_err();
    assert_eq!(error.reason().as_str(), "exists");
    assert!(error.to_string().contains("not what the ledger recorded"), "{error}");
    assert_eq!(fs::read(sums).unwrap(), changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_closed_month_is_verified() {
    let stage = Stage::new(TIME).await;
    let closer = stage.closer();
    closer.close(month(MONTH), &terms()).await.unwrap();
    let files = stage.files();
    let of_the_month: Vec<_> = files.keys().filter(|path| path.to_string_lossy().contains("/r01/")).collect();
    assert_eq!(of_the_month.len(), 7);
    for file in &of_the_month {
        // Lost, it is made again; the others stay what they are.
        fs::remove_file(file).unwrap();
        assert!(matches!(closer.close(month(MONTH), &terms()).await.unwrap(), Outcome::Already(_)));
        assert_eq!(stage.files(), files, "{}", file.display());
        // Altered or emptied, it stays, another that is lost stays lost, and its name is said.
        let name = file.file_name().unwrap().to_str().unwrap();
        let other = of_the_month.iter().find(|other| other != &file).unwrap();
        for bytes in [[&files[*file][..], b"x"].concat(), Vec::new()] {
            fs::write(file, &bytes).unwrap();
            fs::remove_file(other).unwrap();
            let error = closer.close(month(MONTH), &terms()).await.unwrap_err();
            assert_eq!(error.reason().as_str(), "exists", "{name}: {error}");
            let said = name.split("r01_").last().unwrap();
            assert!(error.to_string().contains(said), "{said}: {error}");
            assert!(fs::read(file).unwrap() == bytes && !other.exists(), "{name}");
            fs::write(file, &files[*file]).unwrap();
            fs::write(other, &files[*other]).unwrap();
        }
    }
    assert!(matches!(closer.close(month(MONTH), &terms()).await.unwrap(), Outcome::Already(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_older_than_the_ledger_are_taken_in() {
    let stage = Stage::new(TIME).await;
    stage.closer().close(month(MONTH), &terms()).await.unwrap();
    let files = stage.files();
    let mut other = Stage::new(TIME).await;
    let directory = stage.config.report.directory.clone();
    other.configured(|config| config.report.directory = directory);
    assert!(matches!(other.closer().close(month(MONTH), &terms()).await.unwrap(), Outcome::Already(_)));
    assert_eq!(stage.files(), files);
    let row = other.ledger.revision(TENANT, month(MONTH)).unwrap().unwrap();
    assert!(row.published && row.inputs.is_none());
    // Its files gone, there is nothing to make them from: that is said, and no other report made.
    let (dir, _) = files.iter().find(|(path, _)| path.to_string_lossy().contains("r01")).unwrap();
    fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    let error = other.closer().close(month(MONTH), &terms()).await.unwrap_err();
    assert!(error.to_string().contains("does not have what it was made from"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_close_a_month_once() {
    let stage = Stage::new(TIME).await;
    let outcomes: Vec<Outcome> = futures_util::future::join_all((0..4).map(|_| async {
        // Each with a ledger of its own, as daemons on two hosts.
        let mut other = Stage::new(TIME).await;
        let directory = stage.config.report.directory.clone();
        other.configured(|config| config.report.directory = directory);
        other.closer().close(month(MONTH), &terms()).await.unwrap()
    }))
    .await;
    let written = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Written(_))).count();
    assert_eq!(written, 1);
    assert_eq!(stage.files().len(), 8);
}
