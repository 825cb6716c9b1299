"""Goldens of the YOLO families that live in repositories of their own: YOLOv5, v6, v7, v4, DAMO-YOLO. Made-up weights; each
repository's own network, export settings, letterbox, suppression and mapping back."""

import contextlib
import functools
import importlib
import importlib.metadata
import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import family_common as fc
import golden_files as gf

ARGS = fc.start(__doc__, "yolov5", "yolov6", "yolov7", "yolov4", "damoyolo")

import cv2  # noqa: E402
import onnx  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402,F401
import yaml  # noqa: E402

TRACE_EXPORT = torch.onnx.export
NAMES = ["ball", "cup", "door", "lamp"]
SIZES = [(64, 64), (64, 32), (32, 64)]
LETTERBOX = {"channels": "rgb", "resize": "letterbox_center", "rounding": "nearest", "interpolation": "bilinear", "pad": 114, "mean": [0, 0, 0], "scale": [1 / 255] * 3}
STRETCH = {"channels": "rgb", "resize": "stretch", "rounding": "nearest", "interpolation": "bilinear", "pad": 0, "mean": [0, 0, 0], "scale": [1 / 255] * 3}
VERSIONS = gf.versions("torch", "torchvision", "onnxruntime", "opencv-python-headless", "numpy")
ANCHORS = [[5, 7, 8, 6, 10, 12], [12, 20, 22, 14, 20, 26], [30, 24, 36, 44, 52, 40]]  # for pictures of 64 px; usual ones fit 640


def fitting_sources(size):
    """Sources that fill the input to whole, even numbers of px: these references letterbox with rounded padding but map
    back with the unrounded one, and so both are the same here."""
    if size[0] == size[1]:
        return [(128, 96), (48, 64), (100, 100), (160, 80)]
    wide = [(128, 48), (96, 48), (100, 100), (80, 64)]
    return wide if size[0] > size[1] else [(h, w) for w, h in wide]


fc.sources_for = fitting_sources


@contextlib.contextmanager
def importing(path):
    """The repositories all have packages named models and utils: each is imported alone."""
    before = set(sys.modules)
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("models", "utils", "tool", "export", "cfg", "yolov5", "yolov6", "damo"):
                del sys.modules[name]


def package_version(path, name):
    """Of a package that lies in a folder as pip installs or unpacks it."""
    return next(d.version for d in importlib.metadata.distributions(path=[str(path)]) if d.metadata["Name"] == name)


def commit_of(path):
    return (Path(path) / "COMMIT").read_text().strip()


def anchors_head(na, per_anchor, class_mean, objectness_mean, classes, extra=0, objectness_deviation=2.0):
    """Means and deviations of the channels of an anchor head: x, y, w, h, objectness, classes, then extra ones."""
    mean = [0, 0, 0, 0, objectness_mean] + [class_mean - 0.3 * (i % 3) for i in range(classes)] + [3] * extra  # prototypes are mostly above 0: masks with pixels
    deviation = [1, 1, 0.7, 0.7, objectness_deviation] + [1.6] * classes + [3] * extra
    assert len(mean) == per_anchor
    return np.tile(mean, na), np.tile(deviation, na)


def finish(name, head, sizes, preprocess, run, answer, candidates, output_names, most=30, seed=0, judge=None):
    golden = fc.Golden(ARGS, name, head)
    golden.interpolation_check(preprocess, sizes[1])
    for number, size in enumerate(sizes):
        golden.case(size, preprocess, run, answer, judge or fc.judge_detector(head, candidates, most=most), output_names, seed=seed + number)
    golden.write()


def results_of(rows):
    return [{"class_id": int(r[5]), "score": fc.shortest(r[4]), "box_xyxy_px": [fc.shortest(v) for v in r[:4]]} for r in np.asarray(rows)]


def with_objectness(raw):
    rows = raw[0][0]
    return fc.centre_to_corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5 : 5 + len(NAMES)]


def tensor_of(image_bgr):
    return np.ascontiguousarray(image_bgr.transpose(2, 0, 1)[::-1], dtype=np.float32) / 255


def yolov5(seed, segment=False):
    name = "yolov5_seg" if segment else "yolov5"
    classes = len(NAMES)
    # A checkout of the repository, or the folder that holds PyPI's package of it, all of which is one level down.
    packaged = (Path(ARGS.yolov5_path) / "yolov5").is_dir()
    level = "yolov5." if packaged else ""
    with importing(ARGS.yolov5_path), tempfile.TemporaryDirectory() as folder:
        export, general = importlib.import_module(level + "export"), importlib.import_module(level + "utils.general")
        models = importlib.import_module(level + "models.yolo")
        letterbox = importlib.import_module(level + "utils.augmentations").letterbox
        process_mask = importlib.import_module(level + "utils.segment.general").process_mask
        DetectionModel, SegmentationModel = models.DetectionModel, models.SegmentationModel

        if packaged:  # it was written for a torch whose exporter traced, and knew no other
            export.torch.onnx.export = functools.partial(TRACE_EXPORT, dynamo=False)
        general.clip_boxes = lambda boxes, shape: None
        config = yaml.safe_load((Path(ARGS.yolov5_path) / level.replace(".", "/") / ("models/segment/yolov5n-seg.yaml" if segment else "models/yolov5n.yaml")).read_text())
        config["anchors"] = [[2 * a for a in level] for level in ANCHORS] if segment else ANCHORS  # a mask is on a quarter of the px
        config["nc"] = classes
        masks = 0
        if segment:
            masks = 4
            config["head"][-1][3][2] = masks
        torch.manual_seed(seed)
        net = (SegmentationModel if segment else DetectionModel)(config)
        net.names = dict(enumerate(NAMES))
        net.eval()

        def preprocess(image, input_wh):
            return tensor_of(letterbox(np.ascontiguousarray(image[..., ::-1]), (input_wh[1], input_wh[0]), auto=False)[0])

        sizes = SIZES
        data = fc.calibration(preprocess, sizes)
        fc.settle_batch_norm(net, data)
        last = net.model[-1]
        mean, deviation = anchors_head(last.na, last.no, 0.3, -1.6, classes, masks)
        fc.spread(net, data, [(m, mean, deviation) for m in last.m])
        last.dynamic, last.export, last.inplace = True, True, False
        file = Path(folder) / "yolov5n.pt"
        export.export_onnx(net, torch.zeros(1, 3, 64, 64), file, 17, True, False)
        path = file.with_suffix(".onnx")
        metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
        session = gf.open_session(path)
        output_names = [o.name for o in session.get_outputs()]

        def answer(raw, input_wh, source_wh):
            rows = general.non_max_suppression(torch.from_numpy(raw[0].copy()), 0.25, 0.45, max_det=1000, nm=masks)[0]
            found = None
            if segment:
                found = process_mask(torch.from_numpy(raw[1][0]), rows[:, 6:], rows[:, :4], (input_wh[1], input_wh[0]), upsample=True).numpy()
                if len(found) and (found.sum((1, 2)) == 0).any():
                    return []
            rows[:, :4] = general.scale_boxes((input_wh[1], input_wh[0]), rows[:, :4], (source_wh[1], source_wh[0], 3))
            results = results_of(rows)
            if segment:
                for result, mask in zip(results, found):
                    result["mask"] = fc.mask_as_runs(mask)
            return results

        row = "5 + classes" + (" + mask coefficients" if segment else "")
        outputs = [{"name": "output0", "dims": ["batch", "3 * cells", row], "row": "cx, cy, w, h, objectness, class scores (sigmoid done)" + (", mask coefficients" if segment else "")}]
        if segment:
            outputs.append({"name": "output1", "dims": ["batch", "mask coefficients", "height / 4", "width / 4"]})
        head = {
            "family": name, "task": "segment" if segment else "detect",
            "reference": {"package": "yolov5" if packaged else "ultralytics/yolov5", "version": package_version(ARGS.yolov5_path, "yolov5") if packaged else commit_of(ARGS.yolov5_path), "what": ("yolov5n-seg.yaml" if segment else "yolov5n.yaml") + " with smaller anchors, exported by export.export_onnx; letterbox, non_max_suppression, scale_boxes (clipping taken out)" + (", process_mask" if segment else "")},
            "versions": VERSIONS, "metadata": metadata,
            "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "exported with dynamic=True; without it batch, height and width are fixed"},
            "recipe": LETTERBOX, "outputs": outputs, "classes": classes, "labels": NAMES,
            "confidence_threshold": 0.25, "iou_threshold": 0.45, "class_aware": True, "max_detections": 1000,
            "score_rule": "objectness * best class > confidence_threshold (objectness alone is compared with it too); the best class of a row only",
            "nms_rule": "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold"}
        if segment:
            head["mask_rule"] = ("sigmoid(coefficients @ prototypes), set to 0 outside the box taken to px of the prototypes (x1 <= x < x2, y1 <= y < y2), THEN enlarged to the "
                                 "network's input size (bilinear, half-pixel centres), a pixel is set when > 0.5; masks here are in px of the network's input")
            head["remark"] = f"{masks} mask coefficients, 32 in usual files"
        finish(name, head, sizes, preprocess, lambda b: session.run(None, {"images": b}), answer, with_objectness, output_names, most=20 if segment else 30)


def yolov7(seed, raw_heads=False):
    name = "yolov7_raw" if raw_heads else "yolov7"
    classes = len(NAMES)
    with importing(ARGS.yolov7_path), tempfile.TemporaryDirectory() as folder:
        from models.yolo import Model
        from utils import general
        from utils.datasets import letterbox

        general.clip_coords = lambda boxes, shape: None
        config = yaml.safe_load((Path(ARGS.yolov7_path) / "cfg/training/yolov7-tiny.yaml").read_text())
        config["anchors"], config["nc"] = ANCHORS, classes
        torch.manual_seed(seed)
        with contextlib.redirect_stdout(io.StringIO()):
            net = Model(config)
        net.eval()

        def preprocess(image, input_wh):
            return tensor_of(letterbox(np.ascontiguousarray(image[..., ::-1]), (input_wh[1], input_wh[0]), auto=False)[0])

        data = fc.calibration(preprocess, SIZES)
        fc.settle_batch_norm(net, data)
        with contextlib.redirect_stdout(io.StringIO()):
            net.requires_grad_(False).fuse()
        last = net.model[-1]
        mean, deviation = anchors_head(last.na, last.no, 0.6, -4.0, classes, objectness_deviation=3.5)
        fc.spread(net, data, [(m, mean, deviation) for m in last.m])
        path = Path(folder) / "yolov7.onnx"
        with torch.no_grad():
            if raw_heads:  # the exporter's default: no grid
                decoded = {}
                for b in data:
                    decoded[b.shape] = net(b)[0]
                anchors, strides = last.anchor_grid.view(3, 3, 2).numpy(), last.stride.numpy()
                last.export = True
            else:
                last.concat = True
            names = ["output", "second", "third"] if raw_heads else ["output"]
            axes = {"images": {0: "batch", 2: "height", 3: "width"}, **{n: {0: "batch", 2: "y", 3: "x"} for n in names}} if raw_heads else {"images": {0: "batch"}, "output": {0: "batch"}}
            sessions = {}
            for size in SIZES:
                torch.onnx.export(net, torch.zeros(1, 3, size[1], size[0]), str(path), verbose=False, opset_version=12, input_names=["images"], output_names=names,
                                  dynamic_axes=axes, dynamo=False)
                metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
                sessions[(size[1], size[0])] = gf.open_session(path)
        run = lambda b: sessions[b.shape[2:]].run(None, {"images": b})

        def rows_of(raw):
            if not raw_heads:
                return raw[0]
            rows = []
            for level, values in enumerate(raw):
                y = 1 / (1 + np.exp(-values))
                gy, gx = np.mgrid[0 : y.shape[2], 0 : y.shape[3]]
                y[..., 0:2] = (y[..., 0:2] * 2 - 0.5 + np.stack([gx, gy], -1)) * strides[level]
                y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * anchors[level][None, :, None, None, :]
                rows.append(y.reshape(len(y), -1, y.shape[-1]))
            return np.concatenate(rows, 1).astype(np.float32)

        if raw_heads:
            for b in data:
                if not np.allclose(rows_of(run(b.numpy())), decoded[b.shape].numpy(), rtol=1e-3, atol=1e-3):
                    gf.refuse("yolov7_raw: the decoding of the raw heads is not the network's own")

        def answer(raw, input_wh, source_wh):
            rows = general.non_max_suppression(torch.from_numpy(rows_of(raw).copy()), 0.25, 0.45)[0]
            rows[:, :4] = general.scale_coords((input_wh[1], input_wh[0]), rows[:, :4], (source_wh[1], source_wh[0], 3))
            return results_of(rows)

        if raw_heads:
            outputs = [{"name": n, "dims": ["batch", "3", f"height / {s}", f"width / {s}", "5 + classes"], "row": "raw x, y, w, h, objectness, class scores (no sigmoid)"} for n, s in zip(names, (8, 16, 32))]
        else:
            outputs = [{"name": "output", "dims": ["batch", "3 * cells", "5 + classes"], "row": "cx, cy, w, h, objectness, class scores (sigmoid done)"}]
        head = {
            "family": name, "task": "detect",
            "reference": {"package": "WongKinYiu/yolov7", "version": commit_of(ARGS.yolov7_path), "what": "yolov7-tiny.yaml with smaller anchors, exported as export.py does " + ("without --grid" if raw_heads else "with --grid") + "; letterbox, non_max_suppression, scale_coords (clipping taken out)"},
            "versions": VERSIONS, "metadata": metadata,
            "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "exported with --dynamic-batch; without it the batch is fixed"},
            "recipe": LETTERBOX, "outputs": outputs, "classes": classes, "labels": NAMES,
            "confidence_threshold": 0.25, "iou_threshold": 0.45, "class_aware": True, "max_detections": 300,
            "score_rule": "objectness * best class > confidence_threshold (objectness alone is compared with it too; with one class the objectness alone is the score); the best class of a row only",
            "nms_rule": "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold"}
        if raw_heads:
            head["decoding"] = "s = sigmoid; cx = (2 s - 0.5 + column) * stride, w = (2 s)^2 * anchor; the anchors are not in the file"
            head["anchors_px"] = anchors.astype(float).tolist()
            head["told_anchors_px"] = anchors.astype(float).ravel().tolist()
            head["strides"] = strides.astype(int).tolist()
            head["remark"] = "usual files name the second and third output by a number that differs from file to file"

        def candidates(raw):
            return with_objectness([rows_of(raw)])

        finish(name, head, SIZES, preprocess, run, answer, candidates, names)


def yolov6(seed):
    name, classes = "yolov6", len(NAMES)
    with importing(ARGS.yolov6_path), tempfile.TemporaryDirectory() as folder:
        from yolov6.core.inferer import Inferer
        from yolov6.data.data_augment import letterbox
        from yolov6.layers.common import RepVGGBlock
        from yolov6.models.yolo import build_model
        from yolov6.utils.config import Config
        from yolov6.utils.nms import non_max_suppression
        from yolov6.utils.torch_utils import fuse_model

        config = Config.fromfile(str(Path(ARGS.yolov6_path) / "configs/yolov6n.py"))
        if not hasattr(config, "training_mode"):
            setattr(config, "training_mode", "repvgg")
        torch.manual_seed(seed)
        net = build_model(config, classes, torch.device("cpu"))
        net.eval()

        def preprocess(image, input_wh):
            padded = letterbox(np.ascontiguousarray(image[..., ::-1]), (input_wh[1], input_wh[0]), auto=False)[0]
            return tensor_of(padded)

        data = fc.calibration(preprocess, SIZES)
        fc.settle_batch_norm(net, data)
        for layer in (*net.detect.reg_preds, *net.detect.cls_preds):
            torch.nn.init.normal_(layer.weight, std=0.1)  # it begins with zeros
        fuse_model(net).eval()
        for layer in net.modules():
            if isinstance(layer, RepVGGBlock):
                layer.switch_to_deploy()
        last = net.detect
        wanted = [(m, 1.3, 0.5) for m in last.reg_preds] + [(m, -2.0 - 0.25 * (np.arange(classes) % 3), 1.8) for m in last.cls_preds]
        fc.spread(net, data, wanted)
        path = Path(folder) / "yolov6n.onnx"
        sessions = {}
        for size in SIZES:
            torch.onnx.export(net, torch.zeros(1, 3, size[1], size[0]), str(path), verbose=False, opset_version=13, do_constant_folding=True, input_names=["images"], output_names=["outputs"],
                              dynamic_axes={"images": {0: "batch"}, "outputs": {0: "batch"}}, dynamo=False)
            metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
            sessions[(size[1], size[0])] = gf.open_session(path)
        run = lambda b: [sessions[b.shape[2:]].run(None, {"images": b})[0]]

        def answer(raw, input_wh, source_wh):
            rows = non_max_suppression(torch.from_numpy(raw[0].copy()), 0.4, 0.45, agnostic=False, max_det=1000)[0]
            rows[:, :4] = rescale_unclipped(Inferer, (input_wh[1], input_wh[0]), rows[:, :4].clone(), (source_wh[1], source_wh[0]))
            return results_of(rows)

        head = {
            "family": name, "task": "detect",
            "reference": {"package": "meituan/YOLOv6", "version": commit_of(ARGS.yolov6_path), "what": "configs/yolov6n.py, exported as deploy/ONNX/export_onnx.py does; letterbox, non_max_suppression, Inferer.rescale (clipping taken out)"},
            "versions": VERSIONS, "metadata": metadata,
            "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "exported with --dynamic-batch; without it the batch is fixed"},
            "recipe": LETTERBOX, "outputs": [{"name": "outputs", "dims": ["batch", "cells", "5 + classes"], "row": "cx, cy, w, h, 1, class scores (sigmoid done)"}],
            "classes": classes, "labels": NAMES, "confidence_threshold": 0.4, "iou_threshold": 0.45, "class_aware": True, "max_detections": 1000,
            "score_rule": "column 4 (always 1) * best class > confidence_threshold; the best class of a row only",
            "nms_rule": "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold"}
        finish(name, head, SIZES, preprocess, run, answer, with_objectness, ["outputs"])


def rescale_unclipped(inferer, network_hw, boxes, source_hw):
    """Inferer.rescale with the clamp taken out."""
    keep = torch.Tensor.clamp_
    torch.Tensor.clamp_ = lambda self, *limits: self
    try:
        return inferer.rescale(network_hw, boxes, source_hw)
    finally:
        torch.Tensor.clamp_ = keep


def cut_down(text, classes, width, height, factor):
    """A darknet file with fewer filters, fewer repeats and smaller anchors; nothing else of it is changed."""
    out = []
    for block in text.split("["):
        if block.startswith("convolutional") and "filters=255" not in block.replace(" ", ""):
            rows = []
            for line in block.splitlines():
                if line.replace(" ", "").startswith("filters="):
                    line = f"filters={max(4, int(line.split('=')[1]) // factor)}"
                rows.append(line)
            block = "\n".join(rows) + "\n"
        elif block.startswith("convolutional"):
            block = "\n".join(f"filters={3 * (5 + classes)}" if l.replace(" ", "").startswith("filters=") else l for l in block.splitlines()) + "\n"
        elif block.startswith("yolo"):
            rows = []
            for line in block.splitlines():
                plain = line.replace(" ", "")
                if plain.startswith("classes="):
                    line = f"classes={classes}"
                if plain.startswith("anchors="):
                    line = "anchors=" + ",".join(str(max(3, round(int(v) / 6))) for v in plain.split("=")[1].split(","))
                rows.append(line)
            block = "\n".join(rows) + "\n"
        elif block.startswith("net]"):
            rows = []
            for line in block.splitlines():
                plain = line.replace(" ", "")
                if plain.startswith("width="):
                    line = f"width={width}"
                if plain.startswith("height="):
                    line = f"height={height}"
                rows.append(line)
            block = "\n".join(rows) + "\n"
        out.append(block)
    return "[".join(out)


def yolov4(seed, name="yolov4", config="yolov4-tiny.cfg"):
    classes = len(NAMES)
    sys.modules.setdefault("imghdr", type(sys)("imghdr"))
    with importing(ARGS.yolov4_path), tempfile.TemporaryDirectory() as folder:
        from tool.darknet2pytorch import Darknet
        from tool.utils import post_processing

        def preprocess(image, input_wh):
            bgr = np.ascontiguousarray(image[..., ::-1])
            resized = cv2.resize(bgr, input_wh, interpolation=cv2.INTER_LINEAR)
            return np.ascontiguousarray(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB).transpose(2, 0, 1), dtype=np.float32) / 255

        text = (Path(ARGS.yolov4_path) / "cfg" / config).read_text()
        weights, sessions = None, {}
        data = fc.calibration(preprocess, SIZES)
        for size in SIZES:
            cfg = Path(folder) / "net.cfg"
            cfg.write_text(cut_down(text, classes, *size, 4))
            torch.manual_seed(seed)
            with contextlib.redirect_stdout(io.StringIO()):
                net = Darknet(str(cfg), inference=True)
                net.eval()
                if weights is None:
                    only = [data[0]]
                    fc.settle_batch_norm(net, only)
                    lasts = [net.models[i - 1][0] for i, b in enumerate(net.blocks[1:]) if b["type"] == "yolo"]
                    mean, deviation = anchors_head(3, 5 + classes, 0.6, -0.8, classes)
                    deviation = deviation.copy()
                    deviation[np.isin(np.arange(len(deviation)) % (5 + classes), [2, 3])] = 0.35
                    fc.spread(net, only, [(m, mean, deviation) for m in lasts])
                    weights = net.state_dict()
                net.load_state_dict(weights)
                path = Path(folder) / "yolov4.onnx"
                torch.onnx.export(net, torch.zeros(1, 3, size[1], size[0]), str(path), export_params=True, opset_version=11, do_constant_folding=True, input_names=["input"], output_names=["boxes", "confs"],
                                  dynamic_axes={"input": {0: "batch_size"}, "boxes": {0: "batch_size"}, "confs": {0: "batch_size"}}, dynamo=False)
            metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
            sessions[(size[1], size[0])] = gf.open_session(path)
        run = lambda b: sessions[b.shape[2:]].run(None, {"input": b})

        def answer(raw, input_wh, source_wh):
            with contextlib.redirect_stdout(io.StringIO()):
                boxes = post_processing(None, 0.4, 0.6, raw)[0]
            scale = np.array([source_wh[0], source_wh[1]] * 2, np.float32)
            rows = [[*(np.array(b[:4], np.float32) * scale), b[5], b[6]] for b in boxes]
            return results_of(sorted(rows, key=lambda r: -r[4]))

        head = {
            "family": name, "task": "detect",
            "reference": {"package": "Tianxiaomo/pytorch-YOLOv4", "version": commit_of(ARGS.yolov4_path), "what": f"cfg/{config} with fewer filters and smaller anchors, exported as tool/darknet2onnx.py does; post_processing"},
            "versions": VERSIONS, "metadata": metadata,
            "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "exported with batch size 0; otherwise the batch is fixed"},
            "recipe": STRETCH,
            "outputs": [{"name": "boxes", "dims": ["batch", "3 * cells", "1", "4"], "row": "x1, y1, x2, y2 as shares of the input"}, {"name": "confs", "dims": ["batch", "3 * cells", "classes"], "row": "objectness * class (sigmoid done)"}],
            "classes": classes, "labels": NAMES, "confidence_threshold": 0.4, "iou_threshold": 0.6, "class_aware": True, "max_detections": None,
            "score_rule": "best class > confidence_threshold; the best class of a row only",
            "nms_rule": "plain IoU of the normalised boxes, a box goes when IoU with a kept better one of its class > iou_threshold"}

        def candidates(raw):
            return raw[0][0][:, 0], raw[1][0]

        finish(name, head, SIZES, preprocess, run, answer, candidates, ["boxes", "confs"])


def damoyolo(seed):
    name, classes = "damoyolo", len(NAMES)
    here = os.getcwd()
    with importing(ARGS.damoyolo_path), tempfile.TemporaryDirectory() as folder:
        os.chdir(ARGS.damoyolo_path)  # its configurations open files by paths relative to its root
        try:
            from damo.base_models.core.ops import RepConv
            from damo.config.base import parse_config
            from damo.detectors.detector import build_local_model
            from damo.utils.boxes import postprocess
            from damo.utils.demo_utils import transform_img

            config = parse_config("configs/damoyolo_tinynasL20_T.py")
            config.model.head["num_classes"] = classes
            torch.manual_seed(seed)
            net = build_local_model(config, torch.device("cpu"))
        finally:
            os.chdir(here)
        net.eval()
        net.head.nms = False
        how = dict(config.test.augment.transform)

        def preprocess(image, input_wh):
            return transform_img(image, 0, **how, infer_size=(input_wh[1], input_wh[0])).tensors[0].numpy()

        data = fc.calibration(preprocess, SIZES)
        fc.settle_batch_norm(net, data)
        for layer in net.modules():
            if isinstance(layer, RepConv):
                layer.switch_to_deploy()
        bins = net.head.reg_max + 1
        wanted = [(m, np.tile(-0.45 * np.arange(bins), 4), 1.6) for m in net.head.gfl_reg] + [(m, -2.4 - 0.25 * (np.arange(classes) % 3), 1.6) for m in net.head.gfl_cls]
        fc.spread(net, data, wanted)
        path = Path(folder) / "damoyolo.onnx"
        sessions = {}
        for size in SIZES:
            for batch in (1, 4):  # the priors are repeated for the batch of the export, which is fixed
                torch.onnx.export(net, torch.zeros(batch, 3, size[1], size[0]), str(path), input_names=["images"], output_names=["output"], opset_version=11, dynamo=False)
                sessions[(batch, size[1], size[0])] = gf.open_session(path)
                metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
        output_names = [o.name for o in sessions[(1, SIZES[0][1], SIZES[0][0])].get_outputs()]
        run = lambda b: sessions[(len(b), *b.shape[2:])].run(None, {"images": b})

        class Sizes:
            pass

        def answer(raw, input_wh, source_wh):
            images = Sizes()
            images.image_sizes = [(input_wh[1], input_wh[0])]
            boxes = postprocess(torch.from_numpy(raw[0].copy()), torch.from_numpy(raw[1].copy()), classes, 0.3, 0.7, images)[0].resize(source_wh)
            rows = [[*box, score, label] for box, score, label in zip(boxes.bbox.numpy(), boxes.get_field("scores").numpy(), boxes.get_field("labels").numpy())]
            return results_of(rows)

        head = {
            "family": name, "task": "detect",
            "reference": {"package": "tinyvision/DAMO-YOLO", "version": commit_of(ARGS.damoyolo_path), "what": "configs/damoyolo_tinynasL20_T.py, exported as tools/converter.py does; transform_img, postprocess, BoxList.resize"},
            "versions": VERSIONS, "metadata": metadata,
            "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": False},
            "recipe": {**STRETCH, "scale": [1, 1, 1]},
            "outputs": [{"name": output_names[0], "dims": ["batch", "cells", "classes"], "row": "class scores (sigmoid done)"}, {"name": output_names[1], "dims": ["batch", "cells", "4"], "row": "x1, y1, x2, y2 in px of the input"}],
            "remark": "the exporter names only the first output; the second has a number that differs from file to file. Cells' points are column * stride, without the half",
            "classes": classes, "labels": NAMES, "confidence_threshold": 0.3, "iou_threshold": 0.7, "class_aware": True, "multi_label": True, "max_detections": 500,
            "score_rule": "every class of a cell > confidence_threshold is a box of its own (0.05 in the configuration, 0.3 here)",
            "nms_rule": "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold"}

        def candidates(raw):
            return raw[1][0], raw[0][0]

        finish(name, head, SIZES, preprocess, run, answer, candidates, output_names)


def main():
    makers = {"yolov5": (ARGS.yolov5_path, yolov5), "yolov5_seg": (ARGS.yolov5_path, lambda s: yolov5(s, True)), "yolov7": (ARGS.yolov7_path, yolov7),
              "yolov7_raw": (ARGS.yolov7_path, lambda s: yolov7(s, True)), "yolov6": (ARGS.yolov6_path, yolov6), "yolov4": (ARGS.yolov4_path, yolov4),
              "yolov3": (ARGS.yolov4_path, lambda s: yolov4(s, "yolov3", "yolov3-tiny.cfg")), "damoyolo": (ARGS.damoyolo_path, damoyolo)}
    for name, (path, make) in makers.items():
        if path and fc.wanted(ARGS, name):
            fc.first_that_will_do(make, range(3, 13))


if __name__ == "__main__":
    main()
