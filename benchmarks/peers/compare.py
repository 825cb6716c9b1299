#!/usr/bin/env python3
"""`sightline run` beside the Python loop of python_loop.py: same clip, same file, same thresholds, two threads.

Rows go to SQLite and JSON lines on both sides, no pictures. The two take turns, round after round, since other
tenants of a machine move its speed; medians are printed. "command s" is the wall time of the whole command, as a
user waits for it; "wall s" and "CPU s" are each side's own and leave out its imports, libraries and the model's
loading (the engine's CPU time has them).
Ultra-Light's file is mended for both sides (mend_inputs.py).
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / "build/bin/sightline"
THREADS = 2
# file, family of the loop, confidence, at most this share of the loop's whole command
CASES = [
    ("yolox_nano_kazuhito.onnx", "yolox", 0.25, 0.75),
    ("ultraface_rfb_320.onnx", "ultraface", 0.7, 0.5),
    ("fastestdet_352.onnx", "fastestdet", 0.3, None),
]


def timed(command):
    command = [str(part) for part in command]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1]), time.monotonic() - start


def loop_round(python, clip, model, family, confidence, folder):
    result, command_s = timed([
        python, HERE / "python_loop.py", clip, model, "--family", family, "--threads", THREADS, "--score", confidence,
        "--json", folder / "loop.jsonl", "--db", folder / "loop.db"])
    return {"wall": result["wall_s"], "cpu": result["cpu_s"], "command": command_s, "frames": result["frames"],
            "tracks": result["tracks"]}


def engine_round(clip, model, confidence, folder):
    result, command_s = timed([
        PROGRAM, "run", "--source", clip, "--model", model, "--confidence", confidence, "--threads", THREADS,
        "--out", folder / "engine", "--no-video", "--no-report", "--json"])
    camera = result["cameras"][0]
    return {"wall": result["wall_s"], "cpu": result["cpu_s"], "command": command_s, "frames": camera["processed"],
            "tracks": camera["tracks"]}


def medians(rounds):
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, type=pathlib.Path, help="folder with the ONNX files")
    parser.add_argument("--python", default=ROOT / "build/peers/bin/python", help="with requirements.txt installed")
    parser.add_argument("--clip", default="/usr/share/doc/opencv-doc/examples/data/vtest.avi")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{args.clip}, {THREADS} threads, median of {args.rounds} rounds\n")
    print(f"{'':27}{'':10}  wall s   CPU s  command s  frames  tracks")
    with tempfile.TemporaryDirectory() as temporary:
        for name, family, confidence, aim in CASES:
            folder = pathlib.Path(temporary) / family
            folder.mkdir()
            model = args.models / name
            if family == "ultraface":
                mended = folder / name
                subprocess.run([args.python, HERE / "mend_inputs.py", model, mended], check=True, capture_output=True)
                model = mended
            loop, engine = [], []
            for i in range(args.rounds):
                round_folder = folder / str(i)
                round_folder.mkdir()
                loop.append(loop_round(args.python, args.clip, model, family, confidence, round_folder))
                engine.append(engine_round(args.clip, model, confidence, round_folder))
            ours, theirs = medians(engine), medians(loop)
            for who, m in (("sightline", ours), ("loop", theirs)):
                print(f"{name:27}{who:10}{m['wall']:8.2f}{m['cpu']:8.2f}{m['command']:11.2f}{m['frames']:8.0f}"
                      f"{m['tracks']:8.0f}")
            shares = {key: ours[key] / theirs[key] for key in ("wall", "cpu", "command")}
            print(f"{'':27}{'share':10}{shares['wall']:8.2f}{shares['cpu']:8.2f}{shares['command']:11.2f}"
                  + (f"   aim: command at most {aim}" if aim else ""), flush=True)


if __name__ == "__main__":
    main()
