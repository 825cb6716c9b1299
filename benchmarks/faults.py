#!/usr/bin/env python3
"""How soon a camera's pictures are processed again once its server is back.

Several cameras, each a `sightline sim serve` of its own behind a TCP proxy, are cut again and again, all at
once, while two more cameras beside them are left in peace. Kinds of cuts:

  kill        the server is killed, stays away for 0.5 to 5 s, and is started again on its port
  reset       every connection ends with RST, and connecting is refused for 0.2 to 4 s
  stop        the server is stopped (SIGSTOP) for 3 to 6 s: half-open, nothing comes, nothing closes
  black hole  the network swallows everything for 3 to 6 s, also new connections' first words

The clock starts when the server is back: kill: it says that it listens; reset: connections are accepted
again; stop: SIGCONT; black hole: bytes are forwarded again. It stops when the first frame of the next epoch
is processed: its capture time plus "latency_us" of its line. Everything runs on this machine, by one clock.
"""
import argparse
import collections
import datetime
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/servers"))
from tcp_proxy import TcpProxy  # noqa: E402

KINDS = ["kill", "reset", "stop", "black hole"]
PATIENCE_S = 60
FPS = 10


def seconds_of(timestamp):
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


class Server:
    def __init__(self, program, scene, port=0):
        self.command = [program, "sim", "serve", f"live={scene}", "--json", "--key-interval", "1s"]
        self.port = port
        self.start()

    def start(self):
        self.process = subprocess.Popen([*self.command, "--port", str(self.port)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.command)}\n{self.process.stderr.read()}")
        self.port = json.loads(line)["port"]

    def kill(self):
        self.process.kill()
        self.process.wait()


class Lines:
    """Follows the run's JSON lines: of each camera, when the first frame of each epoch was processed."""

    def __init__(self, path):
        self.path = path
        self.first = collections.defaultdict(dict)  # camera: epoch: time of day
        self.missing = collections.defaultdict(list)  # camera: seconds after its first frame at which some are missing
        self.last = {}
        self.changed = threading.Condition()
        self.running = True
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        rest = ""
        while self.running and not self.path.exists():
            time.sleep(0.05)
        with open(self.path, encoding="utf-8") as file:
            while self.running:
                piece = file.read()
                if not piece:
                    time.sleep(0.1)
                    continue
                *lines, rest = (rest + piece).split("\n")
                with self.changed:
                    for line in lines:
                        self.take(json.loads(line))
                    self.changed.notify_all()

    def take(self, line):
        if "latency_us" not in line:
            return
        done = seconds_of(line["timestamp"]) + line["latency_us"] * 1e-6
        self.first[line["camera"]].setdefault(line["epoch"], done)
        before = self.last.get(line["camera"])
        if before is not None and line["frame"] != before + 1:
            self.missing[line["camera"]].append(round(done - min(self.first[line["camera"]].values()), 1))
        self.last[line["camera"]] = line["frame"]

    def epoch(self, camera):
        with self.changed:
            return max(self.first[camera], default=-1)

    def wait_after(self, camera, since):
        """When the first frame of an epoch that began at `since` or later was processed; None: in vain."""
        deadline = time.monotonic() + PATIENCE_S
        with self.changed:
            while time.monotonic() < deadline:
                later = [at for at in self.first[camera].values() if at >= since]
                if later:
                    return min(later)
                self.changed.wait(0.5)
        return None


def cut(kind, server, proxy, dice):
    """Makes the fault and ends it; the time of day at which the server was back."""
    if kind == "kill":
        server.kill()
        time.sleep(dice.uniform(0.5, 5))
        server.start()
    elif kind == "reset":
        proxy.close()
        proxy.reset()
        time.sleep(dice.uniform(0.2, 4))
        proxy.open()
    elif kind == "stop":
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(dice.uniform(3, 6))
        os.kill(server.process.pid, signal.SIGCONT)
    else:
        proxy.black_hole(True)
        time.sleep(dice.uniform(3, 6))
        proxy.black_hole(False)
    return time.time()


def torment(camera, server, proxy, lines, kinds, results):
    dice = random.Random(camera)  # the same in every run
    for kind in kinds:
        time.sleep(dice.uniform(2, 12))  # sometimes before the stream counts as settled (10 s), sometimes after
        before = lines.epoch(camera)
        back = cut(kind, server, proxy, dice)
        done = lines.wait_after(camera, back)
        results.append((camera, kind, None if done is None else done - back, lines.epoch(camera) > before))
        if len(results) % 100 == 0:
            print(f"{len(results)} cuts", file=sys.stderr, flush=True)


def report(results, summary, witnesses, missing, wall_s):
    print(f"{'kind':<12}{'cuts':>6}{'min s':>8}{'median':>8}{'p99':>8}{'max':>8}{'within 3 s':>12}")
    for kind in [*KINDS, "all"]:
        times = sorted(t if t is not None else float("inf") for _, k, t, _ in results if kind in (k, "all"))
        if not times:
            continue
        p99 = times[min(len(times) - 1, int(0.99 * len(times)))]
        within = sum(t <= 3 for t in times) / len(times)
        print(f"{kind:<12}{len(times):>6}{times[0]:>8.2f}{statistics.median(times):>8.2f}{p99:>8.2f}"
              f"{times[-1]:>8.2f}{within:>11.1%}")
    print(f"cuts without a new epoch: {sum(not new for *_, new in results)}")
    unexplained = 0
    for camera in summary["cameras"]:
        unexplained += abs(camera["frames_in"] - camera["processed"] - sum(camera["skipped"].values())
                           - sum(camera["dropped"].values()))
        if camera["id"] in witnesses:
            print(f"{camera['id']} beside them: {camera['frames_in']} frames of about {FPS * wall_s:.0f}, "
                  f"{camera['processed']} processed, dropped {camera['dropped'] or 'none'}, "
                  f"epochs {witnesses[camera['id']]}"
                  + (f"; missing at seconds {missing[camera['id']]}" if missing[camera["id"]] else ""))
    print(f"frames without a fate, all cameras: {unexplained}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/sightline"))
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--cameras", type=int, default=10)
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what ends the servers
    print("$ benchmarks/faults.py " + " ".join(sys.argv[1:]), flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tormented = [f"cut{i}" for i in range(min(options.cameras, options.cuts))]
        quiet = ["quiet0", "quiet1"]
        servers, proxies = {}, {}
        run = None
        try:
            for i, camera in enumerate(tormented + quiet):
                scene = f"sim://street?people=3&cars=0&bicycles=0&size=160x96&fps={FPS}&seed={i}"
                servers[camera] = Server(options.program, scene)
                proxies[camera] = TcpProxy(servers[camera].port)
            cameras = "\n".join(
                f'  - {{id: {camera}, source: "rtsp://127.0.0.1:{proxies[camera].port}/live", model: motion}}'
                for camera in tormented + quiet)
            config = folder / "faults.yaml"
            config.write_text(f"cameras:\n{cameras}\noutputs: {{dir: {folder}/out, video: {{enabled: false}}, "
                              "report: {enabled: false}}\n")
            errors = open(folder / "errors.txt", "w+")
            run = subprocess.Popen([options.program, "run", str(config), "--json"], stdout=subprocess.PIPE,
                                   stderr=errors, text=True)
            begun = time.monotonic()
            lines = Lines(folder / "out" / "detections.jsonl")
            for camera in tormented + quiet:
                if lines.wait_after(camera, 0) is None:
                    raise SystemExit(f"{camera} does not come: {(folder / 'errors.txt').read_text()[-2000:]}")
            results, threads = [], []
            kinds = [options.kind] if options.kind else KINDS
            for i, camera in enumerate(tormented):
                share = options.cuts // len(tormented) + (i < options.cuts % len(tormented))
                its = [kinds[(i + n) % len(kinds)] for n in range(share)]
                threads.append(threading.Thread(target=torment, daemon=True,
                                                args=(camera, servers[camera], proxies[camera], lines, its, results)))
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(1)
                if run.poll() is not None:
                    print(f"the run ended with {run.returncode}: {(folder / 'errors.txt').read_text()[-2000:]}")
                    os._exit(1)
            wall_s = time.monotonic() - begun
            witnesses = {camera: len(lines.first[camera]) for camera in quiet}
            run.send_signal(signal.SIGINT)
            out, _ = run.communicate(timeout=PATIENCE_S)
            report(results, json.loads(out.strip().splitlines()[-1]), witnesses, lines.missing, wall_s)
            print(f"{wall_s:.0f} s")
        finally:
            if run is not None and run.poll() is None:
                run.kill()
            for server in servers.values():
                server.kill()


main()
