//! The operations that write: what they accept, what they refuse and with which status.
//!
//! 400 is for a body that is not the documented object (not JSON, an unknown property, a wrong
//! type), 422 for one whose values make no sense. Commands know no 400, so theirs is 422 too.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::{Answer, Detail, Problem};
use super::catalogue::{HARDWARE, IMAGES, SITES, SIZES};
use super::timeline::{NodeStatus, VmStatus};
use super::world::{NewVm, World};

const LONGEST_TAG: usize = 128;
const LONGEST_USER_DATA: usize = 64_000;

/// `errorCode` of a DELETE of a VM that is neither running, stopped nor final.
const VM_IS_CHANGING: u32 = 90_001;
/// `errorCode` of a DELETE of a VM that has failed or is deleted.
const VM_IS_FINAL: u32 = 90_002;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudBody {
    name: Option<String>,
    description: Option<String>,
    site: Option<String>,
    instance_type: Option<String>,
    // Read-only in the documentation's one schema for both ways: taken and ignored.
    #[serde(rename = "id")]
    _id: Option<String>,
    #[serde(rename = "created_at")]
    _created_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VmBody {
    name: Option<String>,
    description: Option<String>,
    image_name: Option<String>,
    instance_type_name: Option<String>,
    ssh_keys: Option<Vec<String>>,
    user_data: Option<UserData>,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserData {
    data: Option<String>,
    #[serde(default, rename = "is_base64")]
    _is_base64: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    command: String,
}

fn parse<T: DeserializeOwned>(body: &[u8], status: u16) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::new(status, "Invalid request body", vec![Detail::new("body", error.to_string())])
    })
}

/// A text that must be there and not blank.
fn required(property: &str, text: Option<String>) -> Result<String, Problem> {
    text.filter(|text| !text.trim().is_empty())
        .ok_or_else(|| Problem::invalid(property, "is required and may not be blank"))
}

impl World {
    pub(super) fn create_cloud(&mut self, body: &[u8]) -> Result<Answer, Problem> {
        let body: CloudBody = parse(body, 400)?;
        let name = required("name", body.name)?;
        let site = required("site", body.site)?;
        let hardware = required("instance_type", body.instance_type)?;
        let site = SITES.iter().find(|known| **known == site);
        let site = site.ok_or_else(|| Problem::invalid("site", "is not a site of this organisation"))?;
        let hardware = HARDWARE
            .iter()
            .position(|known| known.name == hardware)
            .ok_or_else(|| Problem::invalid("instance_type", "is not a bare-metal instance type"))?;
        if self.clouds.iter().any(|cloud| cloud.deleted.is_none() && cloud.name == name) {
            return Err(Problem::new(409, "A cloud of this name exists", Vec::new()));
        }
        let cloud = self.add_cloud(name, body.description, site, hardware);
        Ok(Answer::json(201, &self.cloud_out(cloud)))
    }

    /// Refused with 422, for the documentation lists no 409, while it has VMs or nodes.
    pub(super) fn delete_cloud(&mut self, cloud: usize) -> Result<Answer, Problem> {
        if !self.clouds[cloud].living.is_empty() || self.nodes_of(cloud).next().is_some() {
            return Err(Problem::new(422, "The cloud still has VMs or nodes", Vec::new()));
        }
        self.clouds[cloud].deleted = Some(self.now);
        Ok(Answer::empty(204))
    }

    pub(super) fn delete_node(&mut self, node: usize) -> Result<Answer, Problem> {
        let deletable = matches!(self.node_status(node), NodeStatus::Running | NodeStatus::Failed);
        if self.nodes[node].hosted > 0 {
            return Err(Problem::new(409, "The node still hosts VMs", Vec::new()));
        }
        if !deletable {
            return Err(Problem::new(409, "The node is not in a deletable state", Vec::new()));
        }
        self.remove_node(node);
        Ok(Answer::empty(202))
    }

    /// Deletes a VM that is running or stopped. Otherwise returns 422 with the `errorCode` that the vendor's client expects.
    pub(super) fn delete_vm_by_request(&mut self, vm: usize) -> Result<Answer, Problem> {
        match self.vm_status(vm) {
            VmStatus::Running | VmStatus::Stopped => {}
            VmStatus::Failed | VmStatus::Deleted => {
                return Err(
                    Problem::new(422, "The VM is in a final status", Vec::new()).with_code(VM_IS_FINAL)
                );
            }
            _ => {
                let problem = Problem::new(422, "The VM is neither running nor stopped", Vec::new());
                return Err(problem.with_code(VM_IS_CHANGING));
            }
        }
        match self.delete_vm(vm) {
            Ok(()) => Ok(Answer::empty(202)),
            Err(_) => Err(Problem::new(422, "The VM is being deleted", Vec::new()).with_code(VM_IS_CHANGING)),
        }
    }

    pub(super) fn post_vm(&mut self, cloud: usize, body: &[u8]) -> Result<Answer, Problem> {
        let body: VmBody = parse(body, 400)?;
        let name = required("name", body.name)?;
        check_access(body.ssh_keys.as_deref(), body.user_data.as_ref())?;
        let tags = body.tags.unwrap_or_default();
        if tags.iter().any(|tag| tag.is_empty() || tag.chars().count() > LONGEST_TAG) {
            return Err(Problem::invalid("tags", "must be texts of 1 to 128 characters"));
        }
        // Both names are optional in the documentation; without one the provider's first is taken.
        let image = find("image_name", body.image_name.as_deref(), IMAGES.iter().map(|image| image.name))?;
        let size = find(
            "instance_type_name",
            body.instance_type_name.as_deref(),
            SIZES.iter().map(|size| size.name),
        )?;
        let Some(node) = self.find_room(cloud, size, usize::MAX) else {
            return Err(Problem::new(422, "No node of the cloud has room for the instance type", Vec::new()));
        };
        let new = NewVm { name, description: body.description, cloud, size, image, tags };
        let vm = self.create_vm(new, node);
        Ok(Answer::json(201, &self.vm_out(vm)))
    }

    /// A command is accepted only in a state that it can change.
    pub(super) fn command(&mut self, vm: usize, body: &[u8]) -> Result<Answer, Problem> {
        use VmStatus::{Failed, Paused, Running, Stopped};
        let body: CommandBody = parse(body, 422)?;
        match (body.command.as_str(), self.vm_status(vm)) {
            ("start", Stopped | Paused) | ("reset", Running | Paused | Failed) => self.start_vm(vm),
            ("stop", Running | Paused) => self.stop_vm(vm),
            ("reboot", Running) => self.reboot_vm(vm),
            ("start" | "stop" | "reboot" | "reset", status) => {
                let message = format!("is not possible while the VM is {}", status.word());
                return Err(Problem::invalid("command", &message));
            }
            _ => return Err(Problem::invalid("command", "must be start, stop, reboot or reset")),
        }
        Ok(Answer::empty(202))
    }
}

/// Exactly one way into the VM.
fn check_access(ssh_keys: Option<&[String]>, user_data: Option<&UserData>) -> Result<(), Problem> {
    match (ssh_keys, user_data) {
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::invalid("ssh_keys", "exactly one of ssh_keys and user_data must be given"))
        }
        (Some(keys), None) if keys.is_empty() || keys.iter().any(|key| key.trim().is_empty()) => {
            Err(Problem::invalid("ssh_keys", "must hold at least one key and no empty one"))
        }
        (None, Some(UserData { data, .. })) => {
            let length = data.as_deref().map_or(0, |data| data.chars().count());
            if (1..=LONGEST_USER_DATA).contains(&length) {
                return Ok(());
            }
            Err(Problem::invalid("user_data.data", "must have 1 to 64000 characters"))
        }
        _ => Ok(()),
    }
}

fn find(
    property: &str,
    wanted: Option<&str>,
    mut known: impl Iterator<Item = &'static str>,
) -> Result<usize, Problem> {
    let Some(wanted) = wanted else { return Ok(0) };
    known.position(|known| known == wanted).ok_or_else(|| Problem::invalid(property, "is not known"))
}
