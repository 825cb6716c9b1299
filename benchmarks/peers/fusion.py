#!/usr/bin/env python3
"""Weighted boxes fusion beside the authors' package ensemble_boxes: the same boxes, the same results, one run.

Both sides are given the same float32 numbers (boxes as shares of a picture, as the package wants them) and take turns,
round after round. Printed are the medians of the CPU time of the calling thread a call, and their ratio. The fused boxes
must be the same, number for number, to 1e-6 of each number; else the script fails. Making the package's argument lists
is not counted, nor is reading the file for the engine.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from ensemble_boxes import weighted_boxes_fusion

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CASES = [(3, 100, 1), (3, 100, 80), (5, 1000, 1), (5, 1000, 80)]  # models, boxes of each, classes
IOU = 0.55
TOLERANCE = 1e-6  # relative


def made_up(rng, models, boxes, classes):
    """Of each model, four of five boxes are another look at an object that all models see."""
    shared = boxes * 4 // 5
    corners, sides = rng.uniform(0.02, 0.88, (shared, 2)), rng.uniform(0.01, 0.09, (shared, 2))
    kinds = rng.integers(0, classes, shared)
    looks = []
    for _ in range(models):
        own = boxes - shared
        at = np.concatenate([corners, rng.uniform(0.02, 0.88, (own, 2))])
        side = np.concatenate([sides, rng.uniform(0.01, 0.09, (own, 2))])
        kind = np.concatenate([kinds, rng.integers(0, classes, own)])
        at = at + rng.uniform(-0.05, 0.05, at.shape) * side
        end = at + side * rng.uniform(0.95, 1.05, at.shape)
        looks.append((np.concatenate([at, end], 1).astype(np.float32), rng.uniform(0.05, 0.95, boxes).astype(np.float32),
                      kind))
    return looks


def write(path, looks):
    words = [f"{IOU:.9g}", str(len(looks))]
    for boxes, scores, kinds in looks:
        words.append(str(len(boxes)))
        for box, score, kind in zip(boxes, scores, kinds):
            words.append(" ".join([str(kind), f"{score:.9g}"] + [f"{v:.9g}" for v in box]))
    path.write_text("\n".join(words))


def package_round(looks):
    boxes = [[[float(v) for v in box] for box in look[0]] for look in looks]
    scores = [[float(v) for v in look[1]] for look in looks]
    kinds = [[int(v) for v in look[2]] for look in looks]
    begin = time.thread_time()
    fused = weighted_boxes_fusion(boxes, scores, kinds, iou_thr=float(np.float32(IOU)), skip_box_thr=0.0)
    return (time.thread_time() - begin) * 1e6, fused


def engine_round(program, path):
    done = subprocess.run([program, path], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    result = json.loads(done.stdout)
    return result["us"], result["fused"]


def rows(kinds, scores, boxes):
    """By class and place, since scores that differ in the last digit may be in another order."""
    table = np.column_stack([kinds, boxes, scores]).astype(np.float64)
    return table[np.lexsort(np.round(table[:, 4::-1], 5).T)]


def worst_difference(package, engine):
    theirs = rows(package[2], package[1], package[0])
    ours = np.array(engine)
    ours = rows(ours[:, 0], ours[:, 1], ours[:, 2:])
    if theirs.shape != ours.shape:
        sys.exit(f"{len(theirs)} fused boxes by the package, {len(ours)} by the engine")
    return float(np.max(np.abs(theirs - ours) / np.maximum(np.abs(theirs), 1e-12) * (theirs != ours)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/bin/fusion_bench")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    good = True
    print(f"{'':38}{'package us':>12}{'engine us':>11}{'ratio':>8}{'fused':>7}  worst relative difference")
    for models, boxes, classes in CASES:
        looks = made_up(rng, models, boxes, classes)
        theirs, ours = [], []
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "boxes.txt"
            write(path, looks)
            package_round(looks)  # once without counting: imports and first calls
            for _ in range(args.rounds):
                us, package = package_round(looks)
                theirs.append(us)
                us, engine = engine_round(args.program, path)
                ours.append(us)
        worst = worst_difference(package, engine)
        good = good and worst <= TOLERANCE
        package_us, engine_us = statistics.median(theirs), statistics.median(ours)
        print(f"{f'{models} models x {boxes} boxes, {classes} classes':38}{package_us:12.0f}{engine_us:11.1f}"
              f"{package_us / engine_us:8.1f}{len(engine):7}  {worst:.1e}", flush=True)
    if not good:
        sys.exit(f"results differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
