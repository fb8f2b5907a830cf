//! The one world behind the API: clouds, nodes and VMs, ever, and what is still to happen to them.
//!
//! [`super::seed`] fills it with history, [`super::write`] changes it, [`super::read`] and
//! [`super::monthly`] look at it. Time is handed in through [`World::advance`] and never goes back.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use uuid::Uuid;

use super::Options;
use super::care::Care;
use super::catalogue::{Amount, HARDWARE, Hardware, IMAGES, Image, SIZES, Size};
use super::seed::Churn;
use super::timeline::{NodeStatus, Second, Timeline, VmStatus};

#[derive(Debug)]
pub(super) struct Cloud {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub site: &'static str,
    pub hardware: usize,
    pub created: Second,
    pub deleted: Option<Second>,
    /// Nodes ever, by index.
    pub nodes: Vec<usize>,
    /// VMs that are not deleted, in the order of lists: scrambled, so that a new one can come
    /// between any two and nobody can lean on an order that is not promised.
    pub living: BTreeSet<(u64, usize)>,
    /// Deleted VMs, in the same kind of order.
    pub gone: BTreeSet<(u64, usize)>,
    /// Where the next search for room begins, as a position in `nodes`.
    pub cursor: usize,
}

impl Cloud {
    pub fn hardware(&self) -> &'static Hardware {
        &HARDWARE[self.hardware]
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub id: Uuid,
    pub name: String,
    pub serial: String,
    pub cloud: usize,
    pub states: Timeline<NodeStatus>,
    pub used: Amount,
    pub hosted: usize,
}

#[derive(Debug)]
pub(super) struct Vm {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub cloud: usize,
    pub node: usize,
    pub size: usize,
    pub image: usize,
    pub tags: Vec<String>,
    pub created: Second,
    /// When it is gone; may lie ahead while it is being deleted.
    pub deleted: Option<Second>,
    /// When a build agent will have done its work.
    pub retires: Option<Second>,
    pub states: Timeline<VmStatus>,
    order: u64,
}

impl Vm {
    pub fn size(&self) -> &'static Size {
        &SIZES[self.size]
    }

    pub fn image(&self) -> &'static Image {
        &IMAGES[self.image]
    }
}

/// What a VM is made from.
#[derive(Clone, Debug)]
pub(super) struct NewVm {
    pub name: String,
    pub description: Option<String>,
    pub cloud: usize,
    pub size: usize,
    pub image: usize,
    pub tags: Vec<String>,
}

/// What the world does by itself at a scheduled second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A deleted VM gives its node's resources back.
    Release(usize),
    /// A build agent has done its work.
    Retire(usize),
    /// The build farm wants the next agent.
    Arrival,
    /// A VM that is switched off at times is switched the other way.
    Toggle(usize),
    /// Something breaks.
    Trouble,
    /// The organisation's tooling looks after its fleet.
    Round,
}

/// A VM is already being deleted or gone.
#[derive(Debug)]
pub(super) struct AlreadyDeleting;

#[derive(Debug)]
pub(super) struct World {
    pub options: Options,
    pub now: Second,
    pub clouds: Vec<Cloud>,
    pub nodes: Vec<Node>,
    pub vms: Vec<Vm>,
    pub cloud_ids: HashMap<Uuid, usize>,
    pub node_ids: HashMap<Uuid, usize>,
    pub vm_ids: HashMap<Uuid, usize>,
    pub(super) churn: Churn,
    pub(super) care: Care,
    agenda: BinaryHeap<Reverse<(Second, usize, Event)>>,
    scheduled: usize,
    random: fastrand::Rng,
}

impl World {
    /// An empty world at second `now`.
    pub fn empty(options: Options, now: Second) -> Self {
        let random = fastrand::Rng::with_seed(options.seed);
        let (churn, care) = (Churn::new(&options), Care::new(options.seed, now));
        Self {
            options,
            now,
            clouds: Vec::new(),
            nodes: Vec::new(),
            vms: Vec::new(),
            cloud_ids: HashMap::new(),
            node_ids: HashMap::new(),
            vm_ids: HashMap::new(),
            churn,
            care,
            agenda: BinaryHeap::new(),
            scheduled: 0,
            random,
        }
    }

    /// Lets everything happen that is due up to `to`. A clock that went back stands still here.
    pub fn advance(&mut self, to: Second) {
        while let Some(Reverse((at, _, event))) = self.agenda.peek().copied()
            && at <= to
        {
            self.agenda.pop();
            self.now = self.now.max(at);
            match event {
                Event::Release(vm) => self.release(vm),
                // An agent that somebody deleted before needs no retiring.
                Event::Retire(vm) => drop(self.delete_vm(vm)),
                Event::Arrival => self.arrive(),
                Event::Toggle(vm) => self.toggle(vm),
                Event::Trouble => self.trouble(),
                Event::Round => self.round(),
            }
        }
        self.now = self.now.max(to);
    }

    pub fn schedule(&mut self, at: Second, event: Event) {
        self.scheduled += 1;
        self.agenda.push(Reverse((at, self.scheduled, event)));
    }

    /// An id as UUIDv7 has it: milliseconds first, then seeded bits.
    fn new_id(&mut self) -> Uuid {
        let mut bytes = [0; 10];
        self.random.fill(&mut bytes);
        let millis = u64::try_from(self.now).unwrap_or(0) * 1000 + self.random.u64(0..1000);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }

    pub fn add_cloud(
        &mut self,
        name: String,
        description: Option<String>,
        site: &'static str,
        hardware: usize,
    ) -> usize {
        let (id, index) = (self.new_id(), self.clouds.len());
        self.cloud_ids.insert(id, index);
        self.clouds.push(Cloud {
            id,
            name,
            description,
            site,
            hardware,
            created: self.now,
            deleted: None,
            nodes: Vec::new(),
            living: BTreeSet::new(),
            gone: BTreeSet::new(),
            cursor: 0,
        });
        index
    }

    /// Adds a node that passes through `states`.
    pub fn add_node(&mut self, cloud: usize, states: Timeline<NodeStatus>) -> usize {
        let (id, index) = (self.new_id(), self.nodes.len());
        let serial = std::iter::repeat_with(|| self.random.choice(b"0123456789BCDFGHJKLMNPQRSTVWXYZ"))
            .take(7)
            .map(|letter| char::from(*letter.unwrap_or(&b'0')))
            .collect();
        let site = self.clouds[cloud].site;
        let name = format!("{site}-{}-{}", cloud + 1, self.clouds[cloud].nodes.len() + 1);
        self.node_ids.insert(id, index);
        self.nodes.push(Node { id, name, serial, cloud, states, used: Amount::default(), hosted: 0 });
        self.clouds[cloud].nodes.push(index);
        index
    }

    /// Adds a node as the API does: requested, then bootstrapped, running in about half a minute.
    pub fn order_node(&mut self, cloud: usize) -> usize {
        let (now, extra) = (self.now, self.random.i64(0..10));
        let states = Timeline::new(
            (now, NodeStatus::Created),
            [
                (now + 2, NodeStatus::Requested),
                (now + 6, NodeStatus::Bootstrapping),
                (now + 25 + extra, NodeStatus::Running),
            ],
        );
        self.add_node(cloud, states)
    }

    /// Starts a node's removal.
    pub fn remove_node(&mut self, node: usize) {
        let now = self.now;
        self.nodes[node]
            .states
            .replace_after(now, [(now, NodeStatus::Deleting), (now + 10, NodeStatus::Deleted)]);
    }

    pub fn node_status(&self, node: usize) -> NodeStatus {
        self.nodes[node].states.at(self.now)
    }

    pub fn vm_status(&self, vm: usize) -> VmStatus {
        self.vms[vm].states.at(self.now)
    }

    /// Nodes of a cloud that are not gone.
    pub fn nodes_of(&self, cloud: usize) -> impl Iterator<Item = usize> {
        self.clouds[cloud].nodes.iter().copied().filter(|node| self.node_status(*node) != NodeStatus::Deleted)
    }

    /// Clouds that are not gone, scrambled like every list.
    pub fn living_clouds(&self) -> Vec<usize> {
        let mut clouds: Vec<usize> =
            (0..self.clouds.len()).filter(|cloud| self.clouds[*cloud].deleted.is_none()).collect();
        clouds.sort_by_key(|cloud| scramble(self.options.seed, *cloud));
        clouds
    }

    /// A running node with room for the size: the next one after where the last search ended,
    /// looking at `most` of them.
    pub fn find_room(&mut self, cloud: usize, size: usize, most: usize) -> Option<usize> {
        let (nodes, start) = (&self.clouds[cloud].nodes, self.clouds[cloud].cursor);
        if !SIZES[size].suits(self.clouds[cloud].hardware()) {
            return None;
        }
        let total = &self.clouds[cloud].hardware().total;
        let position = (start..start + nodes.len().min(most)).map(|at| at % nodes.len()).find(|at| {
            let node = nodes[*at];
            self.node_status(node) == NodeStatus::Running
                && self.nodes[node].used.leaves_room_for(&SIZES[size].need, total)
        })?;
        let node = nodes[position];
        self.clouds[cloud].cursor = position;
        Some(node)
    }

    /// Creates a VM on a node with room.
    pub fn create_vm(&mut self, new: NewVm, node: usize) -> usize {
        let (id, index, now) = (self.new_id(), self.vms.len(), self.now);
        let order = scramble(self.options.seed, index);
        let mut at = now;
        let mut after = |random: &mut fastrand::Rng, seconds: std::ops::Range<i64>| {
            at += random.i64(seconds);
            at
        };
        let states = Timeline::new(
            (now, VmStatus::Provisioning),
            [
                (after(&mut self.random, 4..8), VmStatus::Created),
                (after(&mut self.random, 1..3), VmStatus::Starting),
                (after(&mut self.random, 3..6), VmStatus::Running),
            ],
        );
        self.nodes[node].used += SIZES[new.size].need;
        self.nodes[node].hosted += 1;
        self.clouds[new.cloud].living.insert((order, index));
        self.vm_ids.insert(id, index);
        self.vms.push(Vm {
            id,
            name: new.name,
            description: new.description,
            cloud: new.cloud,
            node,
            size: new.size,
            image: new.image,
            tags: new.tags,
            created: now,
            deleted: None,
            retires: None,
            states,
            order,
        });
        index
    }

    /// Plans a build agent's end.
    pub fn retire_at(&mut self, vm: usize, at: Second) {
        self.vms[vm].retires = Some(at);
        self.schedule(at, Event::Retire(vm));
    }

    /// Starts a VM's deletion, from any state but its own.
    pub fn delete_vm(&mut self, vm: usize) -> Result<(), AlreadyDeleting> {
        if self.vms[vm].deleted.is_some() {
            return Err(AlreadyDeleting);
        }
        let (now, gone) = (self.now, self.now + self.random.i64(3..7));
        self.vms[vm].deleted = Some(gone);
        self.vms[vm].states.replace_after(now, [(now, VmStatus::Deleting), (gone, VmStatus::Deleted)]);
        self.schedule(gone, Event::Release(vm));
        Ok(())
    }

    fn release(&mut self, vm: usize) {
        let Vm { node, cloud, order, .. } = self.vms[vm];
        self.nodes[node].used -= self.vms[vm].size().need;
        self.nodes[node].hosted -= 1;
        self.clouds[cloud].living.remove(&(order, vm));
        self.clouds[cloud].gone.insert((order, vm));
    }

    /// Switches a VM off, by way of `stopping`.
    pub fn stop_vm(&mut self, vm: usize) {
        let (now, done) = (self.now, self.now + self.random.i64(3..8));
        self.vms[vm].states.replace_after(now, [(now, VmStatus::Stopping), (done, VmStatus::Stopped)]);
    }

    /// Switches a VM on, by way of `starting`.
    pub fn start_vm(&mut self, vm: usize) {
        let (now, done) = (self.now, self.now + self.random.i64(3..6));
        self.vms[vm].states.replace_after(now, [(now, VmStatus::Starting), (done, VmStatus::Running)]);
    }

    /// Switches a VM off and on.
    pub fn reboot_vm(&mut self, vm: usize) {
        let now = self.now;
        let states = [(now, VmStatus::Stopping), (now + 4, VmStatus::Starting), (now + 8, VmStatus::Running)];
        self.vms[vm].states.replace_after(now, states);
    }
}

/// A number that tells nothing of `index` but is always the same for it (`SplitMix64`).
pub(super) fn scramble(seed: u64, index: usize) -> u64 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
