#!/usr/bin/env python3
"""Live cameras on a disk that is full for a while: the run says so, waits, and loses no row.

Usage: full_disk.py SIGHTLINE

The results lie on a small file system of their own, which only root can mount; 77 (skipped) without it.
"""
import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures  # noqa: E402
from live_run import LiveRun  # noqa: E402

PROGRAM = sys.argv[1]
PATIENCE_S = 90
CAMERAS = ["gate", "yard"]


class Disk:
    def __init__(self, folder):
        self.folder = folder / "disk"
        self.folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(self.folder)], capture_output=True)
        if mounted.returncode != 0:
            print("SKIPPED: a small file system cannot be mounted here (needs root)")
            sys.exit(77)

    def fill(self):
        with open(self.folder / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 65536)
            except OSError:
                pass

    def free(self):
        (self.folder / "filler").unlink()

    def close(self):
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


class Run(LiveRun):
    def __init__(self, folder, out):
        cameras = "\n".join(f'  - {{id: {name}, source: "sim://street?people=5&size=320x180&fps=10&seed={seed}", '
                            f'model: truth, live: {{frozen_after: 0s}}}}' for seed, name in enumerate(CAMERAS))
        super().__init__(PROGRAM, folder, f"cameras:\n{cameras}\noutputs: {{dir: {out}, report: {{enabled: false}}}}\n",
                         check, PATIENCE_S, "--metrics", "127.0.0.1:0")
        self.database = out / "sightline.db"
        self.address = None

    def said(self):
        return pathlib.Path(self.errors.name).read_text()

    def ask(self, path):
        """Status and text of the run's own server."""
        if self.address is None:
            found = re.search(r"http://[0-9.]+:[0-9]+", self.said())
            if not found:
                return 0, ""
            self.address = found.group()
        try:
            with urllib.request.urlopen(self.address + path, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def late(self, camera):
        found = re.search(rf'sightline_camera_frames_total{{camera="{camera}",outcome="dropped",reason="late"}} ([0-9]+)',
                          self.ask("/metrics")[1])
        return int(found.group(1)) if found else 0

    def frames(self, camera):
        return self.rows("SELECT count(*) FROM frames WHERE camera_id = ?", camera)[0][0] if self.database.exists() else 0


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        disk = Disk(folder)
        try:
            out = disk.folder / "out"
            run = Run(folder, out)
            run.wait_for("rows come", lambda: all(run.rows("SELECT 1 FROM frames WHERE camera_id = ? LIMIT 1 OFFSET 20", c)
                                                  for c in CAMERAS))
            late = {camera: run.late(camera) for camera in CAMERAS}
            disk.fill()
            run.wait_for("the full disk is said", lambda: "results wait" in run.said())
            run.wait_for("not ready, with the reason", lambda: run.ask("/readyz")[0] == 503 and "wait" in run.ask("/readyz")[1])
            check(run.ask("/healthz")[0] == 200, "but healthy: a new process would not make room")
            run.wait_for("frames are dropped as late", lambda: all(run.late(c) > late[c] + 20 for c in CAMERAS))
            before = {camera: run.frames(camera) for camera in CAMERAS}
            disk.free()
            run.wait_for("rows go on", lambda: all(run.frames(c) > before[c] + 100 for c in CAMERAS))
            run.wait_for("ready again", lambda: run.ask("/readyz")[0] == 200)
            code, summary, said = run.finish()
            check(code == 0, f"ends well {said[-300:] if code else ''}")
            lines = collections.Counter(json.loads(line)["camera"] for line in open(out / "detections.jsonl", encoding="utf-8")
                                        if "frame" in json.loads(line))
            for camera in summary["cameras"]:
                of, processed = camera["id"], camera["processed"]
                lost = camera["frames_in"] - processed - sum(camera["skipped"].values()) - sum(camera["dropped"].values())
                check(lost == 0, f"{of}: every frame has a fate: {camera}")
                check(run.frames(of) == processed, f"{of}: {processed} processed, {run.frames(of)} rows")
                check(lines[of] == processed, f"{of}: {lines[of]} lines")
                if shutil.which("ffprobe"):
                    video = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames",
                                            "-of", "csv=p=0", str(next(out.glob(f"*{of}*.mp4")))], capture_output=True, text=True)
                    check(video.stdout.strip() == str(processed) and not video.stderr,
                          f"{of}: the video has {video.stdout.strip()} pictures {video.stderr}")
        finally:
            if run.process.poll() is None:
                run.process.kill()
            disk.close()
    return 1 if failures else 0


sys.exit(main())
