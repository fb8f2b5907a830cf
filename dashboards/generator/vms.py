"""VMs: how many in which status, which come and go, which stand, and a table of every one."""

from . import frame
from .parts import (
    ANY_IS_BAD, CLOUD, GREEN, RED, YELLOW,
    bars, clouds, counted, named, series, stat, table, tenants, thresholds,
)

# A VM is known by these; its name is not unique.
ID = "tenant, cloud_id, vm_id"
DAY = 86400
STANDING = 'status=~"stopping|stopped|paused"'
MOVING = 'status=~"provisioning|created|starting|stopping|deleting"'
UNPLACED = 'node_id=""'
INFO = clouds("flexvm_vm_info", by="vm_id, vm, instance_type, image")
CREATED = clouds("flexvm_vm_created_timestamp_seconds", by="vm_id")
SINCE = clouds("flexvm_vm_status_since_timestamp_seconds", by="vm_id")


def of(status):
    return counted(f"sum({clouds('flexvm_cloud_vms', status, 'status')})")


def longest(title, description, status, steps):
    """The VMs that have been in one of these statuses for longest."""
    state = clouds("flexvm_vm_status", status, "vm_id, status")
    age = f"(time() - {SINCE}) * on ({ID}) group_right {state}"
    expr = f"topk(50, {age} * on ({ID}) group_left (vm, instance_type) {clouds('flexvm_vm_info', by='vm_id, vm, instance_type')})"
    names = {"tenant": "Tenant", "cloud": "Cloud", "vm": "VM", "instance_type": "Instance type", "status": "Status"}
    columns = [("For", named(expr), "s", steps)]
    return table(title, description, "s", columns, ("cloud_id", "vm_id"), names, width=12, height=9, sort="For")


def every_vm():
    # One list of ids for all columns, so that a large fleet is cut off at the same VMs in each.
    some = f'topk(1000, {CREATED} and on ({ID}) flexvm_vm_info{{{CLOUD},vm=~"(?i).*$search.*"}})'
    status = clouds("flexvm_vm_status", by="vm_id, status")
    info = f"{named(f'({some} * 0 + 1) * on ({ID}) group_left (vm, instance_type, image) {INFO}')}"
    placed = clouds("flexvm_vm_info", by="vm_id, node_id") + " * on (tenant, cloud_id, node_id) group_left (node) " + clouds(
        "flexvm_node_info", by="node_id, node"
    )
    return table(
        "VMs",
        "The 1000 youngest VMs of the chosen clouds whose name matches the search. Tags are those of metrics.tag_keys. A VM for which the API gives no creation time is not listed.",
        "none",
        [
            (None, info, None, None),
            (None, f"{status} and on ({ID}) {some}", None, None),
            ("Age", f"(time() - {CREATED}) and on ({ID}) {some}", "s", None),
            ("In status for", f"(time() - {SINCE}) and on ({ID}) {some}", "s", None),
            (None, f"flexvm_vm_tags{{{CLOUD}}} and on ({ID}) {some}", None, None),
            (None, f"{placed} and on ({ID}) {some}", None, None),
        ],
        hidden=("__name__", "job", "cloud_id", "node_id"),
        names={
            "instance": "Exporter", "tenant": "Tenant", "cloud": "Cloud", "vm": "VM", "vm_id": "Id",
            "instance_type": "Instance type", "image": "Image", "status": "Status", "node": "Node",
        },
        height=16, sort="Age",
    )


def churn():
    young = f"time() - {CREATED}"
    month = [
        (tenants("flexvm_usage_vms_created", 'period="current"'), "created"),
        (tenants("flexvm_usage_vms_released", 'period="current"'), "released"),
    ]
    return [
        series(
            "Created and released this month",
            "VMs created and released since the month began, as the provider reports them. Both fall to 0 when a month begins.",
            "none", *((f"sum({expr})", name) for expr, name in month),
        ),
        series(
            "Young VMs", "Living VMs that are younger than an hour, and than a day.", "none",
            (counted(f"count({young} < 3600)"), "under an hour"), (counted(f"count({young} < {DAY})"), "under a day"),
        ),
        table(
            "Churn by tenant", "VMs of this month and the month before. A VM that was created and released in a month counts in all three.",
            "none",
            [
                ("VMs this month", tenants("flexvm_usage_vms", 'period="current"'), None, None),
                ("Created", tenants("flexvm_usage_vms_created", 'period="current"'), None, None),
                ("Released", tenants("flexvm_usage_vms_released", 'period="current"'), None, None),
                ("VMs last month", tenants("flexvm_usage_vms", 'period="previous"'), None, None),
                ("Deleted, still listed", f"sum by (tenant) ({clouds('flexvm_cloud_deleted_vms')})", None, None),
            ],
            names={"tenant": "Tenant"}, height=7,
        ),
    ]


def dashboard():
    kinds = f"sum by (instance_type, status) ({clouds('flexvm_cloud_instance_type_vms', by='instance_type, status')})"
    tags = f"sum by (tenant, tag) ({tenants('flexvm_tag_vms', by='tag, status')})"
    panels = [
        frame.row("Now"),
        stat("Running", "VMs in status running.", "none", of('status="running"')),
        stat(
            "Standing", "VMs that are stopped, stopping or paused: they hold capacity and count as use.", "none",
            of(STANDING), thresholds(GREEN, (1, YELLOW)),
        ),
        stat("Failed", "VMs in status failed.", "none", of('status="failed"'), ANY_IS_BAD),
        stat("In transition", "VMs that are being made, started, stopped or deleted.", "none", of(MOVING)),
        stat(
            "Not placed", "VMs that have no node: they are still being provisioned, or cannot be.", "none",
            counted(f'count({clouds("flexvm_vm_info", UNPLACED, "vm_id")})'), thresholds(GREEN, (1, YELLOW)),
        ),
        stat(
            "Without series of their own", "VMs beyond metrics.max_vms: they are counted, but are in no table here.", "none",
            f"sum({tenants('flexvm_exporter_vms_omitted')})", thresholds(GREEN, (1, YELLOW)),
        ),
        series(
            "VMs by status", "Every VM is in exactly one status.", "none",
            (f"sum by (status) ({clouds('flexvm_cloud_vms', by='status')}) > 0", "{{status}}"), stacked=True,
        ),
        series(
            "VMs by instance type", "The 20 types with most VMs, whatever their status.", "none",
            (f"topk(20, sum by (instance_type) ({kinds}))", "{{instance_type}}"),
        ),
        bars(
            "VMs by tag", "The 20 tags with most VMs. A VM with two tags is in both: bars must not be added up.", "none",
            f"topk(20, {tags})", "{{tenant}} {{tag}}", height=9,
        ),
        table(
            "VMs by instance type and status", "VMs of the chosen clouds.", "none", [("VMs", kinds, None, None)],
            names={"instance_type": "Instance type", "status": "Status"}, width=12, height=9, sort="VMs",
        ),
        frame.row("Waiting"),
        longest(
            "Standing longest", "The 50 VMs that have been stopped or paused for longest since a poll first saw it.", STANDING,
            thresholds(GREEN, (7 * DAY, YELLOW), (30 * DAY, RED)),
        ),
        longest(
            "Failed or in transition longest", "The 50 VMs that have been failed or on their way for longest.",
            'status=~"failed|provisioning|created|starting|stopping|deleting"', thresholds(GREEN, (900, YELLOW), (3600, RED)),
        ),
        frame.row("Churn"),
        *churn(),
        frame.row("Every VM"),
        every_vm(),
        table(
            "Images", "Images that VMs can be made from, and the VMs of the chosen clouds that were.", "none",
            [
                (None, tenants("flexvm_image_info", by="image, os, os_type"), None, None),
                ("VMs", f"count by (tenant, image) ({clouds('flexvm_vm_info', by='vm_id, image')})", None, None),
            ],
            names={"tenant": "Tenant", "image": "Image", "os": "Operating system", "os_type": "Kind"}, height=8, sort="VMs",
        ),
    ]
    description = "VMs by status, type and tag; churn; those that stand or are stuck; and a table of every VM."
    return frame.dashboard("flexvm-vms", description, panels, search="VM name contains")
