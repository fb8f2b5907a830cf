//! Ledger, reports and configuration of version 0.1.0 stay usable (`tests/fixtures/upgrade-0.1.0`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use flexvm_exporter::close::CloseOptions;
use flexvm_exporter::config::load::from_yaml;
use flexvm_exporter::ledger::{Ledger, NamesAndSizes, backup, export, inspect};
use flexvm_exporter::report::{Frozen, Outcome};
use flexvm_exporter::simulator::{Fault, Operation, Options, Simulator};
use flexvm_exporter::{close::Closer, config::Config};
use serde_json::Value;

use crate::support::{Hand, TENANT, closer, files, month, rows};

/// The months that version 0.1.0 published, with their current revisions.
const OLD: [(&str, u32); 4] = [("2026-06", 1), ("2026-07", 1), ("2026-08", 1), ("2026-09", 2)];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgrade-0.1.0")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of the fixture, opened by this version, with a simulated API whose responses the test sets.
struct Old {
    folder: tempfile::TempDir,
    config: Config,
    ledger: Ledger,
    simulator: Simulator,
    hand: Hand,
}

impl Old {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture(), folder.path());
        let hand = Hand::at("2026-11-05T00:00:00Z");
        let simulator = Simulator::new(Options::default(), hand.clock());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        let yaml = folder.path().join("flexvm-exporter.yml");
        let text = fs::read_to_string(&yaml).unwrap().replace("PORT", &port);
        // The configuration of 0.1.0 is accepted as it is; only its relative paths are of this test.
        let mut config = from_yaml(&text, "flexvm-exporter.yml").unwrap();
        config.ledger.path = folder.path().join("ledger.db");
        config.report.directory = folder.path().join("reports");
        let token = folder.path().join("token");
        fs::write(&token, "simulator").unwrap();
        let mut tenant = (*config.tenants[0]).clone();
        tenant.token = flexvm_exporter::config::TokenSource::File(token);
        tenant.api.retries = 0;
        config.tenants = vec![Arc::new(tenant)];
        let ledger = Ledger::open(&config.ledger.path).unwrap();
        Self { folder, config, ledger, simulator, hand }
    }

    fn closer(&self) -> Closer {
        closer(self.config.clone(), self.ledger.clone(), self.hand.clock())
    }

    fn of_month(&self, name: &str) -> PathBuf {
        self.config.report.directory.join(TENANT).join(name)
    }

    /// Every file of the published old revisions.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        OLD.iter()
            .flat_map(|(name, current)| {
                (1..=*current).map(|revision| self.of_month(name).join(format!("r{revision:02}")))
            })
            .flat_map(|directory| files(&directory))
            .collect()
    }

    /// The provider's response of a revision.
    fn response(&self, name: &str, revision: u32) -> Value {
        let directory = self.of_month(name).join(format!("r{revision:02}"));
        let files = files(&directory);
        let (_, bytes) =
            files.iter().find(|(path, _)| path.to_string_lossy().ends_with("provider-report.json")).unwrap();
        serde_json::from_slice(bytes).unwrap()
    }

    fn serve(&self, response: &Value) {
        self.simulator.faults().clear();
        let fault = Fault::body(200, "application/json", response.to_string()).on(Operation::Monthly);
        self.simulator.faults().add(fault);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_months_verify_and_are_listed() {
    let old = Old::open().await;
    assert_eq!(inspect(&old.config.ledger.path).unwrap().schema, 2);
    let before = old.files();
    assert!(before.len() > 30, "{}", before.len());
    let wrong = old.closer().audit().await.unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(old.files(), before);
    // The pending revision was recorded, but had no files: it is written in today's layout.
    let due = old.closer().due(old.hand.now()).await.unwrap();
    assert!(due.contains(&month("2026-10")), "{due:?}");
    let closed = old.closer().close(month("2026-10"), &CloseOptions::default()).await.unwrap();
    closed.published().verify().unwrap();
    let index = fs::read_to_string(old.of_month("index.csv")).unwrap();
    let mut csv = csv::Reader::from_reader(index.as_bytes());
    let header = csv.headers().unwrap().clone();
    let column = |name: &str| {
        header.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}: {header:?}"))
    };
    let rows: Vec<_> = csv.records().map(Result::unwrap).collect();
    let months: Vec<_> = rows.iter().map(|row| row[column("month")].to_owned()).collect();
    assert_eq!(months, ["2026-06", "2026-07", "2026-08", "2026-09", "2026-10"]);
    for row in &rows[..4] {
        assert_eq!(&row[column("unsized_vm_seconds")], "", "not known in the old layout");
        assert!(!row[column("vm_seconds")].is_empty() && !row[column("verdict")].is_empty(), "{row:?}");
    }
    drop(old.folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_months_are_compared_and_restated() {
    for (name, revision) in OLD {
        let old = Old::open().await;
        let before = old.files();
        let mut response = old.response(name, revision);
        old.serve(&response);
        let current = old.closer().compare(month(name)).await.unwrap();
        assert!(current.changed.is_empty(), "{name}: {:?}", current.changed);
        // The provider books two hours more on one VM.
        let vms = response["vms"].as_array().unwrap();
        let ids: Vec<_> = vms.iter().map(|vm| vm["vm_id"].as_str().unwrap().to_owned()).collect();
        let once = ids.iter().position(|id| ids.iter().filter(|other| *other == id).count() == 1).unwrap();
        let hours = response["vms"][once]["vm_hours"].as_u64().unwrap();
        response["vms"][once]["vm_hours"] = (hours + 2).into();
        old.serve(&response);
        let current = old.closer().compare(month(name)).await.unwrap();
        assert_eq!((current.changed.vms.len(), current.changed.seconds.vms), (1, 7200), "{name}");
        let options = CloseOptions { reason: Some("two hours".to_owned()), ..CloseOptions::default() };
        let Outcome::Written(next) = old.closer().restate(month(name), &options).await.unwrap() else {
            panic!("{name} was not written")
        };
        assert_eq!(next.revision, revision + 1);
        next.verify().unwrap();
        // Changes are those of the figures alone, not of the layout.
        let path = next.files.iter().find(|path| path.to_string_lossy().ends_with("_changes.csv")).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<_> = csv.records().map(Result::unwrap).collect();
        // The next revision adds what the old one did not know: the size of a type that it lacked.
        let is_new_knowledge = |row: &&csv::StringRecord| row[9].is_empty() || &row[8] == "flags";
        let of_vms = rows.iter().filter(|row| &row[5] == "vm" && !is_new_knowledge(row));
        let of_vms: BTreeSet<_> = of_vms.map(|row| &row[6]).collect();
        assert_eq!(of_vms, [ids[once].as_str()].into(), "{name}: {text}");
        assert!(rows.iter().all(|row| &row[7] == "changed"), "{name}: {text}");
        assert_eq!(old.files(), before, "{name}");
        assert!(old.closer().audit().await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_old_file_is_reported_and_not_replaced() {
    for (name, revision) in OLD {
        let old = Old::open().await;
        assert!(old.closer().audit().await.unwrap().is_empty());
        let before = old.files();
        let lost = before.keys().find(|path| {
            let text = path.to_string_lossy();
            text.contains(&format!("/{name}/r{revision:02}/")) && text.ends_with("by-tag.csv")
        });
        let lost = lost.unwrap();
        fs::remove_file(lost).unwrap();
        let wrong = old.closer().audit().await.unwrap();
        let [(wrong_month, error)] = &wrong[..] else { panic!("{name}: {wrong:?}") };
        assert_eq!(*wrong_month, month(name));
        assert!(error.to_string().contains("by-tag.csv"), "{name}: {error}");
        assert!(!lost.exists(), "{name}: a file of another layout");
        fs::write(lost, &before[lost]).unwrap();
        assert!(old.closer().audit().await.unwrap().is_empty());
        assert_eq!(old.files(), before);
    }
}

#[test]
fn failed_migration_leaves_the_old_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    fs::copy(fixture().join("ledger.db"), &path).unwrap();
    // A table of the new schema's last statement is in the way.
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE difference (id INTEGER PRIMARY KEY)").unwrap();
    drop(connection);
    assert!(Ledger::open(&path).is_err());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let new: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name IN ('comparison', 'vm_size')", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!((version, new), (1, 0));
    connection.execute_batch("DROP TABLE difference").unwrap();
    drop(connection);
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.closed_at(TENANT).unwrap().len(), 3, "the pending month is not closed");
}

/// Opens the ledger as a process of its own, which a failpoint ends.
#[test]
#[ignore = "run by other tests, as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "this is how the parent tells the child")]
fn child() {
    let Ok(path) = std::env::var("CHILD_LEDGER") else { return };
    let _failpoints = fail::FailScenario::setup();
    drop(Ledger::open(Path::new(&path)).unwrap());
}

#[test]
fn program_killed_while_migrating_leaves_the_old_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    fs::copy(fixture().join("ledger.db"), &path).unwrap();
    let before = Ledger::read_only(&path).closed_at(TENANT).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "upgrade::child", "--ignored"]);
    command.env("CHILD_LEDGER", &path).env("FAILPOINTS", "ledger::migrated=return");
    assert!(!command.output().unwrap().status.success(), "it was not killed");
    assert_eq!(inspect(&path).unwrap().schema, 1);
    assert_eq!(Ledger::read_only(&path).closed_at(TENANT).unwrap(), before);
    command.env_remove("FAILPOINTS");
    assert!(command.output().unwrap().status.success());
    let after = inspect(&path).unwrap();
    assert_eq!((after.schema, &*after.check), (2, "ok"));
    assert_eq!(Ledger::read_only(&path).closed_at(TENANT).unwrap(), before);
}

#[test]
fn old_ledger_is_read_without_migrating_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    fs::copy(fixture().join("ledger.db"), &path).unwrap();
    let ledger = Ledger::read_only(&path);
    let period = month("2026-08").period();
    assert_eq!(ledger.names_and_sizes(TENANT, period).unwrap(), NamesAndSizes::default());
    assert_eq!(ledger.observations(TENANT, period, period.end).unwrap().polls.len(), 8);
    assert_eq!(ledger.closed_at(TENANT).unwrap().len(), 3);
    assert!(ledger.open_differences(TENANT).unwrap().is_empty());
    assert!(ledger.comparisons(TENANT).unwrap().is_empty());
    let mut events = Vec::new();
    assert_eq!(export(&path, &mut events).unwrap(), 14);
    backup(&path, &folder.path().join("copy.db")).unwrap();
    assert_eq!(inspect(&folder.path().join("copy.db")).unwrap().schema, 1);
    assert_eq!(fs::read(&path).unwrap(), fs::read(fixture().join("ledger.db")).unwrap());
}

#[test]
fn inputs_of_version_1_are_read_and_unknown_versions_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    fs::copy(fixture().join("ledger.db"), &path).unwrap();
    let packed =
        Ledger::read_only(&path).revision(TENANT, month("2026-08")).unwrap().unwrap().inputs.unwrap();
    let frozen = Frozen::unpack(&packed).unwrap();
    assert_eq!(frozen.header.month, month("2026-08"));
    assert!(frozen.header.vm_sizes.is_empty() && frozen.header.account.polls > 0);
    assert_eq!(frozen.monthly.report.vms.len(), 7);
    let again = Frozen::unpack(&frozen.pack().unwrap()).unwrap();
    assert_eq!(serde_json::to_value(&again.header).unwrap(), serde_json::to_value(&frozen.header).unwrap());
    let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    other.write_all(b"4\n{}\n{}").unwrap();
    assert_eq!(Frozen::unpack(&other.finish().unwrap()).unwrap_err(), "it has version 4");
}

/// As after a crash between the ledger's transaction and its last step.
fn pending(old: &Old, name: &str, revision: u32) {
    let connection = rusqlite::Connection::open(&old.config.ledger.path).unwrap();
    let changed = connection
        .execute("UPDATE revision SET state = 'pending' WHERE month = ?1 AND revision = ?2", (name, revision))
        .unwrap();
    assert_eq!(changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_old_revision_with_files_is_published_unchanged() {
    let old = Old::open().await;
    let before = old.files();
    pending(&old, "2026-09", 2);
    assert!(old.closer().audit().await.unwrap().is_empty());
    assert_eq!(old.files(), before);
    assert!(old.ledger.revision(TENANT, month("2026-09")).unwrap().unwrap().published);
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_old_restatement_without_files_is_written() {
    let old = Old::open().await;
    pending(&old, "2026-09", 2);
    let directory = old.of_month("2026-09").join("r02");
    let path = |name: &str| directory.join(format!("flexvm-usage_{TENANT}_2026-09_r02_{name}"));
    let response = fs::read(path("provider-report.json")).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    assert!(old.closer().audit().await.unwrap().is_empty());
    let row = old.ledger.revision(TENANT, month("2026-09")).unwrap().unwrap();
    let published = old.closer().closed(month("2026-09")).await.unwrap().unwrap();
    published.verify().unwrap();
    assert_eq!((row.revision, row.published, &row.digest), (2, true, &published.digest));
    assert_eq!(fs::read(path("provider-report.json")).unwrap(), response);
    assert_eq!(published.reason.as_deref(), Some("agent 2 was released a day earlier"));
    // Compared by the names of columns: only the VM that was released earlier changed.
    let changes = rows(&fs::read_to_string(path("changes.csv")).unwrap());
    // Flags that 0.1.0 did not have are new.
    let of_vms = changes.iter().filter(|row| row["scope"] == "vm" && row["column"] != "flags");
    let vms: BTreeSet<_> = of_vms.map(|row| &row["key"]).collect();
    assert_eq!(vms.len(), 1, "{changes:?}");
    assert!(
        changes
            .iter()
            .any(|row| row["column"] == "vm_hours" && row["before"] == "282" && row["after"] == "258")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_old_revision_is_reported_and_not_replaced() {
    for (name, revision) in OLD {
        let old = Old::open().await;
        let closer = old.closer();
        closer.check_clock().await;
        assert!(closer.audit().await.unwrap().is_empty());
        let before = old.files();
        let directory = old.of_month(name).join(format!("r{revision:02}"));
        let aside = old.folder.path().join("aside");
        fs::rename(&directory, &aside).unwrap();
        let wrong = closer.audit().await.unwrap();
        let [(wrong_month, error)] = &wrong[..] else { panic!("{name}: {wrong:?}") };
        assert_eq!(*wrong_month, month(name));
        assert_eq!(error.reason().as_str(), "exists", "{name}: {error}");
        assert!(error.to_string().contains(name) && error.to_string().contains("gone"), "{name}: {error}");
        assert!(!directory.exists(), "{name}: files of another layout");
        // It is found again as soon as its files are back.
        fs::rename(&aside, &directory).unwrap();
        assert!(closer.audit().await.unwrap().is_empty());
        assert_eq!(old.files(), before);
    }
}
