//! Where the world's history comes from: VMs that stay, and a build farm whose agents come and go.
//!
//! History is not written down, it is lived: every VM of the past is created and deleted in the
//! order of time by the same functions as one that the API makes, then the clock stands at now.

use super::Options;
use super::catalogue::{HARDWARE, IMAGES, SITES, SIZES};
use super::timeline::{NodeStatus, Second, Timeline, VmStatus};
use super::world::{Event, NewVm, World};

const MINUTE: Second = 60;
const HOUR: Second = 60 * MINUTE;
const DAY: Second = 24 * HOUR;
/// History begins this long before its first month, so that some VMs cross into it.
const LEAD: Second = 20 * DAY;
/// A build farm makes this many VMs a month for each living VM, up to [`MOST_A_MONTH`].
const A_MONTH_FOR_EACH: usize = 10;
/// Above this the monthly report would measure the simulator rather than its reader.
const MOST_A_MONTH: usize = 20_000;
/// Nodes looked at in history before another one is bought.
const PATIENCE: usize = 64;

const FARM_TAGS: [&[&str]; 8] = [
    &["project:odyssey", "env:build"],
    &["project:atlas", "env:build"],
    &["project:odyssey", "env:test", "team:render"],
    &["gpu-farm", "project:nebula"],
    &["env:build"],
    &["project:atlas", "project:odyssey", "env:build"],
    &["project:nebula", "ref:refs:heads:main"],
    &[],
];

const STAYING_TAGS: [&[&str]; 6] = [
    &["project:odyssey", "env:production"],
    &["project:atlas", "env:production", "owner:o'brien"],
    &["project:nebula", "env:staging"],
    &["team:render", "gpu-farm"],
    &["project:atlas"],
    &[],
];

/// What becomes of a VM of the seed.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Lives until somebody deletes it.
    Stays,
    Stopped,
    Paused,
    Failed,
    /// Is asked for just before the start, and its provisioning takes for ever.
    Stuck,
    /// Lives for so many seconds.
    Retires(Second),
}

#[derive(Clone, Debug)]
struct Draft {
    at: Second,
    vm: NewVm,
    fate: Fate,
}

/// The build farm: decides when the next agent comes, how long it lives and what it is.
#[derive(Debug)]
pub(super) struct Churn {
    random: fastrand::Rng,
    /// Mean seconds from one arrival to the next; `None` without a farm.
    gap: Option<Second>,
    clouds: usize,
    count: usize,
}

impl Churn {
    pub fn new(options: &Options) -> Self {
        let a_month = (options.vms * A_MONTH_FOR_EACH).min(MOST_A_MONTH);
        let gap = i64::try_from(a_month).ok().filter(|count| *count > 0).map(|count| 30 * DAY / count);
        Self {
            random: fastrand::Rng::with_seed(options.seed ^ 0x0FA2_3D5E),
            gap: gap.filter(|_| options.clouds > 0),
            clouds: options.clouds,
            count: 0,
        }
    }

    /// The arrival after the one at `at`.
    fn next_after(&mut self, at: Second) -> Option<Second> {
        let gap = self.gap?;
        Some(at + 1 + self.random.i64(0..=2 * gap))
    }

    /// Most agents live minutes, some hours, a few days.
    fn agent(&mut self) -> (NewVm, Second) {
        let random = &mut self.random;
        let life = match random.u8(0..100) {
            0..85 => random.i64(3 * MINUTE..90 * MINUTE),
            85..97 => random.i64(2 * HOUR..12 * HOUR),
            _ => random.i64(DAY..19 * DAY),
        };
        let cloud = random.usize(0..self.clouds);
        self.count += 1;
        let what = random.choice(["ac-build-agent", "ci-runner", "render"]).unwrap_or("agent");
        let vm = NewVm {
            // Numbers come round again: a name is not an identity.
            name: format!("{what}-{:03}", self.count % 400),
            description: random.bool().then(|| "build agent".to_owned()),
            cloud,
            size: pick_size(random, cloud),
            image: random.usize(0..IMAGES.len()),
            tags: owned(random.choice(FARM_TAGS).unwrap_or_default()),
        };
        (vm, life)
    }
}

fn owned(tags: &[&str]) -> Vec<String> {
    tags.iter().map(ToString::to_string).collect()
}

/// A size that the cloud's hardware can host.
fn pick_size(random: &mut fastrand::Rng, cloud: usize) -> usize {
    let hardware = &HARDWARE[cloud % HARDWARE.len()];
    let sizes = (0..SIZES.len()).filter(|size| SIZES[*size].suits(hardware));
    random.choice(sizes.collect::<Vec<_>>()).unwrap_or(0)
}

/// The world at `now` with its months of history, as it is when the simulator starts.
///
/// `first_month` is the first second of the oldest month of history.
pub(super) fn world(options: Options, first_month: Second, now: Second) -> World {
    let begin = (first_month - LEAD).min(now - LEAD);
    let mut world = World::empty(options, begin);
    for cloud in 0..world.options.clouds {
        let names = ["Build farm", "Render \"A\", Montréal", "R&D – 研究", "Acceptance tests"];
        let name = match cloud / names.len() {
            0 => names[cloud].to_owned(),
            round => format!("{} {}", names[cloud % names.len()], round + 1),
        };
        let description = (cloud % 2 == 0).then(|| "This cloud is part of the demonstration.".to_owned());
        world.add_cloud(name, description, SITES[cloud % SITES.len()], cloud % HARDWARE.len());
    }
    if world.clouds.is_empty() {
        world.advance(now);
        return world;
    }
    let (mut drafts, next_arrival) = farm_history(&mut world.churn, begin, now);
    keep_at_most(&mut drafts, now, if world.options.churn { world.options.vms / 2 } else { 0 });
    let living = drafts.iter().filter(|draft| ends_after(draft, now)).count();
    let stay = staying(&world.options, world.options.vms - living, begin, first_month, now);
    drafts.extend(stay);
    drafts.sort_by_key(|draft| draft.at);
    for draft in drafts {
        live(&mut world, draft);
    }
    world.advance(now);
    add_spare_nodes(&mut world);
    if world.options.churn {
        world.begin_care();
        if let Some(at) = next_arrival {
            world.schedule(at, Event::Arrival);
        }
        for vm in (0..world.vms.len()).filter(|vm| vm % 11 == 3) {
            if world.vms[vm].deleted.is_none() {
                let at = now + world.churn.random.i64(5 * MINUTE..2 * HOUR);
                world.schedule(at, Event::Toggle(vm));
            }
        }
    }
    world
}

/// The agents from `begin` to `now`, and when the first one after `now` comes.
fn farm_history(churn: &mut Churn, begin: Second, now: Second) -> (Vec<Draft>, Option<Second>) {
    let mut drafts = Vec::new();
    let mut at = churn.next_after(begin);
    while let Some(arrival) = at.filter(|at| *at <= now) {
        let (vm, life) = churn.agent();
        // An agent about to go would make the number of living VMs at the start a matter of seconds.
        if !(now - MINUTE..=now).contains(&(arrival + life)) {
            drafts.push(Draft { at: arrival, vm, fate: Fate::Retires(life) });
        }
        at = churn.next_after(arrival);
    }
    (drafts, at)
}

fn ends_after(draft: &Draft, now: Second) -> bool {
    !matches!(draft.fate, Fate::Retires(life) if draft.at + life <= now)
}

/// Forgets the oldest living agents beyond `most`.
fn keep_at_most(drafts: &mut Vec<Draft>, now: Second, most: usize) {
    let living = drafts.iter().filter(|draft| ends_after(draft, now)).count();
    let mut surplus = living.saturating_sub(most);
    drafts.retain(|draft| {
        let drop = surplus > 0 && ends_after(draft, now);
        surplus -= usize::from(drop);
        !drop
    });
}

/// `count` VMs that stay. The first few are the odd ones that every reader must survive.
fn staying(options: &Options, count: usize, begin: Second, first_month: Second, now: Second) -> Vec<Draft> {
    let mut random = fastrand::Rng::with_seed(options.seed ^ 0x57A7);
    let span = |from: Second, to: Second| from..to.max(from + 1);
    (0..count)
        .map(|index| {
            let cloud = index % options.clouds;
            // Most were there before the first month; the others came in the course of history.
            let mut at = if random.u8(0..4) > 0 {
                random.i64(span(begin, first_month.min(now - DAY)))
            } else {
                random.i64(span(first_month.min(now - 2 * DAY), now - DAY))
            };
            let mut vm = NewVm {
                name: format!("{}-{index:03}", random.choice(["db", "web", "cache", "gpu"]).unwrap_or("vm")),
                description: (index % 3 == 0).then(|| if index % 2 == 0 { "" } else { "DB1 VM" }.to_owned()),
                cloud,
                size: pick_size(&mut random, cloud),
                image: random.usize(0..IMAGES.len()),
                tags: owned(random.choice(STAYING_TAGS).unwrap_or_default()),
            };
            let fate = odd(index, &mut vm);
            if matches!(fate, Fate::Stuck) {
                at = now - MINUTE / 2;
            }
            Draft { at, vm, fate }
        })
        .collect()
}

/// Makes the first VMs odd, each in its own way, and now and then a later one stopped.
fn odd(index: usize, vm: &mut NewVm) -> Fate {
    let (name, tags, fate): (&str, &[&str], Fate) = match index {
        0 => ("=HYPERLINK(\"http://example.invalid\",\"x\")", &["project:odyssey"], Fate::Stays),
        1 => ("grüße, \"Wörld\" – 日本語", &["team:größe", "project:atlas"], Fate::Stays),
        2 => ("untagged, because nobody asked", &[], Fate::Stays),
        3 => ("it's a 'quoted' name", &["url:https://ci.example:8443/job:7", "a:b:c"], Fate::Stays),
        4 => ("gpu-farm-head", &["gpu-farm", "env:"], Fate::Stays),
        5 => (
            "many-tags",
            &["project:odyssey", "project:atlas", "env:build", "Env:Build", "=1+1", "gpu-farm"],
            Fate::Stays,
        ),
        6 => ("just-asked-for", &["project:nebula"], Fate::Stuck),
        7 => ("failed-to-boot", &["project:nebula", "env:test"], Fate::Failed),
        8 => ("paused", &["project:atlas", "env:staging"], Fate::Paused),
        9 => ("stopped", &["project:atlas", "env:staging"], Fate::Stopped),
        _ if index.is_multiple_of(13) => return Fate::Stopped,
        _ if index.is_multiple_of(97) => return Fate::Failed,
        _ => return Fate::Stays,
    };
    name.clone_into(&mut vm.name);
    vm.tags = owned(tags);
    fate
}

/// Lets a draft happen at its time.
fn live(world: &mut World, draft: Draft) {
    world.advance(draft.at);
    let (cloud, size) = (draft.vm.cloud, draft.vm.size);
    let node = world.find_room(cloud, size, PATIENCE).unwrap_or_else(|| {
        let since = world.now;
        let node = world.add_node(cloud, Timeline::new((since, NodeStatus::Running), []));
        // The newest nodes have room for the next ones.
        let cloud = &mut world.clouds[cloud];
        cloud.cursor = cloud.nodes.len().saturating_sub(PATIENCE / 2);
        node
    });
    let vm = world.create_vm(draft.vm, node);
    let at = draft.at;
    let states = &mut world.vms[vm].states;
    match draft.fate {
        Fate::Stays => {}
        Fate::Retires(life) => world.retire_at(vm, at + life),
        Fate::Stuck => states.replace_after(at, []),
        Fate::Failed => states.replace_after(at + 10, [(at + 11, VmStatus::Failed)]),
        Fate::Paused => states.replace_after(at + HOUR, [(at + HOUR, VmStatus::Paused)]),
        Fate::Stopped => {
            let off = at + HOUR;
            states.replace_after(off, [(off, VmStatus::Stopping), (off + 5, VmStatus::Stopped)]);
        }
    }
}

/// A fifth more nodes than history needed, and in the first cloud one that is broken.
fn add_spare_nodes(world: &mut World) {
    let since = world.now;
    for cloud in 0..world.clouds.len() {
        for _ in 0..=world.clouds[cloud].nodes.len() / 5 {
            world.add_node(cloud, Timeline::new((since, NodeStatus::Running), []));
        }
    }
    world.add_node(0, Timeline::new((since, NodeStatus::Failed), []));
}

impl World {
    /// Makes the build farm's next agent, if there is room.
    pub(super) fn next_agent(&mut self) -> Option<usize> {
        let (vm, life) = self.churn.agent();
        if self.clouds[vm.cloud].deleted.is_some() {
            return None;
        }
        let node = self.find_room(vm.cloud, vm.size, usize::MAX)?;
        let vm = self.create_vm(vm, node);
        self.retire_at(vm, self.now + life);
        Some(vm)
    }

    /// The build farm's next agent comes, and the one after it is planned.
    pub(super) fn arrive(&mut self) {
        self.next_agent();
        if let Some(at) = self.churn.next_after(self.now) {
            self.schedule(at, Event::Arrival);
        }
    }

    /// Switches a VM the other way and plans to do so again, until it is gone.
    pub(super) fn toggle(&mut self, vm: usize) {
        match self.vm_status(vm) {
            VmStatus::Running => self.stop_vm(vm),
            VmStatus::Stopped => self.start_vm(vm),
            VmStatus::Deleting | VmStatus::Deleted => return,
            _ => {}
        }
        let at = self.now + self.churn.random.i64(20 * MINUTE..3 * HOUR);
        self.schedule(at, Event::Toggle(vm));
    }
}
