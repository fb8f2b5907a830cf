//! Tenants, an observer that remembers, and the API's answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flexvm_exporter::api::{Client, Code, Endpoint, Observer, Run};
use flexvm_exporter::config::{Api, Secret, Tenant, TokenSource};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::server::{Reply, Request, Server, json as reply, status};

pub const TOKEN: &str = "token-that-nobody-may-see";
pub const LONG: Duration = Duration::from_secs(30);

/// Remembers what it was told.
#[derive(Default)]
pub struct Seen {
    requests: Mutex<Vec<(Endpoint, Code)>>,
    retries: Mutex<Vec<Endpoint>>,
    expiry: Mutex<Option<Timestamp>>,
}

impl Observer for Seen {
    fn request(&self, endpoint: Endpoint, code: Code, _: Duration) {
        self.requests.lock().unwrap().push((endpoint, code));
    }

    fn retry(&self, endpoint: Endpoint) {
        self.retries.lock().unwrap().push(endpoint);
    }

    fn certificate(&self, expiry: Timestamp) {
        *self.expiry.lock().unwrap() = Some(expiry);
    }
}

impl Seen {
    pub fn codes(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(_, code)| code.to_string()).collect()
    }

    /// Expiry of the certificate that was observed last.
    pub fn expiry(&self) -> Option<String> {
        self.expiry.lock().unwrap().map(|at| at.to_string())
    }

    pub fn retries(&self) -> usize {
        self.retries.lock().unwrap().len()
    }
}

pub fn tenant(server: &Server, change: impl FnOnce(&mut Tenant)) -> Tenant {
    tenant_at(&format!("http://{}", server.address), change)
}

pub fn tenant_at(url: &str, change: impl FnOnce(&mut Tenant)) -> Tenant {
    let api = Api {
        timeout: Duration::from_millis(400),
        connect_timeout: Duration::from_millis(400),
        max_body: 1 << 20,
        ..Api::default()
    };
    let mut tenant = Tenant {
        name: "k1".into(),
        base_url: url.parse().unwrap(),
        token: TokenSource::Fixed(Secret::new(TOKEN)),
        api,
        prices: None,
        group_by: Vec::new(),
    };
    change(&mut tenant);
    tenant
}

pub fn client_with(server: &Server, change: impl FnOnce(&mut Tenant)) -> (Client, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    (Client::new(&tenant(server, change), seen.clone()).unwrap(), seen)
}

pub fn run(server: &Server) -> (Run, Arc<Seen>) {
    let (client, seen) = client_with(server, |_| {});
    (client.run(LONG), seen)
}

pub fn cloud(id: &str) -> Value {
    json!({"id": id, "name": "One", "site": "nlrtm1", "instance_type": "bm9", "created_at": "2026-06-01T12:45:14Z"})
}

pub fn vm(id: &str) -> Value {
    json!({"id": id, "name": "agent", "instance_type": {"name": "vm.4c"}, "image": {"name": "u"}, "status": "running",
        "ips": [], "cloud": cloud("c-1"), "node": null, "created_at": "2026-06-01T12:45:14Z", "tags": ["a"]})
}

/// `total` clouds.
pub fn clouds(total: usize) -> Vec<Value> {
    (0..total).map(|number| cloud(&format!("c-{number}"))).collect()
}

/// The page of `rows` that `request` asks for, of at most `clamp` rows.
pub fn page(request: &Request, rows: &[Value], clamp: usize) -> Reply {
    let (start, results) = request.range().unwrap_or((0, 25));
    let end = (start + results.min(clamp)).min(rows.len());
    reply(&Value::from(rows.get(start..end).unwrap_or_default()))
}

/// A valid answer to every operation.
pub fn everything(request: &Request) -> Reply {
    let capacity = json!({"nodes": 1, "node_groups": [], "resources": {
        "vcpu": {"total": 1, "in_use": 0, "available": 1}, "memory": {"total": 1, "in_use": 0, "available": 1},
        "pci_devices": []}});
    let node = json!({"id": "n-1", "name": "n", "serial": "s", "status": "running", "cloud": cloud("c-1")});
    let size = json!({"id": "i", "name": "vm.4c", "vcpu": 4, "memory": 4096, "disk": 64, "pciDevices": []});
    let path = request.target.split('?').next().unwrap_or_default();
    let Some(path) = path.strip_prefix("/v3/flexVM/") else { return status(404, "", "") };
    reply(&match path {
        "clouds" => json!([cloud("c-1")]),
        "clouds/c-1" => cloud("c-1"),
        "clouds/c-1/nodes" => json!([node]),
        "clouds/c-1/nodes/n-1" => node,
        "instanceTypes" => json!([size]),
        "images" => json!([{"name": "u", "os": "Ubuntu", "os_type": "linux"}]),
        "clouds/c-1/vms" => json!([vm("v-1")]),
        "clouds/c-1/vms/v-1" => vm("v-1"),
        "capacity" => {
            let mut row = cloud("c-1");
            row.as_object_mut().unwrap().extend(capacity.as_object().unwrap().clone());
            json!([row])
        }
        "reports/capacity" => capacity,
        "reports/monthly" => json!({
            "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}, "total_nodes": 1,
            "total_active_vms": 1, "clouds": [], "by_tag": [], "vms": []}),
        _ => return status(404, "", ""),
    })
}
