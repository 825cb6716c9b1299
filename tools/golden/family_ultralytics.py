"""Goldens of the families that the package `ultralytics` holds: made-up weights, its own exporter, predictors and suppression."""

import functools
import importlib.metadata
import os
import tempfile
import types
from pathlib import Path

import numpy as np

import family_common as fc
import golden_files as gf

ARGS = fc.start(__doc__)

import onnx  # noqa: E402
import torch  # noqa: E402
import ultralytics  # noqa: E402
import yaml  # noqa: E402
from ultralytics import RTDETR, YOLO  # noqa: E402
from ultralytics.engine import results as ultralytics_results  # noqa: E402
from ultralytics.models.rtdetr.predict import RTDETRPredictor  # noqa: E402
from ultralytics.models.yolo.classify import ClassificationPredictor  # noqa: E402
from ultralytics.models.yolo.detect import DetectionPredictor  # noqa: E402
from ultralytics.models.yolo.obb import OBBPredictor  # noqa: E402
from ultralytics.models.yolo.pose import PosePredictor  # noqa: E402
from ultralytics.models.yolo.segment import SegmentationPredictor  # noqa: E402
from ultralytics.utils import ops  # noqa: E402
from ultralytics.utils.metrics import batch_probiou  # noqa: E402

import torchvision  # noqa: E402,F401  ultralytics suppresses with torchvision where it is loaded

# The boxes and points are wanted as computed, not clipped to the picture.
ops.clip_boxes = lambda boxes, shape: boxes
ops.clip_coords = lambda coords, shape: coords
ultralytics_results.ops.clip_boxes = ops.clip_boxes

TRACE_EXPORT = torch.onnx.export
NAMES = ["ball", "cup", "door", "lamp", "shoe"]
CONFIDENCE, IOU = 0.25, 0.7
PREDICTORS = {"detect": DetectionPredictor, "segment": SegmentationPredictor, "pose": PosePredictor, "obb": OBBPredictor, "classify": ClassificationPredictor}
DATE = "2024-01-01T00:00:00+00:00"  # the exporter writes the time of the export
LETTERBOX = {"channels": "rgb", "resize": "letterbox_center", "rounding": "nearest", "interpolation": "bilinear", "pad": 114,
             "mean": [0, 0, 0], "scale": [1 / 255] * 3}


def made_model(folder, config, seed, changes, model_class=YOLO):
    """The package's own architecture from its own file, with fewer classes; weights at random."""
    stem = config[:-5]
    candidates = [p for p in (Path(ultralytics.__file__).parent / "cfg/models").rglob("*.yaml")]
    by_name = {p.name: p for p in candidates}
    for version in ("v8", "v9", "v10", "11", "12", "26"):  # yolo11n-seg.yaml stands in yolo11-seg.yaml
        for scale in "tnsml":
            plain = config.replace(version + scale, version, 1)
            if config not in by_name and plain in by_name:
                by_name[config] = by_name[plain]
    value = yaml.safe_load(by_name[config].read_text())
    value.update({k: v for k, v in changes.items() if k != "head_args"})
    if "head_args" in changes:
        value["head"][-1][3] = changes["head_args"]
    path = Path(folder) / f"{stem}.yaml"
    path.write_text(yaml.safe_dump(value))
    torch.manual_seed(seed)
    return model_class(str(path))


def dfl_mean(reg_max):
    """Means of the logits of a side's distance: falling, so that boxes are some cells wide."""
    return np.tile(-0.45 * np.arange(reg_max), 4)


def heads_to_spread(head, end2end, classes, class_mean, extra):
    wanted = []
    prefixes = ["one2one_"] if end2end else [""]
    for prefix in prefixes:
        boxes, scores = getattr(head, prefix + "cv2"), getattr(head, prefix + "cv3")
        for level in range(head.nl):
            if head.reg_max > 1:
                wanted.append((boxes[level][-1], dfl_mean(head.reg_max), 1.6))
            else:
                wanted.append((boxes[level][-1], 1.4, 0.6))
            wanted.append((scores[level][-1], class_mean - 0.25 * (np.arange(classes) % 3), 1.7))
            if extra:
                layers = getattr(head, prefix + extra["layer"])
                layer = layers[level] if extra.get("bare") else layers[level][-1]
                wanted.append((layer, extra["mean"], extra["deviation"]))
    return wanted


def exported(model, folder, imgsz, **options):
    """Exports by the package's own exporter; gives the session and the metadata of the file."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        path = model.export(format="onnx", imgsz=imgsz, simplify=False, **options)
        path = Path(path).resolve()
    finally:
        os.chdir(here)
    file = onnx.load(path)
    metadata = {p.key: p.value for p in file.metadata_props}
    if "date" in metadata:
        metadata["date"] = DATE
    session = gf.open_session(path)
    return session, metadata


def a_predictor(task, names, end2end, kpt_shape, input_wh, confidence, predictor_class=None):
    predictor = (predictor_class or PREDICTORS[task])(overrides={"conf": confidence, "iou": IOU, "task": task, "mode": "predict", "save": False, "rect": False, "verbose": False})
    predictor.imgsz = [input_wh[1], input_wh[0]]
    predictor.device = torch.device("cpu")
    predictor.model = types.SimpleNamespace(names=names, end2end=end2end, kpt_shape=kpt_shape, format="onnx", stride=32, fp16=False, dynamic=False, device=torch.device("cpu"), model=None)
    return predictor


def results_of(task, result):
    number = fc.shortest
    found = []
    if task == "obb":
        for row in result.obb.data.numpy():
            found.append({"class_id": int(row[6]), "score": number(row[5]), "rbox": [number(v) for v in row[:5]]})
        return found
    for i, row in enumerate(result.boxes.data.numpy()):
        one = {"class_id": int(row[5]), "score": number(row[4]), "box_xyxy_px": [number(v) for v in row[:4]]}
        if task == "pose":
            one["keypoints"] = [[number(v) for v in point] for point in result.keypoints.data[i].numpy()]
        if task == "segment":
            one["mask"] = fc.mask_as_runs(result.masks.data[i].numpy())
        found.append(one)
    return found


def probiou(a, b):
    return batch_probiou(torch.as_tensor(np.asarray(a, np.float32)), torch.as_tensor(np.asarray(b, np.float32))).numpy().astype(np.float64)


def layout(task, end2end, nm, nk):
    if end2end:
        row = {"detect": "6", "segment": "6 + mask coefficients", "pose": "6 + keypoints * values", "obb": "7"}[task]
        first = {"name": "output0", "dims": ["batch", "min(300, cells)", row], "row": "x1, y1, x2, y2 (obb: cx, cy, w, h), score, class" +
                 {"detect": "", "segment": ", mask coefficients", "pose": ", keypoints", "obb": ", angle"}[task]}
    else:
        row = {"detect": "4 + classes", "segment": "4 + classes + mask coefficients", "pose": "4 + classes + keypoints * values", "obb": "4 + classes + 1"}[task]
        first = {"name": "output0", "dims": ["batch", row, "cells"], "column": "cx, cy, w, h, scores (sigmoid done)" +
                 {"detect": "", "segment": ", mask coefficients", "pose": ", keypoints", "obb": ", angle"}[task]}
    if task == "segment":
        return [first, {"name": "output1", "dims": ["batch", "mask coefficients", "height / 4", "width / 4"]}]
    return [first]


def detect_like(name, *args, seed=3, **options):
    if fc.wanted(ARGS, name):
        fc.first_that_will_do(lambda s: detect_like_once(name, *args, seed=s, **options), range(seed, seed + 10))


def detect_like_once(name, family, config, task="detect", end2end=False, classes=5, class_mean=-2.6, sizes=None, seed=3, extra=None,
                changes=None, kpt_shape=None, nms_in_graph=False, remark=None, most=30):
    sizes = sizes or fc.SIZES
    names = dict(enumerate(NAMES[:classes]))

    def preprocess(image, input_wh):
        return predictors[tuple(input_wh)].preprocess([np.ascontiguousarray(image[..., ::-1])])[0].numpy()

    with tempfile.TemporaryDirectory() as folder:
        model = made_model(folder, config, seed, {"nc": classes, **(changes or {})})
        net = model.model
        net.names = names
        head = net.model[-1]
        if hasattr(head, "one2one_cv2"):
            net.end2end = end2end
        net.eval()
        predictors = {tuple(s): a_predictor(task, names, end2end or nms_in_graph, kpt_shape, s, CONFIDENCE) for s in sizes}
        data = fc.calibration(preprocess, sizes)
        fc.settle_batch_norm(net, data)
        fc.spread(net, data, heads_to_spread(head, end2end, classes, class_mean, extra))
        options = {"nms": False} if end2end else {"nms": True, "conf": CONFIDENCE, "iou": IOU} if nms_in_graph else {}
        session, metadata = exported(model, folder, [sizes[0][1], sizes[0][0]], dynamic=True, **({"batch": 4} if nms_in_graph else {}), **options)
    outputs = [o.name for o in session.get_outputs()]
    given_end2end = end2end or nms_in_graph
    def run(batch):
        if nms_in_graph and len(batch) < 4:  # the graph is unrolled for four
            return [o[: len(batch)] for o in session.run(None, {"images": np.concatenate([batch, np.zeros((4 - len(batch), *batch.shape[1:]), np.float32)])})]
        return session.run(None, {"images": batch})

    def answer(raw, input_wh, source_wh):
        predictor = predictors[tuple(input_wh)]
        predictor.batch = [["made"], None, ""]
        original = [np.zeros((source_wh[1], source_wh[0], 3), np.uint8)]
        image = torch.zeros(1, 3, input_wh[1], input_wh[0])
        preds = [torch.from_numpy(r.copy()) for r in raw]
        result = predictor.postprocess(preds if len(preds) > 1 else preds[0], image, original)[0]
        return results_of(task, result)

    def judge(raw, results):
        if given_end2end:
            rows = raw[0][0]
            if np.abs(rows[:, 4] - CONFIDENCE).min() < fc.CLEARANCE:
                return "a score near the threshold"
            results = results()
            if (rows[:, 4] > CONFIDENCE).sum() != len(results):
                return "a mask without pixels"
            return fc.judge_results(results, most=most)
        rows = raw[0][0].T
        boxes, scores = rows[:, :4], rows[:, 4 : 4 + classes]
        if task == "obb":
            verdict = fc.judge_suppression(np.concatenate([boxes, rows[:, -1:]], 1), scores, CONFIDENCE, IOU, iou=probiou)
        else:
            verdict = fc.judge_suppression(fc.centre_to_corners(boxes), scores, CONFIDENCE, IOU)
        if verdict:
            return verdict
        results = results()
        if task == "segment":
            kept = ops_kept(raw[0])
            if kept != len(results):
                return "a mask without pixels"
        if (scores.max(1) > CONFIDENCE).sum() == len(results):
            return "nothing suppressed"
        return fc.judge_results(results, most=most)

    def ops_kept(output):
        from ultralytics.utils import nms

        return len(nms.non_max_suppression(torch.from_numpy(output.copy()), CONFIDENCE, IOU, nc=classes, max_det=300)[0])

    head_json = {
        "family": family, "task": task,
        "reference": {"package": "ultralytics", "version": importlib.metadata.version("ultralytics"),
                      "what": f"{config} with {classes} classes, exported by YOLO.export; {PREDICTORS[task].__name__}.preprocess and .postprocess (clipping taken out)"},
        "versions": gf.versions("ultralytics", "torch", "torchvision", "onnxruntime", "opencv-python-headless", "numpy"),
        "metadata": metadata,
        "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "exported with dynamic=True; without it batch, height and width are fixed"},
        "recipe": LETTERBOX,
        "outputs": layout(task, given_end2end, None, None), "classes": classes, "labels": [names[i] for i in range(classes)],
        "confidence_threshold": CONFIDENCE, "iou_threshold": None if given_end2end else IOU, "class_aware": None if given_end2end else True, "max_detections": 300,
        "score_rule": "score > confidence_threshold; the best class of a cell only",
        "nms_rule": None if given_end2end else ("a box goes when its ProbIoU with any better one of its class (kept or not) > iou_threshold" if task == "obb" else "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold"),
    }
    if remark:
        head_json["remark"] = remark
    if task == "segment":
        head_json["mask_rule"] = ("coefficients @ prototypes, enlarged to the network's input size (bilinear, half-pixel centres), a pixel is set when > 0, "
                                  "and only where box x1 <= x < x2 and y1 <= y < y2 in px of the network's input; masks here are in px of the network's input")
    if task == "obb":
        head_json["rbox_rule"] = "centre, width and height in px of the source, angle as the network gives it (radians, clockwise with y down, from the x axis to the width side), not brought into a range"
    if task == "pose":
        head_json["keypoint_rule"] = "x, y, visibility; mapped back like the box; none is dropped or set to 0 by its visibility"
        head_json["keypoint_shape"] = list(kpt_shape)
    golden = fc.Golden(ARGS, name, head_json)
    golden.interpolation_check(preprocess, sizes[1])
    for number, size in enumerate(sizes):
        golden.case(size, preprocess, run, answer, judge, outputs, seed=number)
    golden.write(probiou if task == "obb" else None)


def classify(name="yolov8_cls", config="yolov8n-cls.yaml", classes=8):
    if not fc.wanted(ARGS, name):
        return
    sizes = [(64, 64), (96, 96), (128, 128)]
    names = {i: f"kind{i}" for i in range(classes)}
    def a_classifier(input_wh):
        from ultralytics.data.augment import classify_transforms
        import torchvision.transforms as T

        predictor = a_predictor("classify", names, False, None, input_wh, CONFIDENCE)
        predictor.transforms = classify_transforms([input_wh[1], input_wh[0]])
        steps = predictor.transforms.transforms
        predictor.host_transforms, predictor.device_transform = T.Compose(steps[:2]), steps[-1]
        return predictor

    def preprocess(image, input_wh):
        return a_classifier(input_wh).preprocess([np.ascontiguousarray(image[..., ::-1])])[0].numpy()

    with tempfile.TemporaryDirectory() as folder:
        model = made_model(folder, config, 5, {"nc": classes})
        net = model.model
        net.names = names
        net.eval()
        data = fc.calibration(preprocess, sizes)
        fc.settle_batch_norm(net, data)
        fc.spread(net, data, [(net.model[-1].linear, 0, 1.5)])
        session, metadata = exported(model, folder, 64, dynamic=True)

    def answer(raw, input_wh, source_wh):
        predictor = a_classifier(input_wh)
        predictor.batch = [["made"], None, ""]
        probs = predictor.postprocess(torch.from_numpy(raw[0]), None, [np.zeros((source_wh[1], source_wh[0], 3), np.uint8)])[0].probs
        return [{"class_id": int(c), "score": fc.shortest(probs.data[c])} for c in probs.top5]

    def judge(raw, results):
        return fc.judge_results(results())

    golden = fc.Golden(ARGS, name, {
        "family": "yolov8_cls", "task": "classify",
        "reference": {"package": "ultralytics", "version": importlib.metadata.version("ultralytics"), "what": f"{config} with {classes} classes, exported by YOLO.export; ClassificationPredictor"},
        "versions": gf.versions("ultralytics", "torch", "torchvision", "onnxruntime", "pillow", "numpy"),
        "metadata": metadata, "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "exported with dynamic=True; without it batch, height and width are fixed"},
        "recipe": {"channels": "rgb", "resize": "other: the shorter side becomes the input's side, the longer one is scaled with it and cut (int), then the centre is taken; left = round((w - side) / 2), to even", "rounding": "floor", "interpolation": "bilinear",
                   "interpolation_note": "Pillow's: with antialiasing when it makes smaller", "pad": 0, "mean": [0, 0, 0], "scale": [1 / 255] * 3},
        "outputs": [{"name": "output0", "dims": ["batch", "classes"], "values": "probabilities (softmax done)"}],
        "classes": classes, "labels": [names[i] for i in range(classes)], "confidence_threshold": None, "iou_threshold": None, "class_aware": None, "max_detections": 5, "score_rule": "the five best", "nms_rule": None})
    golden.interpolation_check(preprocess, (64, 64))
    for number, size in enumerate(sizes):
        golden.case(size, preprocess, lambda b: session.run(None, {"images": b}), answer, judge, ["output0"], seed=number)
    golden.write()


SMALL = [(64, 64), (96, 64), (64, 96)]


def rtdetr_rows(seed, name="rtdetr_rows"):
    """RT-DETR as 8.4 exports it: the best pairs of query and class, chosen in the graph. rtdetr_class_rows: as 8.3 does,
    all classes of every query; it wants that version of the package."""
    classes, sizes, all_classes = 5, fc.SIZES, name == "rtdetr_class_rows"
    if all_classes:  # it was written for a torch whose exporter traced, and knew no other
        torch.onnx.export = functools.partial(TRACE_EXPORT, dynamo=False)
    names = dict(enumerate(NAMES[:classes]))
    predictors = {tuple(s): a_predictor("detect", names, True, None, s, CONFIDENCE, RTDETRPredictor) for s in sizes}

    def preprocess(image, input_wh):
        return predictors[tuple(input_wh)].preprocess([np.ascontiguousarray(image[..., ::-1])])[0].numpy()

    with tempfile.TemporaryDirectory() as folder:
        model = made_model(folder, "rtdetr-resnet50.yaml", seed, {"nc": classes, "head_args": ["nc", 64, 30]}, RTDETR)
        net = model.model
        net.names = names
        net.eval()
        head = net.model[-1]
        data = fc.calibration(preprocess, sizes)
        fc.settle_batch_norm(net, data)
        fc.spread(net, data, [(head.dec_bbox_head[-1].layers[-1], 0, 0.5), (head.dec_score_head[-1], -2.2 - 0.25 * (np.arange(classes) % 3), 1.5)])
        if all_classes:  # that version exports one size and batch
            sessions = {}
            for w, h in sizes:
                for batch in (1, 4):
                    session, metadata = exported(model, folder, [h, w], batch=batch, opset=17)
                    sessions[(batch, h, w)] = session
            run = lambda b: sessions[(len(b), *b.shape[2:])].run(None, {"images": b})
        else:
            session, metadata = exported(model, folder, [sizes[0][1], sizes[0][0]], dynamic=True)
            run = lambda b: session.run(None, {"images": b})
    outputs = [o.name for o in session.get_outputs()]
    wide = run(data[0][:1].numpy())[0].shape[-1]
    if wide != (4 + classes if all_classes else 6):
        gf.refuse(f"{name}: ultralytics {ultralytics.__version__} exports rows of {wide} numbers")

    def answer(raw, input_wh, source_wh):
        predictor = predictors[tuple(input_wh)]
        predictor.batch = [["made"], None, ""]
        original = [np.zeros((source_wh[1], source_wh[0], 3), np.uint8)]
        found = results_of("detect", predictor.postprocess(torch.from_numpy(raw[0].copy()), torch.zeros(1, 3, input_wh[1], input_wh[0]), original)[0])
        return sorted(found, key=lambda r: -r["score"])

    def judge(raw, results):
        scores = raw[0][0][:, 4:] if all_classes else raw[0][0][:, 4:5]
        if np.abs(scores.max(1) - CONFIDENCE).min() < fc.CLEARANCE:
            return "a score near the threshold"
        if all_classes and np.diff(np.sort(scores[scores.max(1) > CONFIDENCE], 1)[:, -2:], axis=1).min(initial=1) < fc.CLEARANCE:
            return "two classes of a query alike"
        return fc.judge_results(results())

    golden = fc.Golden(ARGS, name, {
        "family": name, "task": "detect",
        "reference": {"package": "ultralytics", "version": importlib.metadata.version("ultralytics"),
                      "what": f"rtdetr-resnet50.yaml with {classes} classes, 30 queries and a decoder of 64 numbers, exported by RTDETR.export; RTDETRPredictor.preprocess and .postprocess"},
        "versions": gf.versions("ultralytics", "torch", "torchvision", "onnxruntime", "opencv-python-headless", "numpy"), "metadata": metadata,
        "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": not all_classes, "note": "exported for each size and batch" if all_classes else "exported with dynamic=True"},
        "recipe": dict(LETTERBOX, resize="stretch"),
        "outputs": [{"name": outputs[0], "dims": ["batch", "queries", "4 + classes" if all_classes else 6],
                     "row": "cx, cy, w, h as fractions of the picture, " + ("class scores (sigmoid done)" if all_classes else "score, class")}],
        "classes": classes, "labels": [names[i] for i in range(classes)], "confidence_threshold": CONFIDENCE, "iou_threshold": None, "class_aware": None, "max_detections": 300,
        "score_rule": "score > confidence_threshold" + ("; the best class of a query only" if all_classes else ""), "nms_rule": None})
    golden.interpolation_check(preprocess, sizes[1])
    for number, size in enumerate(sizes):
        golden.case(size, preprocess, run=run, answer=answer, judge=judge, output_names=outputs, seed=number)
    golden.write()


def main():
    detect_like("yolov8", "yolov8", "yolov8n.yaml")
    detect_like("yolov8_seg", "yolov8_seg", "yolov8n-seg.yaml", "segment", classes=4, seed=4, sizes=SMALL, changes={"head_args": ["nc", 4, 64]}, most=13, class_mean=-2.4,
                extra={"layer": "cv4", "mean": 0, "deviation": 1.0}, remark="4 mask coefficients, 32 in usual files")
    detect_like("yolov8_pose", "yolov8_pose", "yolov8n-pose.yaml", "pose", classes=3, changes={"kpt_shape": [4, 3]}, kpt_shape=(4, 3), most=13, class_mean=-2.5,
                extra={"layer": "cv4", "mean": 0, "deviation": 0.8}, remark="3 classes and 4 keypoints, 1 and 17 in usual files")
    detect_like("yolov8_pose_xy", "yolov8_pose", "yolov8n-pose.yaml", "pose", classes=3, changes={"kpt_shape": [4, 2]}, kpt_shape=(4, 2), most=13, class_mean=-2.5,
                extra={"layer": "cv4", "mean": 0, "deviation": 0.8}, remark="3 classes and 4 keypoints without a visibility")
    detect_like("yolov8_obb", "yolov8_obb", "yolov8n-obb.yaml", "obb", extra={"layer": "cv4", "mean": 0, "deviation": 1.2})
    classify()
    detect_like("yolo11", "yolo11", "yolo11n.yaml")
    detect_like("yolov12", "yolov12", "yolo12n.yaml")
    detect_like("yolov9", "yolov9", "yolov9t.yaml", class_mean=-1.8)
    detect_like("yolov10", "yolov10", "yolov10n.yaml", end2end=True)
    detect_like("yolo26", "yolo26", "yolo26n.yaml", end2end=True)
    detect_like("yolo26_seg", "yolo26_seg", "yolo26n-seg.yaml", "segment", end2end=True, classes=3, sizes=SMALL, changes={"head_args": ["nc", 4, 64]}, most=14, class_mean=-2.2,
                extra={"layer": "cv4", "mean": 0, "deviation": 1.0}, remark="4 mask coefficients, 32 in usual files")
    detect_like("yolo26_pose", "yolo26_pose", "yolo26n-pose.yaml", "pose", end2end=True, classes=3, changes={"kpt_shape": [4, 3]}, kpt_shape=(4, 3), most=13, class_mean=-2.5,
                extra={"layer": "cv4_kpts", "mean": 0, "deviation": 0.8, "bare": True}, remark="3 classes and 4 keypoints, 1 and 17 in usual files")
    detect_like("yolo26_pose_xy", "yolo26_pose", "yolo26n-pose.yaml", "pose", end2end=True, classes=3, changes={"kpt_shape": [4, 2]}, kpt_shape=(4, 2), most=13, class_mean=-2.5,
                extra={"layer": "cv4_kpts", "mean": 0, "deviation": 0.8, "bare": True}, remark="3 classes and 4 keypoints without a visibility")
    detect_like("yolo26_obb", "yolo26_obb", "yolo26n-obb.yaml", "obb", end2end=True, extra={"layer": "cv4", "mean": 0.5, "deviation": 0.8})
    if fc.wanted(ARGS, "rtdetr_rows"):
        fc.first_that_will_do(rtdetr_rows, range(3, 13))
    if "rtdetr_class_rows" in ARGS.only:
        fc.first_that_will_do(lambda s: rtdetr_rows(s, "rtdetr_class_rows"), range(3, 13))
    detect_like("yolov8_nms", "yolov8", "yolov8n.yaml", nms_in_graph=True, remark="exported with nms=True and batch=4: suppression is in the graph, unrolled for 4 entries; rows of zeros fill up to 300. For batch 1 three entries of zeros were added")


if __name__ == "__main__":
    main()
