//! Ledger, reports and configuration of version 0.1.0 stay usable (`tests/fixtures/upgrade-0.1.0`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flexvm_exporter::close::CloseOptions;
use flexvm_exporter::config::load::from_yaml;
use flexvm_exporter::ledger::{Ledger, inspect};
use flexvm_exporter::report::Outcome;
use flexvm_exporter::simulator::{Fault, Operation, Simulator};
use flexvm_exporter::{close::Closer, config::Config};
use serde_json::Value;

use crate::support::{Hand, TENANT, closer, files, month};

/// The months that version 0.1.0 published, with their current revisions.
const OLD: [(&str, u32); 4] = [("2026-06", 1), ("2026-07", 1), ("2026-08", 1), ("2026-09", 2)];

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
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgrade-0.1.0");
        copy(&fixture, folder.path());
        let hand = Hand::at("2026-11-05T00:00:00Z");
        let simulator = Simulator::new(Default::default(), hand.clock());
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
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgrade-0.1.0");
    let path = folder.path().join("ledger.db");
    fs::copy(fixture.join("ledger.db"), &path).unwrap();
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
