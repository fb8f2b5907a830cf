//! VM sizes and images that can be chosen.

use std::collections::BTreeMap;

use super::writer::Writer;
use super::{GIB, MIB, TenantView, distinct};
use crate::snapshot::{CatalogueData, InstanceType};

/// Name, HELP and value of a family with one series per instance type.
type SizeFamily = (&'static str, &'static str, fn(&InstanceType) -> u64);

pub fn write(tenant: &TenantView<'_>, writer: &mut Writer) {
    let catalogue = tenant.snapshot.catalogue.as_ref().map(|section| &*section.data);
    let sizes_of = || catalogue.into_iter().flat_map(instance_types);
    let tenant = tenant.name;
    let sizes: [SizeFamily; 3] = [
        ("flexvm_instance_type_vcpus", "Virtual CPUs of a VM of this instance type.", |size| size.vcpus),
        (
            "flexvm_instance_type_memory_bytes",
            "Memory of a VM of this instance type in bytes; the MB of the API are read as MiB.",
            |size| size.memory_mib.saturating_mul(MIB),
        ),
        (
            "flexvm_instance_type_disk_bytes",
            "OS disk of a VM of this instance type in bytes; the GB of the API are read as GiB.",
            |size| size.disk_gib.saturating_mul(GIB),
        ),
    ];
    for (name, help, value) in sizes {
        let mut family = writer.family(name, help);
        for size in sizes_of() {
            family.sample(&[("tenant", tenant), ("instance_type", &size.name)], value(size));
        }
    }
    let mut devices = writer.family(
        "flexvm_instance_type_pci_devices",
        "Pass-through devices of a VM of this instance type, by class and specification.",
    );
    for size in sizes_of() {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for device in &size.pci_devices {
            *counts.entry(device).or_default() += 1;
        }
        for ((device, spec), count) in counts {
            let labels =
                [("tenant", tenant), ("instance_type", &size.name), ("device", device), ("spec", spec)];
            devices.sample(&labels, count);
        }
    }
    let mut images = writer.family(
        "flexvm_image_info",
        "Constant 1 for each image that VMs can be made from, with its operating system.",
    );
    for image in catalogue.into_iter().flat_map(|data| distinct(&data.images, |image| &image.name)) {
        let labels =
            [("tenant", tenant), ("image", &*image.name), ("os", &image.os), ("os_type", &image.os_type)];
        images.sample(&labels, 1);
    }
}

/// The instance types, each name once: two of one name would be the same series.
pub fn instance_types(catalogue: &CatalogueData) -> impl Iterator<Item = &InstanceType> {
    distinct(&catalogue.instance_types, |size| &size.name)
}
