//! A daemon on the simulator, with a history of closed months and names that mean harm.

use flexvm_exporter::clock::Clock;
use flexvm_exporter::period::Month;
use flexvm_exporter::simulator::{Fault, Operation, Options, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::program::{self, Program};

/// Would become an element, and run, if it were not escaped.
pub const HOSTILE: &str = "\"'><img src=x onerror=\"window.harmed=1\">&amp;<script>window.harmed=1</script>";

/// Text that reads from right to left, and as long as names get.
pub const ODD: &str = "\u{202e}gnp.exe אבג Ünï-";

pub struct Stage {
    pub daemon: Program,
    _simulator: Simulator,
    _folder: tempfile::TempDir,
}

/// Starts everything and waits until all there is to show is shown.
pub async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let options = Options { vms: 80, clouds: 2, churn: false, months: 2, ..Options::default() };
    let simulator = Simulator::new(options, Clock::system());
    let serving = simulator.clone();
    tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
    hostile_world(&simulator);
    let config = format!(
        "tenants: [{{name: k1, base_url: '{api}', token_file: '{0}/token'}}]\n\
         poll: {{capacity: 1s, inventory: 1s, usage: 1s, catalogue: 1s}}\n\
         report: {{directory: '{0}/reports', settle: 0s, backfill: 2}}\nledger: {{url: 'sqlite:{0}/ledger.db'}}\n\
         prices: {{currency: EUR, vm_hour: {{vm.2c.4g: '1234.5', vm.4c.8g: '0.12'}}}}\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("token"), "simulator").unwrap();
    let file = folder.path().join("exporter.yml");
    std::fs::write(&file, config).unwrap();
    let last = Month::of(Clock::system().now()).previous();
    let months = format!("{}..{last}", last.previous());
    for more in [
        &["--month", &months][..],
        &["--month", &last.to_string(), "--restate", "--force", "--reason", HOSTILE],
    ] {
        let mut command = program::exporter();
        let ended = program::run(command.arg("report").args(more).arg("--config.file").arg(&file));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let daemon = Program::serve(&file);
    let stage = Stage { daemon, _simulator: simulator.clone(), _folder: folder };
    let shows = |what: &str, of: fn(&Value) -> bool| {
        program::until(what, || stage.json("/").filter(|status| of(&status["tenants"][0])));
    };
    shows("all data", |tenant| {
        let works = |it: &Value| it["state"] == "fine";
        tenant["collectors"].as_array().unwrap().iter().all(works)
            && tenant["closed_months"].as_array().is_some_and(|rows| rows.len() == 3)
            && tenant["next_report"].is_object()
    });
    // One collector fails from now on, and keeps what it had.
    simulator.faults().add(Fault::error(500, HOSTILE).on(Operation::InstanceTypes));
    shows("a failure", |tenant| {
        tenant["collectors"].as_array().unwrap().iter().any(|it| it["state"] == "failing")
    });
    stage
}

/// A cloud and a VM whose names and tags mean harm, and a tag as long as tags get.
fn hostile_world(simulator: &Simulator) {
    let call = |path: &str, body: &Value| {
        let answer = simulator.call("POST", &format!("/v3/flexVM/{path}"), None, &body.to_string());
        assert_eq!(answer.status, 201, "{path}: {:?}", String::from_utf8_lossy(&answer.body));
    };
    let clouds = simulator.call("GET", "/v3/flexVM/clouds", None, "");
    let clouds: Value = serde_json::from_slice(&clouds.body).unwrap();
    simulator.faults().add(Fault::edit(|rows| rows[0]["name"] = HOSTILE.into()).on(Operation::Clouds));
    simulator.faults().add(Fault::edit(|rows| rows[0]["name"] = HOSTILE.into()).on(Operation::CloudCapacity));
    let long = format!("{ODD}{}", "long".repeat(25));
    let vm = json!({"name": HOSTILE, "ssh_keys": ["ssh-ed25519 AAAA test"], "tags": [HOSTILE, long, "a:b"]});
    call(&format!("clouds/{}/vms", clouds[0]["id"].as_str().unwrap()), &vm);
}

impl Stage {
    /// What a page says to programs.
    pub fn json(&self, path: &str) -> Option<Value> {
        let http = flexvm_exporter::api::plain_client(std::time::Duration::from_secs(10)).unwrap();
        let request = http.get(format!("http://{}{path}", self.daemon.address));
        let answer = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let answer = request.header("accept", "application/json").send().await.ok()?;
                answer.bytes().await.ok()
            })
        })?;
        serde_json::from_slice(&answer).ok()
    }
}
