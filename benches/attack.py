#!/usr/bin/env python3
"""Measures scrapes and memory with 20,000 VMs while clients or the API flood the exporter.

    cargo build --release && benches/attack.py [SECONDS]
    FLEXVM_BIN=target/debug/flexvm-exporter benches/attack.py 10

Each phase takes SECONDS, after QUIET seconds without a flood. A client that is rejected returns after a pause.

- connections: 1,000 that send nothing, 1,000 slow readers of /metrics (400 with a debug build), and random
  bytes
- lists: 500 clients that request /sd/vms, each with another port, and do not read the response; clients that
  disconnect after the request; the status page
- TLS: connections that begin a handshake and never complete it
- passwords: wrong passwords, before and after a restart
- API: lists that never end, and names of 1 MB

Fails if a scrape takes longer than 2 s (10 s for the first scrape with a password), or if the memory is more
than twice the memory before the floods. While the API floods, 400 MiB more are allowed. All sockets are on
loopback. Needs Python 3.11 and openssl.
"""

import asyncio
import base64
import http.client
import http.server
import itertools
import json
import random
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

import stage

VMS = 20_000
CLIENTS = 1_000
LISTS = 500
MAD = 20
FLOOD = 64
# A debug build decompresses plain text ten times slower, so 1,000 returning clients would use all its processor time.
SLOW = 400 if "debug" in stage.PROGRAM.parts else CLIENTS

# Longest scrape, in seconds; the timeout of a scrape that needs a password; the factor of memory.
PATIENCE = 2
TIMEOUT = 10
AT_MOST = 2.0
# Seconds without a flood. Two polls lie within them: their memory is not that of a flood.
QUIET = 25
# Memory of a run at its bounds of rows. docs/operating.md names the bounds.
RUN = 400 * stage.MIB

# The user `me` with the password `right`, by bcrypt with cost 10.
PASSWORD = "basic_auth_users: {me: '$2b$10$JNX73bQwXahF9B4tGF0dZueVYlbDsVAlNzz1VZFFdjx2DC.Qn1qBS'}\n"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"


def authorization(password):
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


async def connect(address, small=False):
    link = socket.socket()
    if small:
        # So that it is the daemon that has to keep the answer, not this end's buffer.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.setblocking(False)
    host, port = address.split(":")
    await asyncio.get_running_loop().sock_connect(link, (host, int(port)))
    return await asyncio.open_connection(sock=link, limit=4096)


async def silent(address, number):
    reader, writer = await connect(address)
    if number % 2:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    await reader.read()
    writer.close()


async def slow(address, _):
    reader, writer = await connect(address, small=True)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    while await reader.read(2048):
        await asyncio.sleep(1)
    writer.close()


async def mad(address, number):
    reader, writer = await connect(address)
    start = random.choice([b"", b"GET /metrics HTTP/1.1\r\n", b"POST /-/reload HTTP/1.1\r\nContent-Length: "])
    writer.write(start + random.randbytes(random.randrange(1, 20_000)))
    await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def list_without_reading(address, number):
    reader, writer = await connect(address, small=True)
    writer.write(b"GET /sd/vms?port=%d HTTP/1.1\r\nHost: a\r\n\r\n" % (1_000 + number))
    await asyncio.sleep(20)
    writer.close()


async def list_and_leave(address, number):
    _, writer = await connect(address, small=True)
    writer.write(b"GET /sd/vms?port=%d HTTP/1.1\r\nHost: a\r\n\r\n" % (1_000 + number))
    writer.close()


async def page(address, _):
    reader, writer = await connect(address)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    while await asyncio.wait_for(reader.read(65_536), 20):
        pass
    writer.close()


def client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ssl._create_unverified_context().wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


HELLO = client_hello()


async def hello(address, _):
    reader, writer = await connect(address)
    writer.write(HELLO)
    try:
        await asyncio.wait_for(reader.read(1), 5)
        await asyncio.sleep(0.05)
    finally:
        writer.close()


GUESSES = itertools.count()


async def guess(address, _):
    reader, writer = await connect(address)
    name, value = next(iter(authorization(f"wrong-{next(GUESSES)}").items()))
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n".encode())
    await asyncio.wait_for(reader.read(64), 30)
    writer.close()


async def again(client, address, number, pause, met, over):
    # Not by cancelling alone: in Python 3.11 wait_for can lose it.
    while not over.is_set():
        try:
            await client(address, number)
        except (OSError, asyncio.TimeoutError):
            # Nothing listens during a restart.
            await asyncio.sleep(0.05)
        met[0] += 1
        await asyncio.sleep(pause)


class Flood:
    """Clients that return until the flood ends."""

    def __init__(self, address, client, clients, pause):
        self.met, self.over = [0], asyncio.Event()
        each = lambda number: again(client, address, number, pause, self.met, self.over)
        self.tasks = [asyncio.create_task(each(number)) for number in range(clients)]

    async def end(self):
        self.over.set()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def scrape(name, daemon, headers=(), patience=PATIENCE):
    at = time.monotonic()
    status, _, _ = await asyncio.to_thread(daemon.get, gzip=True, wait=patience, headers=headers)
    took = time.monotonic() - at
    if status != 200 or took > patience:
        sys.exit(f"{name}: a scrape took {took:.1f} s (status {status})")
    return took


async def measure(name, daemon, seconds, before, met=(0,), headers=(), extra=0, until=lambda: True):
    """Scrapes for `seconds`, and then until `until`; returns the median of the scrapes and the memory."""
    took, memory, started = [], [], time.monotonic()
    while time.monotonic() - started < seconds or not until():
        if time.monotonic() - started > seconds + 300:
            sys.exit(f"{name}: the expected state was not reached within {seconds + 300:.0f} s")
        took.append(await scrape(name, daemon, headers))
        memory.append(daemon.memory())
        await asyncio.sleep(0.2)
    median = statistics.median(took)
    before = before or (median, max(memory))
    print(
        f"{name:<22} {len(took):4} scrapes, median {median * 1000:6.1f} ms ({median / before[0]:.1f} times), "
        f"longest {max(took) * 1000:7.1f} ms; memory up to {max(memory) / stage.MIB:6.1f} MiB "
        f"({max(memory) / before[1]:.2f} times); {met[0]} connections ended",
        flush=True,
    )
    if max(memory) > AT_MOST * before[1] + extra:
        sys.exit(f"{name}: more than {AT_MOST} times the memory" + (f" and {extra >> 20} MiB" if extra else ""))
    return before


async def phase(name, daemon, client, clients, pause, seconds, before):
    flood = Flood(daemon.address, client, clients, pause)
    await asyncio.sleep(2)
    await measure(name, daemon, seconds, before, flood.met)
    await flood.end()


async def tls(simulator, seconds, before):
    with stage.folder() as on:
        command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout server.key -out server.crt -days 2 -subj /CN=a"
        subprocess.run(command.split(), cwd=on.path, check=True, capture_output=True)
        daemon = on.daemon(simulator, "10s", web=TLS)
        await phase("ClientHello flood", daemon, hello, FLOOD, 0, seconds, before)


async def passwords(simulator, seconds, before):
    with stage.folder() as on:
        right = authorization("right")
        daemon = on.daemon(simulator, "10s", web=PASSWORD)
        flood = Flood(daemon.address, guess, FLOOD, 0)
        for start in ("wrong passwords", "after a restart"):
            await asyncio.sleep(2)
            took = await scrape(start, daemon, right, TIMEOUT)
            print(f"{start:<22} the right password was accepted after {took:.1f} s")
            await measure(start, daemon, seconds / 2, before, flood.met, right)
            if start == "wrong passwords":
                await asyncio.to_thread(stage.end, daemon.program)
                again = (on.daemon, simulator, "10s")
                daemon = await asyncio.to_thread(lambda: again[0](*again[1:], web=PASSWORD, address=daemon.address))
        await flood.end()


class Api(http.server.BaseHTTPRequestHandler):
    """The simulator, except for the lists of running VMs while `rows` is set."""

    protocol_version = "HTTP/1.1"
    simulator, rows = None, None

    def do_GET(self):
        if self.rows and "status=running" in self.path:
            parts = dict(part.split("=") for part in self.headers["RANGED-DATA"].split(","))
            status, body = 200, self.rows(int(parts["start"]), int(parts["results"]))
        else:
            connection = http.client.HTTPConnection(self.simulator, timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            headers["Accept-Encoding"] = "identity"
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
            connection.close()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def row(number, name):
    address = {"address": "10.0.0.1", "public": False}
    cloud = {"id": "0192a000-0000-7000-8000-00000000000a"}
    return {
        "id": f"0192b000-0000-7000-8000-{number:012x}", "name": name, "status": "running", "tags": ["env:a"],
        "ips": [address], "cloud": cloud, "instance_type": {"name": "vm.4c"}, "image": {"name": "u"},
        "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def endless(start, results):
    rows = [row(number, "agent") for number in range(start, start + results)]
    return json.dumps(rows).encode()


NAME = b"n" * 1_000_000


def large_names(start, results):
    # Pages of 25 rows, which the API documents: no body is large.
    rows = [row(number, "NAME") for number in range(start, start + min(results, 25))]
    return json.dumps(rows).encode().replace(b"NAME", NAME)


def too_large(daemon):
    """Runs of the inventory that failed because of `too_large`."""
    _, _, body = daemon.get()
    wanted = 'flexvm_exporter_collector_failures_total{collector="inventory",reason="too_large",tenant="bench"} '
    values = [line[len(wanted):] for line in body.decode().splitlines() if line.startswith(wanted)]
    return float(values[0]) if values else 0.0


async def api(simulator, seconds):
    class Server(http.server.ThreadingHTTPServer):
        request_queue_size, daemon_threads = 128, True

        def handle_error(self, *_):
            pass

    Api.simulator = simulator
    server = Server(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with stage.folder() as on:
        daemon = on.daemon(f"127.0.0.1:{server.server_address[1]}", "10s")
        before = await measure("before, other API", daemon, QUIET, None)
        for name, rows in (("endless lists", endless), ("names of 1 MB", large_names)):
            known = too_large(daemon)
            Api.rows = staticmethod(rows)
            await measure(name, daemon, seconds, before, extra=RUN, until=lambda: too_large(daemon) > known)
            Api.rows = None
    server.shutdown()


async def main(seconds=60):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with stage.folder() as on:
        simulator = on.simulator(VMS)
        with stage.folder() as beside:
            daemon = beside.daemon(simulator, "10s")
            daemon.get("/sd/vms")
            before = await measure("before", daemon, QUIET, None)
            await phase("1,000 silent", daemon, silent, CLIENTS, 1, seconds, before)
            await phase(f"{SLOW:,} slow", daemon, slow, SLOW, 1, seconds, before)
            await phase("random bytes", daemon, mad, MAD, 0, seconds, before)
            await phase("500 lists, not read", daemon, list_without_reading, LISTS, 1, seconds, before)
            await phase("lists, clients left", daemon, list_and_leave, MAD, 0, seconds, before)
            await phase("status page", daemon, page, FLOOD, 0, seconds, before)
            await measure("after", daemon, QUIET, before)
            print(f"peak of it all {daemon.memory('VmHWM') / stage.MIB:.1f} MiB")
        await tls(simulator, seconds, before)
        await passwords(simulator, seconds, before)
        await api(simulator, seconds)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
