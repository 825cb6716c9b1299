#!/usr/bin/env python3
"""`sightline models calibrate`, whole: a model that loses little is added, one that loses too much is refused, and whatever
goes wrong is said in a sentence and leaves nothing behind.

Usage: calibrate.py SIGHTLINE errors|trial

errors needs no Python packages. trial needs an interpreter with those of tools/int8/requirements.txt: the one that
SIGHTLINE_INT8_PYTHON names, or else what the program installs itself; without a network that cannot be, and the test is
skipped (77). Pictures are rendered streets, whose truth is known.
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures  # noqa: E402
from street_pictures import write_street_pictures  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
PATIENCE_S = 900
SCENES = 6  # of ten pictures


class Place:
    """Folders of its own for models and scratch, so that what is left behind shows itself."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.scratch = self.root / "scratch"
        self.scratch.mkdir()
        self.environment = {**os.environ, "SIGHTLINE_MODELS": str(self.root / "models"), "TMPDIR": str(self.scratch)}

    def command(self, *arguments):
        return [PROGRAM, "models", "calibrate", *map(str, arguments)]

    def run(self, *arguments, **environment):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE_S,
                              env={**self.environment, **environment})

    def left_behind(self):
        return [p.name for p in self.scratch.iterdir()]

    def models(self):
        done = subprocess.run([PROGRAM, "models", "list", "--json"], capture_output=True, text=True, env=self.environment)
        return [m["name"] for m in json.loads(done.stdout)]


def refused(place, done, what, *words, code=1):
    said = done.stderr.strip().splitlines()
    good = done.returncode == code and all(w in done.stderr for w in words) and not place.left_behind()
    check(good, f"{what}: {said[-1] if said else 'nothing was said'}")
    if not good:
        print(f"    exit code {done.returncode}, left behind {place.left_behind()}, said {done.stderr!r}")


def write_pgm(path, seed):
    """A small picture of noise; a format that every build reads."""
    path.write_bytes(b"P5\n32 32\n255\n" + random.Random(seed).randbytes(32 * 32))


def errors(root):
    place = Place(root)
    empty, garbage, few, many = (place.root / name for name in ("empty", "garbage", "few", "many"))
    for folder in (empty, garbage, few, many):
        folder.mkdir()
    for i in range(30):
        (garbage / f"{i}.jpg").write_bytes(random.Random(i).randbytes(3000))
        write_pgm(many / f"{i}.pgm", i)
        write_pgm(few / f"{i}.pgm", i % 10)  # ten different ones
    refused(place, place.run("street", "--images", place.root / "nowhere"), "no such folder", "nowhere")
    refused(place, place.run("street", "--images", empty), "an empty folder", "no picture is in it")
    refused(place, place.run("street", "--images", garbage), "a folder of garbage", "30 of 30 pictures cannot be read")
    refused(place, place.run("street", "--images", few), "too few pictures, and copies", "10 different pictures are too few")
    refused(place, place.run("street", "--images", many, "--calibration-images", place.root / "nowhere"), "no folder to calibrate",
            "nowhere")
    refused(place, place.run("street", "--images", many, "--calibration-images", many), "pictures that both calibrate and judge",
            "0 different pictures, without those that judge, are too few")
    refused(place, place.run("street", "--images", few, "--calibration-images", many), "too few to judge by",
            "10 different pictures are too few")
    refused(place, place.run("street", "--images", many, "--backend", "abacus"), "no such backend", "abacus", code=2)
    refused(place, place.run("strett", "--images", many), "a mistyped model", 'did you mean "street"?')
    refused(place, place.run("people", "--images", many), "a built-in detector", "built in")
    refused(place, place.run("street", "--images", many, "--name", "street"), "a name that is taken", "--replace")
    refused(place, place.run("street", "--images", many, "--name", "a/b"), "a name that is none", "cannot be a model's name")
    refused(place, place.run("street", "--images", many, "--python", "/nowhere/python"), "no such interpreter", "/nowhere/python")
    refused(place, place.run("street", "--images", many, "--python", "/bin/false"), "an interpreter that is none", "--python")
    refused(place, place.run("street", "--images", many, PATH="/nowhere", XDG_CACHE_HOME=str(place.root / "cache")),
            "no python3", "install python3")
    refused(place, place.run("street", "--images", many, HOME="", XDG_CACHE_HOME=""), "no place for packages", "XDG_CACHE_HOME")
    refused(place, place.run("street", "--images", many, TMPDIR=str(place.root / "not there")), "no scratch folder", "TMPDIR")
    # A stand-in for python3 that makes no environment, and one whose pip has no network.
    for what, venv, word in (("no venv module", "echo no venv here >&2; exit 1", "no venv here; on Debian"),
                             ("no network", 'mkdir -p "$5/bin"; cp "$0" "$5/bin/python"', "could not be installed: no network;")):
        tools = place.root / what
        tools.mkdir()
        (tools / "python3").write_text(f'#!/bin/sh\nif [ "$3" = venv ]; then {venv}; exit; fi\necho no network >&2\nexit 1\n')
        (tools / "python3").chmod(0o755)
        cache = place.root / f"{what} cache"
        refused(place, place.run("street", "--images", many, PATH=f"{tools}:{os.environ['PATH']}", XDG_CACHE_HOME=str(cache)),
                what, word)
        left = [p.name for p in cache.glob("sightline/*") if p.is_dir()]
        check(not left, f"{what}: no half of an environment is left")
    # Interpreters that answer something else than the script would.
    for what, script in (("a worker that says nonsense", "while read x; do echo nonsense; done"),
                         ("a worker that ends", "exit 3"), ("a worker that is killed", "kill -9 $$"),
                         ("a worker without layers", 'while read x; do echo "{}"; done')):
        python = place.root / what.replace(" ", "_")
        python.write_text(f'#!/bin/sh\nif [ "$2" = -c ]; then exit 0; fi\n{script}\n')
        python.chmod(0o755)
        refused(place, place.run("street", "--images", many, "--python", python), what)
    check(place.models() == ["street"], "nothing was added to the models")


def python_for_trial(place, pictures):
    """The interpreter, after the program has installed it if need be."""
    if "SIGHTLINE_INT8_PYTHON" in os.environ:
        return os.environ["SIGHTLINE_INT8_PYTHON"]
    done = place.run("street", "--images", pictures, "--method", "minmax", "--search-time", "1s", "--limit", "100")
    if "could not be installed" in done.stderr or "install python3" in done.stderr or "python3-venv" in done.stderr:
        print(f"SKIPPED: no Python for quantisation here: {done.stderr.strip().splitlines()[-1]}")
        sys.exit(77)
    check(done.returncode == 0, "the program installs what it needs, and a limit of 100 points lets everything in")
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    subprocess.run([PROGRAM, "models", "remove", "street_int8"], env=place.environment, stdout=subprocess.DEVNULL)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return str(max(pathlib.Path(home, "sightline").glob("int8-*/bin/python"), key=os.path.getmtime))


def children_of(pid):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def worker_of(process):
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        for child in children_of(process.pid):
            try:
                if b"quantize.py" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                    return child
            except OSError:
                pass
        time.sleep(0.01)
    return None


def gone(pid):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def interrupted(place, arguments, who, how):
    """Ends the worker or the program in the middle; gives the exit code and what was said."""
    process = subprocess.Popen(place.command(*arguments), env=place.environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    worker = worker_of(process)
    if worker is None:
        process.kill()
        return None, "no worker was seen", None
    os.kill(worker if who == "worker" else process.pid, how)
    said = process.communicate(timeout=PATIENCE_S)[1]
    return process.returncode, said, worker


def trial(root):
    place = Place(root)
    pictures = place.root / "pictures"
    count = write_street_pictures(PROGRAM, pictures, SCENES)
    check(count == SCENES * 10, f"{count} labelled pictures")
    python = python_for_trial(place, pictures)
    tools = pathlib.Path(PROGRAM).parent.parent / "share/sightline/tools/int8"
    ranges = subprocess.run([python, "-B", pathlib.Path(__file__).parent / "int8_ranges.py", tools], capture_output=True, text=True)
    check(ranges.returncode == 0, "ranges and layers are found as they should be")
    if ranges.returncode != 0:
        print(ranges.stderr)
    usual = ["street", "--images", pictures, "--python", python, "--method", "minmax"]

    kept = place.root / "kept"
    done = place.run(*usual, "--limit", "10", "--keep", kept, "--json")
    check(done.returncode == 0, "street in INT8 loses less than 10 points of mAP, as far as 30 pictures can tell")
    if done.returncode != 0:
        print(done.stdout + done.stderr)
        return
    report = json.loads(done.stdout)
    verdict = report["verdict"]
    check(report["promoted"] and report["name"] == "street_int8" and "street_int8" in place.models(), "it was added")
    check(report["pictures"]["calibration"] + report["pictures"]["evaluation"] == count, "each picture is in one part")
    check(verdict["pictures"] == report["pictures"]["evaluation"], "only the evaluation pictures judge")
    low, high = verdict["loss_interval_95"]
    check(low <= verdict["loss"] <= high <= verdict["limit"] == 0.1, f"loss {verdict['loss']:.4f} in [{low:.4f}, {high:.4f}]")
    check(abs(verdict["loss"] - (verdict["map_fp32"] - verdict["map_int8"])) < 1e-12, "the loss is the difference of the mAPs")
    check(verdict["map_fp32"] > 0.3, f"the fp32 model is a good one: mAP {verdict['map_fp32']:.3f}")
    model = place.root / "models" / "street_int8"
    data = (model / "model.onnx").read_bytes()
    check(b"DequantizeLinear" in data and b"com.microsoft" not in data, "it is a QDQ file of standard operators")
    check(data == (kept / "model.onnx").read_bytes(), "--keep keeps the same file")
    check(json.loads((model / "report.json").read_text())["verdict"] == verdict, "the report lies beside it")
    check("INT8 of street" in (model / "model.yaml").read_text(), "model.yaml says where it comes from")
    check(report["speed"][0]["int8_cpu_ms"] > 0 and report["processor"], "speed and processor are said")
    picture = next((pictures / "JPEGImages").iterdir())
    found = subprocess.run([PROGRAM, "detect", "--model", "street_int8", str(picture)], capture_output=True, env=place.environment)
    check(found.returncode == 0, "the engine runs it")
    # The figure is that of `sightline eval`, on all pictures here, so about the same.
    judged = subprocess.run([PROGRAM, "eval", "--model", "street_int8", "--images", str(pictures), "--json"],
                            capture_output=True, text=True, env=place.environment)
    of_all = json.loads(judged.stdout)["boxes"]["map"]
    check(abs(of_all - verdict["map_int8"]) < 0.1, f"eval says {of_all:.3f} of all pictures, the report {verdict['map_int8']:.3f}")
    check(not place.left_behind(), "no scratch file is left")

    others = place.root / "others"
    other_count = write_street_pictures(PROGRAM, others, 2, 9000)
    apart = place.run(*usual, "--calibration-images", others / "JPEGImages", "--limit", "100", "--agreement-limit", "100",
                      "--search-time", "1s", "--name", "apart", "--json")
    check(apart.returncode == 0, "calibrated with pictures of another folder")
    if apart.returncode == 0:
        told = json.loads(apart.stdout)
        check(told["pictures"]["calibration"] == other_count and told["verdict"]["pictures"] == count,
              "those calibrate, and all of --images judge")
        check(told["verdict"]["by"] == "mAP50-95" and told["backend"] == "onnxruntime", "by mAP, though those have no labels")
    subprocess.run([PROGRAM, "models", "remove", "apart"], env=place.environment, stdout=subprocess.DEVNULL)

    refused(place, place.run(*usual), "the name is taken", "--replace")
    refused(place, place.run(*usual, "--name", "strict", "--keep", kept), "already a model.onnx", "another folder")
    strict = place.root / "strict"
    again = place.run(*usual, "--limit", "0", "--name", "strict", "--search-time", "1s", "--keep", strict)
    check(again.returncode == 1 and "refused" in again.stdout and "the limit of 0.00" in again.stdout,
          "no loss at all cannot be promised")
    check("strict" not in place.models() and not json.loads((strict / "report.json").read_text())["promoted"],
          "a refused model is not added, but kept where it was asked for")

    code, said, _ = interrupted(place, [*usual, "--name", "killed"], "worker", signal.SIGKILL)
    check(code == 1 and "signal 9" in said and not place.left_behind(), "a killed worker ends the command with a sentence")
    code, said, worker = interrupted(place, [*usual, "--name", "killed"], "program", signal.SIGTERM)
    check(code == 1 and "stopped" in said and not place.left_behind() and gone(worker), "SIGTERM ends both, and leaves nothing")
    _, _, worker = interrupted(place, [*usual, "--name", "killed"], "program", signal.SIGKILL)
    check(worker is not None and gone(worker), "the worker dies with a program that is killed")
    check(sorted(place.models()) == ["street", "street_int8"], "none of these was added")


with tempfile.TemporaryDirectory() as folder:
    {"errors": errors, "trial": trial}[sys.argv[2]](folder)
print("failed: " + "; ".join(failures) if failures else "all held")
sys.exit(1 if failures else 0)
