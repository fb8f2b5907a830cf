//! What the simulated provider sells: bare metal for nodes, sizes and images for VMs, sites.
//!
//! Constants only; [`super::world`] places sizes on hardware and [`super::wire`] shows them.

use std::ops::{AddAssign, SubAssign};

/// An amount of everything that a node has and a VM takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub vcpu: u64,
    pub memory_mb: u64,
    pub gpu: u64,
    pub nvme: u64,
}

impl Amount {
    /// Whether `need` can be taken from a node of which `self` is used, out of `total`.
    pub fn leaves_room_for(&self, need: &Self, total: &Self) -> bool {
        self.vcpu + need.vcpu <= total.vcpu
            && self.memory_mb + need.memory_mb <= total.memory_mb
            && self.gpu + need.gpu <= total.gpu
            && self.nvme + need.nvme <= total.nvme
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.vcpu += other.vcpu;
        self.memory_mb += other.memory_mb;
        self.gpu += other.gpu;
        self.nvme += other.nvme;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        self.vcpu -= other.vcpu;
        self.memory_mb -= other.memory_mb;
        self.gpu -= other.gpu;
        self.nvme -= other.nvme;
    }
}

/// A bare-metal type; every node of a cloud is of one.
#[derive(Debug)]
pub(super) struct Hardware {
    pub name: &'static str,
    pub total: Amount,
    /// Model of its GPUs, "" when it has none: a VM asks for a model, not for any GPU.
    pub gpu_model: &'static str,
}

/// A VM size.
#[derive(Debug)]
pub(super) struct Size {
    pub id: &'static str,
    pub name: &'static str,
    pub need: Amount,
    pub disk_gb: u64,
    /// Kind and specification of each passed-through device.
    pub devices: &'static [(&'static str, &'static str)],
}

impl Size {
    /// Whether a node of this hardware could ever host the size.
    pub fn suits(&self, hardware: &Hardware) -> bool {
        let gpu = self.devices.iter().find(|(kind, _)| *kind == "gpu");
        gpu.is_none_or(|(_, model)| *model == hardware.gpu_model)
            && Amount::default().leaves_room_for(&self.need, &hardware.total)
    }
}

#[derive(Debug)]
pub(super) struct Image {
    pub name: &'static str,
    pub os: &'static str,
    pub os_type: &'static str,
}

/// Sites that take clouds; the last one is in use although the documentation names only the others.
pub(super) const SITES: [&str; 3] = ["frmtl1", "camtr6", "nlrtm1"];

pub(super) const HARDWARE: [Hardware; 3] = [
    Hardware {
        name: "bm9.hmm.gpu.4rtx4000.64",
        total: Amount { vcpu: 64, memory_mb: 1_048_576, gpu: 4, nvme: 4 },
        gpu_model: "rtx4000",
    },
    Hardware {
        name: "bm7.std.96",
        total: Amount { vcpu: 96, memory_mb: 393_216, gpu: 0, nvme: 2 },
        gpu_model: "",
    },
    Hardware {
        name: "bm9.hmm.gpu.8l4.128",
        total: Amount { vcpu: 128, memory_mb: 2_097_152, gpu: 8, nvme: 8 },
        gpu_model: "l4",
    },
];

const fn size(
    id: &'static str,
    name: &'static str,
    (vcpu, memory_mb, disk_gb): (u64, u64, u64),
    (gpu, drives): (u64, u64),
    devices: &'static [(&'static str, &'static str)],
) -> Size {
    Size { id, name, need: Amount { vcpu, memory_mb, gpu, nvme: drives }, disk_gb, devices }
}

pub(super) const SIZES: [Size; 8] = [
    size("0192b000-0000-7000-8000-000000000002", "vm.2c.4g", (2, 4096, 64), (0, 0), &[]),
    size("0192b000-0000-7000-8000-000000000004", "vm.4c.8g", (4, 8192, 64), (0, 0), &[]),
    size("0192b000-0000-7000-8000-000000000008", "vm.8c.32g", (8, 32_768, 128), (0, 0), &[]),
    size(
        "0192b000-0000-7000-8000-000000000016",
        "vm.16c.64g.nvme",
        (16, 65_536, 256),
        (0, 1),
        &[("nvme", "3.84tb")],
    ),
    size(
        "0192b000-0000-7000-8000-000000000115",
        "vm.gpu.1rtx4000.15c.248g",
        (15, 253_952, 256),
        (1, 1),
        &[("gpu", "rtx4000"), ("nvme", "3.84tb")],
    ),
    size(
        "0192b000-0000-7000-8000-000000000230",
        "vm.gpu.2rtx4000.30c.496g",
        (30, 507_904, 512),
        (2, 2),
        &[("gpu", "rtx4000"), ("gpu", "rtx4000"), ("nvme", "3.84tb"), ("nvme", "3.84tb")],
    ),
    size(
        "0192b000-0000-7000-8000-000000000315",
        "vm.gpu.1l4.15c.240g",
        (15, 245_760, 256),
        (1, 0),
        &[("gpu", "l4")],
    ),
    size(
        "0192b000-0000-7000-8000-000000000430",
        "vm.gpu.2l4.30c.480g",
        (30, 491_520, 512),
        (2, 1),
        &[("gpu", "l4"), ("gpu", "l4"), ("nvme", "7.68tb")],
    ),
];

const fn image(name: &'static str, os: &'static str, os_type: &'static str) -> Image {
    Image { name, os, os_type }
}

pub(super) const IMAGES: [Image; 7] = [
    image("ubuntu-2404-server-amd64", "Ubuntu LTS 24.04", "linux"),
    image("ubuntu-2404-base", "Ubuntu LTS 24.04", "linux"),
    image("ubuntu-2204-server-amd64", "Ubuntu LTS 22.04", "linux"),
    image("debian-12-amd64", "Debian 12", "linux"),
    image("rocky-9-amd64", "Rocky Linux 9", "linux"),
    image("windows-2022-standard", "Windows Server 2022", "windows"),
    image("windows-2022-build-tools", "Windows Server 2022, \"Build Tools\"", "windows"),
];
