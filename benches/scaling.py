#!/usr/bin/env python3
"""One process with many VMs and many tenants: when it is ready, when all months are closed, CPU, memory, threads.

    cargo build --release && benches/scaling.py [TENANTSxVMS ...]

Every tenant is on one simulator, so all have the same VMs. Polls have the default intervals. CPU is that of the
exporter alone, measured after all months are closed, while /metrics is scraped each 15 s. Without arguments all
rows are measured. The ratio compares CPU per VM (one tenant) or per tenant (several) with the first row of its kind,
after the CPU of an exporter with one VM is subtracted. It fails if 200x500 misses its aims.
"""

import json
import os
import pathlib
import sys
import time

import stage

ONE_TENANT = [(1, 1_000), (1, 10_000), (1, 100_000), (1, 300_000)]
MANY_TENANTS = [(20, 500), (200, 100), (200, 500), (1_000, 100)]
FIXED = (1, 1)
# How long CPU is measured.
MEASURED = 120.0
SCRAPE = 15.0
# Aims of 200x500: seconds, times the CPU and the memory of 1x100,000.
READY, CLOSED, CPU, MEMORY = 20.0, 60.0, 4.0, 1.5
PATIENCE = 600.0


def config(address, tenants):
    names = [f"t{number:04}" for number in range(tenants)]
    entries = ", ".join(f"{{name: {name}, base_url: 'http://{address}', token_env: TOKEN}}" for name in names)
    return f"tenants: [{entries}]\nreport: {{directory: reports, backfill: 1, settle: 0s}}\n"


def cpu_seconds(pid):
    # The command, the second field, may hold spaces.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def closed_months(path):
    return sum(1 for _ in (path / "reports").glob("*/*/r01"))


def measure(tenants, vms):
    with stage.folder() as on:
        simulator = on.simulator(vms)
        (on.path / "exporter.yml").write_text(config(simulator, tenants))
        address = f"127.0.0.1:{stage.free_port()}"
        command = [stage.PROGRAM, "--config.file", "exporter.yml", "--web.listen-address", address]
        started = time.monotonic()
        daemon = stage.Daemon(on.start(*command, "--log.level", "warn").pid, address)
        ready = closed = None
        most_threads = 0
        while ready is None or closed is None:
            passed = time.monotonic() - started
            most_threads = max(most_threads, threads(daemon.pid))
            if ready is None and daemon.get("/-/ready")[0] == 200:
                ready = passed
            if closed is None and closed_months(on.path) == tenants:
                closed = passed
            if passed > PATIENCE:
                break
            time.sleep(0.2)
        # The work of the start ends.
        time.sleep(10)
        before, began = cpu_seconds(daemon.pid), time.monotonic()
        scrapes, size = [], 0
        while (passed := time.monotonic() - began) < MEASURED:
            asked = time.monotonic()
            status, _, body = daemon.get(gzip=True)
            assert status == 200, status
            scrapes.append(time.monotonic() - asked)
            size = len(body)
            most_threads = max(most_threads, threads(daemon.pid))
            time.sleep(max(0.0, SCRAPE - (time.monotonic() - asked)))
        cpu = (cpu_seconds(daemon.pid) - before) / passed * 60
        return {
            "tenants": tenants,
            "vms": vms,
            "ready": ready,
            "closed": closed,
            "months": closed_months(on.path),
            "cpu": cpu,
            "memory": daemon.memory("VmHWM"),
            "threads": most_threads,
            "scrape": max(scrapes),
            "size": size,
        }


def seconds(value):
    return "never" if value is None else f"{value:.1f} s"


def line(row, ratio):
    return (
        f"| {row['tenants']} × {row['vms']:,} | {seconds(row['ready'])} "
        f"| {row['months']} of {row['tenants']} after {seconds(row['closed'])} | {row['cpu']:.2f} s "
        f"| {row['memory'] / stage.MIB:.0f} MiB | {row['threads']} | {row['scrape'] * 1000:.0f} ms, "
        f"{row['size'] / stage.MIB:.1f} MiB | {ratio} |"
    )


def main():
    wanted = [tuple(int(part) for part in each.split("x")) for each in sys.argv[1:]]
    rows = wanted or ONE_TENANT + MANY_TENANTS
    fixed = measure(*FIXED)["cpu"]
    print(f"an exporter with one VM: {fixed:.2f} s CPU per minute\n", flush=True)
    print("| tenants × VMs | ready after | months closed | CPU per minute | peak RSS | threads | slowest scrape, gzip | ratio |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    found, first = {}, {}
    for tenants, vms in rows:
        row = found[tenants, vms] = measure(tenants, vms)
        units = vms if tenants == 1 else tenants
        each = max(row["cpu"] - fixed, 0.001) / units
        ratio = each / first.setdefault("vms" if tenants == 1 else vms, each)
        print(line(row, f"{ratio:.2f}"), flush=True)
    print(json.dumps(list(found.values())))
    one, many = found.get((1, 100_000)), found.get((200, 500))
    if not (one and many):
        return 0
    aims = {
        "ready": (many["ready"] or PATIENCE) < READY,
        "months": (many["closed"] or PATIENCE) < CLOSED,
        "CPU": many["cpu"] <= CPU * one["cpu"],
        "memory": many["memory"] <= MEMORY * one["memory"],
    }
    print(f"200 × 500: {many['cpu'] / one['cpu']:.2f} times the CPU, {many['memory'] / one['memory']:.2f} times the memory")
    missed = [name for name, met in aims.items() if not met]
    return f"missed: {', '.join(missed)}" if missed else 0


if __name__ == "__main__":
    sys.exit(main())
