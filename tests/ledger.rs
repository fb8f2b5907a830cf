//! The ledger and the seconds that it proves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "ledger/file.rs"]
mod file;
#[path = "ledger/model.rs"]
mod model;
#[path = "ledger/spellings.rs"]
mod spellings;
#[path = "ledger/validity.rs"]
mod validity;

use flexvm_exporter::snapshot::{InventoryData, Text, Vm, VmStatus};
use jiff::Timestamp;

/// `seconds` after the beginning of October 2026.
fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
    Timestamp::from_second(start.as_second() + seconds).unwrap()
}

fn vm(id: &str, status: VmStatus) -> Vm {
    let text = |text: &str| -> Text { text.into() };
    Vm {
        id: text(id),
        cloud_id: text("cloud"),
        name: text(id),
        instance_type: text("vm.4c.8g"),
        size: None,
        image: text("debian"),
        status,
        node_id: None,
        created_at: None,
        deleted_at: None,
        ips: Box::default(),
        tags: [].into(),
    }
}

/// What a poll saw.
fn poll<'a>(vms: impl IntoIterator<Item = (&'a str, VmStatus)>) -> InventoryData {
    let mut vms: Vec<_> = vms.into_iter().map(|(id, status)| vm(id, status)).collect();
    vms.sort_by(|a, b| a.id.cmp(&b.id));
    InventoryData { vms: vms.into_iter().map(std::sync::Arc::new).collect(), ..InventoryData::default() }
}
