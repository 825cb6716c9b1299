#!/usr/bin/env python3
"""A run whose small model is not sure asks a vision-language model, over HTTP, as the configuration says.

Usage: vision_language.py SIGHTLINE CHAT_SERVER.py MODEL.onnx
"""
import atexit
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures

PROGRAM, SERVER, MODEL = (os.path.abspath(argument) for argument in sys.argv[1:4])
KEY = "sk-never-seen-anywhere"
FRAMES = 12


def start_server():
    server = subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return int(server.stdout.readline().split()[1])


def write_config(path, endpoint, extra="", model="ask"):
    path.write_text(f"""
models:
  - name: scene
    file: {MODEL}
    confidence: 1
    fallback: [{{model: {model}, from: 0, below: 0.5}}]
  - name: ask
    vision_language: {{endpoint: "{endpoint}", model: looker, key: "${{env:MODEL_KEY}}"{extra}}}
    labels: [dog, cat]
cameras:
  - {{id: yard, source: "sim://street?people=3&seed=5&fps=10&size=320x180&pace=none&duration=1.2s", model: scene}}
outputs: {{dir: {path.stem}, video: {{enabled: false}}, report: {{enabled: false}}}}
""")


def run(folder, name, endpoint, extra=""):
    config = folder / f"{name}.yaml"
    write_config(config, endpoint, extra)
    done = subprocess.run([PROGRAM, "run", str(config), "--json"], capture_output=True, text=True,
                          env=os.environ | {"MODEL_KEY": KEY})
    check(done.returncode == 0, f"{name}: ends well: {done.stderr.strip()[-300:]}")
    text = (folder / name / "detections.jsonl").read_text()
    for where in (done.stdout, done.stderr, text, (folder / name / "sightline.db").read_bytes().decode("latin-1")):
        check(KEY not in where, f"{name}: the key is nowhere")
    summary = json.loads(done.stdout)["cameras"][0]
    return summary, [json.loads(line) for line in text.splitlines() if '"frame"' in line], done.stderr


def classes(frames):
    return [[one["class"] for one in frame.get("classes", [])] for frame in frames if not frame.get("end_of_stream")]


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sightline-vision-language-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    port = start_server()
    base = f"http://127.0.0.1:{port}"

    summary, frames, _ = run(folder, "answers", f"{base}/say/%7B%22answer%22:%20%22cat%22%7D/v1")
    check(summary["processed"] == FRAMES, f"every frame is processed: {summary}")
    check(classes(frames) == [["cat"]] * FRAMES, f"the answer stands with every frame: {classes(frames)}")
    asked = json.load(urllib.request.urlopen(f"{base}/log"))
    check(len(asked) == FRAMES, f"{len(asked)} requests were sent")
    check(all(one["headers"].get("authorization") == f"Bearer {KEY}" for one in asked), "each with the key")
    check(all(one["request"]["model"] == "looker" for one in asked), "and the model's name")

    summary, frames, _ = run(folder, "budget", f"{base}/say/%7B%22answer%22:%20%22dog%22%7D/x/v1", ", requests_per_day: 5")
    check(summary["processed"] == FRAMES, "a spent budget costs no frame")
    check(sorted(map(len, classes(frames))) == [0] * (FRAMES - 5) + [1] * 5, f"five were asked: {classes(frames)}")

    summary, frames, errors = run(folder, "away", f"{base}/status/500/v1", ", timeout: 100ms")
    check(summary["processed"] == FRAMES and classes(frames) == [[]] * FRAMES, "nor does an endpoint that fails")
    check("fallback ask" in errors, f"which is said: {errors.strip()[-300:]}")

    config = folder / "literal.yaml"
    write_config(config, base)
    config.write_text(config.read_text().replace("${env:MODEL_KEY}", KEY))
    done = subprocess.run([PROGRAM, "check", str(config)], capture_output=True, text=True)
    check(done.returncode == 2 and "a secret does not belong into this file" in done.stderr and KEY not in done.stderr,
          f"a key in the file is refused: {done.stderr.strip()}")
    write_config(config, base)
    config.write_text(config.read_text().replace("    labels: [dog, cat]\n", ""))
    done = subprocess.run([PROGRAM, "check", str(config)], capture_output=True, text=True, env=os.environ | {"MODEL_KEY": KEY})
    check(done.returncode == 2 and "the model needs `labels`" in done.stderr, f"so is one without answers: {done.stderr.strip()}")
    return 1 if failures else 0


sys.exit(main())
