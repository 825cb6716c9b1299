"""A run of simulated cameras that is changed while it goes on, and what is checked of it."""
import atexit
import contextlib
import json
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures  # noqa: E402

PATIENCE_S = 120


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            check(False, f"waited {PATIENCE_S} s in vain: {what}")
            raise SystemExit(1)
        time.sleep(0.05)
    print("ok   " + what, flush=True)


def finish():
    print("failed: " + "; ".join(failures) if failures else "all held")
    sys.exit(1 if failures else 0)


class Shop:
    """A run and its configuration, shop.yaml, which apply() writes anew from what stands here."""

    def __init__(self, program, folder, cameras=None, outputs="video: {enabled: false}", before_run=None):
        self.program = program
        self.folder = pathlib.Path(folder)
        self.cameras = cameras if cameras is not None else {"gate": {}, "yard": {}}
        self.outputs = outputs
        self.more = ""
        self.write()
        self.log = open(self.folder / "log", "w+")
        self.process = subprocess.Popen([program, "run", "shop.yaml", "--json"], cwd=folder, stderr=self.log,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=before_run)
        atexit.register(self.process.kill)  # also when a step fails; nothing once it has ended

    def write(self, name="shop.yaml"):
        lines = ["cameras:"]
        for camera, settings in self.cameras.items():
            seed = settings.get("seed", 1)
            lines += [f"  - id: {camera}",
                      f"    source: {settings.get('source', f'sim://street?people=12&seed={seed}&fps=20&render=none')}",
                      f"    model: {settings.get('model', 'truth')}", "    coordinates: pixels"]
            if "line" in settings:
                lines += ["    lines:", f"      - {{name: {settings['line']}, from: [320, 0], to: [320, 360]}}"]
        lines += [f"outputs: {{dir: out, {self.outputs}}}", self.more]
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def command(self, *arguments):
        return subprocess.run([self.program, *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE_S)

    def apply(self, *arguments, name="shop.yaml"):
        self.write(name)
        return self.command("apply", name, *arguments)

    def rows(self, query, *values):
        path = self.folder / "out" / "sightline.db"
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            try:
                return database.execute(query, values).fetchall()
            except sqlite3.OperationalError:
                return []

    def frames(self, camera):
        return [row[0] for row in self.rows("SELECT frame FROM frames WHERE camera_id = ? ORDER BY frame", camera)]

    def more_frames(self, camera, n=10):
        wanted = len(self.frames(camera)) + n
        wait_for(lambda: len(self.frames(camera)) >= wanted, f"{n} more frames of {camera}")

    def lines(self, camera, name="detections.jsonl"):
        """The frames of the camera's JSON lines, in their order."""
        path = self.folder / "out" / name
        text = path.read_text() if path.exists() else ""
        lines = []
        for line in text.splitlines(keepends=True):
            # A file that grows may end in half a line, and may just be being rewritten.
            with contextlib.suppress(ValueError) if self.process.poll() is None else contextlib.nullcontext():
                lines.append(json.loads(line))
        frames = [line for line in lines if line["camera"] == camera and "frame" in line]
        return [line["frame"] for line in frames if not line.get("end_of_stream")]

    def log_text(self):
        self.log.flush()
        return (self.folder / "log").read_text()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        return json.loads(out.strip().splitlines()[-1])
