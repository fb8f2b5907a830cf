#!/usr/bin/env python3
"""Resident memory: with 100,000 VMs through ten polls, as a multiple of /metrics, and of the demo.

    cargo build --release && benches/memory.py

Before each poll some VMs are switched off or on, and all the while /metrics is scraped in both
formats, plain and gzip. Judged are the peak, and the demo when nothing happens. Fails above
AT_MOST times the plain body, or DEMO bytes.
"""

import subprocess
import sys
import time

import stage

VMS = 100_000
POLLS = 10
AT_MOST = 5.0
DEMO = 40 * stage.MIB
# How many VMs change between two polls.
CHANGES = 200
# Long enough for the demo to have done everything that it does at its start.
DEMO_RESTS = 60


class Switches:
    """VMs that are switched off, and then on again, and so on."""

    def __init__(self, simulator):
        self.simulator, self.command = simulator, "stop"
        clouds = stage.api(simulator, "GET", "/clouds")
        self.vms = []
        for cloud in clouds:
            path = f"/clouds/{cloud['id']}/vms"
            rows = stage.api(simulator, "GET", f"{path}?status=running", start=0)
            self.vms += [f"{path}/{row['id']}" for row in rows[: CHANGES // len(clouds)]]

    def turn(self):
        for vm in self.vms:
            try:
                stage.api(self.simulator, "POST", f"{vm}/commands", {"command": self.command})
            except RuntimeError:
                # It is on its way from one state to another; the next turn finds it elsewhere.
                pass
        self.command = "start" if self.command == "stop" else "stop"


def value(text, series):
    line = next(line for line in text.splitlines() if line.startswith(series))
    return float(line.rsplit(" ", 1)[1])


def many():
    with stage.folder() as on:
        simulator = on.simulator(VMS)
        daemon = on.daemon(simulator, "20s")
        first = daemon.memory("VmHWM")
        switches = Switches(simulator)
        polls = "flexvm_exporter_ledger_polls_total"
        until = value(daemon.get("/metrics?collect[]=capacity")[2].decode(), polls) + POLLS
        largest, seen = 0, 0
        while seen < until:
            switches.turn()
            for accept in ("text/plain", stage.OPEN_METRICS):
                for gzip in (False, True):
                    status, _, body = daemon.get(accept=accept, gzip=gzip)
                    assert status == 200
                    largest = max(largest, len(body))
            seen = value(daemon.get("/metrics?collect[]=capacity")[2].decode(), polls)
            print(f"poll {seen:.0f}: {daemon.memory() / stage.MIB:.0f} MiB", flush=True)
            time.sleep(5)
        time.sleep(10)
        rest, peak = daemon.memory(), daemon.memory("VmHWM")
    print(
        f"{VMS} VMs, plain body {largest / stage.MIB:.1f} MiB: peak {peak / stage.MIB:.1f} MiB "
        f"({peak / largest:.2f} times), of the start {first / stage.MIB:.1f}; after {POLLS} polls "
        f"{rest / stage.MIB:.1f} MiB ({rest / largest:.2f} times)"
    )
    return peak <= AT_MOST * largest


def demo():
    with stage.folder() as on:
        address = f"127.0.0.1:{stage.free_port()}"
        program = on.start(stage.PROGRAM, "demo", "--dir", on.path / "demo", "--listen", address, stdout=subprocess.DEVNULL)
        daemon = stage.Daemon(program.pid, address)
        stage.until(lambda: b"\nflexvm_report_vm_seconds{" in daemon.get()[2])
        time.sleep(DEMO_RESTS)
        rest, peak = daemon.memory(), daemon.memory("VmHWM")
    print(f"demo: {rest / stage.MIB:.1f} MiB at rest, peak {peak / stage.MIB:.1f} MiB")
    return rest <= DEMO


if __name__ == "__main__":
    sys.exit(0 if all([demo(), many()]) else "more memory than it should take")
