#!/usr/bin/env python3
"""Golden results of YOLOX, by YOLOX's own preproc(), demo_postprocess() and multiclass_nms()."""

import argparse
from pathlib import Path

import cv2
import numpy as np

import golden_files as gf
import reference_imports

MODEL = "models/yolox_nano_kazuhito.onnx"
INPUT_HW = (416, 416)
SCORE_THRESHOLD = 0.1  # YOLOX demo/ONNXRuntime/onnx_inference.py
NMS_IOU = 0.45  # the same
CONFIDENT_SCORE = 0.3  # the score from which that demo draws a box
SPARSE_SCORE = 0.03
IMAGES_WANTED = 40
HERMETIC_IMAGES = 3


def decode(demo_utils, raw, ratio):
    """As in demo/ONNXRuntime/onnx_inference.py, between session.run() and multiclass_nms()."""
    predictions = demo_utils.demo_postprocess(raw.copy(), INPUT_HW)[0]
    boxes = predictions[:, :4]
    scores = predictions[:, 4:5] * predictions[:, 5:]
    boxes_xyxy = np.ones_like(boxes)
    boxes_xyxy[:, 0] = boxes[:, 0] - boxes[:, 2] / 2.0
    boxes_xyxy[:, 1] = boxes[:, 1] - boxes[:, 3] / 2.0
    boxes_xyxy[:, 2] = boxes[:, 0] + boxes[:, 2] / 2.0
    boxes_xyxy[:, 3] = boxes[:, 1] + boxes[:, 3] / 2.0
    boxes_xyxy /= ratio
    return boxes_xyxy, scores


def suppress(demo_utils, boxes, scores, agnostic):
    found = demo_utils.multiclass_nms(boxes, scores, NMS_IOU, SCORE_THRESHOLD, class_agnostic=agnostic)
    if found is None:
        return []
    found = sorted(found.tolist(), key=lambda d: -d[4])
    return [
        {"class_id": int(d[5]), "score": round(d[4], 6), "box_xyxy_px": gf.round_all(d[:4], 3)} for d in found
    ]


def sparse(raw):
    """Rows whose best score can matter, with what stands for every other row, and the tensor that this gives."""
    rows = raw[0]
    best = rows[:, 4] * rows[:, 5:].max(axis=1)
    background = np.zeros(rows.shape[1], np.float32)
    rebuilt = np.tile(background, (rows.shape[0], 1))
    stored = []
    for index in np.nonzero(best > SPARSE_SCORE)[0]:
        row = np.array([round(float(v), 5) for v in rows[index]])
        classes = {int(c): float(row[5 + c]) for c in np.nonzero(row[5:] > 0.01)[0]}
        rebuilt[index, :5] = row[:5]
        for c, v in classes.items():
            rebuilt[index, 5 + c] = v
        stored.append({"row": int(index), "box_obj": row[:5].tolist(), "classes": [[c, v] for c, v in classes.items()]})
    return stored, rebuilt[None]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with models/ and media/")
    parser.add_argument("--yolox-path", required=True, type=Path, help="checkout of Megvii-BaseDetection/YOLOX")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/heads"))
    args = parser.parse_args()
    demo_utils, data_augment = reference_imports.load_yolox(args.yolox_path)
    session = gf.open_session(args.data / MODEL)
    candidates = sorted((args.data / "media/detection/coco128").rglob("*.jpg"))
    candidates += [args.data / "media/images/opencv-doc" / n for n in ("messi5.jpg", "home.jpg")]

    cases, hermetic = [], []
    for path in candidates:
        image = cv2.imread(str(path))
        if image is None:
            continue
        tensor, ratio = data_augment.preproc(image, INPUT_HW)
        raw = session.run(None, {session.get_inputs()[0].name: tensor[None]})[0]
        boxes, scores = decode(demo_utils, raw, ratio)
        detections = suppress(demo_utils, boxes, scores, agnostic=True)
        classes = {d["class_id"] for d in detections}
        height, width = image.shape[:2]
        if not (5 <= len(detections) <= 100 and len(classes) >= 2 and width != height):
            continue
        cases.append(
            {
                "image": str(path.relative_to(args.data)),
                "image_sha256": gf.sha256_of_file(path),
                "width": width,
                "height": height,
                "resized_wh": [int(width * ratio), int(height * ratio)],
                "ratio": ratio,
                "tensor_sha256": gf.sha256_of_array(tensor[None]),
                "detections": detections,
            }
        )
        if len(hermetic) < HERMETIC_IMAGES and len(detections) >= 10 and len(classes) >= 3 + len(hermetic):
            rows, rebuilt = sparse(raw)
            boxes, scores = decode(demo_utils, rebuilt, ratio)
            hermetic.append(
                {
                    "image": cases[-1]["image"],
                    "width": width,
                    "height": height,
                    "ratio": ratio,
                    "rows": rows,
                    "class_agnostic": suppress(demo_utils, boxes, scores, agnostic=True),
                    "class_aware": suppress(demo_utils, boxes, scores, agnostic=False),
                }
            )
        if len(cases) >= IMAGES_WANTED:
            break
    if len(cases) < 12 or len(hermetic) < HERMETIC_IMAGES:
        gf.refuse(f"only {len(cases)} images and {len(hermetic)} hermetic ones hold enough results")
    if any(not h["class_agnostic"] or not h["class_aware"] for h in hermetic):
        gf.refuse("a hermetic case is empty")

    about = {
        "family": "yolox",
        "model": MODEL,
        "model_sha256": gf.sha256_of_file(args.data / MODEL),
        "reference": {"repository": "Megvii-BaseDetection/YOLOX", "commit": reference_imports.commit_of(args.yolox_path)},
        "versions": gf.versions("onnxruntime", "numpy", "opencv-python-headless"),
        "score_threshold": SCORE_THRESHOLD,
        "score_rule": "obj * best class, strictly above the threshold",
        "nms_iou": NMS_IOU,
        "nms_rule": "inclusive pixels in original image px (width = x2 - x1 + 1); a box is dropped when IoU > nms_iou",
    }
    gf.write_json(
        args.out / "yolox_nano_416.json",
        {
            **about,
            "class_aware": False,
            "confident_score": CONFIDENT_SCORE,
            "tensor": {
                "name": session.get_inputs()[0].name,
                "shape": [1, 3, *INPUT_HW],
                "dtype": "float32",
                "how": "BGR uint8 resized to resized_wh by cv2.INTER_LINEAR, placed top-left on 114, to float32 0..255, "
                "no normalisation, CHW",
            },
            "cases": cases,
        },
        depth=4,
        limit_bytes=150_000,
    )
    gf.write_json(
        args.out / "yolox_nano_416_sparse.json",
        {
            **about,
            "output_shape": [1, 3549, 85],
            "background_row": "85 zeros",
            "row_layout": "box_obj = cx, cy, w, h (raw), objectness; classes = [[class_id, probability]], others 0",
            "input_wh": [INPUT_HW[1], INPUT_HW[0]],
            "strides": [8, 16, 32],
            "cases": hermetic,
        },
        depth=4,
        limit_bytes=150_000,
    )


if __name__ == "__main__":
    main()
