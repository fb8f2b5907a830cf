#!/usr/bin/env python3
"""Clients that are silent, slow or mad, on the release program with 20,000 VMs: scrapes and memory.

    cargo build --release && benches/attack.py [SECONDS]

1,000 silent connections, then 1,000 slow readers of /metrics, then random bytes, SECONDS each; a
client that is thrown out comes back after a second. Fails if a scrape is not answered within a
scraper's usual patience, or if the daemon takes more than AT_MOST times the memory that it took
before.
"""

import asyncio
import random
import resource
import socket
import statistics
import sys
import time

import stage

VMS = 20_000
CLIENTS = 1_000
PATIENCE = 10
AT_MOST = 3.0
MAD = 20


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


async def again(client, address, number, pause, met, over):
    # Not by cancelling alone: in Python 3.11 wait_for can lose it.
    while not over.is_set():
        try:
            await client(address, number)
        except (OSError, asyncio.TimeoutError):
            pass
        met[0] += 1
        await asyncio.sleep(pause)


async def phase(name, daemon, client, clients, pause, seconds, before):
    met, over = [0], asyncio.Event()
    each = lambda number: again(client, daemon.address, number, pause, met, over)
    tasks = [asyncio.create_task(each(number)) for number in range(clients)]
    await asyncio.sleep(2 if clients else 0)
    took, memory, started = [], [], time.monotonic()
    while time.monotonic() - started < seconds:
        at = time.monotonic()
        status, _, body = await asyncio.to_thread(daemon.get, gzip=True, wait=PATIENCE)
        took.append(time.monotonic() - at)
        if status != 200:
            sys.exit(f"{name}: a scrape was not answered ({status}) after {took[-1]:.1f} s")
        memory.append(daemon.memory())
        await asyncio.sleep(0.2)
    over.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    median = statistics.median(took)
    before = before or (median, max(memory))
    print(
        f"{name:<17} {len(took):4} scrapes, median {median * 1000:6.1f} ms ({median / before[0]:.1f} times), "
        f"longest {max(took) * 1000:7.1f} ms; memory up to {max(memory) / stage.MIB:6.1f} MiB "
        f"({max(memory) / before[1]:.2f} times); {met[0]} connections ended",
        flush=True,
    )
    if max(memory) > AT_MOST * before[1]:
        sys.exit(f"{name}: more than {AT_MOST} times the memory")
    return before


async def main(seconds=60):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with stage.folder() as on:
        daemon = on.daemon(on.simulator(VMS), "10s")
        before = await phase("before", daemon, None, 0, 0, min(seconds, 25), None)
        await phase("1,000 silent", daemon, silent, CLIENTS, 1, seconds, before)
        await phase("1,000 slow", daemon, slow, CLIENTS, 1, seconds, before)
        await phase("random bytes", daemon, mad, MAD, 0, seconds, before)
        await phase("after", daemon, None, 0, 0, min(seconds, 25), before)
        print(f"peak of it all {daemon.memory('VmHWM') / stage.MIB:.1f} MiB")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
