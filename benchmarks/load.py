#!/usr/bin/env python3
"""Many cameras, too many frames, and a long time: what becomes of fairness, latency and memory.

  cameras    200 detection-only cameras (render=none, the truth as a model) at 5 fps and 20 rendered ones
             (motion) at 10 fps: every frame has a fate, and equals are served equally
  overload   a real model and more frames than it can take: its capacity is what a run far beyond it
             processes a second; nominal is a run of 0.5 of that, overload one of 3 times. Latency is
             "latency_us" of the JSON lines: from a frame's capture to its line, of processed frames.
  memory     cameras that come and go, by scripted cuts and by `sightline apply` every 15 s, and the resident
             memory of the run by the second: its range and its slope over the last two thirds

Everything runs on this machine, rendering included.
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
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHANGE_S = 15  # between two changes of the configuration in the memory part


def config_of(cameras, folder, jsonl):
    """cameras: (id, source, model)"""
    lines = "\n".join(f'  - {{id: {name}, source: "{source}", model: {model}, live: {{frozen_after: 0s}}}}'
                      for name, source, model in cameras)
    return (f"cameras:\n{lines}\noutputs: {{dir: {folder}/out, video: {{enabled: false}}, report: {{enabled: false}}, "
            f"jsonl: {{enabled: {'true' if jsonl else 'false'}}}}}\n")


class Run:
    started = []

    def __init__(self, program, folder, cameras, jsonl=False):
        folder.mkdir()
        self.folder = folder
        self.program, self.jsonl = program, jsonl
        self.config = folder / "load.yaml"
        self.config.write_text(config_of(cameras, folder, jsonl))
        self.errors = open(folder / "errors.txt", "w+")
        self.process = subprocess.Popen([program, "run", str(self.config), "--json"], stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        Run.started.append(self.process)

    def apply(self, cameras):
        self.config.write_text(config_of(cameras, self.folder, self.jsonl))
        done = subprocess.run([self.program, "apply", str(self.config)], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise SystemExit(f"apply ended with {done.returncode}: {done.stderr}")

    def watch(self, seconds, every_s=1.0, meanwhile=lambda second: None):
        """Resident memory in MB, by the second."""
        rss = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise SystemExit(f"the run ended with {self.process.returncode}: {self.said()}")
            rss.append(self.memory_mb())
            meanwhile(len(rss))
            time.sleep(every_s)
        return rss

    def memory_mb(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def said(self):
        return (self.folder / "errors.txt").read_text()[-2000:]

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=300)
        if self.process.returncode != 0:
            raise SystemExit(f"the run ended with {self.process.returncode}: {self.said()}")
        return json.loads(out.strip().splitlines()[-1])

    def latencies_s(self):
        """Sorted, of processed frames; the first two seconds, when everything starts, are left out."""
        with open(self.folder / "out" / "detections.jsonl", encoding="utf-8") as file:
            lines = [line for line in map(json.loads, file) if "latency_us" in line]
        taken = [datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")) for line in lines]
        begin = min(taken) + datetime.timedelta(seconds=2)
        return sorted(line["latency_us"] * 1e-6 for line, at in zip(lines, taken) if at >= begin)


def spread(cameras):
    """How far the processed frames of cameras that are alike lie from their median, the worst of them."""
    counts = [camera["processed"] for camera in cameras]
    middle = statistics.median(counts)
    return max(abs(count - middle) for count in counts) / middle if middle else float("inf")


def fates(summary):
    total = collections.Counter()
    without = 0
    for camera in summary["cameras"]:
        total["in"] += camera["frames_in"]
        total["processed"] += camera["processed"]
        for kind in ("skipped", "dropped"):
            for reason, count in camera[kind].items():
                total[f"{kind} ({reason})"] += count
        without += abs(camera["frames_in"] - camera["processed"] - sum(camera["skipped"].values())
                       - sum(camera["dropped"].values()))
    return ", ".join(f"{count} {name}" for name, count in total.items()) + f"; without a fate: {without}"


def percentile(values, part):
    return values[min(len(values) - 1, int(part * len(values)))]


def cameras_part(options, folder):
    boxes = [(f"box{i}", f"sim://street?render=none&fps=5&size=320x180&people=6&seed={i}", "truth") for i in range(200)]
    pictures = [(f"picture{i}", f"sim://street?fps=10&size=320x180&people=6&seed={i}", "motion") for i in range(20)]
    run = Run(options.program, folder / "cameras", boxes + pictures)
    rss = run.watch(options.seconds)
    summary = run.finish()
    by_id = {camera["id"]: camera for camera in summary["cameras"]}
    print(f"200 detection-only cameras at 5 fps, 20 rendered ones at 10 fps, {options.seconds} s:")
    print(f"  {fates(summary)}")
    for kind, group, fps in (("detection-only", boxes, 5), ("rendered", pictures, 10)):
        cameras = [by_id[name] for name, *_ in group]
        rate = statistics.median(camera["processed"] for camera in cameras) / summary["wall_s"]
        print(f"  {kind:<15} {rate:.2f} of {fps} fps each (median), farthest from it {spread(cameras):.1%}")
    print(f"  {summary['cpu_s'] / summary['wall_s']:.2f} cores, {rss[-1]:.0f} MB resident", flush=True)


def overload_part(options, folder):
    if not options.model:
        print("overload: needs --model FILE.onnx, or SIGHTLINE_TEST_DATA with models/")
        return
    count = options.cameras

    def measured(name, frames_per_s, seconds):
        fps = max(0.1, round(frames_per_s / count, 3))
        scenes = [(f"camera{i}", f"sim://street?fps={fps}&size=320x180&people=6&seed={i}", options.model)
                  for i in range(count)]
        run = Run(options.program, folder / name, scenes, jsonl=True)
        run.watch(seconds)
        summary = run.finish()
        processed = sum(camera["processed"] for camera in summary["cameras"])
        return run, summary, processed / summary["wall_s"], fps

    _, _, capacity, _ = measured("capacity", options.guess, max(10, options.seconds / 3))
    print(f"overload of {pathlib.Path(options.model).name} on {os.cpu_count()} cores, {count} cameras; "
          f"capacity: {capacity:.1f} frames/s")
    p99 = {}
    for name, load in (("nominal", 0.5), ("overload", 3)):
        run, summary, rate, fps = measured(name, load * capacity, options.seconds)
        latencies = run.latencies_s()
        p99[name] = percentile(latencies, 0.99)
        print(f"  {name:<9}{load:>4}x: {count} x {fps} fps offered, {rate:.1f} frames/s processed; latency p50 "
              f"{percentile(latencies, 0.5) * 1e3:.0f}, p99 {p99[name] * 1e3:.0f}, max {latencies[-1] * 1e3:.0f} ms; "
              f"farthest from the median camera {spread(summary['cameras']):.1%}")
        print(f"    {fates(summary)}")
    print(f"  p99 of overload over nominal: {p99['overload'] / p99['nominal']:.2f}", flush=True)


def memory_part(options, folder):
    seconds = options.minutes * 60
    dice = random.Random(4)
    cameras = []
    for i in range(30):
        faults, at = [], dice.uniform(5, 20)
        while at < seconds and len(faults) < 200:
            away = dice.uniform(0.5, 4)
            faults.append(f"{dice.choice(['cut', 'cut', 'stall', 'garbage'])}@{at:.1f}s+{away:.1f}s")
            at += away + dice.uniform(5, 25)
        rendered = i % 3 == 0
        scene = (f"sim://street?{'fps=8' if rendered else 'render=none&fps=5'}&size=320x180&people=6&seed={i}"
                 f"&faults={','.join(faults)}")
        cameras.append((f"camera{i}", scene, "motion" if rendered else "truth"))
    run = Run(options.program, folder / "memory", cameras)
    present = []

    def change(second):
        # As many cameras in every minute, so that equal moments can be compared; which ones is chance.
        if second % CHANGE_S == 0:
            guests = (0, 5, 10, 5)[second // CHANGE_S % 4]
            # Rendered cameras weigh ten times the others, so half the guests are half of each kind.
            rendered = [camera for camera in cameras[20:] if "render=none" not in camera[1]]
            others = [camera for camera in cameras[20:] if "render=none" in camera[1]]
            of_rendered = guests * len(rendered) // (len(cameras) - 20)
            run.apply(cameras[:20] + dice.sample(rendered, of_rendered) + dice.sample(others, guests - of_rendered))
            present.append(20 + guests)

    rss = run.watch(seconds, meanwhile=change)
    summary = run.finish()
    print(f"memory over {options.minutes} minutes, {len(cameras)} cameras that come and go, the last ten also by "
          f"{len(present)} changes of the configuration:")
    print(f"  {fates(summary)}")
    begin = len(rss) // 3
    print(f"  resident {rss[0]:.1f} MB at first, over the last two thirds {min(rss[begin:]):.1f} to "
          f"{max(rss[begin:]):.1f} MB")
    for count in sorted(set(present)):
        # The first seconds after a change are left out: what has gone is still being taken down.
        at = [second for second in range(begin, len(rss))
              if second // CHANGE_S <= len(present) and present[second // CHANGE_S - 1] == count
              and second % CHANGE_S >= 5]
        if len(at) < 8:
            continue
        values = [rss[second] for second in at]
        middle = statistics.mean(values)
        slope = statistics.linear_regression(at, values).slope * (at[-1] - at[0])
        quarters = [statistics.mean(values[i * len(values) // 4:(i + 1) * len(values) // 4]) for i in range(4)]
        print(f"  with {count} cameras {middle:.1f} MB: means of the four quarters of that time "
              f"{', '.join(f'{mean:.1f}' for mean in quarters)} MB, range {(max(quarters) - min(quarters)) / middle:.2%}, "
              f"slope {slope / middle:+.2%}", flush=True)


def default_model():
    folder = os.environ.get("MODELS") or os.path.join(os.environ.get("SIGHTLINE_TEST_DATA", "/nonexistent"), "models")
    model = pathlib.Path(folder) / "yolox_nano_kazuhito.onnx"
    return str(model) if model.exists() else ""


def main():
    parts = {"cameras": cameras_part, "overload": overload_part, "memory": memory_part}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("--program", default=str(ROOT / "build/bin/sightline"))
    parser.add_argument("--seconds", type=float, default=60, help="of the first two parts' runs")
    parser.add_argument("--minutes", type=float, default=30, help="of the memory part")
    parser.add_argument("--model", default=default_model(), help="of the overload")
    parser.add_argument("--cameras", type=int, default=8, help="of the overload")
    parser.add_argument("--guess", type=float, default=400, help="frames/s far beyond the model's capacity")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in parts]
    if unknown:
        parser.error(f"no part {unknown[0]}; there are {', '.join(parts)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("$ benchmarks/load.py " + " ".join(sys.argv[1:]), flush=True)
    with tempfile.TemporaryDirectory() as name:
        try:
            for part in options.parts or parts:
                parts[part](options, pathlib.Path(name))
        finally:
            for process in Run.started:
                if process.poll() is None:
                    process.kill()


main()
