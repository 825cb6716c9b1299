#!/usr/bin/env python3
"""Golden results of small detectors: NanoDet, NanoDet-Plus, PicoDet, Yolo-FastestV2, by the projects' own code.

NanoDet's heads sit on a plain pyramid with random weights; PicoDet gets made-up raw outputs, since its network is not
PyTorch; Yolo-FastestV2 is the whole network with random weights.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import unittest.mock
from pathlib import Path

import cv2
import numpy as np
import torch

import family_writer as fw
import golden_files as gf
from reference_imports import commit_of

CLASSES = 5
SOURCES = [(77, 50), (60, 91), (130, 130), (41, 64)]


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for modules that only training, drawing or logging wants, where they are not installed."""

    roots = ("pytorch_lightning", "lightning_fabric", "termcolor", "yacs", "pycocotools", "tabulate", "omegaconf",
             "torchsummary", "imgaug", "imagesize", "tensorboard")

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.roots:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return unittest.mock.MagicMock(__path__=[], __name__=spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.append(StandIns())  # last, so that what is installed is found first


def warped(source, tensor):
    """NanoDet's way from source to input, which it also takes back: one ratio, the middle on the middle."""
    ratio = min(tensor[0] / source[0], tensor[1] / source[1])
    return {"scale_x": ratio, "scale_y": ratio,
            "pad_x": (tensor[0] - source[0] * ratio) / 2, "pad_y": (tensor[1] - source[1] * ratio) / 2}


def head_of(name, what, package, path, threshold, iou, versions):
    return {
        "family": name, "task": "detect", "reference": {"package": package, "version": commit_of(path), "what": what},
        "versions": gf.versions("torch", *versions), "metadata": {}, "classes": CLASSES,
        "confidence_threshold": threshold, "iou_threshold": iou, "class_aware": True, "max_detections": 100,
    }


def good(results, candidates, threshold, iou, all_scores):
    """Empty when nothing hangs on a hair. candidates: boxes, scores, classes of what enters the suppression."""
    why = fw.check_results(results)
    if why:
        return why
    if not fw.scores_clear(all_scores, threshold):
        return "a score at the threshold"
    boxes, scores, classes = candidates
    if len(scores) == len(results):
        return "nothing suppressed"
    if not fw.decisions_clear(boxes, scores, classes, iou):
        return "an overlap at the threshold"
    return ""


# ---- NanoDet

NANO_SCORE, NANO_IOU = 0.35, 0.6
NANO_SIZES = [(64, 64), (64, 32), (32, 64)]
NANO_MEAN, NANO_STD = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]


def load_nanodet(path):
    """nanodet.model.head, and its functions of the input."""
    sys.path.insert(0, str(path))
    for name, folder in (("nanodet.data", "nanodet/data"), ("nanodet.data.transform", "nanodet/data/transform")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(Path(path) / folder)]
    head = importlib.import_module("nanodet.model.head")
    warp = importlib.import_module("nanodet.data.transform.warp")
    normalise = importlib.import_module("nanodet.data.transform.color")
    return head, warp, normalise


class Pyramid(torch.nn.Module):
    """Halving convolutions; the maps at strides 8, 16, 32 (, 64) go to the head. Sides are rounded up."""

    def __init__(self, head, levels, channels=24):
        super().__init__()
        self.steps = torch.nn.ModuleList()
        for i in range(2 + levels):
            self.steps.append(torch.nn.Sequential(
                torch.nn.Conv2d(3 if i == 0 else channels, channels, 3, 2, 1), torch.nn.BatchNorm2d(channels),
                torch.nn.LeakyReLU(0.1)))
        self.head = head

    def forward(self, x):
        maps = []
        for i, step in enumerate(self.steps):
            x = step(x)
            if i >= 2:
                maps.append(x)
        return self.head(maps)


class Split(torch.nn.Module):
    """The older export: one pair of outputs per stride, classes (activated) and distances."""

    def __init__(self, network, counts, classes):
        super().__init__()
        self.network, self.counts, self.classes = network, counts, classes

    def forward(self, x):
        parts = self.network(x).split(self.counts, dim=1)
        return tuple(p[..., :self.classes] for p in parts) + tuple(p[..., self.classes:] for p in parts)


def nanodet_tensor(warp, color, image, width, height):
    """RGB picture -> NCHW, warp matrix, by the project's own functions."""
    h, w = image.shape[:2]
    matrix = warp.get_resize_matrix((w, h), (width, height), True)
    warped = cv2.warpPerspective(image[..., ::-1], matrix, dsize=(width, height))
    # _normalize divides mean and deviation by 255 itself.
    return color._normalize(warped.astype(np.float32) / 255, NANO_MEAN, NANO_STD).transpose(2, 0, 1)[None], matrix


def nanodet_head(heads, classes, strides, plus, channels=24):
    weight = types.SimpleNamespace(use_sigmoid=True, beta=2.0, loss_weight=1.0)
    loss = types.SimpleNamespace(loss_qfl=weight, loss_dfl=weight, loss_bbox=weight)
    if plus:
        return heads.NanoDetPlusHead(classes, loss, channels, feat_channels=channels, stacked_convs=2, kernel_size=5,
                                     strides=strides, reg_max=7)
    return heads.NanoDetHead(classes, loss, channels, feat_channels=channels, stacked_convs=2, octave_base_scale=5,
                             strides=strides, reg_max=7, share_cls_reg=True)


def nanodet(name, path, plus):
    heads, warp, color = load_nanodet(path)
    golden = fw.Golden(name)
    strides = [8, 16, 32, 64] if plus else [8, 16, 32]
    torch.manual_seed(5)
    head = nanodet_head(heads, CLASSES, strides, plus)
    for layer in head.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    network = Pyramid(head, len(strides)).eval()

    def preprocess(image, width, height):
        return nanodet_tensor(warp, color, image, width, height)

    warm = torch.from_numpy(np.concatenate([preprocess(fw.picture(900 + i, 70, 60), 64, 64)[0] for i in range(8)]))
    fw.calibrate(network, warm)
    for layer in head.gfl_cls:
        seen = []
        hook = layer.register_forward_hook(lambda m, i, o: seen.append(o.detach()))
        with torch.no_grad():
            network(warm)
        hook.remove()
        fw.liven(layer, seen[0], 1, 2.0)
        with torch.no_grad():
            layer.bias[:CLASSES] -= 4.2
            layer.bias[CLASSES:] -= 0.5 * torch.arange(8.0).repeat(4)  # boxes of some strides, mostly inside
    module = sys.modules[type(head).__module__]
    gfl = sys.modules["nanodet.model.head.gfl_head"]
    real = gfl.distance2bbox

    def decode(raw, width, height, matrix):
        """get_bboxes on the exported numbers: classes go back through the logit, since it applies the sigmoid itself."""
        cls, reg = torch.from_numpy(raw[..., :CLASSES]), torch.from_numpy(raw[..., CLASSES:])
        seen = {}

        def decoder(points, distance, max_shape=None):
            return real(points, distance)

        nms = module.multiclass_nms if plus else gfl.multiclass_nms
        owner = module if plus else gfl

        def watch(boxes, scores, **settings):
            seen.update(boxes=boxes.numpy(), scores=scores.numpy()[:, :-1])
            return nms(boxes, scores, **settings)

        owner.distance2bbox, owner.multiclass_nms = decoder, watch
        found, labels = head.get_bboxes(torch.logit(cls), reg, {"img": np.zeros((1, 3, height, width))})[0]
        owner.distance2bbox, owner.multiclass_nms = real, nms
        inverse = np.linalg.inv(matrix)
        found = found.numpy()
        points = found[:, :4].reshape(-1, 2).astype(np.float64) @ inverse[:2, :2].T + inverse[:2, 2]
        results = [{"class_id": int(c), "score": round(float(f[4]), 6), "box_xyxy_px": fw.numbers(p)}
                   for c, f, p in zip(labels, found, points.reshape(-1, 4)) if f[4] > NANO_SCORE]
        on = np.argwhere(seen["scores"] > NANO_SCORE)
        return results, (seen["boxes"][on[:, 0]], seen["scores"][on[:, 0], on[:, 1]], on[:, 1]), seen["scores"]

    cases = []
    for width, height in NANO_SIZES:
        counts = [-(-width // s) * -(-height // s) for s in strides]
        names = ["output"] if plus else [f"{k}_pred_stride_{s}" for k in ("cls", "dis") for s in strides]
        model = network if plus else Split(network, counts, CLASSES).eval()
        input_name = "data" if plus else "input.1"
        axes = {n: {0: "batch"} for n in [input_name] + names}
        session, metadata = fw.export(model, (torch.zeros(1, 3, height, width),), [input_name], names, axes)

        def joined(raw):
            n = len(strides)
            return raw[0] if plus else np.concatenate(
                [np.concatenate(raw[:n], 1), np.concatenate(raw[n:], 1)], 2)

        tensors, kept = [], []
        # nearly the input's shape: equal cells in a wide border would give equal scores
        sources = [(width + 13, height + 2), (width - 2, height + 9), (2 * width, 2 * height - 6), (width + 1, height - 5)]
        for index, (w, h) in enumerate(sources):
            reasons = {}
            for seed in range(index * 3000, index * 3000 + 1500):
                x, matrix = preprocess(fw.picture(seed, w, h), width, height)
                raw = joined(session.run(None, {input_name: x}))
                results, candidates, scores = decode(raw, width, height, matrix)
                why = good(results, candidates, NANO_SCORE, NANO_IOU, scores)
                if why:
                    reasons[why] = reasons.get(why, 0) + 1
                    continue
                break
            else:
                gf.refuse(f"{name} {width}x{height} entry {index}: {reasons}")
            tensors.append(x)
            kept.append(results)
        raw = fw.run_batch(lambda x: session.run(None, {input_name: x}), tensors)
        cases.append({"input_wh": [width, height], "raw": [golden.raw(n, r) for n, r in zip(names, raw)],
                      "entries": [{"source_wh": list(wh), "mapping": warped(wh, (width, height)), "results": k}
                                  for wh, k in zip(sources, kept)]})
    out = head_of("nanodet", f"{type(head).__name__} on a plain pyramid; get_bboxes with its clipping left out",
                  "RangiLyu/nanodet", path, NANO_SCORE, NANO_IOU, ["torchvision", "opencv-python-headless", "onnxruntime"])
    out.update(family=name, metadata=metadata)
    out["input"] = {"name": input_name, "layout": "nchw", "dtype": "float32", "batch_open": False}
    out["recipe"] = {"channels": "bgr", "resize": "letterbox_center", "rounding": "none: the picture is warped by "
                     "x' = (x - w / 2) * ratio + W / 2, ratio = min(W / w, H / h), offsets are not whole pixels",
                     "interpolation": "bilinear (warpPerspective)", "pad": 0, "mean": NANO_MEAN, "scale": [1 / s for s in NANO_STD]}
    out["outputs"] = [{"name": n, "dims": ["batch", "cells", {"c": CLASSES, "d": 32, "o": CLASSES + 32}[n[0]]]}
                      for n in names]
    out["strides"] = strides
    out["score_rule"] = "as given (sigmoid is inside); every (cell, class) > threshold is a candidate"
    out["box_rule"] = (
        "cells per stride, row-major, sides rounded up; centre = " + ("cell * stride" if plus else "(cell + 0.5) * stride") +
        "; left, top, right, bottom: softmax over 8 values each, sum of i * p, times stride")
    out["nms_rule"] = "plain IoU per class, a box goes when > threshold; the reference clips boxes to "\
                      "the input before that, which is left out here (it can change what is kept)"
    out["batch_1_equal"] = True
    width, height = NANO_SIZES[1]
    out["interpolation_check"] = golden.interpolation_check(lambda im: preprocess(im, width, height)[0][0], (width, height))
    golden.write(dict(out, cases=cases))


# ---- PicoDet

PICO_SCORE, PICO_IOU = 0.4, 0.5


def load_picodet(path):
    """picodet_postprocess of deploy/python, and a function from RGB picture to the tensor of one picture."""
    sys.path.insert(0, str(Path(path) / "deploy/python"))
    post = importlib.import_module("picodet_postprocess")
    prepare = importlib.import_module("preprocess")
    steps = [prepare.Resize([0, 0], keep_ratio=False, interp=2),
             prepare.NormalizeImage([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], is_scale=True), prepare.Permute()]

    def preprocess(image, width, height):
        steps[0].target_size = [height, width]
        info = {"im_shape": np.array(image.shape[:2], np.float32), "scale_factor": np.ones(2, np.float32)}
        for step in steps:
            image, info = step(image, info)
        return image

    return post, preprocess


def picodet(path):
    post, preprocess = load_picodet(path)
    golden = fw.Golden("picodet")
    strides = [8, 16, 32, 64]
    names = [f"{k}_{s}" for k in ("cls", "reg") for s in strides]

    class Unclipped(post.PicoDetPostProcess):
        def warp_boxes(self, boxes, ori_shape):
            return boxes  # the reference only clips here

    cases = []
    for width, height in NANO_SIZES:
        arrays, kept = [], []
        for index, (w, h) in enumerate(SOURCES):
            for seed in range(500):
                rng = np.random.default_rng([seed, index, width, height])
                raw = made_up(rng, width, height, strides)
                n = len(strides)
                seen = []
                real = post.hard_nms

                def watch(box_scores, **settings):
                    seen.append(box_scores)
                    return real(box_scores, **settings)

                post.hard_nms = watch
                found, _ = Unclipped([height, width], [[height, width]], [[height / h, width / w]], strides, PICO_SCORE,
                                     PICO_IOU)([r[None] for r in raw[:n]], [r[None] for r in raw[n:]])
                post.hard_nms = real
                order = np.argsort(-found[:, 1], kind="stable")
                results = [{"class_id": int(f[0]), "score": round(float(f[1]), 6), "box_xyxy_px": fw.numbers(f[2:])}
                           for f in found[order]]
                flat = np.concatenate(seen)
                classes = np.concatenate([[k] * len(s) for k, s in enumerate(seen)])
                if not good(results, (flat[:, :4], flat[:, 4], classes), PICO_SCORE, PICO_IOU,
                            np.concatenate([r.reshape(-1) for r in raw[:n]])):
                    break
            else:
                gf.refuse(f"picodet {width}x{height} entry {index}")
            arrays.append(raw)
            kept.append(results)
        cases.append({"input_wh": [width, height],
                      "raw": [golden.raw(n, np.stack([a[k] for a in arrays])) for k, n in enumerate(names)],
                      "entries": [{"source_wh": list(wh), "results": k} for wh, k in zip(SOURCES, kept)]})
    out = head_of("picodet", "deploy/python: preprocess, PicoDetPostProcess (its clipping left out) over made-up raw outputs",
                  "PaddlePaddle/PaddleDetection", path, PICO_SCORE, PICO_IOU, ["opencv-python-headless", "scipy"])
    out["input"] = {"name": "image", "layout": "nchw", "dtype": "float32", "batch_open": False}
    out["recipe"] = {"channels": "rgb", "resize": "stretch", "rounding": "nearest", "interpolation": "cubic", "pad": None,
                     "mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)]}
    out["outputs"] = [{"name": n, "dims": ["batch", "cells", CLASSES if n[0] == "c" else 32]} for n in names]
    out["outputs_note"] = "names differ from file to file; the order (all classes, then all distances) is the export's"
    out["strides"] = strides
    out["score_rule"] = "as given (sigmoid is inside); every (cell, class) > threshold is a candidate"
    out["box_rule"] = ("cells per stride, row-major; centre = (cell + 0.5) * stride; left, top, right, bottom: softmax over "
                       "8 values each, sum of i * p, times stride; then per axis by source / input")
    out["nms_rule"] = "IoU with 1e-5 in the union, in px of the input, per class; goes when > threshold"
    out["batch_1_equal"] = True
    out["interpolation_check"] = golden.interpolation_check(lambda im: preprocess(im, 64, 32), (64, 32))
    golden.write(dict(out, cases=cases))


def made_up(rng, width, height, strides):
    """A few objects, each seen by several cells; distances as 8 values per side that peak near the right one."""
    scores, distances = [], []
    objects = [(rng.uniform([0, 0], [width, height]), rng.uniform(0.15, 0.4, 2) * min(width, height),
                int(rng.integers(CLASSES))) for _ in range(int(rng.integers(6, 10)))]
    for stride in strides:
        cols, rows = -(-width // stride), -(-height // stride)
        centre = (np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), -1).reshape(-1, 2) + 0.5) * stride
        score = rng.uniform(0.0, 0.25, (len(centre), CLASSES))
        side = rng.uniform(0.3, 5, (len(centre), 4))
        for at, half, label in objects:
            near = (np.abs(centre - at) < half).all(1) & (half.max() < 5.5 * stride) & (half.max() > 0.7 * stride)
            for a in np.flatnonzero(near):
                score[a, label] = rng.uniform(0.3, 0.95)
                side[a] = np.clip(np.concatenate([centre[a] - at + half, at + half - centre[a]]) / stride, 0.1, 6.8)
        peak = -3.0 * np.abs(np.arange(8) - side[..., None]) + rng.normal(0, 0.3, (len(centre), 4, 8))
        scores.append(score.astype(np.float32))
        distances.append(peak.reshape(len(centre), 32).astype(np.float32))
    return scores + distances


# ---- Yolo-FastestV2

FASTEST_SCORE, FASTEST_IOU = 0.3, 0.4
ANCHORS = [12.64, 19.39, 37.88, 51.48, 55.71, 138.31, 126.91, 78.23, 131.57, 214.55, 279.92, 258.87]


def load_fastestv2(path):
    """model.detector and utils.utils of the project."""
    sys.path.insert(0, str(path))
    return importlib.import_module("model.detector"), importlib.import_module("utils.utils")


def fastestv2_tensor(image, width, height):
    """RGB picture -> NCHW, as in test.py."""
    return cv2.resize(image[..., ::-1], (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)[
        None].astype(np.float32) / np.float32(255)


def fastestv2_config(width, height):
    return {"anchors": ANCHORS, "anchor_num": 3, "height": height, "width": width}


def yolo_fastestv2(path):
    detector, utils = load_fastestv2(path)
    preprocess = fastestv2_tensor
    torch.manual_seed(6)
    maps = detector.Detector(CLASSES, 3, True, False).eval()

    warm = torch.from_numpy(np.concatenate([preprocess(fw.picture(900 + i, 90, 80), 128, 128) for i in range(8)]))
    fw.calibrate(maps, warm)
    for layer, std in ((maps.output_reg_layers, 0.8), (maps.output_obj_layers, 1.5), (maps.output_cls_layers, 2.5)):
        seen = []
        hook = layer.register_forward_hook(lambda m, i, o: seen.append(o.detach().flatten(2)))
        with torch.no_grad():
            maps(warm)
        hook.remove()
        fw.liven(layer, torch.cat(seen, 2), 1, std)
    with torch.no_grad():
        maps.output_obj_layers.bias -= 2.5
    activated = detector.Detector(CLASSES, 3, True, True).eval()
    activated.load_state_dict(maps.state_dict())
    goldens = {"yolo_fastestv2": fw.Golden("yolo_fastestv2"), "yolo_fastestv2_maps": fw.Golden("yolo_fastestv2_maps")}
    names = {"yolo_fastestv2": ["output0", "output1"],
             "yolo_fastestv2_maps": [f"{k}_{s}" for s in (16, 32) for k in ("reg", "obj", "cls")]}
    cases = {name: [] for name in goldens}
    for width, height in [(128, 128), (192, 128), (128, 256)]:
        config = fastestv2_config(width, height)
        tensors, kept = [], []
        # the batch is fixed: the network's channel shuffle folds it into the channels when it is traced
        session, _ = fw.export(maps, (torch.zeros(1, 3, height, width),), ["input.1"], names["yolo_fastestv2_maps"])
        for index, (w, h) in enumerate(SOURCES):
            reasons = {}
            for seed in range(index * 1000, index * 1000 + 300):
                x = preprocess(fw.picture(seed, w, h), width, height)
                made = [torch.from_numpy(m) for m in session.run(None, {"input.1": x})]
                decoded = utils.handel_preds(made, config, "cpu")
                found = utils.non_max_suppression(decoded.clone(), conf_thres=FASTEST_SCORE, iou_thres=FASTEST_IOU)[0].numpy()
                results = [{"class_id": int(f[5]), "score": round(float(f[4]), 6),
                            "box_xyxy_px": fw.numbers(f[:4] * np.tile([w / width, h / height], 2))} for f in found]
                row = decoded[0].numpy()
                score = row[:, 5:].max(1) * row[:, 4]
                on = score > FASTEST_SCORE
                boxes = np.concatenate([row[:, :2] - row[:, 2:4] / 2, row[:, :2] + row[:, 2:4] / 2], 1)
                why = good(results, (boxes[on], score[on], row[on, 5:].argmax(1)), FASTEST_SCORE, FASTEST_IOU, score)
                top = np.sort(row[on, 5:], 1)
                if not why and np.min(top[:, -1] - top[:, -2]) < 2e-3:
                    why = "two classes alike"
                if not why:
                    break
                reasons[why] = reasons.get(why, 0) + 1
            else:
                gf.refuse(f"yolo_fastestv2 {width}x{height} entry {index}: {reasons}")
            tensors.append(x)
            kept.append(results)
        for name, model in (("yolo_fastestv2", activated), ("yolo_fastestv2_maps", maps)):
            session, metadata = fw.export(model, (torch.zeros(1, 3, height, width),), ["input.1"], names[name])
            raw = [np.concatenate(r) for r in zip(*(session.run(None, {"input.1": x}) for x in tensors))]
            with torch.no_grad():
                if not all(fw.nearly(a, b.numpy(), 5e-3)
                           for a, b in zip(raw, model(torch.from_numpy(np.concatenate(tensors))))):
                    gf.refuse("ONNX and torch differ")
            cases[name].append({
                "input_wh": [width, height], "raw": [goldens[name].raw(n, r) for n, r in zip(names[name], raw)],
                "entries": [{"source_wh": list(wh), "results": k} for wh, k in zip(SOURCES, kept)]})
    for name, golden in goldens.items():
        out = head_of("yolo_fastestv2", "model.detector.Detector; utils.handel_preds, non_max_suppression as test.py calls it",
                      "dog-qiuqiu/Yolo-FastestV2", path, FASTEST_SCORE, FASTEST_IOU,
                      ["torchvision", "opencv-python-headless", "onnx", "onnxruntime"])
        out.update(metadata=metadata, max_detections=300)
        out["input"] = {"name": "input.1", "layout": "nchw", "dtype": "float32", "batch_open": False}
        out["recipe"] = {"channels": "bgr", "resize": "stretch", "rounding": "nearest", "interpolation": "bilinear",
                         "pad": None, "mean": [0, 0, 0], "scale": [1 / 255] * 3}
        if name.endswith("maps"):
            dims = {"reg": 12, "obj": 3, "cls": CLASSES}
            out["outputs"] = [{"name": n, "dims": ["batch", dims[n[:3]], "rows", "columns"]} for n in names[name]]
            first = "maps as they are: sigmoid on reg and obj, softmax over cls"
        else:
            out["outputs"] = [{"name": n, "dims": ["batch", "rows", "columns", "12 + 3 + classes"]} for n in names[name]]
            first = "12 reg (sigmoid done), 3 obj (sigmoid done), classes (softmax done)"
        out["outputs_note"] = "names are numbers in real files; stride 16 comes first, then 32"
        out["strides"], out["anchors"] = [16, 32], ANCHORS
        out["batch_note"] = "the export runs one picture at a time; torch gives the same for all four together"
        out["score_rule"] = "obj * best class, kept when > threshold (obj alone too); the classes are common to the 3 anchors"
        out["box_rule"] = (first + "; reg of anchor a: channels 4a..4a+3; centre = (2 * reg - 0.5 + cell) * stride, size = "
                           "(2 * reg)^2 * anchor (px of the input, as listed whatever the input)")
        out["nms_rule"] = "plain IoU per class, a box goes when > threshold"
        out["batch_1_equal"] = True
        out["interpolation_check"] = golden.interpolation_check(lambda im: preprocess(im, 192, 128)[0], (192, 128))
        golden.write(dict(out, cases=cases[name]))


def main():
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--nanodet-path")
    parser.add_argument("--paddledetection-path")
    parser.add_argument("--fastestv2-path")
    given = parser.parse_args()
    if given.fastestv2_path:
        yolo_fastestv2(given.fastestv2_path)
    if given.paddledetection_path:
        picodet(given.paddledetection_path)
    if given.nanodet_path:
        nanodet("nanodet", given.nanodet_path, False)
        nanodet("nanodet_plus", given.nanodet_path, True)


if __name__ == "__main__":
    main()
