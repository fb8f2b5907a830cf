"""Usage and cost: what the month took, for whom, of which kind, and how sure we are."""

from . import frame
from .parts import (
    BLUE, COST, GREEN, HOURS, RED, YELLOW,
    bars, clouds, named, series, stat, table, tenants, thresholds,
)

NOW, BEFORE = 'period="current"', 'period="previous"'
STOPPED, UNOBSERVED = 'use="stopped"', 'use="unobserved"'
PARTLY = thresholds(RED, (0.5, YELLOW), (0.9, GREEN))
UNTAGGED = thresholds(GREEN, (0.1, YELLOW), (0.3, RED))
STOOD = thresholds(GREEN, (0.2, YELLOW), (0.5, RED))


def seconds(kind, period, by="", more="", scope=tenants):
    """Exact VM seconds of a period by tenant and `by`, all uses together (they partition)."""
    metric = f"flexvm_usage_{kind}vm_seconds"
    keys = ", ".join(filter(None, ["tenant", "cloud_id" if scope is clouds else "", by]))
    more = f"{period},{more}" if more else period
    return f"sum by ({keys}) ({scope(metric, more, ', '.join(filter(None, [by, 'use'])))})"


def hours(expr):
    return f"({expr}) / 3600"


def projected(expr):
    """What `expr`, seconds of this month, comes to if the rest goes like the part so far; as absent in a month's first
    24 hours as the tenant's projection is."""
    factor = f"({tenants('flexvm_usage_projected_vm_seconds')} / ({seconds('', NOW)} > 0))"
    return f"{expr} * on (tenant) group_left () {factor}"


def breakdown(title, description, kind, by, name, scope=tenants, extra=()):
    """A table of hours by something: this month and the one before, what stood, and how much of it we know."""
    wrap = named if scope is clouds else (lambda expr: expr)
    of = lambda period, more="": seconds(kind, period, by, more, scope)
    share = lambda use: f"{of(NOW, use)} / ({of(NOW)} > 0)"
    columns = [
        ("This month", wrap(hours(of(NOW))), HOURS, None),
        ("Last month", wrap(hours(of(BEFORE))), HOURS, None),
        ("Projection", wrap(hours(projected(of(NOW)))), HOURS, None),
        ("Running", wrap(hours(of(NOW, 'use="running"'))), HOURS, None),
        ("Stood", wrap(hours(of(NOW, STOPPED))), HOURS, None),
        ("Only stood", wrap(share(STOPPED)), "percentunit", STOOD),
        ("Observed", wrap(f"1 - {share(UNOBSERVED)}"), "percentunit", PARTLY),
    ]
    names = {"tenant": "Tenant", **name}
    return table(title, description, HOURS, [*columns, *extra], ("cloud_id",), names, sort="This month")


def money(metric, period, by=""):
    return tenants(metric, period, ", ".join(filter(None, [by, "currency"])))


def headline():
    reported = "flexvm_usage_reported_vm_seconds"
    used = seconds("", NOW)
    return [
        stat(
            "This month", "The provider's whole hours of each VM so far, summed.", HOURS,
            hours(f"sum({tenants(reported, NOW)})"), decimals=0,
        ),
        stat(
            "Last month", "The same for the whole month before.", HOURS, hours(f"sum({tenants(reported, BEFORE)})"), decimals=0,
        ),
        stat(
            "Projection", "Exact hours of this month if the rest goes like the part so far; empty in the first 24 hours.", HOURS,
            hours(f"sum({tenants('flexvm_usage_projected_vm_seconds')})"), decimals=0,
        ),
        stat(
            "Projection to last month", "Projected exact hours divided by the exact hours of the month before.", "percentunit",
            f"sum({tenants('flexvm_usage_projected_vm_seconds')}) / (sum({seconds('', BEFORE)}) > 0)",
            thresholds(GREEN, (1.1, YELLOW), (1.25, RED)), decimals=0,
        ),
        stat(
            "Only stood", "Share of this month's VM seconds in which a poll saw the VM stopped, stopping or paused.", "percentunit",
            f"sum({seconds('', NOW, more=STOPPED)}) / (sum({used}) > 0)", STOOD, decimals=1,
        ),
        stat(
            "Observed", "Share of this month's VM seconds whose use our polls can tell; low means unknown, not idle.", "percentunit",
            f"min({tenants('flexvm_usage_observed_ratio', NOW)})", PARTLY, decimals=1,
        ),
        stat(
            "Untagged", "Share of this month's VM seconds of VMs that carry no tag.", "percentunit",
            f"sum({seconds('untagged_', NOW)}) / (sum({used}) > 0)", UNTAGGED, decimals=1,
        ),
        stat(
            "Month ends in", "Time until the running month of the provider's report ends.", "s",
            f"max({tenants('flexvm_usage_period_end_timestamp_seconds', NOW)}) - time()",
        ),
        stat(
            "Cost this month", "Configured rates times the provider's hours, by currency; not an invoice. Hours without a rate are left out.",
            COST, f"sum by (currency) ({money('flexvm_usage_internal_cost', NOW)})", legend="{{currency}}", decimals=2,
        ),
        stat(
            "Cost last month", "The same for the whole month before.", COST,
            f"sum by (currency) ({money('flexvm_usage_internal_cost', BEFORE)})", legend="{{currency}}", decimals=2,
        ),
        stat(
            "Projected cost", "Internal cost of this month if the rest goes like the part so far; empty in the first 24 hours.", COST,
            f"sum by (currency) ({money('flexvm_usage_projected_internal_cost', '')})", legend="{{currency}}", decimals=2,
        ),
        stat(
            "Tags left out", "Tags beyond metrics.max_tags: they are in the reports, but have no series.", "none",
            f"sum({tenants('flexvm_exporter_tags_omitted')})", thresholds(GREEN, (1, YELLOW)),
        ),
        series(
            "Month to date by use", "The five uses add up to the exact hours of the month so far. They fall to 0 when a month begins.",
            HOURS, (hours(f"sum by (use) ({tenants('flexvm_usage_vm_seconds', NOW, 'use')})"), "{{use}}"), stacked=True,
        ),
        series(
            "Month to date by group", "The 20 groups with most hours; a VM is in exactly one group. They fall to 0 when a month begins.",
            HOURS, (f"topk(20, {hours(seconds('group_', NOW, 'group, group_kind'))})", "{{tenant}} {{group}} ({{group_kind}})"),
        ),
    ]


def by_what():
    cost = [
        ("Cost", money("flexvm_usage_group_internal_cost", NOW, "group, group_kind"), COST, None),
        ("Cost last month", money("flexvm_usage_group_internal_cost", BEFORE, "group, group_kind"), COST, None),
    ]
    tag = [
        ("Provider's", hours(tenants("flexvm_usage_tag_reported_vm_seconds", NOW, "tag")), HOURS, None),
    ]
    cloud = [
        ("Provider's", named(hours(clouds("flexvm_usage_cloud_reported_vm_seconds", NOW))), HOURS, None),
        ("Active VMs", named(clouds("flexvm_usage_cloud_active_vms")), "none", None),
    ]
    return [
        breakdown(
            "By group", "Groups of report.group_by, or else the exact sets of tags. A VM is in exactly one group: groups add up to the whole.",
            "group_", "group, group_kind", {"group": "Group", "group_kind": "Kind", "currency": "Currency"}, extra=cost,
        ),
        breakdown(
            "By tag", "A VM with two tags is in both rows: tags must not be added up.", "tag_", "tag", {"tag": "Tag"}, extra=tag,
        ),
        bars(
            "Largest tags", "The 20 tags with most hours this month, side by side: they overlap.", HOURS,
            f"topk(20, {hours(seconds('tag_', NOW, 'tag'))})", "{{tenant}} {{tag}}",
        ),
        bars(
            "Untagged by tenant", "Share of this month's VM seconds of VMs that carry no tag; the 20 highest.", "percentunit",
            f"topk(20, {seconds('untagged_', NOW)} / ({seconds('', NOW)} > 0))", "{{tenant}}", UNTAGGED, maximum=1,
        ),
        breakdown(
            "By cloud", "Clouds add up to the whole; one that is gone goes by its id. The provider's own total is rounded in a way it does not say.",
            "cloud_", "", {"cloud": "Cloud"}, scope=clouds, extra=cloud,
        ),
        breakdown(
            "By instance type", "Types add up to the whole.", "instance_type_", "instance_type", {"instance_type": "Instance type"},
        ),
    ]


def finance():
    month = "month, revision"
    return [
        table(
            "Newest closed month", "The figures of the report files of the newest closed month. Internal cost is not an invoice.", HOURS,
            [
                ("Provider's hours", hours(tenants("flexvm_report_reported_vm_seconds", by=month)), HOURS, None),
                ("Exact hours", hours(tenants("flexvm_report_vm_seconds", by=month)), HOURS, None),
                ("Internal cost", tenants("flexvm_report_internal_cost", by=f"{month}, currency"), COST, None),
            ],
            names={"tenant": "Tenant", "month": "Month", "revision": "Revision", "currency": "Currency"}, width=12, height=8,
        ),
        table(
            "Months as the provider has them", "Start and end of the months in the provider's report, its nodes and VMs, and how much of each month we observed.",
            "none",
            [
                ("Starts", f"{tenants('flexvm_usage_period_start_timestamp_seconds', by='period')} * 1000", "dateTimeAsIso", None),
                ("Ends", f"{tenants('flexvm_usage_period_end_timestamp_seconds', by='period')} * 1000", "dateTimeAsIso", None),
                ("Provider's hours", hours(tenants("flexvm_usage_reported_vm_seconds", by="period")), HOURS, None),
                ("Exact hours", hours(f"sum by (tenant, period) ({tenants('flexvm_usage_vm_seconds', by='period, use')})"), HOURS, None),
                ("VMs", tenants("flexvm_usage_vms", by="period"), None, None),
                ("Observed", tenants("flexvm_usage_observed_ratio", by="period"), "percentunit", PARTLY),
            ],
            names={"tenant": "Tenant", "period": "Month"}, width=12, height=8,
        ),
        series(
            "Active VMs and nodes", "VMs that are not deleted and bare-metal nodes, as the provider's monthly report counts them.", "none",
            (f"sum({tenants('flexvm_usage_active_vms')})", "VMs"), (f"sum({tenants('flexvm_usage_nodes')})", "nodes"),
        ),
        series(
            "Projected hours and cost", "The projection as it settles during the month; empty in the first 24 hours.", "none",
            (hours(f"sum({tenants('flexvm_usage_projected_vm_seconds')})"), "VM hours"),
            (f"sum by (currency) ({money('flexvm_usage_projected_internal_cost', '')})", "{{currency}}"),
            steps=thresholds(BLUE),
        ),
    ]


def dashboard():
    panels = [
        frame.row("The month"), *headline(), frame.row("By what"), *by_what(), frame.row("For finance"), *finance(),
    ]
    description = "What was used this month and last, by group, tag, cloud and type; what only stood; cost; projection."
    return frame.dashboard("flexvm-usage-and-cost", description, panels, past="now-30d")
