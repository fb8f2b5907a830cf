//! The operations that change the world, with the checks that the API's documentation names.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::{Answer, Detail};
use super::catalogue::{HARDWARE, IMAGES, SITES, SIZES};
use super::timeline::{NodeStatus, VmStatus};
use super::world::{NewVm, World};

/// Longest tag, in characters.
const LONGEST_TAG: usize = 128;

/// Longest user data, in characters.
const LONGEST_USER_DATA: usize = 64_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudIn {
    name: Option<String>,
    description: Option<String>,
    site: Option<String>,
    instance_type: Option<String>,
    // Read-only: taken and ignored.
    #[serde(rename = "id")]
    _id: Option<String>,
    #[serde(rename = "created_at")]
    _created_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VmIn {
    name: Option<String>,
    description: Option<String>,
    image_name: Option<String>,
    instance_type_name: Option<String>,
    ssh_keys: Option<Vec<String>>,
    user_data: Option<UserDataIn>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserDataIn {
    data: String,
    #[serde(rename = "is_base64", default)]
    _is_base64: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandIn {
    command: Option<String>,
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body)
        .map_err(|error| Answer::bad_request(&format!("Invalid request body: {error}")))
}

fn required(property: &'static str, value: Option<String>, wrong: &mut Vec<Detail>) -> String {
    match value {
        Some(value) if !value.trim().is_empty() => value,
        _ => {
            wrong.push((property, "This value should not be blank.".to_owned()));
            String::new()
        }
    }
}

impl World {
    /// 201, 400, 409 for a name that is taken, 422.
    pub(super) fn create_cloud(&mut self, body: &[u8]) -> Answer {
        let new: CloudIn = match read(body) {
            Ok(new) => new,
            Err(answer) => return answer,
        };
        let mut wrong = Vec::new();
        let name = required("name", new.name, &mut wrong);
        let (site, hardware) = (new.site.unwrap_or_default(), new.instance_type.unwrap_or_default());
        let site = SITES.into_iter().find(|known| *known == site);
        let hardware = HARDWARE.iter().position(|known| known.name == hardware);
        if site.is_none() {
            wrong.push(("site", format!("Must be one of: {}.", SITES.join(", "))));
        }
        if hardware.is_none() {
            wrong.push(("instance_type", "There is no such bare-metal instance type.".to_owned()));
        }
        let (Some(site), Some(hardware), []) = (site, hardware, wrong.as_slice()) else {
            return Answer::unprocessable(wrong);
        };
        if self.living_clouds().iter().any(|cloud| self.clouds[*cloud].name == name) {
            return Answer::conflict("A Cloud with this name exists already");
        }
        let cloud = self.add_cloud(name, new.description, site, hardware);
        Answer::json(201, &self.cloud_out(cloud))
    }

    /// 204, or 422 while it has nodes.
    pub(super) fn delete_cloud(&mut self, cloud: usize) -> Answer {
        if self.nodes_of(cloud).next().is_some() {
            return Answer::unprocessable([("id", "The Cloud still has Nodes.".to_owned())]);
        }
        self.clouds[cloud].deleted = Some(self.now);
        Answer::empty(204)
    }

    /// 201; the node takes its cloud's type and site.
    pub(super) fn create_node(&mut self, cloud: usize) -> Answer {
        let node = self.order_node(cloud);
        Answer::json(201, &self.node_out(node))
    }

    /// 202, or 409 while it hosts VMs or is neither running nor failed.
    pub(super) fn delete_node(&mut self, node: usize) -> Answer {
        if self.nodes[node].hosted > 0 {
            return Answer::conflict("The Node still hosts VMs");
        }
        if !matches!(self.node_status(node), NodeStatus::Running | NodeStatus::Failed) {
            return Answer::conflict("The Node is not in a deletable state");
        }
        self.remove_node(node);
        Answer::empty(202)
    }

    /// 201, 400, or 422 with every property that is wrong, or for want of room.
    pub(super) fn create_vm_from(&mut self, cloud: usize, body: &[u8]) -> Answer {
        let new: VmIn = match read(body) {
            Ok(new) => new,
            Err(answer) => return answer,
        };
        let mut wrong = Vec::new();
        let name = required("name", new.name, &mut wrong);
        let size =
            new.instance_type_name.map_or(Some(0), |name| SIZES.iter().position(|size| size.name == name));
        let image = new.image_name.map_or(Some(0), |name| IMAGES.iter().position(|image| image.name == name));
        if size.is_none() {
            wrong.push(("instance_type_name", "There is no such instance type.".to_owned()));
        }
        if image.is_none() {
            wrong.push(("image_name", "There is no such image.".to_owned()));
        }
        if new.ssh_keys.is_some() == new.user_data.is_some() {
            wrong.push(("ssh_keys", "Exactly one of ssh_keys and user_data must be given.".to_owned()));
        }
        if new.ssh_keys.is_some_and(|keys| keys.is_empty() || keys.iter().any(|key| key.trim().is_empty())) {
            wrong.push(("ssh_keys", "Keys should not be blank.".to_owned()));
        }
        if new.user_data.is_some_and(|user| !(1..=LONGEST_USER_DATA).contains(&user.data.chars().count())) {
            wrong.push(("user_data.data", format!("Must have 1 to {LONGEST_USER_DATA} characters.")));
        }
        let tags = new.tags.unwrap_or_default();
        if tags.iter().any(|tag| !(1..=LONGEST_TAG).contains(&tag.chars().count())) {
            wrong.push(("tags", format!("Each tag must have 1 to {LONGEST_TAG} characters.")));
        }
        let (Some(size), Some(image), []) = (size, image, wrong.as_slice()) else {
            return Answer::unprocessable(wrong);
        };
        let Some(node) = self.find_room(cloud, size, usize::MAX) else {
            return Answer::unprocessable([(
                "instance_type_name",
                "The Cloud has no room for it.".to_owned(),
            )]);
        };
        let new = NewVm { name, description: new.description, cloud, size, image, tags };
        let vm = self.create_vm(new, node);
        Answer::json(201, &self.vm_out(vm))
    }

    /// 202, or 409 when it is being deleted already.
    pub(super) fn delete_vm_now(&mut self, vm: usize) -> Answer {
        match self.delete_vm(vm) {
            Ok(()) => Answer::empty(202),
            Err(super::world::AlreadyDeleting) => Answer::conflict("The VM is being deleted already"),
        }
    }

    /// 202, or 422 for a word that is no command or a status that forbids it.
    pub(super) fn command_vm(&mut self, vm: usize, body: &[u8]) -> Answer {
        let command: CommandIn = match read(body) {
            Ok(command) => command,
            // 400 is not documented here.
            Err(_) => return Answer::unprocessable([("command", "The body cannot be read.".to_owned())]),
        };
        let status = self.vm_status(vm);
        match (command.command.as_deref(), status) {
            (Some("start"), VmStatus::Stopped | VmStatus::Paused) => self.start_vm(vm),
            (Some("stop"), VmStatus::Running | VmStatus::Paused) => self.stop_vm(vm),
            (Some("reboot" | "reset"), VmStatus::Running) => self.reboot_vm(vm),
            (Some("reset"), VmStatus::Failed) => self.start_vm(vm),
            (Some(known @ ("start" | "stop" | "reboot" | "reset")), status) => {
                let message = format!("A VM that is {} cannot {known}.", status.word());
                return Answer::unprocessable([("command", message)]);
            }
            _ => {
                let message = "Must be one of: start, stop, reboot, reset.".to_owned();
                return Answer::unprocessable([("command", message)]);
            }
        }
        Answer::empty(202)
    }
}
