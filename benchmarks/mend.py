#!/usr/bin/env python3
"""What `sightline models add` gains on a file whose weights are listed as graph inputs: bare inference before and after.

Such a file keeps ONNX Runtime from folding constants and from packing weights ahead. Files that need no mending are
left out.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "build/bin/sightline"


def infer_ms(model, env):
    done = subprocess.run([PROGRAM, "bench", "infer", model, "--sessions", "1", "--iterations", "200"],
                          capture_output=True, text=True, check=True, env=env)
    return json.loads(done.stdout.strip().splitlines()[-1])["cpu_ms_each"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, type=pathlib.Path, help="folder with the ONNX files")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    files = sorted(args.models.glob("*.onnx"))
    print(f"{'':34}as published  mended  factor   (CPU ms an inference, one thread, median of {args.rounds})")
    shown = 0
    for file in files:
        with tempfile.TemporaryDirectory() as store:
            env = {**os.environ, "SIGHTLINE_MODELS": store}
            added = subprocess.run([PROGRAM, "models", "add", file, "--name", "m", "--json"], capture_output=True,
                                   text=True, env=env)
            if added.returncode != 0 or (pathlib.Path(store) / "m/model.onnx").read_bytes() == file.read_bytes():
                continue
            rounds = [(infer_ms(file, env), infer_ms("m", env)) for _ in range(args.rounds)]
        before, after = (statistics.median(column) for column in zip(*rounds))
        print(f"{file.name:34}{before:12.2f}{after:8.2f}{before / after:7.2f}x", flush=True)
        shown += 1
    if shown == 0:
        raise SystemExit(f"no file in {args.models} needed mending")


if __name__ == "__main__":
    main()
