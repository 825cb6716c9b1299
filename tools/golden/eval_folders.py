#!/usr/bin/env python3
"""Golden figures of truth in the folders of YOLO and Pascal VOC: pycocotools' COCOeval on the boxes that they mean.

The files stand in folders.json as texts. What they mean is computed here once more: YOLO's fractions of the picture, and
VOC's corners that count pixels from 1 and belong to the box (as Detectron2 reads them); an object marked difficult is
ignored, which pycocotools knows for crowds only, so a subclass marks it after COCOeval prepared its truth.
"""

import argparse
import contextlib
import io
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import golden_files as gf

NAMES = ["cat", "dog", "hen"]
SIZES = [(200, 160), (333, 201), (640, 480), (97, 300)]
FIGURES = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "recall_1", "recall_10", "recall_100",
           "recall_small", "recall_medium", "recall_large"]


class WithDifficult(COCOeval):
    def _prepare(self):
        super()._prepare()
        for boxes in self._gts.values():
            for box in boxes:
                box["ignore"] = box["ignore"] or box.get("difficult", 0)


def figures_of(annotations, results):
    truth = {"images": [{"id": i} for i in range(len(SIZES))],
             "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)],
             "annotations": [a | {"id": i + 1, "iscrowd": 0} for i, a in enumerate(annotations)]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        done = WithDifficult(coco, coco.loadRes(results), "bbox")
        done.evaluate()
        done.accumulate()
        done.summarize()
    return {name: float(value) for name, value in zip(FIGURES, done.stats)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/evaluate"))
    args = parser.parse_args()
    rng = np.random.default_rng(5)
    yolo = {"data.yaml": "val: images/val\nnames:\n" + "".join(f"  {i}: {n}\n" for i, n in enumerate(NAMES))}
    voc = {"classes.txt": "\n".join(NAMES) + "\n"}
    found_files = {}
    yolo_truth, voc_truth, results = [], [], []
    for image, (width, height) in enumerate(SIZES):
        name = f"p{image}"
        yolo_lines, found_lines, objects = [], [], []
        for n in range(7):
            class_id = int(rng.integers(3))
            w, h = rng.integers(6, width // 2), rng.integers(6, height // 2)
            x, y = rng.integers(0, width - w), rng.integers(0, height - h)
            # YOLO: written with six digits, as tools do, and read back.
            fractions = [f"{v:.6f}" for v in ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)]
            cx, cy, fw, fh = (float(v) for v in fractions)
            box = [(cx - fw / 2) * width, (cy - fh / 2) * height, fw * width, fh * height]
            if n == 6:  # an outline: a triangle
                points = [f"{v:.6f}" for v in (x / width, y / height, (x + w) / width, y / height, x / width,
                                               (y + h) / height)]
                v = [float(p) for p in points]
                box = [v[0] * width, v[1] * height, (v[2] - v[0]) * width, (v[5] - v[1]) * height]
                yolo_lines.append(" ".join([str(class_id)] + points))
                area = box[2] * box[3] / 2
            else:
                yolo_lines.append(" ".join([str(class_id)] + fractions))
                area = box[2] * box[3]
            yolo_truth.append({"image_id": image, "category_id": class_id, "bbox": box, "area": area})
            # VOC: first and last pixel, from 1.
            difficult = int(rng.random() < 0.2)
            objects.append(f"  <object><name>{NAMES[class_id]}</name><difficult>{difficult}</difficult><bndbox><xmin>{x + 1}"
                           f"</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>")
            voc_truth.append({"image_id": image, "category_id": class_id, "difficult": difficult,
                              "bbox": [float(v) for v in (x, y, w, h)], "area": float(w * h)})
            for _ in range(int(rng.choice([0, 1, 1, 2]))):
                g = np.clip(np.array([x, y, x + w, y + h]) + rng.normal(0, 0.06, 4) * [w, h, w, h], 0,
                            [width, height, width, height])
                f = [f"{v:.6f}" for v in ((g[0] + g[2]) / 2 / width, (g[1] + g[3]) / 2 / height, (g[2] - g[0]) / width,
                                          (g[3] - g[1]) / height)]
                score = round(float(rng.uniform(0.05, 1)), 3)
                fx, fy, fw, fh = (float(v) for v in f)
                found_lines.append(" ".join([str(class_id)] + f + [str(score)]))
                results.append({"image_id": image, "category_id": class_id, "score": score,
                                "bbox": [(fx - fw / 2) * width, (fy - fh / 2) * height, fw * width, fh * height]})
        yolo[f"labels/val/{name}.txt"] = "\n".join(yolo_lines) + "\n"
        voc[f"Annotations/{name}.xml"] = (
            f"<annotation>\n  <filename>{name}.jpg</filename>\n  <size><width>{width}</width><height>{height}</height>"
            "<depth>3</depth></size>\n" + "\n".join(objects) + "\n</annotation>\n")
        found_files[f"labels/{name}.txt"] = "\n".join(found_lines) + "\n"
    figures = {"yolo": figures_of(yolo_truth, results), "voc": figures_of(voc_truth, results)}
    if figures["yolo"]["map"] == figures["voc"]["map"] or not 0.1 < figures["voc"]["map"] < 0.9:
        gf.refuse("nothing to learn from")
    gf.write_json(args.out / "folders.json", {
        "versions": gf.versions("pycocotools", "numpy"), "sizes": {f"p{i}": s for i, s in enumerate(SIZES)},
        "yolo": yolo, "voc": voc, "found": found_files, "figures": figures}, depth=2, limit_bytes=30_000)


if __name__ == "__main__":
    main()
