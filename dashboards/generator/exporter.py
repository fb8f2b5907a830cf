"""Exporter: do the collectors run, does the API answer, is the ledger safe, are reports written."""

from . import frame
from .parts import (
    ANY_IS_BAD, GREEN, RED, TENANT, YELLOW,
    bars, series, stat, table, tenants, thresholds,
)

SELF = 'job=~"$job",instance=~"$instance"'
UP = thresholds(RED, (1, GREEN))
EXPIRY = thresholds(RED, (2 * 86400, YELLOW), (14 * 86400, GREEN))
AGE = thresholds(GREEN, (900, YELLOW), (3600, RED))


def own(metric, by=""):
    """A series of the process itself, which carries no tenant."""
    labels = ", ".join(filter(None, ["job", "instance", by]))
    return f"max by ({labels}) ({metric}{{{SELF}}})"


def rate(metric, by, more="", selector=TENANT):
    return f"sum by ({by}) (rate({metric}{{{selector}{more}}}[$__rate_interval]))"


def process():
    built = f"max by (job, instance, version, revision, rustc) (flexvm_exporter_build_info{{{SELF}}})"
    started = own("process_start_time_seconds")
    return [
        stat("Exporters up", "Exporters that Prometheus can scrape.", "none", f"sum(up{{{SELF}}})", UP),
        stat(
            "Exporters down", "Exporters that Prometheus could not scrape.", "none", f"sum(1 - up{{{SELF}}})", ANY_IS_BAD,
        ),
        stat(
            "Configuration", "1 while the newest reading of the configuration succeeded on every exporter.", "none",
            f"min({own('flexvm_exporter_config_last_reload_successful')})", UP,
        ),
        stat(
            "Reports due", "Months past their settle time that have no final report.", "none",
            f"sum({tenants('flexvm_exporter_report_due')})", ANY_IS_BAD,
        ),
        stat(
            "Since the last wake", "Time since the worker that closes months last looked for work; it does so every minute.", "s",
            f"time() - min({own('flexvm_exporter_last_wake_timestamp_seconds')})", thresholds(GREEN, (180, YELLOW), (900, RED)),
        ),
        stat(
            "Ledger's space", "Least space that a ledger's file system has left.", "bytes",
            f"min({own('flexvm_exporter_ledger_free_bytes')})", thresholds(RED, (2**30, YELLOW), (5 * 2**30, GREEN)),
        ),
        table(
            "Exporters", "One row per exporter: what it is, how long it runs, what it takes.", "none",
            [
                (None, built, None, None),
                ("Running for", f"time() - {started}", "s", None),
                ("Configuration read", f"time() - {own('flexvm_exporter_config_last_reload_success_timestamp_seconds')}", "s", None),
                ("Memory", own("process_resident_memory_bytes"), "bytes", None),
                ("Open files", f"{own('process_open_fds')} / ({own('process_max_fds')} > 0)", "percentunit", thresholds(GREEN, (0.8, RED))),
            ],
            names={"instance": "Exporter", "job": "Job", "version": "Version", "revision": "Revision", "rustc": "Compiler"}, height=6,
        ),
    ]


def collectors():
    by = "collector"
    last = tenants("flexvm_exporter_collector_last_success_timestamp_seconds", by=by)
    return [
        table(
            "Collectors", "One row per tenant and collector: its newest run, how long it took, and how old its figures are.", "s",
            [
                ("Succeeded", tenants("flexvm_exporter_collector_success", by=by), "none", UP),
                ("Took", tenants("flexvm_exporter_collector_duration_seconds", by=by), "s", None),
                ("Age", f"time() - {last}", "s", AGE),
            ],
            names={"tenant": "Tenant", "collector": "Collector"}, width=12, height=9, sort="Age",
        ),
        series(
            "Age of figures", "Time since each collector last succeeded; the 20 oldest.", "s",
            (f"topk(20, time() - {last})", "{{tenant}} {{collector}}"), height=9, steps=AGE,
        ),
        series(
            "Failed runs", "Failed runs of collectors per second, by reason.", "ops",
            (f"{rate('flexvm_exporter_collector_failures_total', 'collector, reason')} > 0", "{{collector}} {{reason}}"),
        ),
        series(
            "Duration of runs", "How long the newest run of each collector took; the 20 longest.", "s",
            (f"topk(20, {tenants('flexvm_exporter_collector_duration_seconds', by=by)})", "{{tenant}} {{collector}}"),
        ),
    ]


def api():
    requests = "flexvm_exporter_api_requests_total"
    bucket = rate("flexvm_exporter_api_request_duration_seconds_bucket", "le, endpoint")
    took = rate("flexvm_exporter_api_request_duration_seconds_sum", "endpoint")
    many = rate("flexvm_exporter_api_request_duration_seconds_count", "endpoint")
    good = ',code=~"2.."'
    return [
        series(
            "Requests", "Requests to the FlexVM API per second, by HTTP status, or by the reason where there is none.", "reqps",
            (rate(requests, "code"), "{{code}}"), stacked=True,
        ),
        series(
            "Share of failed requests", "Requests that did not end with a status 2xx, by endpoint; retried ones count each time.",
            "percentunit",
            (
                f"1 - ({rate(requests, 'endpoint', good)} or 0 * {rate(requests, 'endpoint')}) / ({rate(requests, 'endpoint')} > 0)",
                "{{endpoint}}",
            ),
            steps=thresholds(GREEN, (0.05, YELLOW), (0.25, RED)), maximum=1,
        ),
        series(
            "Request duration, 95th percentile", "95 of 100 requests were answered within this time, body included, by endpoint.", "s",
            (f"histogram_quantile(0.95, {bucket})", "{{endpoint}}"),
        ),
        series(
            "Request duration, mean", "Mean time of requests, body included, by endpoint.", "s",
            (f"{took} / ({many} > 0)", "{{endpoint}}"),
        ),
        series(
            "Retries", "Requests per second that were sent again, by endpoint.", "reqps",
            (rate("flexvm_exporter_api_retries_total", "endpoint"), "{{endpoint}}"),
        ),
        table(
            "Unknown fields", "Fields that the API sent and does not document, and how often the newest run met them. Empty is good.", "none",
            [("Met", f"sum by (tenant, endpoint, field) ({tenants('flexvm_exporter_api_unknown_fields', by='endpoint, field')})", None, None)],
            names={"tenant": "Tenant", "endpoint": "Endpoint", "field": "Field"}, width=12, height=8,
        ),
    ]


def reports():
    failures = rate("flexvm_exporter_report_failures_total", "tenant, reason")
    comparisons = rate("flexvm_exporter_report_comparison_failures_total", "tenant")
    verifications = rate("flexvm_exporter_report_verification_failures_total", "tenant")
    bad = f'sum by (tenant) (flexvm_report_info{{{TENANT},verdict=~"incomplete|differs"}})'
    month = "month, scope"
    return [
        table(
            "Reports", "One row per tenant: months that are due, the time since a month was last closed, and closed months with an open difference from the provider's current report.", "none",
            [
                ("Due", tenants("flexvm_exporter_report_due"), None, ANY_IS_BAD),
                ("Last closed", f"time() - {tenants('flexvm_exporter_report_last_success_timestamp_seconds')}", "s", None),
                ("Open differences", tenants("flexvm_exporter_report_open_differences"), None, ANY_IS_BAD),
                ("Incomplete or differing", f"{bad} or 0 * sum by (tenant) (flexvm_report_info{{{TENANT}}})", None, ANY_IS_BAD),
                ("Age of served data", f"time() - {tenants('flexvm_exporter_exposition_timestamp_seconds')}", "s", None),
            ],
            names={"tenant": "Tenant"}, width=12,
        ),
        series(
            "Failures of closed months", "Failed attempts to close a month, to compare a closed month with the provider, and to verify its files, per second.", "ops",
            (f"{failures} > 0", "{{tenant}} close: {{reason}}"),
            (f"topk(20, {comparisons})", "{{tenant}} compare"),
            (f"topk(20, {verifications})", "{{tenant}} verify"), height=10,
        ),
        table(
            "Difference to the provider, time", "Our VM seconds minus the provider's hours in the newest closed month: the largest within each scope. The provider rounds up to hours.",
            "s", [("Difference", tenants("flexvm_exporter_report_difference_seconds", by="month, scope"), "s", None)],
            names={"tenant": "Tenant", "month": "Month", "scope": "Scope"}, width=8, height=8,
        ),
        table(
            "Difference to the provider, VMs", "Our number of VMs created and released minus the provider's in the newest closed month.", "none",
            [("Difference", tenants("flexvm_exporter_report_difference_vms", by="month, kind"), None, None)],
            names={"tenant": "Tenant", "month": "Month", "kind": "Kind"}, width=8, height=8,
        ),
        bars(
            "Changed months", "Difference between closed months and the provider's current report by the latest comparison; 0 means that nothing differs. The 15 largest.", "s",
            f"topk(15, {tenants('flexvm_exporter_report_changed_seconds', by=month)})", "{{tenant}} {{month}} {{scope}}", ANY_IS_BAD, 8, 8,
        ),
    ]


def ledger():
    prefix = "flexvm_exporter_ledger"
    own_rate = lambda metric, by="": rate(f"{prefix}_{metric}", ", ".join(filter(None, ["instance", by])), selector=SELF)
    return [
        series(
            "Recorded", "Polls of the inventory and changes of VMs that the ledger recorded per second.", "ops",
            (own_rate("polls_total"), "{{instance}} polls"), (own_rate("events_total"), "{{instance}} changes"), width=8,
        ),
        series(
            "Failed writes", "Writes to the ledger that failed per second, by reason.", "ops",
            (own_rate("failures_total", "reason"), "{{instance}} {{reason}}"), width=8,
        ),
        series(
            "Size and space", "Size of the ledger's files, and what their file system has left.", "bytes",
            (own(f"{prefix}_size_bytes"), "{{instance}} size"), (own(f"{prefix}_free_bytes"), "{{instance}} free"), width=8,
        ),
        series(
            "Since the last recorded poll", "Time since the newest poll that the ledger holds.", "s",
            (f"time() - {own(f'{prefix}_last_commit_timestamp_seconds')}", "{{instance}}"), steps=AGE, width=8,
        ),
        series(
            "Longest gap", "Longest time between two recorded polls since the start. Beyond three intervals the time between is unobserved.", "s",
            (own(f"{prefix}_longest_gap_seconds"), "{{instance}}"), width=8,
        ),
        series(
            "Processor", "Processor time that the exporter takes.", "percentunit",
            (rate("process_cpu_seconds_total", "instance", selector=SELF), "{{instance}}"), width=8,
        ),
    ]


def server():
    """The exporter's own HTTP server and the certificates."""
    left = "expiry_timestamp_seconds"
    return [
        series(
            "HTTP requests", "Requests to the exporter per second, by handler and HTTP status. 401 is a refused password.", "reqps",
            (f"{rate('flexvm_exporter_http_requests_total', 'handler, code', selector=SELF)} > 0", "{{handler}} {{code}}"), width=8,
        ),
        series(
            "Connections", "Open connections of each exporter. The limit is 512 over all listen addresses.", "none",
            (own("flexvm_exporter_http_connections"), "{{instance}}"), steps=thresholds(GREEN, (400, YELLOW), (512, RED)), width=8,
        ),
        series(
            "Closed connections", "Connections per second that the exporter closed, by reason.", "ops",
            (rate("flexvm_exporter_http_connections_rejected_total", "reason", selector=SELF), "{{reason}}"), width=8,
        ),
        table(
            "Certificates", "Time until the certificates of each exporter expire. Empty without TLS.", "s",
            [("Expires in", f"{own(f'flexvm_exporter_certificate_{left}', 'use')} - time()", "s", EXPIRY)],
            names={"instance": "Exporter", "job": "Job", "use": "Use"}, width=12, height=6,
        ),
        table(
            "Certificates of the API", "Time until the certificate of each tenant's API expires. Empty without TLS.", "s",
            [("Expires in", f"{tenants(f'flexvm_exporter_api_certificate_{left}')} - time()", "s", EXPIRY)],
            names={"tenant": "Tenant"}, width=12, height=6,
        ),
    ]


def dashboard():
    panels = [
        frame.row("Processes"), *process(), frame.row("Polling"), *collectors(), frame.row("FlexVM API"), *api(),
        frame.row("Closing months"), *reports(), frame.row("Ledger and process"), *ledger(), frame.row("HTTP server and certificates"), *server(),
    ]
    description = "The exporter itself: collectors and ages, API latency and errors, reports due and changed, the ledger."
    return frame.dashboard("flexvm-exporter", description, panels, past="now-6h")
