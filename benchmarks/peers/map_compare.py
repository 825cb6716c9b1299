#!/usr/bin/env python3
"""mAP of the engine beside that of each model's own Python pipeline, in one table.

    python3 benchmarks/peers/map_compare.py --data DATA --references FOLDER [--only nanodet,ultraface]
    python3 benchmarks/peers/map_compare.py --model yolox_s.onnx --family yolox --images coco/ --references FOLDER

Ours: `sightline eval --model ... --images ... --format coco --json`. The reference: the project's own functions around ONNX
Runtime (reference_detectors.py), judged by pycocotools. Both get the same pictures, model file, least confidence and IoU of
the suppression: those of the project's own evaluation. "cut": the reference's boxes cut at the picture's borders afterwards,
as ours are; not every project does so. "alike": of the boxes (cut) of a score that the project's demo shows, how many have a
partner of the same class with an IoU of 0.9 or more on the other side.

--data holds models/ and media/ (COCO pictures in media/detection/coco128, dlib's labelled faces in media/faces/dlib);
--references has checkouts in folders that are named as in FAMILIES below. Rows without checkout or model file are left out
and said. Needs benchmarks/peers/requirements.txt, and torch and torchvision for NanoDet, FastestDet and Yolo-FastestV2.
"""
import argparse
import contextlib
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path

FIGURES = {"map": 0, "map_50": 1, "map_75": 2}  # name here: index into COCOeval.stats
SAME_IOU = 0.9


@dataclass
class Family:
    opener: str  # in reference_detectors.py
    checkout: str  # folder under --references; "": none needed
    confidence: float
    nms_iou: float
    confident: float  # the least score that its demo shows
    faces: bool = False


FAMILIES = {
    "yolox": Family("open_yolox", "yolox", 0.001, 0.65, 0.3),
    "yolox_demo": Family("open_yolox_demo", "yolox", 0.001, 0.65, 0.3),
    "nanodet": Family("open_nanodet", "nanodet", 0.05, 0.6, 0.35),
    "picodet": Family("open_picodet", "paddledetection", 0.025, 0.6, 0.4),
    "fastestdet": Family("open_fastestdet", "fastestdet", 0.001, 0.45, 0.5),
    "fastestdet_demo": Family("open_fastestdet_demo", "fastestdet", 0.001, 0.45, 0.5),
    "yolo_fastestv2": Family("open_yolo_fastestv2", "fastestv2", 0.01, 0.4, 0.3),
    "ultraface": Family("open_ultraface", "ultraface", 0.01, 0.3, 0.7, faces=True),
    "yunet": Family("open_yunet", "", 0.02, 0.3, 0.6, faces=True),
}
MODELS = [  # file under models/, family
    ("yolox_nano_kazuhito", "yolox"), ("yolox_nano_kazuhito", "yolox_demo"), ("nanodet_m_416", "nanodet"),
    ("nanodet_320", "nanodet"), ("picodet_s_320", "picodet"), ("fastestdet_352", "fastestdet"),
    ("fastestdet_352", "fastestdet_demo"), ("yolo_fastestv2_352", "yolo_fastestv2"), ("ultraface_rfb_320", "ultraface"),
    ("ultraface_slim_320", "ultraface"), ("ultraface_rfb_640", "ultraface"), ("yunet_n_320", "yunet"),
    ("yunet_n_640", "yunet"), ("yunet_n_dynamic", "yunet"),
]


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


def labelled_faces(source, folder):
    """dlib's XML of its example pictures as a COCO folder: those pictures that have boxes."""
    images, annotations = [], []
    for file in ("training.xml", "testing.xml"):
        for image in xml.etree.ElementTree.parse(source / file).getroot().iter("image"):
            images.append({"id": len(images) + 1, "file_name": image.get("file"), "width": int(image.get("width")),
                           "height": int(image.get("height"))})
            shutil.copy(source / image.get("file"), folder)
            for box in image.iter("box"):
                x, y, w, h = (int(box.get(side)) for side in ("left", "top", "width", "height"))
                annotations.append({"id": len(annotations) + 1, "image_id": len(images), "category_id": 1,
                                    "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0})
    (folder / "instances_faces.json").write_text(json.dumps({
        "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "face"}]}))
    return folder


def our_command(arguments, family, model, images):
    return [arguments.sightline, "eval", "--model", str(model), "--images", str(images), "--format", "coco",
            "--confidence", str(family.confidence), "--nms", str(family.nms_iou), "--json"]


def output_of(command):
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command[:12])}: {run.stderr.strip()}")
    return run.stdout


def our_boxes(arguments, family, model, pictures):
    """By picture: rows of x1, y1, x2, y2, score, class."""
    lines = output_of([arguments.sightline, "detect", "--model", str(model), "--confidence", str(family.confidence), "--nms",
                       str(family.nms_iou), "--json", *pictures]).splitlines()
    found = {}
    for line in map(json.loads, lines):
        found[line["input"]] = [[*d["box_xyxy_px"], d["confidence"], d["class_id"]] for d in line["detections"]]
    return found


def reference_boxes(job):
    """The same by the reference, and the pictures' sizes; in a process of its own."""
    opener, checkout, model, confidence, pictures = job
    import cv2

    cv2.setNumThreads(1)
    import reference_detectors

    with contextlib.redirect_stdout(io.StringIO()):  # some projects talk
        detect = getattr(reference_detectors, opener)(checkout, model, confidence)
        found, sizes = {}, {}
        for path in pictures:
            picture = cv2.imread(path)
            found[path] = [[float(v) for v in row] for row in detect(picture)]
            sizes[path] = picture.shape[1], picture.shape[0]
        return found, sizes


def judged(annotations, boxes_of_picture):
    """The figures by pycocotools; boxes by image number."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        truth = COCO(annotations)
        categories = sorted(truth.getCatIds())  # in the order of the model's classes
        rows = [{"image_id": image, "category_id": categories[int(c)], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
                for image, boxes in boxes_of_picture.items() for x1, y1, x2, y2, score, c in boxes]
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(evaluation.stats[at]) for name, at in FIGURES.items()}


def overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
    return w * h / (area(a) + area(b) - w * h)


def alike(ours, reference, confident):
    """How many confident boxes each side has, and how many pairs they make."""
    counts = [0, 0, 0]
    for picture, theirs in reference.items():
        left = sorted((r for r in ours.get(picture, []) if r[4] >= confident), key=lambda r: -r[4])
        right = sorted((r for r in theirs if r[4] >= confident), key=lambda r: -r[4])
        counts[0] += len(left)
        counts[1] += len(right)
        for row in right:
            same = [r for r in left if r[5] == row[5] and overlap(r, row) >= SAME_IOU]
            if same:
                left.remove(max(same, key=lambda r: overlap(r, row)))
                counts[2] += 1
    return dict(zip(("ours", "reference", "both"), counts))


def cut(row, width, height):
    """The row with its box cut at the picture's borders."""
    return [min(max(row[0], 0), width), min(max(row[1], 0), height), min(max(row[2], 0), width), min(max(row[3], 0), height),
            *row[4:]]


def compare(arguments, model, name, images, more_pictures):
    family = FAMILIES[name]
    annotations = annotation_file(images)
    entries = json.loads(Path(annotations).read_text())["images"]
    files = {entry["id"]: picture_file(images, entry["file_name"]) for entry in entries}
    pictures = list(files.values()) + more_pictures
    command = our_command(arguments, family, model, images)
    report = json.loads(output_of(command))
    report = report.get("boxes", report)
    ours = {figure: float(report[figure]) for figure in FIGURES}
    checkout = str(arguments.references / family.checkout) if family.checkout else ""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, sizes = pool.apply(reference_boxes, ((family.opener, checkout, str(model), family.confidence, pictures),))
    inside = {path: [cut(row, *sizes[path]) for row in rows] for path, rows in found.items()}
    reference, reference_cut = (judged(annotations, {image: rows[path] for image, path in files.items()})
                                for rows in (found, inside))
    return {"model": Path(model).stem, "reference_by": name, "pictures": len(files), "ours": ours, "reference": reference,
            "reference_cut": reference_cut, "difference": {figure: ours[figure] - reference[figure] for figure in FIGURES},
            "alike": alike(our_boxes(arguments, family, model, pictures), inside, family.confident),
            "alike_pictures": len(pictures), "confident": family.confident, "command": " ".join(command)}


def chosen_rows(arguments, scratch):
    """(model, family, images, further pictures) of each row."""
    if arguments.model:
        return [(arguments.model, arguments.family, arguments.images, [])]
    coco = arguments.data / "media/detection/coco128"
    rows, faces = [], None
    for file, name in MODELS:
        model = arguments.data / "models" / f"{file}.onnx"
        checkout = arguments.references / FAMILIES[name].checkout
        if arguments.only and not any(name.startswith(o) or file.startswith(o) for o in arguments.only.split(",")):
            continue
        missing = [str(p) for p in (model, checkout) if not p.exists()]
        if missing:
            print(f"{file} by {name} is left out: no {missing[0]}", file=sys.stderr)
            continue
        if not FAMILIES[name].faces:
            rows.append((model, name, coco, []))
            continue
        faces = faces or labelled_faces(arguments.data / "media/faces/dlib", scratch)
        rows.append((model, name, faces, sorted(map(str, coco.rglob("*.jpg")))))
    return rows


def print_row(row):
    both, sides = row["alike"]["both"], row["alike"]["ours"] + row["alike"]["reference"]
    cells = [row["model"], row["reference_by"], str(row["pictures"])]
    cells += [f"{row['ours']['map']:.4f}", f"{row['reference']['map']:.4f}", f"{row['difference']['map']:+.4f}",
              f"{row['reference_cut']['map']:.4f}", f"{row['ours']['map'] - row['reference_cut']['map']:+.4f}"]
    cells.append(f"{2 * both / sides if sides else 1:.3f} of {row['alike']['reference']}")
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sightline", default="build/bin/sightline")
    parser.add_argument("--data", type=Path, help="folder with models/ and media/")
    parser.add_argument("--references", type=Path, default=Path("references"), help="folder with the projects' checkouts")
    parser.add_argument("--only", help="models or families that begin so, with commas between")
    parser.add_argument("--model", type=Path, help="one ONNX file instead")
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--images", type=Path, help="folder with instances*.json and its pictures")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    if bool(arguments.model) == bool(arguments.data) or (arguments.model and not (arguments.family and arguments.images)):
        parser.error("either --data, or --model with --family and --images")
    with tempfile.TemporaryDirectory() as scratch:
        rows = chosen_rows(arguments, Path(scratch))
        if not arguments.json:
            print("| model | reference | pictures | mAP ours | reference | difference | reference, cut | difference | alike |\n|"
                  + "---|" * 9)
        commands = []
        for row in rows:
            result = compare(arguments, *row)
            commands.append(result["command"])
            if arguments.json:
                print(json.dumps(result), flush=True)
            else:
                print_row(result)
    if not arguments.json:
        print("\n" + "\n".join(commands))


if __name__ == "__main__":
    main()
