#!/usr/bin/env python3
"""CPU efficiency of `sightline run`: what decoding and bare inference must cost, over what the run costs.

  efficiency = (CPU s of decoding alone + CPU s of bare inference) / CPU s of the whole run, start-up included
  overhead   = (CPU s of the run - its start-up - decoding - preprocessing - inference) / frames

Rows in SQLite and JSON lines are on, pictures off. Decoding and bare inference (on ready tensors, as many
sessions as the run has) are two programs started at once, so that the cores and their shared cache are as busy
as in the run; so are preprocessing and a second decoding. Start-up is a run of one frame. Other tenants of a
machine move its speed by some per cent from minute to minute: the parts are interleaved, in every second round
the other way round, and the medians of the rounds are printed, of the efficiency also the least and the most.
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


def run_json(*commands):
    """The last line of each of the commands, which run at once."""
    commands = [[str(part) for part in command] for command in commands]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for command in commands]
    results = []
    for command, process in zip(commands, running):
        out, err = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{err}")
        results.append(json.loads(out.strip().splitlines()[-1]))
    return results


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def make_clips(clip, folder):
    """The clip twice over, so that start-up weighs what it weighs in a run of minutes; the same in 1080p."""
    twice, large, large_twice = (str(pathlib.Path(folder) / name) for name in ("twice.mkv", "1080p.mkv", "1080p2.mkv"))
    ffmpeg("-stream_loop", "1", "-i", clip, "-an", "-c", "copy", twice)
    ffmpeg("-i", clip, "-an", "-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast", "-crf", "26",
           "-pix_fmt", "yuv420p", large)
    ffmpeg("-stream_loop", "1", "-i", large, "-c", "copy", large_twice)
    return [("768x576", twice), ("1080p", large_twice)]


def measure_round(clip, model, threads, run_first):
    """CPU milliseconds a frame of decoding, preprocessing, inference and the run; its start-up; frames."""
    decode_alone = [PROGRAM, "bench", "decode", clip]
    preprocess, _ = run_json([PROGRAM, "bench", "preprocess", model, clip], decode_alone)
    frames = preprocess["count"]
    command = [PROGRAM, "run", "--source", clip, "--model", model, "--no-video", "--no-report", "--json"]

    def measure_run():
        with tempfile.TemporaryDirectory() as out:
            return run_json([*command, "--out", out])[0]

    run = measure_run() if run_first else None
    decode, infer = run_json(
        decode_alone,
        [PROGRAM, "bench", "infer", model, "--sessions", threads, "--iterations", frames])
    run = run or measure_run()
    with tempfile.TemporaryDirectory() as out:
        first = run_json([*command, "--out", out, "--max-frames", 1])[0]
    if run["cameras"][0]["processed"] != frames:
        raise SystemExit(f"{clip}: {frames} frames decoded, but the run says {run}")
    return {"decode": decode["cpu_ms_each"], "preprocess": preprocess["cpu_ms_each"],
            "infer": infer["cpu_ms_each"], "run": run["cpu_s"] * 1e3 / frames,
            "startup": first["cpu_s"] * 1e3 / frames, "wall": run["wall_s"] * 1e3 / frames,
            "frames": frames}


def measure(clip, model, rounds, threads):
    measured = [measure_round(clip, model, threads, bool(i % 2)) for i in range(rounds)]
    for m in measured:
        m["efficiency"] = (m["decode"] + m["infer"]) / m["run"]
        m["overhead"] = m["run"] - m["startup"] - m["decode"] - m["preprocess"] - m["infer"]
    result = {key: statistics.median(m[key] for m in measured) for key in measured[0]}
    return result | {"least": min(m["efficiency"] for m in measured), "most": max(m["efficiency"] for m in measured)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", required=True, help="folder with the ONNX files")
    parser.add_argument("--clip", default="/usr/share/doc/opencv-doc/examples/data/vtest.avi",
                        help="a 768x576 clip; a 1080p one is made of it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="of the models, those whose names hold this")
    args = parser.parse_args()
    if not shutil.which("ffmpeg"):
        raise SystemExit("ffmpeg is missing: ./dev setup")
    threads = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(args.clip, folder)
        print(f"{threads} cores, median of {args.rounds} rounds; CPU ms a frame\n")
        print(f"{'':33} efficiency  (least-most)   aim  decode  preproc  infer    run  start-up  overhead  wall ms")
        for model, aim in (case for case in CASES if args.only in case[0]):
            for name, clip in clips:
                m = measure(clip, str(pathlib.Path(args.models) / model), args.rounds, threads)
                print(f"{model:25} {name:8} {m['efficiency']:9.3f} ({m['least']:.3f}-{m['most']:.3f}) {aim:5.2f} "
                      f"{m['decode']:7.2f} {m['preprocess']:8.2f} {m['infer']:6.2f} {m['run']:6.2f} {m['startup']:9.2f} "
                      f"{m['overhead']:9.2f} {m['wall']:8.2f}", flush=True)


if __name__ == "__main__":
    main()
