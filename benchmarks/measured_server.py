"""A server that is measured: its processes, their CPU and memory, and the load of build/bin/serve_load on it."""
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from statistics import median  # noqa: F401, which the scripts take from here

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOAD = ROOT / "build" / "bin" / "serve_load"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def parents():
    """The parent of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = int(pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    return found


class MeasuredServer:
    """Started by a command; processes that it leaves to themselves stay this script's, and count as its own."""

    def __init__(self, command, environment=None, folder=None, ready=None, patience_s=120, log=None):
        """ready: a URL that answers 200 when requests can come."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.before = set(parents())
        self.log = log or subprocess.DEVNULL
        self.process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=self.log, stderr=self.log,
                                        env={**os.environ, **(environment or {})})
        try:
            self.wait(ready, patience_s)
        except BaseException:
            self.stop()
            raise

    def wait(self, url, patience_s):
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args[0]} ended with {self.process.returncode} before it was ready")
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"{self.process.args[0]}: {url} did not answer within {patience_s} s")

    def processes(self):
        parent = parents()
        mine, more = {self.process.pid}, True
        while more:
            # Those whose parent has gone have this script as theirs.
            more = {pid for pid, of in parent.items()
                    if pid not in mine and (of in mine or (of == os.getpid() and pid not in self.before))}
            more = {pid for pid in more if self.counts(pid)}
            mine |= more
        return [pid for pid in mine if pid in parent]

    @staticmethod
    def counts(pid):
        try:
            return os.readlink(f"/proc/{pid}/exe") != str(LOAD)
        except OSError:
            return False

    def cpu_s(self):
        total = 0
        for pid in self.processes():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
            except OSError:
                pass
        return total * TICK_S

    def memory_mb(self):
        """The proportional set size of all its processes."""
        total = 0
        for pid in self.processes():
            try:
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                pass
        return total / 1024

    def stop(self):
        rest = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in set(rest) | set(self.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run_load(arguments, server=None, at_begin=None):
    """What serve_load reports, its phases by name, each with "server_cpu_s" where a server is given."""
    load = subprocess.Popen([str(LOAD), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    used, last = {}, None
    report = None
    for line in load.stdout:
        said = json.loads(line)
        if "event" not in said:
            report = said
            continue
        now = server.cpu_s() if server else 0
        if last:
            used[last[0]] = now - last[1]
        if at_begin:
            at_begin(said["phase"])
        last = (said["phase"], now) if said["event"] == "begins" else None
    if load.wait() != 0 or report is None:
        raise RuntimeError(f"serve_load {' '.join(map(str, arguments))} ended with {load.returncode}")
    report["phases"] = {phase["name"]: {**phase, "server_cpu_s": used.get(phase["name"], 0)} for phase in report["phases"]}
    return report


def busy_cores(seconds=1.0):
    """How many cores are busy now."""
    def read():
        numbers = list(map(int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
        return sum(numbers) - numbers[3] - numbers[4]
    before = read()
    time.sleep(seconds)
    return (read() - before) * TICK_S / seconds


def wait_for_quiet(patience_s=10, most_cores=0.15):
    """Waits until nothing else runs on this machine, and says so where that does not come."""
    end = time.monotonic() + patience_s
    busy = busy_cores()
    while busy > most_cores and time.monotonic() < end:
        busy = busy_cores()
    if busy > most_cores:
        print(f"note: {busy:.2f} cores of this machine are busy with other things", flush=True)


def post(url, body, headers=None, timeout_s=60):
    """Status, headers, body, whatever the status."""
    request = urllib.request.Request(url, data=body, headers=headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def sightline(*arguments, program=None, log=None, grpc=False):
    """`sightline serve` on ports that are free; .http and .grpc are its addresses."""
    http, rpc = free_port(), free_port()
    server = MeasuredServer([program or ROOT / "build" / "bin" / "sightline", "serve", "--http", http, "--grpc",
                             rpc if grpc else "off", "--metrics", "off", *arguments],
                            ready=f"http://127.0.0.1:{http}/v2/health/ready", log=log)
    server.http, server.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{rpc}"
    return server


def table(head, rows):
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])
