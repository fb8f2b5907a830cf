//! From a request to an operation, and from there to an answer.

use hyper::{HeaderMap, Method};
use reqwest::Url;
use uuid::Uuid;

use super::answer::Answer;
use super::faults::Fault;
use super::read::Range;
use super::world::World;
use super::{Simulator, server};

/// The header that holds the token.
const TOKEN: &str = "private-token";

/// A request, taken apart.
pub(super) struct Request<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Simulator {
    /// Answers a request, and tells what is to go wrong with the answer.
    pub(super) fn answer(&self, request: &Request<'_>) -> (Answer, Option<Fault>) {
        let segments: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let ["v3", "flexVM", rest @ ..] = segments.as_slice() else { return (Answer::empty(404), None) };
        let Some(operation) = operation(request.method, rest) else {
            let known =
                [Method::GET, Method::POST, Method::DELETE].iter().any(|m| operation(m, rest).is_some());
            return (Answer::empty(if known { 405 } else { 404 }), None);
        };
        let fault = self.faults().strike(operation);
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        // A wrong key gives 403 without a body, before anything is looked at.
        if header(TOKEN) != Some(self.0.token.as_str()) {
            return (Answer::empty(403), fault);
        }
        let mut world = self.world();
        let range = match fault {
            Some(Fault::IgnoreRange) => Range::ALL,
            Some(Fault::RepeatRows) => {
                let range = Range::parse(header("ranged-data"), world.options.page_cap);
                Range { start: range.start.saturating_sub(1), ..range }
            }
            _ => Range::parse(header("ranged-data"), world.options.page_cap),
        };
        let answer = carry_out(&mut world, operation, rest, range, request);
        (answer.unwrap_or_else(|no| no), fault)
    }
}

/// The operation's name in the API's description.
fn operation(method: &Method, path: &[&str]) -> Option<&'static str> {
    Some(match (method.as_str(), path) {
        ("GET", ["clouds"]) => "getFlexVMClouds",
        ("POST", ["clouds"]) => "createFlexVMCloud",
        ("GET", ["clouds", _]) => "getFlexVMCloud",
        ("DELETE", ["clouds", _]) => "deleteFlexVMCloud",
        ("GET", ["clouds", _, "nodes"]) => "getFlexVMCloudNodes",
        ("POST", ["clouds", _, "nodes"]) => "createFlexVMCloudNode",
        ("GET", ["clouds", _, "nodes", _]) => "getFlexVMCloudNode",
        ("DELETE", ["clouds", _, "nodes", _]) => "deleteFlexVMCloudNode",
        ("GET", ["images"]) => "getFlexVMImages",
        ("GET", ["instanceTypes"]) => "getFlexVMInstanceTypes",
        ("GET", ["clouds", _, "vms"]) => "getFlexVMCloudVms",
        ("POST", ["clouds", _, "vms"]) => "createFlexVMCloudVm",
        ("GET", ["clouds", _, "vms", _]) => "getFlexVMCloudVm",
        ("DELETE", ["clouds", _, "vms", _]) => "deleteFlexVMCloudVm",
        ("POST", ["clouds", _, "vms", _, "commands"]) => "createFlexVMCloudVmCommand",
        ("GET", ["reports", "monthly"]) => "getFlexVMReportsMonthlies",
        ("GET", ["reports", "capacity"]) => "getFlexVMReportsCapacities",
        ("GET", ["capacity"]) => "getFlexVMCapacities",
        _ => return None,
    })
}

fn carry_out(
    world: &mut World,
    operation: &str,
    path: &[&str],
    range: Range,
    request: &Request<'_>,
) -> Result<Answer, Answer> {
    let parameter = |name: &str| query(request.query, name);
    let cloud = |world: &World| cloud(world, path.get(1).copied().unwrap_or_default());
    let node = |world: &World| node(world, cloud(world)?, path.get(3).copied().unwrap_or_default());
    let vm = |world: &World| vm(world, cloud(world)?, path.get(3).copied().unwrap_or_default());
    Ok(match operation {
        "getFlexVMClouds" => world.list_clouds(range),
        "createFlexVMCloud" => world.create_cloud(request.body),
        "getFlexVMCloud" => Answer::json(200, &world.cloud_out(cloud(world)?)),
        "deleteFlexVMCloud" => world.delete_cloud(cloud(world)?),
        "getFlexVMCloudNodes" => world.list_nodes(cloud(world)?, range),
        "createFlexVMCloudNode" => world.create_node(cloud(world)?),
        "getFlexVMCloudNode" => Answer::json(200, &world.node_out(node(world)?)),
        "deleteFlexVMCloudNode" => world.delete_node(node(world)?),
        "getFlexVMImages" => World::list_images(range),
        "getFlexVMInstanceTypes" => World::list_instance_types(range),
        "getFlexVMCloudVms" => world.list_vms(cloud(world)?, parameter("status").as_deref(), range),
        "createFlexVMCloudVm" => world.create_vm_from(cloud(world)?, request.body),
        "getFlexVMCloudVm" => Answer::json(200, &world.vm_out(vm(world)?)),
        "deleteFlexVMCloudVm" => world.delete_vm_now(vm(world)?),
        "createFlexVMCloudVmCommand" => world.command_vm(vm(world)?, request.body),
        "getFlexVMReportsMonthlies" => {
            world.monthly(parameter("start").as_deref(), parameter("end").as_deref())
        }
        "getFlexVMReportsCapacities" => world.capacity(),
        "getFlexVMCapacities" => world.list_capacity(range),
        _ => Answer::empty(404),
    })
}

/// What is no UUID is 422; a UUID that nothing has is 404.
fn id(text: &str, property: &'static str) -> Result<Uuid, Answer> {
    text.parse().map_err(|_| Answer::unprocessable([(property, "This is not a valid UUID.".to_owned())]))
}

fn cloud(world: &World, text: &str) -> Result<usize, Answer> {
    let found = world.cloud_ids.get(&id(text, "cloudUuid")?).copied();
    found.filter(|cloud| world.clouds[*cloud].deleted.is_none()).ok_or_else(Answer::not_found)
}

fn node(world: &World, cloud: usize, text: &str) -> Result<usize, Answer> {
    let found = world.node_ids.get(&id(text, "nodeUuid")?).copied();
    found.filter(|node| world.nodes[*node].cloud == cloud).ok_or_else(Answer::not_found)
}

/// A deleted VM is still answered, with its status and `deleted_at`.
fn vm(world: &World, cloud: usize, text: &str) -> Result<usize, Answer> {
    let found = world.vm_ids.get(&id(text, "vmUuid")?).copied();
    found.filter(|vm| world.vms[*vm].cloud == cloud).ok_or_else(Answer::not_found)
}

fn query(query: Option<&str>, name: &str) -> Option<String> {
    let address = Url::parse(&format!("{}?{}", server::ANY_BASE, query?)).ok()?;
    address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
