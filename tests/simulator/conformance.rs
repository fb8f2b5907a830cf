//! Every operation and every documented status over HTTP, bodies held to `openapi/flexvm.json`.

use std::collections::BTreeSet;
use std::sync::Mutex;

use flexvm_exporter::simulator::{Fault, Operation};
use serde_json::{Value, json};

use super::support::{Hand, Served, quiet, text};

const DOCUMENT: &str = include_str!("../openapi/flexvm.json");
const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

struct Checker {
    served: Served,
    document: Value,
    seen: Mutex<BTreeSet<(String, u16)>>,
}

/// The path of the document that a request's path matches, and the operation under it.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> &'a Value {
    let full = format!("/v3/flexVM{path}");
    let parts: Vec<&str> = full.split('/').collect();
    let paths = document["paths"].as_object().unwrap();
    let (_, found) = paths
        .iter()
        .find(|(template, _)| {
            let template: Vec<&str> = template.split('/').collect();
            template.len() == parts.len()
                && template.iter().zip(&parts).all(|(t, p)| t == p || t.starts_with('{'))
        })
        .unwrap_or_else(|| panic!("{path} is not documented"));
    &found[method.to_lowercase()]
}

impl Checker {
    async fn new() -> Self {
        let hand = Hand::at("2026-05-14T10:00:00Z");
        let served = Served::new(quiet(40, 3), hand.clock()).await;
        Self { served, document: serde_json::from_str(DOCUMENT).unwrap(), seen: Mutex::default() }
    }

    fn complaints(&self, schema: &Value, body: &Value) -> Vec<String> {
        let whole =
            json!({"allOf": [schema], "components": {"schemas": self.document["components"]["schemas"]}});
        let validator = jsonschema::validator_for(&whole).unwrap();
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// Sends a request and holds the answer to the document.
    async fn check(&self, expected: u16, request: reqwest::RequestBuilder) -> Value {
        let request = request.build().unwrap();
        let method = request.method().to_string();
        let path = request.url().path().strip_prefix("/v3/flexVM").unwrap().to_owned();
        let what = format!("{method} {path}");
        let operation = operation(&self.document, &method, &path);
        if let Some(sent) = request.body().and_then(|body| body.as_bytes())
            && (200..300).contains(&expected)
        {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let sent = serde_json::from_slice(sent).unwrap();
            assert_eq!(self.complaints(schema, &sent), Vec::<String>::new(), "body of {what}");
        }
        let response = self.served.client.execute(request).await.unwrap();
        let status = response.status().as_u16();
        let date = response.headers()["date"].to_str().unwrap();
        assert_eq!(date, "Thu, 14 May 2026 10:00:00 GMT", "{what}");
        let kind = response.headers().get("content-type").cloned();
        let body = response.bytes().await.unwrap();
        assert_eq!(status, expected, "{what}: {}", String::from_utf8_lossy(&body));
        let documented = &operation["responses"][status.to_string()];
        assert!(documented.is_object(), "{what}: {status} is not documented");
        self.seen.lock().unwrap().insert((text(&operation["operationId"]), status));
        let schema = &documented["content"]["application/json"]["schema"];
        if body.is_empty() {
            assert!(status >= 400 || schema.is_null(), "{what}: {status} without a body");
            return Value::Null;
        }
        assert_eq!(kind.unwrap(), "application/json");
        assert!(!schema.is_null(), "{what}: {status} with a body");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(self.complaints(schema, &body), Vec::<String>::new(), "{what}: {body}");
        let mut absent = Vec::new();
        nulls(&body, "", &mut absent);
        assert_eq!(absent, Vec::<String>::new(), "{what}");
        body
    }

    async fn get(&self, expected: u16, path: &str) -> Value {
        self.check(expected, self.served.request("GET", path)).await
    }

    async fn delete(&self, expected: u16, path: &str) -> Value {
        self.check(expected, self.served.request("DELETE", path)).await
    }

    async fn post(&self, expected: u16, path: &str, body: &Value) -> Value {
        self.check(expected, self.served.request("POST", path).body(body.to_string())).await
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let request = self.served.request("GET", path).header("RANGED-DATA", "start=0,results=1000");
        self.check(200, request).await.as_array().unwrap().clone()
    }

    /// The list with a RANGED-DATA header that makes no sense.
    async fn bad_range(&self, expected: u16, path: &str) {
        self.check(expected, self.served.request("GET", path).header("RANGED-DATA", "rows 1 to 5")).await;
    }
}

/// Collects the null values of a response. The vendor's file, unlike the document here, allows none.
fn nulls(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(at.to_owned()),
        Value::Array(items) => items.iter().for_each(|it| nulls(it, at, found)),
        Value::Object(map) => map.iter().for_each(|(key, it)| nulls(it, &format!("{at}.{key}"), found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_and_every_documented_status() {
    let api = Checker::new().await;
    clouds(&api).await;
    nodes(&api).await;
    vms(&api).await;
    catalogue_and_reports(&api).await;
    credentials_and_failures(&api).await;

    let mut documented = BTreeSet::new();
    for methods in api.document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            for status in operation["responses"].as_object().unwrap().keys() {
                documented.insert((text(&operation["operationId"]), status.parse().unwrap()));
            }
        }
    }
    assert_eq!(*api.seen.lock().unwrap(), documented);
    let counted = api.served.simulator.requests();
    assert_eq!(counted.len(), 18, "operations asked for: {counted:?}");
}

async fn clouds(api: &Checker) {
    let clouds = api.list("/clouds").await;
    assert_eq!(clouds.len(), 3);
    let id = text(&clouds[0]["id"]);
    assert_eq!(api.get(200, &format!("/clouds/{id}")).await, clouds[0]);
    api.get(404, &format!("/clouds/{NOBODY}")).await;
    api.get(422, "/clouds/not-a-uuid").await;
    api.bad_range(200, "/clouds").await;

    let new = json!({"name": "Second", "site": "frmtl1", "instance_type": "bm7.std.96"});
    let made = text(&api.post(201, "/clouds", &new).await["id"]);
    api.post(409, "/clouds", &new).await;
    api.post(400, "/clouds", &json!({"name": "Third", "colour": "red"})).await;
    api.post(400, "/clouds", &json!(["Third"])).await;
    api.post(422, "/clouds", &json!({"name": "Third", "site": "moon1", "instance_type": "bm7.std.96"})).await;
    api.post(422, "/clouds", &json!({"name": "Third", "site": "frmtl1", "instance_type": "abacus"})).await;
    api.post(422, "/clouds", &json!({"site": "frmtl1", "instance_type": "bm7.std.96"})).await;

    api.delete(422, &format!("/clouds/{id}")).await;
    api.delete(204, &format!("/clouds/{made}")).await;
    api.delete(404, &format!("/clouds/{made}")).await;
}

async fn nodes(api: &Checker) {
    let cloud = text(&api.list("/clouds").await[0]["id"]);
    let base = format!("/clouds/{cloud}/nodes");
    let nodes = api.list(&base).await;
    let node = text(&nodes[0]["id"]);
    assert_eq!(api.get(200, &format!("{base}/{node}")).await, nodes[0]);
    api.get(404, &format!("{base}/{NOBODY}")).await;
    api.get(422, &format!("{base}/1")).await;
    api.get(404, &format!("/clouds/{NOBODY}/nodes")).await;
    api.bad_range(422, &base).await;

    let new = api.check(201, api.served.request("POST", &base)).await;
    assert_eq!(new["status"], "created");
    api.check(404, api.served.request("POST", &format!("/clouds/{NOBODY}/nodes"))).await;
    api.check(422, api.served.request("POST", "/clouds/1/nodes")).await;

    api.delete(409, &format!("{base}/{}", text(&new["id"]))).await;
    let running = api.list(&format!("/clouds/{cloud}/vms?status=running")).await;
    api.delete(409, &format!("{base}/{}", text(&running[0]["node"]["id"]))).await;
    api.delete(202, &format!("{base}/{}", text(&nodes[nodes.len() - 1]["id"]))).await;
    api.delete(404, &format!("{base}/{NOBODY}")).await;
    api.delete(422, &format!("{base}/1")).await;
}

async fn vms(api: &Checker) {
    for cloud in api.list("/clouds").await {
        let base = format!("/clouds/{}/vms", text(&cloud["id"]));
        for status in [
            "provisioning",
            "created",
            "starting",
            "running",
            "stopping",
            "stopped",
            "paused",
            "failed",
            "deleting",
            "deleted",
        ] {
            for vm in api.list(&format!("{base}?status={status}")).await {
                assert_eq!(vm["status"], status);
            }
        }
    }
    let cloud = text(&api.list("/clouds").await[0]["id"]);
    let base = format!("/clouds/{cloud}/vms");
    for wrong in ["", "?status=", "?status=asleep"] {
        api.get(422, &format!("{base}{wrong}")).await;
    }
    api.get(404, &format!("/clouds/{NOBODY}/vms?status=running")).await;
    api.bad_range(422, &format!("{base}?status=running")).await;

    let keys = json!(["ssh-ed25519 AAAA somebody"]);
    let good = json!({"name": "by hand", "ssh_keys": keys, "image_name": "debian-12-amd64",
        "instance_type_name": "vm.2c.4g", "tags": ["project:odyssey", "x".repeat(128)]});
    let made = api.post(201, &base, &good).await;
    assert_eq!(made["status"], "provisioning");
    assert!(made["node"]["id"].is_string(), "{made}");
    api.post(201, &base, &json!({"name": "data", "user_data": {"data": "#!/bin/sh", "is_base64": false}}))
        .await;
    let but = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    api.post(400, &base, &but("colour", json!("red"))).await;
    api.post(400, &base, &but("tags", json!("env:build"))).await;
    for (field, value) in [
        ("name", Value::Null),
        ("name", json!(" ")),
        ("ssh_keys", Value::Null),
        ("ssh_keys", json!([])),
        ("user_data", json!({"data": "both"})),
        ("tags", json!([""])),
        ("tags", json!(["é".repeat(129)])),
        ("image_name", json!("cp-m")),
        ("instance_type_name", json!("vm.huge")),
    ] {
        api.post(422, &base, &but(field, value)).await;
    }
    for data in [String::new(), "x".repeat(64_001)] {
        api.post(422, &base, &json!({"name": "data", "user_data": {"data": data}})).await;
    }
    api.post(404, &format!("/clouds/{NOBODY}/vms"), &good).await;

    let vm = format!("{base}/{}", text(&made["id"]));
    assert_eq!(api.get(200, &vm).await, made);
    api.get(404, &format!("{base}/{NOBODY}")).await;
    api.get(422, &format!("{base}/1")).await;

    let running = api.list(&format!("{base}?status=running")).await;
    let commands = format!("{base}/{}/commands", text(&running[0]["id"]));
    api.post(422, &commands, &json!({"command": "start"})).await;
    api.post(422, &commands, &json!({"command": "explode"})).await;
    api.post(422, &commands, &json!({"order": "stop"})).await;
    api.post(202, &commands, &json!({"command": "reboot"})).await;
    api.post(404, &format!("{base}/{NOBODY}/commands"), &json!({"command": "stop"})).await;

    assert_eq!(api.delete(422, &vm).await["errorCode"], 90_001, "it is being provisioned");
    let vm = format!("{base}/{}", text(&running[1]["id"]));
    api.delete(202, &vm).await;
    assert_eq!(api.delete(422, &vm).await["errorCode"], 90_001, "it is being deleted");
    api.delete(404, &format!("{base}/{NOBODY}")).await;
    api.delete(422, &format!("{base}/1")).await;
}

async fn catalogue_and_reports(api: &Checker) {
    for path in ["/images", "/instanceTypes"] {
        assert!(!api.list(path).await.is_empty());
        api.bad_range(422, path).await;
        // The catalogue is always there: only a fault can say that it is not.
        let operation = if path == "/images" { Operation::Images } else { Operation::InstanceTypes };
        api.served.simulator.faults().add(Fault::status(404).on(operation).times(1));
        api.get(404, path).await;
    }
    assert_eq!(api.list("/capacity").await.len(), 3);
    api.bad_range(200, "/capacity").await;
    api.get(200, "/reports/capacity").await;

    let report = api.get(200, "/reports/monthly").await;
    assert_eq!(report["period"], json!({"start": "2026-05-01T00:00:00Z", "end": "2026-06-01T00:00:00Z"}));
    let april = "/reports/monthly?start=2026-04-01T00:00:00Z&end=2026-05-01T00:00:00%2B00:00";
    assert_eq!(
        api.get(200, april).await["period"],
        json!({"start": "2026-04-01T00:00:00Z", "end": "2026-05-01T00:00:00Z"})
    );
    for wrong in [
        "start=2026-04-01T00:00:00Z",
        "end=2026-05-01T00:00:00Z",
        "start=yesterday&end=2026-05-01T00:00:00Z",
        "start=2026-05-01T00:00:00Z&end=2026-04-01T00:00:00Z",
        "start=2026-05-01T00:00:00Z&end=2026-05-01T00:00:00Z",
    ] {
        api.get(400, &format!("/reports/monthly?{wrong}")).await;
    }
    api.get(422, "/reports/monthly?start=2020-01-01T00:00:00Z&end=2026-01-01T00:00:00Z").await;
}

/// 403 and 500 from every operation.
async fn credentials_and_failures(api: &Checker) {
    let paths: Vec<(String, Vec<String>)> = api.document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, methods)| {
            let path = path.strip_prefix("/v3/flexVM").unwrap().to_owned();
            (path, methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect())
        })
        .collect();
    for (template, methods) in &paths {
        let mut path = template.clone();
        for name in ["{cloudUuid}", "{nodeUuid}", "{vmUuid}"] {
            path = path.replace(name, NOBODY);
        }
        for method in methods {
            let url = format!("{}/v3/flexVM{path}", api.served.base);
            let method_ = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let nameless = api.served.client.request(method_.clone(), &url);
            assert_eq!(api.check(403, nameless).await, Value::Null);
            api.check(403, api.served.client.request(method_, &url).header("PRIVATE-TOKEN", "wrong")).await;
            api.served.simulator.faults().add(Fault::error(500, "Internal error").times(1));
            api.check(500, api.served.request(method, &path)).await;
        }
    }
}
