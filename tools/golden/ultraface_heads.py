#!/usr/bin/env python3
"""Golden results of Ultra-Light-Fast-Generic-Face-Detector-1MB, by its own priors, box decoding, predict() and NMS."""

import argparse
from pathlib import Path

import cv2
import numpy as np

import golden_files as gf
import reference_imports

SCORE_THRESHOLD = 0.5  # chosen so that a picture holds enough results
CONFIDENT_SCORE = 0.7  # run_video_face_detect_onnx.py
NMS_IOU = 0.3  # default of predict()
SPARSE_SCORE = 0.2
IMAGES_WANTED = 40
HERMETIC_IMAGES = 2
FINE = 2**22  # predict() cuts its boxes to int; asked for a picture this wide and high it cuts far below a pixel

MODELS = [
    # file, width and height of the input, boxes come decoded
    ("ultraface_rfb_320", 320, 240, False),
    ("ultraface_slim_320", 320, 240, False),
    ("ultraface_rfb_640", 640, 480, True),
]


def make_tensor(image, width, height):
    """As in run_video_face_detect_onnx.py."""
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, (width, height))
    image = (image - np.array([127, 127, 127])) / 128
    return np.expand_dims(np.transpose(image, [2, 0, 1]), axis=0).astype(np.float32)


def detect(predict, box_utils, config, scores, boxes, decoded, width, height, threshold=SCORE_THRESHOLD):
    if not decoded:
        boxes = box_utils.convert_locations_to_boxes(
            boxes, config.priors, config.center_variance, config.size_variance
        )
        boxes = box_utils.center_form_to_corner_form(boxes)
    whole, _, probabilities = predict(width, height, scores, boxes, threshold, NMS_IOU)
    fine, _, again = predict(FINE, FINE, scores, boxes, threshold, NMS_IOU)
    assert np.array_equal(probabilities, again)
    size = np.array([width, height, width, height])
    return [
        {
            "class_id": 0,
            "score": round(float(p), 6),
            "box_xyxy_px": gf.round_all(f / FINE * size, 3),
            "reference_box_px": [int(v) for v in w],
        }
        for w, f, p in zip(whole, fine, probabilities)
    ]


def sparse(scores, boxes):
    rebuilt_scores = np.zeros_like(scores)
    rebuilt_scores[..., 0] = 1
    rebuilt_boxes = np.zeros_like(boxes)
    stored = []
    for index in np.nonzero(scores[0, :, 1] > SPARSE_SCORE)[0]:
        pair = [round(float(v), 6) for v in scores[0, index]]
        box = [round(float(v), 6) for v in boxes[0, index]]
        rebuilt_scores[0, index] = pair
        rebuilt_boxes[0, index] = box
        stored.append({"row": int(index), "scores": pair, "box": box})
    return stored, rebuilt_scores, rebuilt_boxes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with models/ and media/")
    parser.add_argument("--ultraface-path", required=True, type=Path,
                        help="checkout of Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/heads"))
    args = parser.parse_args()
    predict, box_utils, config = reference_imports.load_ultraface(args.ultraface_path)
    media = args.data / "media"
    candidates = [p for d in ("detection/coco128", "faces/dlib", "images/opencv-doc", "detection/review_odm_toyexample/images")
                  for p in sorted((media / d).rglob("*.jpg"))]
    candidates = [p for p in candidates if cv2.imread(str(p)) is not None]
    for name, width_in, height_in, decoded in MODELS:
        session = gf.open_session(args.data / f"models/{name}.onnx")
        config.define_img_size(width_in)
        cases, raws = [], {}
        for path in candidates:
            image = cv2.imread(str(path))
            height, width = image.shape[:2]
            tensor = make_tensor(image, width_in, height_in)
            scores, boxes = session.run(["scores", "boxes"], {session.get_inputs()[0].name: tensor})
            detections = detect(predict, box_utils, config, scores, boxes, decoded, width, height)
            if len(detections) < 2 or not any(d["score"] >= CONFIDENT_SCORE for d in detections):
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
            raws[cases[-1]["image"]] = (scores, boxes)
        cases.sort(key=lambda c: -len(c["detections"]))  # stable: pictures with many faces first
        cases = cases[:IMAGES_WANTED]
        rich = [c for c in cases if 5 <= len(c["detections"]) <= 100]
        if len(cases) < 12 or len(rich) < 5:
            gf.refuse(f"{name}: only {len(cases)} images with faces, {len(rich)} with five or more")
        about = {
            "family": "ultraface",
            "model": f"models/{name}.onnx",
            "model_sha256": gf.sha256_of_file(args.data / f"models/{name}.onnx"),
            "boxes_decoded_by_model": decoded,
            "reference": {
                "repository": "Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB",
                "commit": reference_imports.commit_of(args.ultraface_path),
            },
            "versions": gf.versions("onnxruntime", "numpy", "opencv-python-headless"),
            "score_threshold": SCORE_THRESHOLD,
            "score_rule": "second column of scores, strictly above the threshold",
            "nms_iou": NMS_IOU,
            "nms_rule": "the 200 best only; on normalised corners: inter / (a + b - inter + 1e-5), no clipping to the "
            "picture; a box is dropped when that is > nms_iou",
            "class_aware": False,
            "input_wh": [width_in, height_in],
        }
        gf.write_json(
            args.out / f"{name}.json",
            {
                **about,
                "confident_score": CONFIDENT_SCORE,
                "tensor": {
                    "name": session.get_inputs()[0].name,
                    "shape": [1, 3, height_in, width_in],
                    "dtype": "float32",
                    "how": f"RGB uint8 stretched to {width_in}x{height_in} by cv2.INTER_LINEAR, (x - 127) / 128 in "
                    "float64, then float32, CHW",
                },
                "cases": cases,
            },
            depth=4,
            limit_bytes=150_000,
        )
        hermetic = []
        for case in rich[:HERMETIC_IMAGES]:
            rows, scores, boxes = sparse(*raws[case["image"]])
            found = detect(predict, box_utils, config, scores, boxes, decoded, case["width"], case["height"])
            if not found:
                gf.refuse(f"{name}: a hermetic case is empty")
            hermetic.append({"image": case["image"], "width": case["width"], "height": case["height"],
                             "rows": rows, "detections": found})
        gf.write_json(
            args.out / f"{name}_sparse.json",
            {
                **about,
                "scores_shape": list(scores.shape),
                "boxes_shape": list(boxes.shape),
                "background_row": "scores 1, 0; box 0, 0, 0, 0",
                "row_layout": "scores = background, face; box = "
                + ("x1, y1, x2, y2 of the picture's width and height" if decoded else "raw deltas over the priors"),
                "cases": hermetic,
            },
            depth=4,
            limit_bytes=150_000,
        )


if __name__ == "__main__":
    main()
