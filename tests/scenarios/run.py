#!/usr/bin/env python3
"""Runs scenarios: files that say which clips to make, what to run on them, and what must come out.

Usage: run.py [--keep] SIGHTLINE [SCENARIO...]     names, or paths of *.scenario files; default: all

A scenario runs in an empty folder with `sightline` on the PATH. README.md beside this file explains
the steps that a file may hold; adding a scenario needs no code.
"""
import ast
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# For programs that hang, not for slow ones: sanitizers on a busy machine stay well below it.
HANG_S = 600
VTEST = ["/usr/share/doc/opencv-doc/examples/data/vtest.avi", *map(str, ROOT.glob(".cache/packages/**/vtest.avi"))]
BLOBS_MODEL = ROOT / "tests/data/models/blobs_yolox.onnx"
COLOURS = {"white": (235, 235, 235), "red": (235, 16, 16), "grey": (118, 118, 118), "black": (16, 16, 16)}
CAMERA_KEYS = {"id", "frames_in", "processed", "skipped", "dropped", "tracks", "events", "counts"}
CAMERA_EXTRAS = {"rules", "error"}
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Thread|Leak|Memory)Sanitizer|runtime error:")


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Step:
    def __init__(self, line, verb, argument, text, body):
        self.line, self.verb, self.argument, self.text, self.body = line, verb, argument, text, body


def parse(path):
    """Steps are `verb [argument]: text`; indented lines below continue the step (`file`, `clip`)."""
    steps = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            if steps and steps[-1].verb == "file" and not line.startswith("#"):
                steps[-1].body.append("")
        elif line.startswith("  "):
            steps[-1].body.append(line[2:])
        else:
            match = re.match(r"([a-z]+)(?: ([^:]*))?:\s*(.*)$", line)
            if not match:
                raise Failed(f"{path.name}:{number}: not a step: {line}")
            steps.append(Step(number, match[1], match[2] or "", match[3], []))
    return steps


class Numbers(dict):
    """A dictionary whose missing entries are 0: reasons and classes that did not occur."""

    def __missing__(self, key):
        return 0


class Record(dict):
    __getattr__ = dict.__getitem__


def records(value):
    if isinstance(value, list):
        return [records(v) for v in value]
    if isinstance(value, dict):
        kind = Numbers if all(isinstance(v, (int, float)) for v in value.values()) else Record
        return kind({k: records(v) for k, v in value.items()})
    return value


def check_summary(summary):
    """The law of the ledger and the shape of --json, at every run."""
    if not {"cameras", "wall_s", "cpu_s"} <= summary.keys() <= {"cameras", "wall_s", "cpu_s", "stopped"}:
        raise Failed(f"keys of the summary: {sorted(summary)}")
    for camera in summary["cameras"]:
        if not CAMERA_KEYS <= camera.keys() <= CAMERA_KEYS | CAMERA_EXTRAS:
            raise Failed(f"keys of a camera in the summary: {sorted(camera)}")
        ended = camera["processed"] + sum(camera["skipped"].values()) + sum(camera["dropped"].values())
        if camera["frames_in"] != ended:
            raise Failed(f"the ledger does not add up: {camera}")


class Scenario:
    def __init__(self, program, path, folder):
        self.path, self.folder = path, pathlib.Path(folder)
        self.bin = self.folder / ".bin"
        self.bin.mkdir()
        (self.bin / "sightline").symlink_to(program)
        self.environment = dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}", LC_ALL="C.UTF-8",
                                SIGHTLINE_MODELS=str(self.folder / "models"), BLOBS=str(BLOBS_MODEL))
        self.printed = []  # everything that any run said
        self.inputs = set()
        self.exit, self.out, self.err = 0, "", ""

    # ---- steps ----

    def do_about(self, step):
        pass

    def do_needs(self, step):
        for need in step.text.split():
            if need == "vtest":
                clip = next((c for c in VTEST if os.path.exists(c)), None)
                if clip is None:
                    raise Skipped("the clip vtest.avi (package opencv-doc) is not here")
                (self.folder / "vtest.avi").symlink_to(clip)
            elif need == "user":
                if os.geteuid() == 0:
                    raise Skipped("root may write everywhere; run as a normal user")
            elif need.startswith("encoder="):
                name = need.partition("=")[2]
                known = subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True).stdout
                if f" {name} " not in known:
                    raise Skipped(f"ffmpeg has no encoder {name}")
            elif need.startswith("backend="):
                name = need.partition("=")[2]
                known = subprocess.run([self.bin / "sightline", "doctor", "--json"], capture_output=True, text=True)
                runs = [f["value"] for f in json.loads(known.stdout)["findings"] if f["what"] == "inference"]
                if not any(value.startswith(f"{name} ") for value in runs):
                    raise Skipped(f"the backend {name} is not here: see sightline doctor")
            elif not shutil.which(need):
                raise Skipped(f"the program {need} is not installed")

    def do_env(self, step):
        name, _, value = step.text.partition("=")
        self.environment[name] = value

    def do_file(self, step):
        target = self.folder / step.argument
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(step.body) + "\n", encoding="utf-8")
        self.inputs.add(step.argument)

    def do_clip(self, step):
        draw_clip(self.folder / step.argument, step.text, step.body)

    def do_make(self, step):
        done = self.shell(step.text)
        if done.returncode != 0:
            raise Failed(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")

    def do_run(self, step):
        self.take(self.shell(step.text), 0)

    def do_fails(self, step):
        self.take(self.shell(step.text), int(step.argument))

    def do_together(self, step):
        commands = [line for line in [step.text, *step.body] if line]
        running = [self.start(command) for command in commands]
        for process in running:
            out, err = process.communicate(timeout=HANG_S)
            self.take(subprocess.CompletedProcess([], process.returncode, out, err), 0)

    # `interrupt SIGINT [CODE]`: the command, then a line `once EXPRESSION`.
    def do_interrupt(self, step):
        name, _, code = step.argument.partition(" ")
        condition = step.body[0].strip()
        if not condition.startswith("once "):
            raise Failed("interrupt needs a line `  once EXPRESSION`")
        process = self.start("exec " + step.text)
        deadline = time.monotonic() + HANG_S
        while not self.value(condition[5:]):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise Failed("ended before the condition came true\n" + "".join(process.communicate()))
            time.sleep(0.005)  # between two looks
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=HANG_S)
        self.take(subprocess.CompletedProcess([], process.returncode, out, err), int(code or 0))

    def do_expect(self, step):
        if self.value(step.text):
            return
        shown = []
        for node in ast.walk(ast.parse(step.text, mode="eval")):  # what the parts were
            if isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)):
                with contextlib.suppress(Exception):
                    shown.append(f"    {ast.unparse(node)} = {str(self.value(ast.unparse(node)))[:500]}")
        raise Failed("is not so\n" + "\n".join(shown) + f"\n  stderr: {self.err[-1000:]}")

    # `sql [DATABASE]: QUERY => VALUE`: VALUE as Python, compared to the rows, or to the only number.
    def do_sql(self, step):
        query, _, expected = step.text.rpartition("=>")
        rows = self.sql(query.strip(), step.argument or "out/sightline.db")
        found = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else rows
        if found != ast.literal_eval(expected.strip()):
            raise Failed(f"it gives {found}")

    # Two files of results hold the same.
    def do_same(self, step):
        first, second = (self.content(name) for name in step.text.split())
        if first != second:
            a, b = first.splitlines(), second.splitlines()
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            raise Failed(f"differ at line {at + 1} of {len(a)} and {len(b)}\n  {a[at:at + 1]}\n  {b[at:at + 1]}")
        if not first.strip():
            raise Failed("both are empty")

    # A folder of results is as a clean exit leaves it.
    def do_whole(self, step):
        folder = self.folder / step.text
        for leftover in [*folder.glob("*.partial"), *folder.glob("*-wal"), *folder.glob("*-shm"), *folder.glob("*-journal")]:
            raise Failed(f"{leftover.name} is left over")
        database = f"{step.text}/sightline.db"
        if self.sql("PRAGMA integrity_check", database) != [["ok"]]:
            raise Failed("the database is damaged")
        if self.sql("SELECT count(*) FROM ledger_balance WHERE unaccounted <> 0", database) != [[0]]:
            raise Failed("the ledger in the database does not add up")
        mismatch = self.sql("SELECT count(*) FROM frames f WHERE f.detections <> (SELECT count(*) FROM detections d "
                            "WHERE d.camera_id = f.camera_id AND d.timestamp = f.timestamp AND d.epoch = f.epoch "
                            "AND d.frame = f.frame)", database)
        if mismatch != [[0]]:
            raise Failed(f"{mismatch[0][0]} frames lack detections in the database")
        lines = [json.loads(line) for line in (folder / "detections.jsonl").read_text(encoding="utf-8").splitlines()]
        frames = sum(not line.get("end_of_stream") for line in lines)
        if self.sql("SELECT count(*) FROM frames", database) != [[frames]]:
            raise Failed(f"{frames} frames in detections.jsonl, not as many as in the database")

    # The text stands nowhere: in nothing that was printed, and in no file but those the scenario made.
    def do_never(self, step):
        if step.text in "\n".join(self.printed):
            raise Failed("it was printed")
        for file in self.folder.rglob("*"):
            if file.is_file() and str(file.relative_to(self.folder)) not in self.inputs and self.bin not in file.parents:
                if step.text.encode() in file.read_bytes():
                    raise Failed(f"it stands in {file.relative_to(self.folder)}")

    # ---- what steps are made of ----

    def start(self, command):
        return subprocess.Popen(["bash", "-o", "pipefail", "-c", command], cwd=self.folder, env=self.environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                errors="replace")

    def shell(self, command):
        process = self.start(command)
        try:
            out, err = process.communicate(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed(f"hung for {HANG_S} s")
        return subprocess.CompletedProcess([], process.returncode, out, err)

    def take(self, done, code):
        self.exit, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.printed += [done.stdout, done.stderr]
        if SANITIZER.search(self.err):
            raise Failed(f"a sanitizer complains\n{self.err}")
        if self.exit != code:
            raise Failed(f"exit code {self.exit}, expected {code}\n{self.out[-2000:]}{self.err[-3000:]}")
        last = self.out.strip().splitlines()[-1:] or [""]
        if last[0].startswith('{"cameras"'):
            check_summary(json.loads(last[0]))

    def value(self, expression):
        with contextlib.suppress(ValueError):
            return eval(expression, self.names())  # noqa: S307, the project's own files
        raise Failed(f"cannot be evaluated; printed:\n{self.out[-2000:]}{self.err[-2000:]}")

    def names(self):
        lines = [line for line in self.out.splitlines() if line.startswith("{")]
        names = {"out": self.out, "err": self.err, "exit": self.exit, "sql": self.sql, "re": re,
                 "read": lambda name: self.content(name), "jsonl": self.jsonl, "text_lines": self.out.splitlines(),
                 "exists": lambda name: (self.folder / name).exists(),
                 "size": lambda name: (self.folder / name).stat().st_size if (self.folder / name).exists() else 0,
                 "ls": lambda name: sorted(os.listdir(self.folder / name))}
        with contextlib.suppress(ValueError):
            names["whole_json"] = records(json.loads(self.out))
        with contextlib.suppress(ValueError):
            names["lines"] = [records(json.loads(line)) for line in lines]
            if names["lines"]:
                names["json"] = names["lines"][-1]
                names["cameras"] = names["json"].get("cameras", [])
        return names

    def jsonl(self, name):
        return [records(json.loads(line)) for line in self.content(name).splitlines()]

    def sql(self, query, database="out/sightline.db"):
        path = self.folder / database
        if not path.exists():
            raise Failed(f"there is no {database}")
        # Looking must leave nothing behind; a reader of a WAL database otherwise makes a -wal and a -shm.
        mode = "mode=ro" if path.with_name(path.name + "-wal").exists() else "immutable=1"
        with contextlib.closing(sqlite3.connect(f"file:{path}?{mode}", uri=True)) as connection:
            return [list(row) for row in connection.execute(query)]

    def content(self, name):
        """A database as its rows, anything else as text."""
        if not name.endswith(".db"):
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        tables = self.sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1", name)
        rows = []
        for (table,) in tables:
            rows += sorted(f"{table}: {row}" for row in self.sql(f'SELECT * FROM "{table}"', name))
        return "\n".join(rows)


def draw_clip(path, text, body):
    """`clip NAME: WIDTHxHEIGHT FPS FRAMES [ffmpeg options]`, one indented line a rectangle:
    `COLOUR WIDTHxHEIGHT at X, Y [from N to M]`, expressions over the frame number n."""
    size, fps, frames, *options = text.split()
    width, height = map(int, size.split("x"))
    boxes = []
    for line in body:
        match = re.match(r"(\w+) (\d+)x(\d+) at (.+?)(?: from (\d+) to (\d+))?$", line.strip())
        if not match:
            raise Failed(f"not a rectangle: {line}")
        first, last = int(match[5] or 0), int(match[6] or frames)
        boxes.append((bytes(COLOURS[match[1]]), int(match[2]), int(match[3]), compile(f"({match[4]})", line, "eval"), first, last))
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", fps, "-i", "pipe:"]
    encoder = subprocess.Popen([*command, "-pix_fmt", "yuv420p", *options, str(path)], stdin=subprocess.PIPE)
    ground = bytes(COLOURS["grey"]) * width
    with encoder.stdin as pipe:
        for n in range(int(frames)):
            rows = [ground] * height
            for colour, w, h, place, first, last in boxes:
                if not first <= n <= last:
                    continue
                x, y = (round(v) for v in eval(place, {"n": n, "abs": abs, "min": min, "max": max}))
                left, right = max(0, x), min(width, x + w)
                if left < right:
                    for row in range(max(0, y), min(height, y + h)):
                        old = rows[row]
                        rows[row] = old[:3 * left] + colour * (right - left) + old[3 * right:]
            pipe.write(b"".join(rows))
    if encoder.wait() != 0:
        raise Failed("ffmpeg could not make the clip")


def run(program, path, keep):
    """0 passed, 1 failed; skips are printed as the test report wants them."""
    folder = tempfile.mkdtemp(prefix=f"sightline-{path.stem}-")
    began = time.monotonic()
    step = None
    try:
        scenario = Scenario(program, path, folder)
        for step in parse(path):
            method = getattr(scenario, f"do_{step.verb}", None)
            if method is None:
                raise Failed("unknown step")
            method(step)
    except Skipped as skip:
        print(f"SKIPPED: scenario_{path.stem}: {skip}")
        return 0
    except Exception as error:
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        where = f"{path.name}:{step.line}: {step.verb} {step.argument}: {step.text}" if step else path.name
        print(f"FAILED {where}\n  {kind}{error}", file=sys.stderr)
        return 1
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"ok  {path.stem} ({time.monotonic() - began:.1f} s)")
    return 0


def main():
    arguments = [a for a in sys.argv[1:] if a != "--keep"]
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    program = pathlib.Path(arguments[0]).resolve()
    paths = [pathlib.Path(a) if a.endswith(".scenario") else HERE / f"{a}.scenario" for a in arguments[1:]]
    results = [run(program, path, "--keep" in sys.argv) for path in paths or sorted(HERE.glob("*.scenario"))]
    sys.stdout.flush()
    return max(results)


if __name__ == "__main__":
    sys.exit(main())
