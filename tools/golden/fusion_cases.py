#!/usr/bin/env python3
"""Golden results of weighted boxes fusion: the authors' package ensemble_boxes on made boxes of one to four looks."""

import argparse
from pathlib import Path

import numpy as np
from ensemble_boxes import weighted_boxes_fusion

import golden_files as gf

SIDE = 1000  # px; the package wants fractions


def made_case(rng, looks, objects, iou, kinds=3):
    centres = rng.uniform(100, 900, (objects, 2))
    sides = rng.uniform(20, 160, (objects, 2))
    classes = rng.integers(0, kinds, objects)
    given = []
    for _ in range(looks):
        boxes = []
        for centre, side, class_id in zip(centres, sides, classes):
            for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
                c = centre + rng.normal(0, 0.08, 2) * side
                s = side * rng.uniform(0.85, 1.15, 2)
                box = np.clip(np.concatenate([c - s / 2, c + s / 2]), 0, SIDE)
                boxes.append([int(class_id), round(float(rng.uniform(0.05, 1)), 5)] + [round(float(v), 2) for v in box])
        given.append(boxes)
    boxes, scores, labels = weighted_boxes_fusion(
        [[[v / SIDE for v in b[2:]] for b in look] for look in given], [[b[1] for b in look] for look in given],
        [[b[0] for b in look] for look in given], iou_thr=iou, skip_box_thr=0.0)
    if len(set(scores.tolist())) != len(scores):
        gf.refuse("equal confidences: the order is not told by them")
    fused = [[int(c), float(s)] + [round(float(v) * SIDE, 4) for v in b] for b, s, c in zip(boxes, scores, labels)]
    return {"iou": iou, "looks": given, "fused": fused}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/nms"))
    args = parser.parse_args()
    rng = np.random.default_rng(3)
    cases = [made_case(rng, 1, 12, 0.55), made_case(rng, 2, 12, 0.55), made_case(rng, 4, 15, 0.4),
             made_case(rng, 3, 70, 0.55, kinds=1)]  # the last: more fused boxes of a class than a vector has lanes
    gf.write_json(args.out / "fusion.json", {"versions": gf.versions("ensemble-boxes", "numpy"), "cases": cases},
                  depth=3, limit_bytes=30_000)


if __name__ == "__main__":
    main()
