#!/usr/bin/env python3
"""The examples of examples/serving, as its README shows them: curl, C++ and Python against `sightline serve`.

Usage: examples.py MODELS SIGHTLINE...
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]
ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "serving"


def ran(command, folder, **environment):
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=5 * PATIENCE_S, shell=isinstance(command, str),
                          executable="/bin/bash" if isinstance(command, str) else None, env={**os.environ, **environment})


def curl(address, folder):
    text = (EXAMPLES / "README.md").read_text()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines() if line.startswith("curl ")]
    answers = []
    for command in commands:
        done = ran(command.replace("localhost:8000", address).replace("curl -s", "curl -s -f"), folder)
        answers.append(done.stdout)
        check(done.returncode == 0, f"{command[:90]} {done.stderr.decode()[-200:]}")
    check(len(answers) == 6 and answers[0] == b"200\n", "the server is ready")
    about, one, form, added = (json.loads(answers[i]) for i in (1, 2, 3, 5))
    check(about["name"] == "street" and len(one["detections"]) > 0, f"{len(one['detections'])} objects in the picture")
    listed = form["results"][0] if "results" in form else form
    check(listed["detections"] == one["detections"], "the same by a form")
    check((folder / "drawn.jpg").read_bytes()[:2] == b"\xff\xd8", "a drawn picture")
    check(added["outputs"][0]["data"] == [i + 1 for i in range(16)], "sums")
    return one["detections"]


def cpp(address, folder):
    if shutil.which("g++") is None:
        print("SKIPPED: no g++: the C++ examples are not built")
        return
    for name in ("detect", "infer"):
        built = ran(["g++", "-std=c++17", "-O1", "-Wall", "-Werror", EXAMPLES / f"{name}.cc", "-lcurl", "-o", f"built_{name}"], folder)
        check(built.returncode == 0, f"{name}.cc is built {built.stderr.decode()[-500:]}")
    done = ran(["./built_detect", f"http://{address}", "street", "people.jpg"], folder)
    check(done.returncode == 0 and done.stdout.count(b"people.jpg: ") > 0, f"detect: {done.stdout.decode().splitlines()[:1]}")
    done = ran(["./built_detect", f"http://{address}", "nothing", "people.jpg"], folder)
    check(done.returncode == 1 and b"nothing" in done.stderr, f"detect: {done.stderr.decode().strip()}")
    done = ran(["./built_infer", f"http://{address}", "add_sub"], folder)
    check(done.returncode == 0 and b"OUTPUT0: 0 2 4 6 " in done.stdout, f"infer: {done.stdout.decode()[:60]}")
    done = ran(["./built_infer", f"http://{address}", "street"], folder)
    check(done.returncode == 1 and done.stderr.startswith(b"infer: "), f"infer: {done.stderr.decode().strip()}")


def python(address, folder, expected):
    done = ran([sys.executable, EXAMPLES / "detect.py", f"http://{address}", "street", "people.jpg"], folder,
               PYTHONPATH=str(ROOT / "python"), PYTHONDONTWRITEBYTECODE="1")
    if b"No module named 'numpy'" in done.stderr:
        print("SKIPPED: this Python has no NumPy: conformance_python_package runs the client")
        return
    check(done.returncode == 0 and done.stdout.count(b"\n") >= len(expected), f"detect.py: {done.stdout.decode()[:80]}{done.stderr.decode()[-200:]}")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.executable, ROOT / "tests" / "integration" / "street_pictures.py", PROGRAM[0], folder / "street", "1"],
                       check=True, capture_output=True, timeout=600)
        subprocess.run(["ffmpeg", "-v", "error", "-i", sorted(folder.glob("street/**/*.png"))[0], "-q:v", "2", folder / "people.jpg"], check=True)
        with Served(PROGRAM, "--model", "street", "--model", MODELS / "add_sub.onnx") as server:
            found = curl(server.address["HTTP"], folder)
            cpp(server.address["HTTP"], folder)
            python(server.address["HTTP"], folder, found)
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
