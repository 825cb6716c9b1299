#!/usr/bin/env python3
"""mAP of the engine beside that of YOLOX's own Python pipeline, over one COCO-format folder.

    python3 benchmarks/peers/map_compare.py --sightline build/bin/sightline --model yolox_nano.onnx \
        --images coco128 --yolox PATH

Ours: `sightline eval --model ... --images ... --format coco --json`. The reference: YOLOX's own preproc,
demo_postprocess and nms functions around ONNX Runtime, judged by pycocotools. --yolox is a checkout or an
unpacked source package; without it the installed package `yolox` is taken. Two files of it are needed,
which want no torch: yolox/data/data_augment.py and yolox/utils/demo_utils.py. Both sides get the same
thresholds, pictures and model file. Two lines of figures and their difference are printed; --json gives
one JSON object.

Needs numpy, opencv-python-headless, onnxruntime and pycocotools (benchmarks/peers/requirements.txt).
"""
import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import types

import cv2
import numpy as np
import onnxruntime
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

FIGURES = {"map": 0, "map_50": 1, "map_75": 2}  # name here: index into COCOeval.stats


def load_file(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_functions(folder):
    """preproc and demo_postprocess of YOLOX, and the module with its suppressions."""
    if folder is None:
        data = importlib.import_module("yolox.data.data_augment")
        utils = importlib.import_module("yolox.utils.demo_utils")
    else:
        # Both packages import torch for the rest of YOLOX; what is asked for does not use it.
        for name in ("yolox", "yolox.utils"):
            sys.modules.setdefault(name, types.ModuleType(name))
        sys.modules["yolox.utils"].xyxy2cxcywh = None  # of the training's augmentation
        data = load_file("reference_data_augment", os.path.join(folder, "yolox/data/data_augment.py"))
        utils = load_file("reference_demo_utils", os.path.join(folder, "yolox/utils/demo_utils.py"))
    return data.preproc, utils.demo_postprocess, utils


def annotation_file(images):
    found = [os.path.join(folder, name) for folder in (images, os.path.join(images, "annotations"))
             if os.path.isdir(folder) for name in sorted(os.listdir(folder))
             if name.startswith("instances") and name.endswith(".json")]
    if len(found) != 1:
        sys.exit(f"{images}: one instances*.json is expected, found {found}")
    return found[0]


def picture_file(root, name):
    for folder, _, files in os.walk(root):
        if os.path.basename(name) in files:
            return os.path.join(folder, os.path.basename(name))
    sys.exit(f"{root} has no picture {name}")


def suppressed(utils, corners, scores, arguments):
    """Rows of x1, y1, x2, y2, score, class."""
    if arguments.classes == "each":  # as its ONNX demo: a box counts for every class above the threshold
        kept = utils.multiclass_nms(corners, scores, nms_thr=arguments.nms_iou,
                                    score_thr=arguments.confidence, class_agnostic=False)
        return [] if kept is None else kept
    # As its evaluator (yolox/utils/boxes.py, postprocess): the best class of each box, NMS by class.
    best, top = scores.argmax(1), scores.max(1)
    rows = []
    for class_id in np.unique(best[top > arguments.confidence]):
        chosen = np.flatnonzero((best == class_id) & (top > arguments.confidence))
        for at in chosen[utils.nms(corners[chosen], top[chosen], arguments.nms_iou)]:
            rows.append([*corners[at], top[at], class_id])
    return rows


def reference_results(arguments, truth):
    preproc, postprocess, utils = reference_functions(arguments.yolox)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    size = tuple(entry.shape[2:])
    # Category numbers in the order of the model's classes: COCO's, by number.
    categories = sorted(truth.getCatIds())
    rows = []
    for image_id in truth.getImgIds():
        picture = cv2.imread(picture_file(arguments.images, truth.loadImgs(image_id)[0]["file_name"]))
        tensor, ratio = preproc(picture, size)
        output = session.run(None, {entry.name: tensor[None]})
        found = postprocess(output[0], size, p6=False)[0]
        boxes, scores = found[:, :4], found[:, 4:5] * found[:, 5:]
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1) / ratio
        for x1, y1, x2, y2, score, class_id in suppressed(utils, corners, scores, arguments):
            rows.append({"image_id": image_id, "category_id": categories[int(class_id)],
                         "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                         "score": float(score)})
    return rows


def reference_figures(arguments):
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        truth = COCO(annotation_file(arguments.images))
        rows = reference_results(arguments, truth)
        judged = COCOeval(truth, truth.loadRes(rows), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {name: float(judged.stats[at]) for name, at in FIGURES.items()} | {"results": len(rows)}


def our_figures(arguments):
    command = [arguments.sightline, "eval", "--model", arguments.model, "--images", arguments.images,
               "--format", "coco", "--confidence", str(arguments.confidence),
               "--nms", str(arguments.nms_iou), "--json"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: {run.stderr.strip()}")
    report = json.loads(run.stdout)
    report = report.get("boxes", report)
    return {name: float(report[name]) for name in FIGURES}, " ".join(command)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sightline", default="build/bin/sightline")
    parser.add_argument("--model", required=True, help="a YOLOX ONNX file whose outputs are raw")
    parser.add_argument("--images", required=True, help="folder with instances*.json and its pictures")
    parser.add_argument("--yolox", help="YOLOX's source folder; default: the installed package")
    parser.add_argument("--confidence", type=float, default=0.001)
    parser.add_argument("--nms-iou", type=float, default=0.65)
    parser.add_argument("--classes", choices=("best", "each"), default="best",
                        help="of a box: the best one, as YOLOX's evaluator, or each, as its ONNX demo")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ours, command = our_figures(arguments)
    reference = reference_figures(arguments)
    difference = {name: ours[name] - reference[name] for name in FIGURES}
    if arguments.json:
        print(json.dumps({"ours": ours, "reference": reference, "difference": difference,
                          "command": command, "onnxruntime": onnxruntime.__version__}))
        return
    print(command)
    print(f"{'':12}" + "".join(f"{name:>10}" for name in FIGURES))
    for name, row in (("ours", ours), ("reference", reference)):
        print(f"{name:12}" + "".join(f"{row[figure]:10.4f}" for figure in FIGURES))
    print(f"{'difference':12}" + "".join(f"{difference[figure]:+10.4f}" for figure in FIGURES))


if __name__ == "__main__":
    main()
