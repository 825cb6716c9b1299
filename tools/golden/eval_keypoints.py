#!/usr/bin/env python3
"""Golden figures of key points: pycocotools' COCOeval with iouType "keypoints" on made people.

With crowds, people without a labelled point, hidden points, more than 20 results in a picture, and equal scores.
"""

import argparse
import contextlib
import io
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import golden_files as gf

POINTS = 17
FIGURES = ["map", "map_50", "map_75", "map_medium", "map_large", "recall_20", "recall_50", "recall_75",
           "recall_medium", "recall_large"]


def made_case():
    rng = np.random.default_rng(21)
    images = [{"id": i} for i in (7, 3, 12, 5, 40, 41)]
    annotations, results = [], []

    def add_result(image, points, surest=1.0):
        flat = [round(float(v), 2) for p in points for v in (*p, 1)]
        results.append({"image_id": image, "category_id": 1, "keypoints": flat,
                        "score": round(float(rng.uniform(0.05, surest)), 2)})

    for n, image in enumerate(images[:-1]):
        for person in range(int(rng.integers(2, 6))):
            side = float(np.exp(rng.uniform(np.log(30), np.log(260))))
            x, y, w, h = rng.uniform(0, 400), rng.uniform(0, 300), side * 0.5, side
            points = np.stack([rng.uniform(x, x + w, POINTS), rng.uniform(y, y + h, POINTS)], 1)
            points = np.round(points)
            seen = rng.choice([0, 1, 2], POINTS, p=[0.25, 0.15, 0.6])
            crowd = int(rng.random() < 0.1)
            if person == 1 and n % 2 == 0:
                seen[:] = 0
            flat = [float(v) for p, s in zip(points, seen) for v in ((*p, s) if s else (0, 0, 0))]
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": crowd,
                                "keypoints": flat, "num_keypoints": int((seen > 0).sum()),
                                "bbox": [round(v, 1) for v in (x, y, w, h)], "area": round(w * h * 0.6, 1)})
            for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
                add_result(image["id"], points + rng.normal(0, side * rng.uniform(0.002, 0.04), points.shape))
        add_result(image["id"], rng.uniform(0, 400, (POINTS, 2)), 0.4)
    for _ in range(25):
        add_result(images[0]["id"], rng.uniform(0, 60, (POINTS, 2)), 0.3)
    return {"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": annotations}, results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/evaluate"))
    args = parser.parse_args()
    truth, results = made_case()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        done = COCOeval(coco, coco.loadRes(results), "keypoints")
        done.evaluate()
        done.accumulate()
        done.summarize()
    figures = {name: float(value) for name, value in zip(FIGURES, done.stats)}
    if not 0.1 < figures["map"] < 0.9 or min(figures.values()) < 0:
        gf.refuse(f"nothing to learn from: {figures}")
    gf.write_json(args.out / "people.truth.json", truth, depth=2, limit_bytes=60_000)
    gf.write_json(args.out / "people.result.json", results, depth=1, limit_bytes=60_000)
    gf.write_json(args.out / "keypoints.json", {"versions": gf.versions("pycocotools", "numpy"),
                                                "truth": "people.truth.json", "results": "people.result.json"} | figures,
                  depth=1, limit_bytes=5_000)


if __name__ == "__main__":
    main()
