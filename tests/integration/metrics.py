#!/usr/bin/env python3
"""A run that is watched over HTTP: metrics that add up, states that are true, health that tells.

Usage: metrics.py SIGHTLINE [FOLDER_OF_DOCS]

Two simulated cameras; one loses its connection for good. The reader of the JSON lines sleeps for a
while, so that a write does not come back, which /healthz must tell. Every scrape is read by a strict parser of Prometheus' text format, and the metrics
found are held against docs/metrics.md: none may be missing there, and none there may be missing here.
"""
import atexit
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures  # noqa: E402

PROGRAM = sys.argv[1]
DOCUMENT = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "docs") / "metrics.md"
PATIENCE_S = 60  # for each step; a loaded machine is slow


class BadText(Exception):
    pass


NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


class Scrape:
    """Prometheus text format 0.0.4, read as strictly as it is written down."""

    def __init__(self, text):
        self.types = {}
        self.values = {}  # (name, ((label, value), ...)) -> number
        self.labels = {}  # family -> set of label names
        helped, open_family = set(), None
        if not text.endswith("\n"):
            raise BadText("the last line has no end")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                if name in helped:
                    raise BadText(f"two HELP of {name}")
                helped.add(name)
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                if name in self.types or name not in helped or kind not in ("counter", "gauge", "histogram"):
                    raise BadText(line)
                self.types[name], open_family = kind, name
            else:
                self.sample(line, open_family)
        self.check_histograms()

    def sample(self, line, family):
        name = NAME.match(line).group(0)
        rest, labels = line[len(name):], []
        if rest.startswith("{"):
            at = 1
            while rest[at] != "}":
                match = LABEL.match(rest, at)
                if not match:
                    raise BadText(line)
                labels.append((match.group(1), re.sub(
                    r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), match.group(2))))
                at = match.end()
                if rest[at] == ",":
                    at += 1
            rest = rest[at + 1:]
        if not rest.startswith(" "):
            raise BadText(line)
        suffixes = ("_bucket", "_sum", "_count") if self.types[family] == "histogram" else ("",)
        if name not in [family + s for s in suffixes]:
            raise BadText(f"{name} among the samples of {family}")
        if self.types[family] == "counter" and not name.endswith("_total"):
            raise BadText(f"the counter {name} does not end in _total")
        key = (name, tuple(labels))
        if key in self.values:
            raise BadText(f"twice: {line}")
        self.values[key] = float(rest[1:])
        self.labels.setdefault(family, set()).update(n for n, _ in labels if n != "le")

    def check_histograms(self):
        series = {}
        for (name, labels), value in self.values.items():
            if name.endswith("_bucket") and name[:-7] in self.types:
                bound = float(dict(labels)["le"])
                rest = tuple(pair for pair in labels if pair[0] != "le")
                series.setdefault((name[:-7], rest), []).append((bound, value))
        for (name, labels), buckets in series.items():
            counts = [count for _, count in buckets]
            if sorted(buckets) != buckets or sorted(counts) != counts or buckets[-1][0] != float("inf"):
                raise BadText(f"buckets of {name} do not rise")
            if self.values[(name + "_count", labels)] != counts[-1]:
                raise BadText(f"{name}_count is not the last bucket")

    def get(self, name, **labels):
        return self.values.get((name, tuple(labels.items())))

    def sum(self, name, **labels):
        return sum(value for (n, ls), value in self.values.items()
                   if n == name and labels.items() <= dict(ls).items())

    def state(self, camera):
        states = {dict(labels)["state"]: value for (n, labels), value in self.values.items()
                  if n == "sightline_camera_state" and dict(labels)["camera"] == camera}
        if sorted(states.values()) != [0] * 6 + [1]:
            raise BadText(f"states of {camera} are not one of seven: {states}")
        return max(states, key=states.get)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Reader:
    """Reads a pipe and forgets it, while it is awake."""

    def __init__(self, path):
        os.mkfifo(path)
        self.pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self.pipe, True)
        self.awake = threading.Event()
        self.awake.set()
        self.seen = b""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            self.awake.wait()
            some = os.read(self.pipe, 65536)
            if not some:
                time.sleep(0.01)  # nobody writes yet
            self.seen = (self.seen + some)[-100_000:]


class Run:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROGRAM, "--log-format", "json", "run", *arguments, "--quiet"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines, self.said = [], threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()
        with self.said:
            self.said.wait_for(lambda: any("http://" in line for line in self.lines), PATIENCE_S)
        found = re.search(r"(http://\S+)/metrics", "".join(self.lines))
        self.base = found.group(1) if found else ""
        self.last = None

    def listen(self):
        for line in self.process.stderr:
            with self.said:
                self.lines.append(line)
                self.said.notify_all()

    def scrape(self):
        status, text = get(self.base + "/metrics")
        if status != 200:
            raise BadText(f"/metrics answered {status}")
        now = Scrape(text)
        for camera in {dict(labels).get("camera") for (n, labels) in now.values
                       if n == "sightline_camera_frames_in_total"}:
            came = now.get("sightline_camera_frames_in_total", camera=camera)
            ended = now.sum("sightline_camera_frames_total", camera=camera)
            flying = now.get("sightline_camera_frames_in_flight", camera=camera)
            if came != ended + flying or flying < 0:
                raise BadText(f"{camera}: {came} in, {ended} ended, {flying} in flight")
        if self.last is not None:
            for (name, labels), value in self.last.values.items():
                back = now.values.get((name, labels))
                counts = name.endswith(("_total", "_bucket", "_count"))
                if counts and (back is None or back < value):
                    raise BadText(f"{name}{dict(labels)} went from {value} to {back}")
        self.last = now
        return now

    def until(self, what, condition):
        end = time.monotonic() + PATIENCE_S
        while not (good := condition()) and time.monotonic() < end:
            time.sleep(0.05)
        check(good, what)
        return good

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


def documented():
    """Name -> (type, labels) of the tables in the document."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|", DOCUMENT.read_text(), re.M)
    return {name: (kind, set(re.findall(r"`([a-z_]+)`", labels))) for name, kind, labels in rows}


def check_document(scrape):
    written = documented()
    for name in sorted(set(scrape.types) | set(written)):
        if name not in written:
            check(False, f"{name} stands in {DOCUMENT.name}")
        elif name not in scrape.types:
            check(False, f"{name}, which {DOCUMENT.name} explains, is exported")
        elif written[name] != (scrape.types[name], scrape.labels[name]):
            check(False, f"{name} is a {scrape.types[name]} with labels {scrape.labels[name]}, as the document says")
    check(len(written) > 30, f"{len(written)} metrics are documented")


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sightline-metrics-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = folder / "two.yaml"
    # The models of the graph are never asked: nothing is that large, and the truth is always sure.
    config.write_text("""
models:
  - name: scene
    builtin: truth
    fallback: [{model: ask, from: 0.1, below: 0.2}]
    crops: [{name: look, model: ask, min_side: 8192}]
  - {name: ask, vision_language: {endpoint: "http://127.0.0.1:9/v1", model: nobody}, labels: [person]}
cameras:
  - {id: gate, source: "sim://street?render=none&fps=20&people=5", model: scene}
  - {id: yard, source: "sim://street?render=none&fps=20&people=5&faults=cut@2s+2h", model: truth}
outputs: {dir: results, jsonl: {path: LINES}, video: {enabled: false}, report: {enabled: false}, trace: true}
metrics: {hang_after: 1s}
""".replace("LINES", json.dumps(str(folder / "lines"))))
    lines = Reader(folder / "lines")
    run = Run(str(config), "--metrics", "0")
    check(run.base.startswith("http://127.0.0.1:"), f"it says where it listens: {run.base}")
    if not run.base:
        print("".join(run.lines))
        return 1
    try:
        run.until("it becomes ready", lambda: get(run.base + "/readyz")[0] == 200)
        run.until("the gate is live", lambda: run.scrape().state("gate") == "live")
        run.until("the yard has been lost",
                  lambda: run.scrape().state("yard") in ("backing_off", "connecting")
                  and run.last.get("sightline_camera_frames_in_total", camera="yard") > 0)
        run.until("further attempts are counted",
                  lambda: run.scrape().get("sightline_camera_connection_attempts_total", camera="yard") > 2)
        check(get(run.base + "/readyz")[0] == 200, "one live camera is enough to be ready")
        status, text = get(run.base + "/readyz?cameras=all")
        yard = [c for c in json.loads(text)["cameras"] if c["id"] == "yard"][0]
        check(status == 503 and yard["state"] != "live" and yard.get("reason"),
              f"but not when all are asked for: {yard}")
        run.until("frames reach the rows",
                  lambda: run.scrape().get("sightline_delivery_frames_total", lane="rows") > 20)
        check(run.last.sum("sightline_camera_capture_to_delivery_seconds_count", camera="gate") > 0,
              "the way from capture to rows is measured")
        check(run.last.get("sightline_camera_last_frame_age_seconds", camera="yard") >
              run.last.get("sightline_camera_last_frame_age_seconds", camera="gate"), "ages are true")
        check_document(run.last)

        check(get(run.base + "/healthz")[0] == 200, "healthy while the rows are written")
        lines.awake.clear()
        run.until("a write that does not come back is told",
                  lambda: get(run.base + "/healthz")[0] == 503 and "rows" in get(run.base + "/healthz")[1])
        run.until("and is not ready", lambda: get(run.base + "/readyz")[0] == 503)
        lines.awake.set()
        run.until("healthy again when it does", lambda: get(run.base + "/healthz")[0] == 200)
        run.until("and ready", lambda: get(run.base + "/readyz")[0] == 200)
        run.scrape()

        port = int(run.base.rsplit(":", 1)[1])
        taken = subprocess.run([PROGRAM, "run", str(config), "--out", str(folder / "b"), "--metrics", str(port)],
                               capture_output=True, text=True)
        check(taken.returncode == 1 and f"port {port} of 127.0.0.1 is taken" in taken.stderr,
              "a port that is taken is said: " + taken.stderr.strip())
        wrong = subprocess.run([PROGRAM, "run", str(config), "--metrics", "door"], capture_output=True, text=True)
        check(wrong.returncode == 2 and "no place to listen" in wrong.stderr, "a wrong address, too")
        idle = socket.create_connection(("127.0.0.1", port))
        check(run.end() == 0, "it ends in order, with a connection open")
        idle.close()
    except BadText as error:
        check(False, f"a scrape is not right: {error}")
    finally:
        run.process.kill()
        run.process.wait()
    frames = [json.loads(line) for line in lines.seen.decode().splitlines()[1:-1] if '"frame":' in line]
    traces = {frame.get("traceparent", "") for frame in frames}
    check(len(traces) == len(frames) > 0 and
          all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace) for trace in traces),
          f"{len(frames)} frames have a trace context each")
    records = []
    for line in run.lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            check(False, f"not a line of JSON: {line!r}")
    check(all({"time", "level", "message"} <= r.keys() for r in records), "every line of the log has its keys")
    check(any(r.get("camera") == "yard" and r["level"] == "warning" for r in records),
          "and the camera, where it is one's")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
