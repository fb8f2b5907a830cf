#!/usr/bin/env python3
"""/metrics of 100,000 VMs at rest, beside nginx with the very same bytes in a file: requests a second.

    cargo build --release && benches/serving.py [ROUNDS] [SECONDS]

Both are asked by wrk with 4 connections, in turns, so that whatever else the machine does hits both;
the medians are compared. Fails if any ratio is below AT_LEAST. Absolute figures mean little: wrk
shares the cores with them. On a machine that does other things as well, the CPU times are steadier
than the rates.

The exporter copies bytes into the kernel on one core, and wrk copies them out on another; nginx hands
over pages that nobody writes. So it matters to one of them alone whether the cores share a cache, and
on a virtual machine the host changes that as it likes. Before and after each round a byte goes to
and fro between the cores; rounds in which that took long are made again, and shown beside the others.
"""

import mmap
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import stage

VMS = 100_000
AT_LEAST = 1.0
CONNECTIONS = 4
# How much longer than at best a byte takes between cores that share no cache: about twice as long.
APART = 1.75
# Rounds for each that counts, before it is given up.
MOST = 4
TOOLS = stage.ROOT / "target/tools/serving"

NGINX = """
daemon off; worker_processes {workers}; pid nginx.pid; error_log stderr;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000;
    client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
    open_file_cache max=16; default_type text/plain;
    server {{
        listen {address}; root {root};
        location / {{ gzip_static on; }}
    }}
}}
"""


def nginx(on):
    address = f"127.0.0.1:{stage.free_port()}"
    # As root, its workers would be nobody's and could not read the folder.
    user = "user root;" if os.getuid() == 0 else ""
    config = NGINX.format(workers=os.cpu_count(), user=user, address=address, root=on.path)
    (on.path / "nginx.conf").write_text(config)
    program = on.start(TOOLS / "nginx", "-e", "stderr", "-p", on.path, "-c", on.path / "nginx.conf")
    return stage.Daemon(program.pid, address)


def ticks(pid):
    """CPU seconds of a process and its children that live."""
    spent, each = 0, [pid]
    for pid in each:
        each += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


def rate(url, headers, seconds, pid):
    """Requests a second, and CPU seconds of server and wrk that each took."""
    before = ticks(pid), os.times()
    # One thread: with one for each core nothing is left for the server.
    command = [TOOLS / "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "60s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(said)
    after = ticks(pid), os.times()
    wrk = sum(after[1][2:4]) - sum(before[1][2:4])
    requests = int(re.search(r"(\d+) requests in", said)[1])
    return float(re.search(r"Requests/sec:\s*([\d.]+)", said)[1]), (after[0] - before[0]) / requests, wrk / requests


def distance(tries=15, turns=1000):
    """Seconds in which a byte gets from one core to the other and back, at best."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return 0.0
    byte = mmap.mmap(-1, 1)
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, cores[1:2])
            for _ in range(tries * turns):
                while not byte[0]:
                    pass
                byte[0] = 0
        finally:
            os._exit(0)
    os.sched_setaffinity(0, cores[:1])
    spent = []
    for _ in range(tries):
        began = time.perf_counter()
        for _ in range(turns):
            byte[0] = 1
            while byte[0]:
                pass
        spent.append((time.perf_counter() - began) / turns)
    os.waitpid(child, 0)
    os.sched_setaffinity(0, cores)
    return min(spent)


def measure(rounds, one_round, seen_at_best):
    """Rounds with the cores together, and those with the cores apart."""
    seen = []
    while True:
        distances = [distance()]
        figures = one_round()
        distances.append(distance())
        seen_at_best.extend(distances)
        seen.append((figures, max(distances)))
        limit = APART * min(seen_at_best)
        together = [each for each, far in seen if far <= limit]
        if len(together) == rounds or len(seen) == MOST * rounds:
            return together, [each for each, far in seen if far > limit]


def medians(rounds):
    """Of rate and CPU times, ours and nginx's, and the smallest and largest ratio of a round's rates."""
    middle = [[statistics.median(each) for each in zip(*of)] for of in zip(*rounds)]
    ratios = [ours[0] / theirs[0] for ours, theirs in rounds]
    return *middle, min(ratios), max(ratios)


def milliseconds(seconds):
    """For one request."""
    return " + ".join(f"{each * 1000:.1f}" for each in seconds) + " ms"


def main(rounds=5, seconds=4):
    subprocess.run([stage.ROOT / "benches/tools.sh", TOOLS], check=True)
    missed, distances = False, [distance()]
    with stage.folder() as on:
        daemon = on.daemon(on.simulator(VMS), "24h")
        other = nginx(on)
        stage.until(lambda: other.get("/")[0])
        for name, accept in {"text": "text/plain", "openmetrics": stage.OPEN_METRICS}.items():
            for gzip in (False, True):
                status, headers, body = daemon.get(accept=accept, gzip=gzip)
                assert status == 200 and headers.get("Content-Encoding") == ("gzip" if gzip else None)
                (on.path / f"{name}{'.gz' if gzip else ''}").write_bytes(body)
                served = other.get(f"/{name}", gzip=gzip)
                assert served[0] == 200 and served[2] == body, "nginx serves other bytes"
                asked = {"Accept": accept, "Accept-Encoding": "gzip" if gzip else "identity"}
                servers = [(daemon, f"http://{daemon.address}/metrics"), (other, f"http://{other.address}/{name}")]
                one_round = lambda: [rate(url, asked, seconds, server.pid) for server, url in servers]
                together, apart = measure(rounds, one_round, distances)
                print(f"{name} {'gzip' if gzip else 'plain'}, {len(body) / stage.MIB:.1f} MiB")
                missed |= not together
                for seen, cores in (together, "together"), (apart, "apart"):
                    if not seen:
                        continue
                    (ours, *cpu), (theirs, *their_cpu), least, most = medians(seen)
                    missed |= seen is together and ours / theirs < AT_LEAST
                    print(
                        f"  cores {cores:<8} {len(seen):2} rounds: {ours:6.1f} /s, nginx {theirs:6.1f} /s, "
                        f"ratio {ours / theirs:.2f} (rounds {least:.2f} to {most:.2f}); CPU of server + wrk "
                        f"{milliseconds(cpu)}, nginx {milliseconds(their_cpu)}, ratio {sum(their_cpu) / sum(cpu):.2f}",
                        flush=True,
                    )
    to_and_fro = " to ".join(f"{each * 1e9:.0f}" for each in (min(distances), max(distances)))
    print(f"from core to core and back at best {to_and_fro} ns")
    sys.exit(f"below {AT_LEAST} times" if missed else 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
