//! What goes wrong in a world with churn, and the organisation's tooling that puts it right.
//!
//! Every few hours something breaks: a VM fails, one never gets a node, an idle node dies, somebody
//! puts a VM aside. The tooling makes its rounds, replaces what is broken and orders a node for a
//! cloud that fills up, as a well-kept fleet is kept: trouble is there to be seen, and gone before
//! an alert would call anybody. Without churn nothing breaks and nothing is put right.

use super::catalogue::Amount;
use super::timeline::{NodeStatus, Second, VmStatus};
use super::world::{Event, NewVm, World};

const MINUTE: Second = 60;
const HOUR: Second = 60 * MINUTE;
const DAY: Second = 24 * HOUR;

/// From one round of the tooling to the next.
const ROUND: Second = 10 * MINUTE;
/// How long something is left as it is, if somebody is to see it.
const FAILED_VM: Second = 10 * MINUTE;
const STUCK_VM: Second = 20 * MINUTE;
const FAILED_NODE: Second = HOUR;
const SET_ASIDE: Second = 7 * DAY;
/// A cloud of which more than so many of a hundred are taken gets another node.
const FULL: u64 = 85;

/// What care and trouble go by.
#[derive(Debug)]
pub(super) struct Care {
    random: fastrand::Rng,
    /// Nothing before this is held against anybody: the seed's oddities are there to be looked at.
    begun: Second,
}

impl Care {
    pub fn new(seed: u64, begun: Second) -> Self {
        Self { random: fastrand::Rng::with_seed(seed ^ 0xCA2E), begun }
    }
}

impl World {
    /// From now on things break and are put right.
    pub(super) fn begin_care(&mut self) {
        self.care = Care::new(self.options.seed, self.now);
        self.schedule(self.now + ROUND, Event::Round);
        let first = self.now + self.care.random.i64(HOUR..3 * HOUR);
        self.schedule(first, Event::Trouble);
    }

    /// Something breaks, and the next trouble is planned: later than this one is put right.
    pub(super) fn trouble(&mut self) {
        match self.care.random.u8(0..10) {
            0..5 => self.change_any_vm(VmStatus::Failed),
            5..7 => self.ask_in_vain(),
            7..9 => self.fail_idle_node(),
            _ => self.change_any_vm(VmStatus::Paused),
        }
        let next = self.now + self.care.random.i64(2 * HOUR..8 * HOUR);
        self.schedule(next, Event::Trouble);
    }

    fn change_any_vm(&mut self, status: VmStatus) {
        let running: Vec<usize> =
            self.living_vms().filter(|vm| self.vm_status(*vm) == VmStatus::Running).collect();
        if let Some(vm) = self.care.random.choice(running) {
            let now = self.now;
            self.vms[vm].states.replace_after(now, [(now, status)]);
        }
    }

    /// A build agent is asked for whose provisioning takes for ever.
    fn ask_in_vain(&mut self) {
        if let Some(vm) = self.next_agent() {
            let now = self.now;
            self.vms[vm].states.replace_after(now, []);
        }
    }

    fn fail_idle_node(&mut self) {
        let idle =
            |node: &usize| self.nodes[*node].hosted == 0 && self.node_status(*node) == NodeStatus::Running;
        let idle: Vec<usize> = (0..self.nodes.len()).filter(idle).collect();
        if let Some(node) = self.care.random.choice(idle) {
            let now = self.now;
            self.nodes[node].states.replace_after(now, [(now, NodeStatus::Failed)]);
        }
    }

    /// One round of the tooling.
    pub(super) fn round(&mut self) {
        for vm in self.living_vms().collect::<Vec<_>>() {
            let age = self.now - self.vms[vm].states.since(self.now).max(self.care.begun);
            match self.vm_status(vm) {
                VmStatus::Failed if age >= FAILED_VM => self.replace_vm(vm),
                VmStatus::Provisioning if age >= STUCK_VM => self.replace_vm(vm),
                VmStatus::Stopped | VmStatus::Paused if age >= SET_ASIDE => self.start_vm(vm),
                _ => {}
            }
        }
        for cloud in self.living_clouds() {
            self.look_after_nodes(cloud);
        }
        self.schedule(self.now + ROUND, Event::Round);
    }

    /// Deletes a VM and makes one like it.
    fn replace_vm(&mut self, vm: usize) {
        if self.delete_vm(vm).is_err() {
            return;
        }
        let old = &self.vms[vm];
        let (cloud, size, retires) = (old.cloud, old.size, old.retires);
        let new = NewVm {
            name: old.name.clone(),
            description: old.description.clone(),
            cloud,
            size,
            image: old.image,
            tags: old.tags.clone(),
        };
        if let Some(node) = self.find_room(cloud, size, usize::MAX) {
            let vm = self.create_vm(new, node);
            if let Some(at) = retires {
                self.retire_at(vm, at.max(self.now + MINUTE));
            }
        }
    }

    /// Sends broken nodes back and orders new ones, also when the cloud fills up.
    fn look_after_nodes(&mut self, cloud: usize) {
        let (mut running, mut coming, mut used) = (0, 0, Amount::default());
        for node in self.nodes_of(cloud).collect::<Vec<_>>() {
            used += self.nodes[node].used;
            let age = self.now - self.nodes[node].states.since(self.now).max(self.care.begun);
            match self.node_status(node) {
                NodeStatus::Running => running += 1,
                NodeStatus::Failed if age >= FAILED_NODE && self.nodes[node].hosted == 0 => {
                    self.remove_node(node);
                    self.order_node(cloud);
                    coming += 1;
                }
                NodeStatus::Created | NodeStatus::Requested | NodeStatus::Bootstrapping => coming += 1,
                _ => {}
            }
        }
        let total = &self.clouds[cloud].hardware().total;
        let full = |used: u64, of_a_node: u64| used * 100 > of_a_node * running * FULL;
        let any_full = full(used.vcpu, total.vcpu)
            || full(used.memory_mb, total.memory_mb)
            || full(used.gpu, total.gpu)
            || full(used.nvme, total.nvme);
        if any_full && coming == 0 {
            self.order_node(cloud);
        }
    }

    /// VMs that are not gone, in an order that does not depend on who asks.
    pub(super) fn living_vms(&self) -> impl Iterator<Item = usize> {
        self.clouds.iter().flat_map(|cloud| cloud.living.iter().map(|(_, vm)| *vm))
    }
}
