#!/usr/bin/env python3
"""Golden figures of detection accuracy: pycocotools' COCOeval on made boxes.

The boxes have crowds, objects of every area range, equal confidences, overlaps of exactly a threshold, more than 100
results in a picture, pictures without truth or results, and classes without either.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import golden_files as gf

MADE = [
    # name, seed, pictures, mean objects a picture, whole-pixel boxes
    ("shop", 4, 25, 7, True),
    ("crowd", 9, 8, 20, False),
]
NAMES = {3: "person", 5: "car", 9: "bag", 11: "nothing of it"}
FIGURES = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "recall_1", "recall_10", "recall_100",
           "recall_small", "recall_medium", "recall_large"]


def made_case(seed, pictures, objects, whole):
    rng = np.random.default_rng(seed)
    images = [{"id": int(i)} for i in sorted(rng.choice(range(1, 500), pictures, replace=False))]
    rng.shuffle(images)
    annotations, results = [], []
    digits = 0 if whole else 2

    def rounded(v):
        return [float(q) for q in np.round(v, digits)]

    for n, image in enumerate(images):
        if n % 9 == 4:
            continue
        for _ in range(rng.poisson(objects)):
            side = float(np.exp(rng.uniform(np.log(10), np.log(250))))
            box = rounded([rng.uniform(0, 600), rng.uniform(0, 400), side, side * rng.uniform(0.5, 2)])
            box[2], box[3] = max(box[2], 4.0), max(box[3], 4.0)
            crowd = int(rng.random() < 0.08)
            annotation = {"id": len(annotations) + 1, "image_id": image["id"],
                          "category_id": int(rng.choice([3, 3, 5, 9])), "bbox": box, "iscrowd": crowd,
                          "area": round(box[2] * box[3] * float(rng.choice([1, 0.7])), 2)}
            annotations.append(annotation)
            for _ in range(rng.poisson(3) if crowd else int(rng.choice([0, 1, 1, 1, 2]))):
                if crowd:
                    v = [box[0] + rng.uniform(0, 0.6) * box[2], box[1] + rng.uniform(0, 0.6) * box[3], box[2] * 0.5,
                         box[3] * 0.5]
                elif rng.random() < 0.2:  # half of it, exactly
                    v = [box[0], box[1], box[2], box[3] / 2]
                else:
                    v = np.array(box) + rng.normal(0, 0.08, 4) * [box[2], box[3], box[2], box[3]]
                category = annotation["category_id"] if rng.random() < 0.93 else int(rng.choice([3, 5, 9, 11]))
                found = rounded(v)
                found[2], found[3] = max(found[2], 1.0), max(found[3], 1.0)
                results.append({"image_id": image["id"], "category_id": category, "bbox": found,
                                "score": round(float(rng.uniform(0.05, 1)), 2)})
        for _ in range(rng.poisson(2)):
            results.append({"image_id": image["id"], "category_id": int(rng.choice([3, 5, 9])), "bbox": rounded(
                [rng.uniform(0, 600), rng.uniform(0, 400), *rng.uniform(8, 120, 2)]),
                "score": round(float(rng.uniform(0.01, 0.6)), 2)})
    many = images[0]["id"]  # more than 100 of one class
    for _ in range(130):
        results.append({"image_id": many, "category_id": 3,
                        "bbox": rounded([*rng.uniform(0, 500, 2), *rng.uniform(10, 60, 2)]),
                        "score": round(float(rng.uniform(0.01, 0.5)), 3)})
    categories = [{"id": i, "name": name} for i, name in NAMES.items()]
    return {"images": images, "categories": categories, "annotations": annotations}, results


def evaluate(truth, results):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        done = COCOeval(coco, coco.loadRes(results), "bbox")
        done.evaluate()
        done.accumulate()
        done.summarize()
    figures = {name: float(value) for name, value in zip(FIGURES, done.stats)}
    precision = done.eval["precision"][:, :, :, 0, -1]
    classes = []
    for k, class_id in enumerate(done.params.catIds):
        p = precision[:, :, k]
        if (p > -1).any():
            classes.append({"class_id": int(class_id), "ap": float(p[p > -1].mean()), "ap_50": float(p[0].mean()),
                            "ap_75": float(p[5].mean()),
                            "recall_50": float(done.eval["recall"][0, k, 0, -1])})
    return figures | {"classes": classes}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with media/, for the recorded case")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/evaluate"))
    args = parser.parse_args()
    index = {"versions": gf.versions("pycocotools", "numpy"), "made": [], "recorded": []}
    for name, seed, pictures, objects, whole in MADE:
        truth, results = made_case(seed, pictures, objects, whole)
        figures = evaluate(truth, results)
        if not figures["classes"] or figures["map"] <= 0.05:
            gf.refuse(f"{name}: next to nothing was found")
        gf.write_json(args.out / f"{name}.truth.json", truth, depth=2, limit_bytes=80_000)
        gf.write_json(args.out / f"{name}.result.json", results, depth=1, limit_bytes=80_000)
        index["made"].append({"name": name, "truth": f"{name}.truth.json", "results": f"{name}.result.json"} | figures)
    if args.data:
        folder = "media/detection/review_odm_coco_eval/"
        truth_path = args.data / folder / "gts/sampled_gts_bbox_area.json"
        result_path = args.data / folder / "cocoapi_results.json"
        index["recorded"].append({
            "truth": folder + "gts/sampled_gts_bbox_area.json", "truth_sha256": gf.sha256_of_file(truth_path),
            "results": folder + "cocoapi_results.json", "results_sha256": gf.sha256_of_file(result_path),
        } | evaluate(json.loads(truth_path.read_text()), json.loads(result_path.read_text())))
    gf.write_json(args.out / "coco.json", index, depth=3, limit_bytes=30_000)


if __name__ == "__main__":
    main()
