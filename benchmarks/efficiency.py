#!/usr/bin/env python3
"""CPU efficiency of `sightline run`: what decoding and bare inference must cost, over what the run costs.

  efficiency = (CPU s of decoding alone + CPU s of bare inference) / CPU s of the whole run
  overhead   = (CPU s of the run - both) / frames, start-up and preprocessing included

Rows in SQLite and JSON lines are on, pictures off. Bare inference runs on ready tensors with as many
sessions as the run has, all cores equally busy. The three are interleaved, round after round, since other
tenants of a machine move its speed; the medians of the rounds are printed.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "build/bin/sightline"
CASES = [("yolox_nano_kazuhito.onnx", 0.95), ("fastestdet_352.onnx", 0.90)]


def last_json(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def make_1080p(clip, folder):
    out = str(pathlib.Path(folder) / "1080p.mp4")
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", clip, "-t", "40", "-vf", "scale=1920:1080", "-c:v",
                    "libx264", "-preset", "veryfast", "-crf", "26", "-pix_fmt", "yuv420p", out], check=True)
    return out


def measure(clip, model, rounds, threads):
    ratios, overheads, rows = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as out:
            decode = last_json([PROGRAM, "bench", "decode", clip])
            frames = decode["count"]
            infer = last_json([PROGRAM, "bench", "infer", model, "--sessions", str(threads),
                               "--iterations", str(frames)])
            command = [str(PROGRAM), "run", "--source", clip, "--model", model, "--out", out,
                       "--no-video", "--no-report", "--json"]
            run = last_json(command)
        assert run["cameras"][0]["processed"] == frames, (run, frames)
        floor = decode["cpu_s"] + infer["cpu_s"]
        ratios.append(floor / run["cpu_s"])
        overheads.append((run["cpu_s"] - floor) * 1e3 / frames)
        rows.append((decode["cpu_s"], infer["cpu_s"], run["cpu_s"], run["wall_s"], frames))
    print(f"  $ {' '.join(command)}")
    decode_s, infer_s, run_s, wall_s, frames = (statistics.median(c) for c in zip(*rows))
    return statistics.median(ratios), statistics.median(overheads), decode_s, infer_s, run_s, wall_s, frames


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", required=True, help="folder with the ONNX files")
    parser.add_argument("--clip", default="/usr/share/doc/opencv-doc/examples/data/vtest.avi",
                        help="a 768x576 clip; a 1080p one is made from it")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not shutil.which("ffmpeg"):
        raise SystemExit("ffmpeg is missing: ./dev setup")
    threads = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        clips = [("768x576", args.clip), ("1080p", make_1080p(args.clip, folder))]
        print(f"{threads} cores, median of {args.rounds} rounds")
        for model, aim in CASES:
            for name, clip in clips:
                ratio, overhead, decode_s, infer_s, run_s, wall_s, frames = measure(
                    clip, str(pathlib.Path(args.models) / model), args.rounds, threads)
                print(f"{model} {name}: efficiency {ratio:.3f} (aim {aim}); overhead {overhead:.3f} ms/frame; "
                      f"CPU s: decode {decode_s:.2f} + inference {infer_s:.2f}, run {run_s:.2f}; "
                      f"wall {wall_s:.2f} s, {frames:.0f} frames")


if __name__ == "__main__":
    main()
