"""Fleet overview: is everything well, how much is there, how full is it, what did the month take."""

from . import frame
from .parts import (
    ANY_IS_BAD, BLUE, COST, FILLING, GREEN, HOURS, RED, YELLOW,
    bars, clouds, counted, named, series, stat, table, tenants, thresholds,
)

FAILED, RUNNING = 'status="failed"', 'status="running"'
CURRENT, PREVIOUS = 'period="current"', 'period="previous"'
VMS = clouds("flexvm_cloud_vms", by="status")
UP = thresholds(RED, (1, GREEN))


def ratio(part, whole):
    return f"{part} / ({whole} > 0)"


def dashboard():
    in_use = tenants("flexvm_capacity_vcpus_in_use")
    memory_in_use = tenants("flexvm_capacity_memory_in_use_bytes")
    hours = 'flexvm_usage_reported_vm_seconds'
    this_month = tenants(hours, 'period="current"')
    panels = [
        frame.row("Now"),
        stat(
            "Tenants", "Organisations that the chosen exporters poll.", "none",
            f"count({tenants('flexvm_up')})",
        ),
        stat(
            "Tenants in trouble",
            "Tenants of which the newest run of capacity, inventory or usage failed. Their figures stay until they are stale.",
            "none", f"sum(1 - {tenants('flexvm_up')})", ANY_IS_BAD,
        ),
        stat("Clouds", "Clouds that are not deleted.", "none", counted(f"count({clouds('flexvm_cloud_info')})")),
        stat("Nodes", "Bare-metal nodes of all chosen tenants.", "none", f"sum({tenants('flexvm_capacity_nodes')})"),
        stat("VMs", "VMs that are not deleted, whatever their status.", "none", counted(f"sum({VMS})")),
        stat(
            "VMs failed", "VMs in status failed: they hold capacity and count as use, and nobody can work on them.",
            "none", counted(f"sum({clouds('flexvm_cloud_vms', FAILED)})"), thresholds(GREEN, (1, YELLOW)),
        ),
        series(
            "VMs by status", "Every VM is in exactly one status, so the areas add up to all VMs.", "none",
            (f"sum by (status) ({VMS}) > 0", "{{status}}"), stacked=True,
        ),
        bars(
            "Most VMs by cloud", "The 20 clouds with most VMs.", "none",
            f"topk(20, {named(f'sum by (tenant, cloud_id) ({VMS})')})", "{{tenant}} {{cloud}}",
        ),
        frame.row("By tenant"),
        table(
            "Every tenant", "One row per tenant. A tenant's name leads to its VMs. Up is 0 while a required collector fails.",
            "none",
            [
                ("Up", tenants("flexvm_up"), None, UP),
                ("Nodes", tenants("flexvm_capacity_nodes"), None, None),
                ("VMs", f"sum by (tenant) ({VMS})", None, None),
                ("VMs running", f"sum by (tenant) ({clouds('flexvm_cloud_vms', RUNNING)})", None, None),
                ("vCPUs in use", ratio(in_use, tenants("flexvm_capacity_vcpus")), "percentunit", FILLING),
                ("Memory in use", ratio(memory_in_use, tenants("flexvm_capacity_memory_bytes")), "percentunit", FILLING),
                ("Hours this month", f"{this_month} / 3600", HOURS, None),
                ("Reports due", tenants("flexvm_exporter_report_due"), None, ANY_IS_BAD),
            ],
            names={"tenant": "Tenant"},
            links={"Tenant": frame.link("VMs of this tenant", "flexvm-vms", tenant="${__value.text}")},
        ),
        frame.row("Capacity at a glance"),
        bars(
            "Fullest tenants: vCPUs", "Share of the tenant's vCPUs that VMs have taken; the 15 fullest.", "percentunit",
            f"topk(15, {ratio(in_use, tenants('flexvm_capacity_vcpus'))})", "{{tenant}}", FILLING, 8, 8, 1,
        ),
        bars(
            "Fullest tenants: memory", "Share of the tenant's memory that VMs have taken; the 15 fullest.", "percentunit",
            f"topk(15, {ratio(memory_in_use, tenants('flexvm_capacity_memory_bytes'))})", "{{tenant}}", FILLING, 8, 8, 1,
        ),
        bars(
            "Fullest tenants: devices", "Share of the tenant's pass-through devices that VMs have taken; the 15 fullest.",
            "percentunit",
            "topk(15, " + ratio(
                tenants("flexvm_capacity_pci_devices_in_use", by="device"),
                tenants("flexvm_capacity_pci_devices", by="device"),
            ) + ")",
            "{{tenant}} {{device}}", FILLING, 8, 8, 1,
        ),
        frame.row("Month to date"),
        stat(
            "VM hours this month", "The provider's whole hours of each VM so far, summed. Starts again with each month.",
            HOURS, f"sum({this_month}) / 3600", decimals=0, width=5,
        ),
        stat(
            "VM hours last month", "The same for the whole month before.", HOURS,
            f"sum({tenants(hours, PREVIOUS)}) / 3600", decimals=0, width=5,
        ),
        stat(
            "Projected", "This month's hours if the rest goes like the part so far; empty in the first 24 hours.", HOURS,
            f"sum({tenants('flexvm_usage_projected_vm_seconds')}) / 3600", decimals=0, width=5,
        ),
        stat(
            "Internal cost this month", "Configured rates times the provider's hours, by currency; not an invoice. Empty without prices.",
            COST, f"sum by (currency) ({tenants('flexvm_usage_internal_cost', CURRENT, 'currency')})",
            legend="{{currency}}", decimals=2, width=5,
        ),
        stat(
            "Reports due", "Months past their settle time that have no final report.", "none",
            f"sum({tenants('flexvm_exporter_report_due')})", ANY_IS_BAD,
        ),
        series(
            "VM hours, month to date", "The provider's hours as they grow; they fall to 0 when a month begins. The 20 largest tenants.",
            HOURS, (f"topk(20, {this_month}) / 3600", "{{tenant}}"),
        ),
        series(
            "Observed share of the month",
            "Share of the month's VM seconds whose use our polls can tell. Low means unknown, not idle. The 20 lowest.",
            "percentunit",
            (f"bottomk(20, {tenants('flexvm_usage_observed_ratio', CURRENT)})", "{{tenant}}"), maximum=1,
            steps=thresholds(BLUE),
        ),
    ]
    description = "All FlexVM tenants: health, VMs, capacity at a glance and the month to date."
    return frame.dashboard("flexvm-fleet-overview", description, panels)
