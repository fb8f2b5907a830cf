"""Shared code of the scripts in this directory: runs the program and its simulator in a temporary directory.

FLEXVM_BIN names the program; without it, the release build is used.

Everything listens on loopback, and only what was started here is ended, by its process id.
"""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/flexvm-exporter"
PROGRAM = pathlib.Path(os.environ.get("FLEXVM_BIN") or RELEASE).resolve()
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
MIB = 1 << 20

# Every series of every VM.
CONFIG = """
tenants: [{{name: bench, base_url: '{url}', token_env: TOKEN}}]
poll: {{capacity: {interval}, inventory: {interval}, usage: {interval}, catalogue: {interval}}}
metrics: {{max_vms: 1000000, stale_after: 24h}}
"""


@contextlib.contextmanager
def folder():
    """A folder that is the working directory of everything; programs started in it end before it."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        yield Stage(pathlib.Path(name), stack)


class Stage:
    def __init__(self, path, stack):
        self.path, self.stack = path, stack

    def start(self, *arguments, **options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FLEXVM_")}
        environment |= {"TOKEN": "simulator"}
        with (self.path / "log").open("a") as log:
            options = {"cwd": self.path, "env": environment, "stderr": log, "text": True} | options
            program = subprocess.Popen([str(each) for each in arguments], **options)
        self.stack.callback(end, program)
        return program

    def simulator(self, vms):
        """The simulator's address, once it listens."""
        command = [PROGRAM, "simulate", "--listen", "127.0.0.1:0", "--vms", vms]
        program = self.start(*command, stdout=subprocess.PIPE)
        return program.stdout.readline().rsplit("//", 1)[1].strip()

    def daemon(self, simulator, interval, *before, web=None, address=None):
        """The daemon against a simulator, ready and with its first report of the month. `web` is its web
        configuration."""
        config = CONFIG.format(url=f"http://{simulator}", interval=interval)
        (self.path / "exporter.yml").write_text(config)
        address = address or f"127.0.0.1:{free_port()}"
        command = [PROGRAM, "--config.file", "exporter.yml", "--web.listen-address", address]
        if web:
            (self.path / "web.yml").write_text(web)
            command += ["--web.config.file", "web.yml"]
        program = self.start(*before, *command, "--log.level", "warn")
        daemon = Daemon(program.pid, address, tls=bool(web) and "tls_server_config" in web)
        daemon.program = program
        until(lambda: daemon.get("/-/ready", wait=30)[0] == 200)
        return daemon


class Daemon:
    def __init__(self, pid, address, tls=False):
        self.pid, self.address, self.tls = pid, address, tls

    def get(self, path="/metrics", accept="text/plain", gzip=False, wait=60.0, headers=()):
        """Status, headers and body as it was sent, over a new connection; status 0 if there is no answer."""
        headers = {"Accept": accept} | ({"Accept-Encoding": "gzip"} if gzip else {}) | dict(headers)
        if self.tls:
            # The certificate is self-signed.
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(self.address, timeout=wait, context=context)
        else:
            connection = http.client.HTTPConnection(self.address, timeout=wait)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except OSError:
            return 0, {}, b""
        finally:
            connection.close()

    def memory(self, field="VmRSS"):
        """Resident bytes now, or at the peak (`VmHWM`)."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024


def until(look, patience=300.0):
    """Waits until `look` gives something."""
    started = time.monotonic()
    while not (found := look()):
        if time.monotonic() - started > patience:
            raise TimeoutError("waited in vain")
        time.sleep(0.1)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(program):
    program.send_signal(signal.SIGTERM)
    try:
        program.wait(15)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def api(simulator, method, path, body=None, start=None):
    """The simulator's answer to a request, as it would come from the provider."""
    headers = {"PRIVATE-TOKEN": "simulator"}
    if start is not None:
        headers["RANGED-DATA"] = f"start={start},results=1000"
    connection = http.client.HTTPConnection(simulator, timeout=60)
    connection.request(method, f"/v3/flexVM{path}", body and json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]}")
    return json.loads(text) if text else None
