#!/usr/bin/env python3
"""Golden figures of masks: pycocotools' COCOeval with iouType "segm" on made outlines.

Truth has outlines (some of two parts, some that leave the picture) and, for crowds, runs; results have compressed runs.
"""

import argparse
import contextlib
import copy
import io
from pathlib import Path

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import golden_files as gf

SIZES = {3: (320, 240), 8: (201, 333), 9: (64, 48)}  # width, height
FIGURES = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "recall_1", "recall_10", "recall_100",
           "recall_small", "recall_medium", "recall_large"]


def star(rng, x, y, radius, corners):
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    lengths = radius * rng.uniform(0.5, 1.2, corners)
    points = np.stack([x + lengths * np.cos(angles), y + lengths * np.sin(angles)], 1)
    return [round(float(v), 2) for v in points.ravel()]


def made_case():
    rng = np.random.default_rng(8)
    images = [{"id": i, "width": w, "height": h} for i, (w, h) in SIZES.items()]
    annotations, results = [], []
    for image in images:
        for _ in range(9):
            radius = float(np.exp(rng.uniform(np.log(6), np.log(min(image["width"], image["height"]) / 2))))
            x, y = rng.uniform(0, image["width"]), rng.uniform(0, image["height"])
            outlines = [star(rng, x, y, radius, int(rng.integers(3, 12)))]
            if rng.random() < 0.3:
                outlines.append(star(rng, x + radius, y, radius / 2, 5))
            runs = mask.merge(mask.frPyObjects(outlines, image["height"], image["width"]))
            area = float(mask.area(runs))
            if area < 10:
                continue
            crowd = int(rng.random() < 0.15)
            segmentation = outlines
            if crowd:
                pixels = mask.decode(runs).ravel(order="F")
                edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels, [2]])))
                counts = np.diff(np.concatenate([[0], edges])).tolist()
                segmentation = {"size": [image["height"], image["width"]], "counts": [int(c) for c in counts]}
            category = int(rng.choice([1, 4]))
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": category,
                                "iscrowd": crowd, "segmentation": segmentation, "area": area,
                                "bbox": [float(v) for v in mask.toBbox(runs)]})
            for _ in range(int(rng.choice([0, 1, 1, 2]))):
                moved = [(np.array(o) + rng.normal(0, 0.05 * radius, 2 * (len(o) // 2))).tolist() for o in outlines]
                found = mask.merge(mask.frPyObjects(moved, image["height"], image["width"]))
                if mask.area(found) == 0:
                    continue
                results.append({"image_id": image["id"], "category_id": category, "score": round(float(rng.uniform(0.1, 1)), 3),
                                "segmentation": {"size": found["size"], "counts": found["counts"].decode()}})
    categories = [{"id": 1, "name": "leaf"}, {"id": 4, "name": "stone"}]
    return {"images": images, "categories": categories, "annotations": annotations}, results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/evaluate"))
    args = parser.parse_args()
    truth, results = made_case()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)  # pycocotools puts its own masks into it
        coco.createIndex()
        areas = [float(mask.area(coco.annToRLE(a))) for a in truth["annotations"]]
        done = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "segm")
        done.evaluate()
        done.accumulate()
        done.summarize()
    figures = {name: float(value) for name, value in zip(FIGURES, done.stats)}
    if not 0.1 < figures["map"] < 0.95 or len(areas) < 15:
        gf.refuse(f"nothing to learn from: {figures}")
    if areas != [a["area"] for a in truth["annotations"]]:
        gf.refuse("runs and outlines differ")
    gf.write_json(args.out / "leaves.truth.json", truth, depth=2, limit_bytes=60_000)
    gf.write_json(args.out / "leaves.result.json", results, depth=1, limit_bytes=60_000)
    gf.write_json(args.out / "masks.json", {"versions": gf.versions("pycocotools", "numpy"), "truth": "leaves.truth.json",
                                            "results": "leaves.result.json"} | figures, depth=1, limit_bytes=5_000)


if __name__ == "__main__":
    main()
