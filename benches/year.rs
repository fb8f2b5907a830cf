//! The ledger of a year of 100,000 VMs, of which 20,000 a month are created and deleted: bytes on disk.
//! Prints what they are made of and fails above [`AT_MOST`].
//!
//! Every event goes through the library: a created VM has eight in its life, and each VM is stopped and
//! started once a month, which is four. So does one poll in eight hours. The other polls of that time,
//! one a minute, in which nothing changes, are inserted as the rows that they would leave: at 100,000
//! VMs a poll they would take hours. Each month is closed with what a report on it would be made from.
//!
//! Only the size counts here: `TMPDIR=/dev/shm` keeps the ledger in memory, which spares some thousand
//! waits for the disk.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvm_exporter::api::Monthly;
use flexvm_exporter::ledger::{Ledger, RevisionRow};
use flexvm_exporter::period::{Month, rfc3339};
use flexvm_exporter::report::{Account, Frozen, Header, Observed, Terms};
use flexvm_exporter::snapshot::{InventoryData, Text, Vm, VmStatus};
use jiff::Timestamp;
use serde_json::json;
use tokio::runtime::Runtime;

const AT_MOST: u64 = 2_000_000_000;

/// VMs that stay, and those that come and go: each of these lives for a month.
const STAYING: usize = 80_000;
const A_MONTH: usize = 20_000;

const MINUTE: i64 = 60;
/// Seconds between two polls that go through the library.
const STEP: i64 = 480 * MINUTE;
const YEAR: i64 = 365 * 86_400;
const STEPS_A_MONTH: i64 = YEAR / 12 / STEP;

const TENANT: &str = "bench";

/// What a new VM goes through, one a step, and what one that is deleted does.
const BIRTH: [VmStatus; 4] =
    [VmStatus::Provisioning, VmStatus::Created, VmStatus::Starting, VmStatus::Running];
const DEATH: [VmStatus; 3] = [VmStatus::Stopping, VmStatus::Stopped, VmStatus::Deleting];
/// Stopped and started again.
const PAUSE: [VmStatus; 4] = [VmStatus::Stopping, VmStatus::Stopped, VmStatus::Starting, VmStatus::Running];

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let begun = Instant::now();
    let mut world = World::new(Ledger::open(&path).expect("a ledger"), &path);
    for step in 0..YEAR / STEP {
        world.step(step);
    }
    world.close_months_before(world.start + YEAR + 1);
    let World { ledger, database, .. } = world;
    drop(ledger);
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        database.query_row(&sql, [], |row| row.get(0)).expect("a count")
    };
    println!(
        "{} polls, {} events, {} VMs, {} closed months; made in {:?}",
        count("poll"),
        count("event"),
        count("vm"),
        count("revision"),
        begun.elapsed()
    );
    let mut tables = database
        .prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 8")
        .expect("sizes");
    let sizes = tables.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    for (name, bytes) in sizes.expect("sizes").map(|row| row.expect("a size")) {
        println!("  {name}: {} MB", bytes / 1_000_000);
    }
    let bytes = std::fs::metadata(&path).expect("the ledger").len();
    println!("{} MB in all; aim {} MB", bytes / 1_000_000, AT_MOST / 1_000_000);
    assert!(bytes < AT_MOST, "the ledger is too large");
}

struct World {
    ledger: Ledger,
    /// Beside the ledger, for the polls in which nothing changes.
    database: rusqlite::Connection,
    runtime: Runtime,
    random: fastrand::Rng,
    start: i64,
    closed: Month,
    /// In the order of ids, as polls give them.
    vms: Vec<Arc<Vm>>,
    /// Those that come and go, oldest first.
    guests: VecDeque<Text>,
    /// What is still before a VM, one status a step.
    ahead: Vec<(Text, VecDeque<VmStatus>)>,
    /// Lives that ended in the running month, for its report.
    ended: Vec<(Arc<Vm>, i64)>,
}

impl World {
    fn new(ledger: Ledger, path: &Path) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let database = rusqlite::Connection::open(path).expect("the ledger");
        database.busy_timeout(Duration::from_mins(1)).expect("a time");
        let mut world = Self {
            ledger,
            database,
            runtime: Runtime::new().expect("a runtime"),
            random: fastrand::Rng::with_seed(7),
            start: start.as_second(),
            closed: Month::of(start),
            vms: Vec::new(),
            guests: VecDeque::new(),
            ahead: Vec::new(),
            ended: Vec::new(),
        };
        for _ in 0..STAYING + A_MONTH {
            let vm = world.made(VmStatus::Running, world.start);
            world.vms.push(vm);
        }
        world.vms.sort_by(|a, b| a.id.cmp(&b.id));
        world.guests = world.vms.iter().step_by(5).map(|vm| vm.id.clone()).collect();
        world
    }

    fn made(&mut self, status: VmStatus, at: i64) -> Arc<Vm> {
        let text = |text: &str| -> Text { text.into() };
        let id = self.random.u128(..);
        Arc::new(Vm {
            id: text(&uuid::Uuid::from_u128(id).to_string()),
            cloud_id: text(&uuid::Uuid::from_u128(id % 8).to_string()),
            name: text(&format!("agent-{}", id % 1_000_000)),
            instance_type: text("vm.4c.8g"),
            size: None,
            image: text("debian-12"),
            status,
            node_id: None,
            created_at: Timestamp::from_second(at).ok(),
            deleted_at: None,
            ips: Box::default(),
            tags: [text("project:atlas"), text("env:build")].into(),
        })
    }

    /// Changes the world, and polls it.
    fn step(&mut self, step: i64) {
        let now = self.start + (step + 1) * STEP;
        self.close_months_before(now);
        let of_month = |count: usize| {
            let count = i64::try_from(count).expect("a small number");
            usize::try_from(count * (step + 1) / STEPS_A_MONTH - count * step / STEPS_A_MONTH).expect("a few")
        };
        for _ in 0..of_month(A_MONTH) {
            let vm = self.made(BIRTH[0].clone(), now);
            self.ahead.push((vm.id.clone(), BIRTH[1..].iter().cloned().collect()));
            self.guests.push_back(vm.id.clone());
            self.vms.push(vm);
            let leaves = self.guests.pop_front().expect("a guest");
            self.ahead.push((leaves, DEATH.iter().cloned().collect()));
        }
        for _ in 0..of_month(STAYING + A_MONTH) {
            let vm = self.random.usize(..self.vms.len());
            self.ahead.push((self.vms[vm].id.clone(), PAUSE.iter().cloned().collect()));
        }
        self.vms.sort_by(|a, b| a.id.cmp(&b.id));
        for (id, ahead) in &mut self.ahead {
            let Ok(place) = self.vms.binary_search_by(|vm| vm.id.cmp(id)) else {
                ahead.clear();
                continue;
            };
            if let Some(status) = ahead.pop_front() {
                self.vms[place] = Arc::new(Vm { status, ..Vm::clone(&self.vms[place]) });
            }
        }
        self.ahead.retain(|(_, ahead)| !ahead.is_empty());
        self.poll(now);
        let ended = &mut self.ended;
        self.vms.retain(|vm| {
            let stays = vm.status != VmStatus::Deleting;
            if !stays {
                ended.push((Arc::clone(vm), now));
            }
            stays
        });
    }

    /// The poll at `now` through the library, and those of the minutes before it as rows.
    fn poll(&mut self, now: i64) {
        let transaction = self.database.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached(
                    "INSERT INTO poll (tenant, at, observed_from, vms) SELECT id, ?1, ?2, ?3 FROM tenant",
                )
                .expect("a statement");
            let vms = i64::try_from(self.vms.len()).expect("a number");
            for at in (now - STEP + MINUTE..now).step_by(60) {
                insert.execute((at, at - MINUTE, vms)).expect("a row");
            }
        }
        transaction.commit().expect("a commit");
        let data = InventoryData { vms: self.vms.as_slice().into(), ..InventoryData::default() };
        let (at, gap) = (Timestamp::from_second(now).expect("a time"), Duration::from_mins(3));
        let recorded = self.ledger.observe(TENANT.into(), at, gap, Arc::new(data));
        self.runtime.block_on(recorded).expect("a recorded poll");
    }

    /// Closes the months that ended before `now`.
    fn close_months_before(&mut self, now: i64) {
        while self.closed.period().end.as_second() < now {
            let (month, at) = (self.closed, Timestamp::from_second(now).expect("a time"));
            let monthly = Monthly::read(self.report(month).into()).expect("a report");
            let observations = self.ledger.observations(TENANT, month.period(), at).expect("observations");
            let header = Header {
                tenant: TENANT.to_owned(),
                month,
                fetched_at: at,
                clouds: Vec::new(),
                instance_types: Vec::new(),
                prices: None,
                group_by: Vec::new(),
                tag_rules: Vec::new(),
                excel_bom: false,
                observed: Observed::of(&observations, &monthly, at),
                account: Account::of(&observations, &monthly.report, at),
                terms: Terms::default(),
                vm_sizes: std::collections::BTreeMap::new(),
                supersedes: None,
            };
            let inputs = Frozen { header, monthly }.pack().expect("packed inputs");
            let row = RevisionRow {
                revision: 1,
                published: true,
                digest: "0".repeat(64),
                closed_at: at,
                inputs: Some(inputs),
            };
            self.ledger.record_revision(TENANT, month, row).expect("a revision");
            self.ended.clear();
            self.closed = month.next();
        }
    }

    /// What the provider would say of the month.
    fn report(&self, month: Month) -> Vec<u8> {
        let period = month.period();
        let living = self.vms.iter().map(|vm| (vm, None));
        let vms = living.chain(self.ended.iter().map(|(vm, at)| (vm, Some(*at)))).map(|(vm, released)| {
            let created = vm.created_at.unwrap_or(period.start);
            let released = released.and_then(|at| Timestamp::from_second(at).ok());
            let until = released.unwrap_or(period.end);
            json!({
                "vm_id": vm.id, "name": vm.name, "status": vm.status.as_str(), "plan": vm.instance_type,
                "image": vm.image, "cloud_id": vm.cloud_id, "site": "rotterdam", "tags": vm.tags,
                "created_at": rfc3339(created), "released_at": released.map(rfc3339),
                "vm_hours": (until.as_second() - created.max(period.start).as_second()).max(0) / 3600,
            })
        });
        let (start, end) = (rfc3339(period.start), rfc3339(period.end));
        let report = json!({
            "period": { "start": start, "end": end }, "total_nodes": 0, "total_active_vms": self.vms.len(),
            "clouds": [], "by_tag": [], "vms": vms.collect::<Vec<_>>(),
        });
        serde_json::to_vec(&report).expect("JSON")
    }
}
