#!/usr/bin/env python3
"""Golden results of FastestDet, by example/onnx-runtime/runtime.py of its repository.

Two sets, because the repository itself uses two interpolations: that example resizes by INTER_AREA, the training and
test.py by INTER_LINEAR.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import golden_files as gf
import reference_imports

MODEL = "models/fastestdet_352.onnx"
SIZE = 352
SCORE_THRESHOLD = 0.3  # chosen so that a picture holds enough results; test.py's validation uses 0.25
CONFIDENT_SCORE = 0.65  # what the example and test.py show
NMS_IOU = 0.45  # default of the example's nms()
SPARSE_SCORE = 0.1
IMAGES_WANTED = 40
HERMETIC_IMAGES = 3


class ReadyOutput:
    """Stands where the example's detection() expects a session; answers with a given feature map."""

    class _Input:
        name = ""

    def __init__(self, feature_map):
        self.feature_map = feature_map

    def get_inputs(self):
        return [self._Input]

    def run(self, _names, _feed):
        return [self.feature_map]


def detect(reference, feature_map, width, height, threshold=SCORE_THRESHOLD):
    """detection() of the example, also with its int() of the coordinates left out.

    -> (detections by descending score, True when leaving out int() changes nothing in the suppression)
    """
    seen = {}
    real_nms = reference.nms

    def watch(name):
        def nms(dets, thresh=NMS_IOU):
            seen[name] = dets
            return real_nms(dets, thresh) if len(dets) else []

        return nms

    image = np.zeros((height, width, 3), np.uint8)
    kept = {}
    for name, to_int in (("int", int), ("float", float)):
        reference.nms = watch(name)
        reference.int = to_int  # the module's own global hides the built-in
        kept[name] = reference.detection(ReadyOutput(feature_map), image, SIZE, SIZE, threshold)
    reference.nms = real_nms
    del reference.int
    if not kept["int"]:
        return [], True
    unrounded = {tuple(a): b for a, b in zip(seen["int"].tolist(), seen["float"].tolist())}
    detections = []
    for d in kept["int"]:
        exact = unrounded[tuple(d)]
        detections.append(
            {
                "class_id": int(d[5]),
                "score": round(d[4], 6),
                "box_xyxy_px": gf.round_all(exact[:4], 3),
                "reference_box_px": [int(v) for v in d[:4]],
            }
        )
    same = [unrounded[tuple(d)] for d in kept["int"]] == kept["float"]
    return sorted(detections, key=lambda d: -d["score"]), same


def make_tensor(reference, image, interpolation):
    if interpolation == "area":
        return reference.preprocess(image, [SIZE, SIZE])
    resized = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)  # as in test.py
    return (resized.transpose(2, 0, 1)[None] / 255).astype("float32")


def sparse(feature_map):
    cells = feature_map[0].reshape(feature_map.shape[1], -1)
    best = cells[0] ** 0.6 * cells[5:].max(axis=0) ** 0.4
    rebuilt = np.zeros_like(cells)
    stored = []
    for index in np.nonzero(best > SPARSE_SCORE)[0]:
        column = np.array([round(float(v), 5) for v in cells[:, index]])
        classes = [[int(c), float(column[5 + c])] for c in np.nonzero(column[5:] > 0.01)[0]]
        rebuilt[:5, index] = column[:5]
        for c, v in classes:
            rebuilt[5 + c, index] = v
        stored.append({"cell": int(index), "obj_reg": column[:5].tolist(), "classes": classes})
    return stored, rebuilt.reshape(feature_map.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with models/ and media/")
    parser.add_argument("--fastestdet-path", required=True, type=Path, help="checkout of dog-qiuqiu/FastestDet")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/heads"))
    args = parser.parse_args()
    reference = reference_imports.load_fastestdet(args.fastestdet_path)
    session = gf.open_session(args.data / MODEL)
    about = {
        "family": "fastestdet",
        "model": MODEL,
        "model_sha256": gf.sha256_of_file(args.data / MODEL),
        "reference": {
            "repository": "dog-qiuqiu/FastestDet",
            "commit": reference_imports.commit_of(args.fastestdet_path),
        },
        "versions": gf.versions("onnxruntime", "numpy", "opencv-python-headless"),
        "score_threshold": SCORE_THRESHOLD,
        "score_rule": "obj^0.6 * best class^0.4, strictly above the threshold",
        "nms_iou": NMS_IOU,
        "nms_rule": "over all classes together, on reference_box_px, inclusive pixels (width = x2 - x1 + 1); "
        "a box is dropped when IoU > nms_iou",
        "class_aware": False,
    }
    candidates = sorted((args.data / "media/detection/coco128").rglob("*.jpg"))
    sparse_cases = []
    for interpolation in ("area", "linear"):
        cases = []
        for path in candidates:
            image = cv2.imread(str(path))
            height, width = image.shape[:2]
            tensor = make_tensor(reference, image, interpolation)
            feature_map = session.run(None, {session.get_inputs()[0].name: tensor})[0]
            detections, same = detect(reference, feature_map, width, height)
            classes = {d["class_id"] for d in detections}
            if not (same and 5 <= len(detections) <= 100 and len(classes) >= 2 and width != height):
                continue
            if not any(d["score"] >= CONFIDENT_SCORE for d in detections):
                continue
            cases.append(
                {
                    "image": str(path.relative_to(args.data)),
                    "image_sha256": gf.sha256_of_file(path),
                    "width": width,
                    "height": height,
                    "tensor_sha256": gf.sha256_of_array(tensor),
                    "detections": detections,
                }
            )
            if interpolation == "area" and len(sparse_cases) < HERMETIC_IMAGES and len(detections) >= 8:
                cells, rebuilt = sparse(feature_map)
                found, same = detect(reference, rebuilt, width, height)
                if same and found:
                    sparse_cases.append(
                        {"image": cases[-1]["image"], "width": width, "height": height, "cells": cells, "detections": found}
                    )
            if len(cases) >= IMAGES_WANTED:
                break
        if len(cases) < 12:
            gf.refuse(f"only {len(cases)} images hold enough results")
        gf.write_json(
            args.out / f"fastestdet_352_{interpolation}.json",
            {
                **about,
                "confident_score": CONFIDENT_SCORE,
                "tensor": {
                    "name": session.get_inputs()[0].name,
                    "shape": [1, 3, SIZE, SIZE],
                    "dtype": "float32",
                    "how": f"BGR uint8 stretched to {SIZE}x{SIZE} by cv2.INTER_{interpolation.upper()}, "
                    "divided by 255, CHW",
                },
                "cases": cases,
            },
            depth=4,
            limit_bytes=150_000,
        )
    if len(sparse_cases) < HERMETIC_IMAGES:
        gf.refuse("too few hermetic cases")
    gf.write_json(
        args.out / "fastestdet_352_sparse.json",
        {
            **about,
            "output_shape": [1, 85, 22, 22],
            "background_cell": "85 zeros",
            "cell_layout": "cell = row * 22 + column; obj_reg = channels 0..4: objectness, then raw dx, dy, w, h; "
            "classes = [[class_id, probability]], others 0",
            "cases": sparse_cases,
        },
        depth=4,
        limit_bytes=150_000,
    )


if __name__ == "__main__":
    main()
