"""Capacity: what there is, what is taken, and how many VMs of each size would still fit."""

from . import frame
from .parts import (
    CLOUD, FILLING, GREEN, RED, YELLOW,
    bars, clouds, named, series, stat, table, tenants, thresholds,
)

LITTLE = thresholds(RED, (1, YELLOW), (3, GREEN))


def share(kind, by=""):
    part, whole = clouds(f"flexvm_cloud_{kind[0]}", by=by), clouds(f"flexvm_cloud_{kind[1]}", by=by)
    return f"{part} / ({whole} > 0)"


VCPUS = share(("vcpus_in_use", "vcpus"))
MEMORY = share(("memory_in_use_bytes", "memory_bytes"))
DEVICES = share(("pci_devices_in_use", "pci_devices"), "device")
HEADROOM = clouds("flexvm_cloud_headroom_upper_bound_vms", by="instance_type")


def totals():
    def pair(noun, unit, whole, in_use, available):
        return [
            stat(f"{noun}", f"{noun} of the chosen tenants' nodes.", unit, f"sum({tenants(whole)})"),
            stat(
                f"{noun} in use", f"Share of all {noun} that VMs have taken.", "percentunit",
                f"sum({tenants(in_use)}) / (sum({tenants(whole)}) > 0)", FILLING, decimals=1,
            ),
            stat(f"{noun} free", f"{noun} that are free, over all nodes.", unit, f"sum({tenants(available)})"),
        ]

    cap = "flexvm_capacity"
    return [
        *pair("vCPUs", "none", f"{cap}_vcpus", f"{cap}_vcpus_in_use", f"{cap}_vcpus_available"),
        *pair("Memory", "bytes", f"{cap}_memory_bytes", f"{cap}_memory_in_use_bytes", f"{cap}_memory_available_bytes"),
        table(
            "Pass-through devices", "Devices of the tenants by class: all, taken by VMs (stopped ones included), and free.", "none",
            [
                ("All", tenants(f"{cap}_pci_devices", by="device"), None, None),
                ("In use", tenants(f"{cap}_pci_devices_in_use", by="device"), None, None),
                ("Free", tenants(f"{cap}_pci_devices_available", by="device"), None, LITTLE),
            ],
            names={"tenant": "Tenant", "device": "Device"}, width=12, height=7,
        ),
        table(
            "Nodes by bare-metal type", "Bare-metal nodes of the tenants, as the capacity report groups them.", "none",
            [("Nodes", tenants(f"{cap}_node_group_nodes", by="node_type"), None, None)],
            names={"tenant": "Tenant", "node_type": "Bare-metal type"}, width=12, height=7,
        ),
    ]


def per_cloud():
    info = f"max by (tenant, cloud_id, cloud, site, node_type) (flexvm_cloud_info{{{CLOUD}}})"
    vms = frame.link("VMs of this cloud", "flexvm-vms", cloud="${__data.fields.cloud_id}")
    return [
        table(
            "Clouds", "One row per cloud; its name leads to its VMs.", "none",
            [
                (None, info, None, None),
                ("Age", f"time() - {clouds('flexvm_cloud_created_timestamp_seconds')}", "s", None),
                ("Nodes", clouds("flexvm_cloud_nodes"), None, None),
                ("vCPUs", clouds("flexvm_cloud_vcpus"), None, None),
                ("vCPUs free", clouds("flexvm_cloud_vcpus_available"), None, None),
                ("vCPUs in use", VCPUS, "percentunit", FILLING),
                ("Memory", clouds("flexvm_cloud_memory_bytes"), "bytes", None),
                ("Memory free", clouds("flexvm_cloud_memory_available_bytes"), "bytes", None),
                ("Memory in use", MEMORY, "percentunit", FILLING),
            ],
            names={"tenant": "Tenant", "cloud": "Cloud", "site": "Site", "node_type": "Bare-metal type"},
            links={"Cloud": vms},
        ),
        series(
            "vCPUs in use by cloud", "Share of the cloud's vCPUs that VMs have taken; the 20 fullest.", "percentunit",
            (f"topk(20, {named(VCPUS)})", "{{tenant}} {{cloud}}"), steps=FILLING, maximum=1,
        ),
        series(
            "Memory in use by cloud", "Share of the cloud's memory that VMs have taken; the 20 fullest.", "percentunit",
            (f"topk(20, {named(MEMORY)})", "{{tenant}} {{cloud}}"), steps=FILLING, maximum=1,
        ),
        series(
            "Devices in use by cloud", "Share of the cloud's pass-through devices that VMs have taken; the 20 fullest.",
            "percentunit", (f"topk(20, {named(DEVICES)})", "{{tenant}} {{cloud}} {{device}}"), steps=FILLING, maximum=1,
        ),
        table(
            "Devices by cloud", "Pass-through devices of each cloud by class.", "none",
            [
                ("All", named(clouds("flexvm_cloud_pci_devices", by="device")), None, None),
                ("In use", named(clouds("flexvm_cloud_pci_devices_in_use", by="device")), None, None),
                ("Free", named(clouds("flexvm_cloud_pci_devices_available", by="device")), None, LITTLE),
            ],
            hidden=("cloud_id",), names={"tenant": "Tenant", "cloud": "Cloud", "device": "Device"}, width=12, height=8,
        ),
    ]


def headroom():
    sizes = [
        ("vCPUs", tenants("flexvm_instance_type_vcpus", by="instance_type"), None, None),
        ("Memory", tenants("flexvm_instance_type_memory_bytes", by="instance_type"), "bytes", None),
        ("OS disk", tenants("flexvm_instance_type_disk_bytes", by="instance_type"), "bytes", None),
        ("Devices", f"sum by (tenant, instance_type) ({tenants('flexvm_instance_type_pci_devices', by='instance_type, device, spec')})", None, None),
        ("Fit at most", f"sum by (tenant, instance_type) ({HEADROOM})", None, LITTLE),
    ]
    return [
        table(
            "Headroom by instance type",
            "How many VMs of the type the free vCPUs, memory and devices of one cloud would hold. An upper bound: what is free may be spread over nodes.",
            "none", [("Fit at most", named(HEADROOM), None, LITTLE)],
            hidden=("cloud_id",), names={"tenant": "Tenant", "cloud": "Cloud", "instance_type": "Instance type"}, width=12,
        ),
        bars(
            "Least headroom", "The 20 pairs of cloud and instance type of which fewest VMs would fit.", "none",
            f"bottomk(20, {named(HEADROOM)})", "{{cloud}} {{instance_type}}", LITTLE, 12, 10,
        ),
        series(
            "Headroom over time", "VMs of a type that all chosen clouds together would hold at most; the 20 scarcest types.", "none",
            (f"bottomk(20, sum by (instance_type) ({HEADROOM}))", "{{instance_type}}"), width=24,
        ),
        table(
            "Instance types", "The catalogue of sizes, and how many of each the chosen clouds would hold.", "none", sizes,
            names={"tenant": "Tenant", "instance_type": "Instance type"},
        ),
    ]


def nodes():
    running = clouds("flexvm_node_status", by="node_id, status")
    info = clouds("flexvm_node_info", by="node_id, node, serial")
    return [
        series(
            "Nodes by status", "Every node is in exactly one status.", "none",
            (f"sum by (status) ({running}) > 0", "{{status}}"), stacked=True,
        ),
        table(
            "Nodes by cloud and bare-metal type", "Nodes of each cloud, as the capacity report groups them.", "none",
            [("Nodes", named(clouds("flexvm_cloud_node_group_nodes", by="node_type")), None, None)],
            hidden=("cloud_id",), names={"tenant": "Tenant", "cloud": "Cloud", "node_type": "Bare-metal type"},
            width=12, height=8,
        ),
        table(
            "Nodes", "Every bare-metal node with its status as of the newest poll; at most 1000.", "none",
            [(None, f"topk(1000, {named(f'({running} == 1) * on (tenant, cloud_id, node_id) group_left (node, serial) {info}')})", None, None)],
            hidden=("cloud_id", "node_id"),
            names={"tenant": "Tenant", "cloud": "Cloud", "node": "Node", "serial": "Serial number", "status": "Status"},
        ),
    ]


def dashboard():
    panels = [
        frame.row("Tenants"), *totals(), frame.row("Each cloud"), *per_cloud(),
        frame.row("Headroom"), *headroom(), frame.row("Bare metal"), *nodes(),
    ]
    description = "vCPUs, memory and pass-through devices by tenant and cloud: all, in use, free, and what would still fit."
    return frame.dashboard("flexvm-capacity", description, panels, past="now-7d")
