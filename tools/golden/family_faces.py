#!/usr/bin/env python3
"""Golden results of face detectors with landmarks: YuNet, RetinaFace, SCRFD.

YuNet runs from its real file (--data) on drawn faces; RetinaFace has random weights; SCRFD, whose network is not in its
package, gets made-up raw outputs, decoded by the package's own class.
"""

import argparse
import importlib.util
import sys
import types
from pathlib import Path

import cv2
import numpy as np

import family_writer as fw
import golden_files as gf

SOURCES = [(77, 50), (60, 91), (130, 130), (51, 64)]
SIZES = [(64, 64), (96, 64), (64, 128)]


def drawn_faces(seed, width, height):
    """A made BGR picture with five to nine drawn faces."""
    rng = np.random.default_rng(seed)
    picture = fw.picture(seed, width, height)[..., ::-1].copy()
    largest = min(width, height) / 4.5
    for _ in range(rng.integers(5, 10)):
        r = rng.uniform(0.5 * largest, largest)
        cx, cy = rng.uniform(r, width - r), rng.uniform(r, height - r)

        def ellipse(dx, dy, a, b, colour):
            cv2.ellipse(picture, ((cx + dx * r, cy + dy * r), (2 * a * r, 2 * b * r), 0), colour, -1, cv2.LINE_AA)

        skin = np.clip(np.array([150, 180, 220]) * rng.uniform(0.6, 1.1), 0, 255).tolist()
        ellipse(0, -0.2, 0.85, 1.15, (30, 30, 40))
        ellipse(0, 0, 0.75, 1, skin)
        for side in (-0.3, 0.3):
            ellipse(side, -0.2, 0.14, 0.08, (40, 30, 30))
            ellipse(side, -0.4, 0.18, 0.05, (40, 50, 60))
        ellipse(0, 0.12, 0.1, 0.14, [c * 0.8 for c in skin])
        ellipse(0, 0.5, 0.28, 0.09, (70, 60, 150))
    return picture


def face(score, box, points):
    return {"class_id": 0, "score": round(float(score), 6), "box_xyxy_px": fw.numbers(box),
            "keypoints": [[round(float(x), 4), round(float(y), 4), 1.0] for x, y in np.reshape(points, (-1, 2))]}


def common(name, reference, versions, threshold, iou):
    return {
        "family": name, "task": "detect", "reference": reference, "versions": gf.versions(*versions), "metadata": {},
        "classes": 1, "labels": ["face"], "keypoints_have_scores": False, "confidence_threshold": threshold,
        "iou_threshold": iou, "class_aware": False, "max_detections": None,
    }


# ---- YuNet

YUNET_SCORE, YUNET_IOU, YUNET_TOP = 0.3, 0.3, 5000
YUNET_OUTPUTS = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]


def yunet_candidates(raw, i, width):
    """Boxes and scores of one entry, for the check of decisions only; the results come from OpenCV."""
    boxes, scores = [], []
    for k, stride in enumerate((8, 16, 32)):
        cls, obj, box = (raw[3 * j + k][i] for j in range(3))
        n = np.arange(len(cls))
        cell = np.stack([n % (width // stride), n // (width // stride)], 1)
        centre, size = (cell + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride
        boxes.append(np.concatenate([centre - size / 2, centre + size / 2], 1))
        scores.append(np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1))[:, 0])
    return np.concatenate(boxes), np.concatenate(scores)


def yunet(data):
    golden = fw.Golden("yunet")
    model = str(Path(data) / "models/yunet_n_dynamic.onnx")
    session = gf.open_session(model)
    cases = []
    for width, height in SIZES:
        detector = cv2.FaceDetectorYN.create(model, "", (width, height), YUNET_SCORE, YUNET_IOU, YUNET_TOP)
        tensors, kept = [], []
        sources = [(width + 13, height + 2), (width - 5, height + 9), (2 * width, 2 * height), (width + 1, height - 7)]
        for index, (w, h) in enumerate(sources):
            for seed in range(index * 1000, index * 1000 + 200):
                image = cv2.resize(drawn_faces(seed, w, h), (width, height), interpolation=cv2.INTER_LINEAR)
                found = detector.detect(image)[1]
                if found is None or len(found) < 5:
                    continue
                tensor = image.transpose(2, 0, 1)[None].astype(np.float32)
                boxes, scores = yunet_candidates(session.run(YUNET_OUTPUTS, {"input": tensor}), 0, width)
                on = scores > YUNET_SCORE
                cut = np.concatenate([np.trunc(boxes[:, :2]), np.trunc(boxes[:, :2]) + np.trunc(boxes[:, 2:] -
                                                                                             boxes[:, :2])], 1)
                order = np.argsort(-found[:, -1])
                found = found[order]
                results = [face(f[14], [f[0] * w / width, f[1] * h / height, (f[0] + f[2]) * w / width,
                                        (f[1] + f[3]) * h / height],
                                f[4:14].reshape(5, 2) * [w / width, h / height]) for f in found]
                if fw.check_results(results, many_classes=False) or not fw.scores_clear(scores, YUNET_SCORE):
                    continue
                if not all(fw.decisions_clear(b[on], scores[on], None, YUNET_IOU) for b in (boxes, cut)):
                    continue
                if len(suppressed(boxes[on], scores[on], YUNET_IOU)) != len(results):
                    continue  # cutting to whole pixels would decide
                mine = boxes[on][suppressed(boxes[on], scores[on], YUNET_IOU)] * np.tile([w / width, h / height], 2)
                if fw.nearly(mine, [r["box_xyxy_px"] for r in results], 1e-3):
                    break  # OpenCV's own inference and ONNX Runtime's agree
            else:
                gf.refuse(f"yunet {width}x{height} entry {index}")
            tensors.append(tensor)
            kept.append(results)
        raw = fw.run_batch(lambda x: session.run(YUNET_OUTPUTS, {"input": x}), tensors)
        cases.append({"input_wh": [width, height], "raw": [golden.raw(n, r) for n, r in zip(YUNET_OUTPUTS, raw)],
                      "entries": [{"source_wh": list(wh), "results": k} for wh, k in zip(sources, kept)]})
    head = common("yunet", {
        "package": "opencv-python-headless", "version": cv2.__version__, "what": "FaceDetectorYN; raw by ONNX Runtime",
        "model": "models/yunet_n_dynamic.onnx", "model_sha256": gf.sha256_of_file(model)},
        ["opencv-python-headless", "onnxruntime"], YUNET_SCORE, YUNET_IOU)
    head["input"] = {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True}
    head["recipe"] = {"channels": "bgr", "resize": "stretch", "rounding": "nearest", "interpolation": "bilinear",
                      "pad": None, "mean": [0, 0, 0], "scale": [1, 1, 1]}
    sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    head["outputs"] = [{"name": n, "dims": ["batch", "cells", sizes[n.split("_")[0]]]} for n in YUNET_OUTPUTS]
    head["score_rule"] = "sqrt(clamp01(cls) * clamp01(obj)), kept when > threshold"
    head["box_rule"] = ("per stride, row-major cells: centre = (cell + bbox[0:2]) * stride, size = exp(bbox[2:4]) * stride; "
                        "point = (cell + kps) * stride")
    head["nms_rule"] = ("plain IoU, a box goes when > threshold; OpenCV cuts boxes to int first, here both decide the "
                        "same")
    head["batch_1_equal"] = True
    head["interpolation_check"] = golden.interpolation_check(
        lambda im: cv2.resize(im[..., ::-1], (96, 64), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1), (96, 64))
    golden.write(dict(head, cases=cases))


def suppressed(boxes, scores, threshold, plus=0.0):
    order, kept = list(np.argsort(-scores, kind="stable")), []
    iou = fw.iou_matrix(boxes, plus)
    while order:
        first = order.pop(0)
        kept.append(first)
        order = [i for i in order if iou[first, i] <= threshold]
    return kept


# ---- RetinaFace

RETINA_SCORE, RETINA_IOU = 0.8, 0.4


def retinaface():
    import torch
    from facexlib.detection.retinaface import RetinaFace
    from facexlib.detection.retinaface_utils import PriorBox, decode

    golden = fw.Golden("retinaface")
    torch.manual_seed(1)
    network = RetinaFace("mobile0.25", device="cpu").eval()
    network.body = torch.nn.ModuleDict(network.body) if not isinstance(network.body, torch.nn.Module) else network.body
    warm = torch.from_numpy(np.stack([
        drawn_faces(900 + i, 96, 96).transpose(2, 0, 1).astype(np.float32) - [[[104]], [[117]], [[123]]]
        for i in range(6)]).astype(np.float32))
    fw.calibrate(network, warm)
    for heads, std in ((network.ClassHead, 1.5), (network.BboxHead, 1.0), (network.LandmarkHead, 2.0)):
        for one in heads:
            seen = []
            layer = next(m for m in one.modules() if isinstance(m, torch.nn.Conv2d))
            hook = layer.register_forward_hook(lambda m, i, o: seen.append(o.detach()))
            with torch.no_grad():
                network(warm)
            hook.remove()
            fw.liven(layer, seen[0], 1, std)
            if heads is network.ClassHead:
                with torch.no_grad():
                    layer.bias[1::2] -= 1.5
    names = ["loc", "conf", "landms"]
    cases = []
    axes = {n: {0: "batch"} for n in ["input0"] + names}
    for width, height in [(64, 64), (96, 64), (64, 96)]:
        session, metadata = fw.export(network, (torch.zeros(1, 3, height, width),), ["input0"], names, axes)
        priors = PriorBox(network.cfg, image_size=(height, width)).forward()
        tensors, kept = [], []
        for index in range(fw.BATCH):
            for seed in range(index * 1000, index * 1000 + 300):
                image = drawn_faces(seed, width, height)
                with torch.no_grad():
                    found = network.detect_faces(image, RETINA_SCORE, RETINA_IOU)
                results = [face(f[4], f[:4], f[5:]) for f in found]
                if fw.check_results(results, many_classes=False):
                    continue
                tensor = image.transpose(2, 0, 1)[None].astype(np.float32) - np.float32([104, 117, 123])[:, None, None]
                raw = session.run(names, {"input0": tensor})
                scores = raw[1][0, :, 1]
                on = scores > RETINA_SCORE
                boxes = decode(torch.from_numpy(raw[0][0]), priors, network.cfg["variance"]).numpy()
                boxes = boxes * [width, height, width, height]
                if not fw.scores_clear(scores, RETINA_SCORE):
                    continue
                if not fw.decisions_clear(boxes[on], scores[on], None, RETINA_IOU):
                    continue
                keep = suppressed(boxes[on], scores[on], RETINA_IOU)
                if not fw.nearly(boxes[on][keep], [r["box_xyxy_px"] for r in results], 2e-3):
                    continue
                break
            else:
                gf.refuse(f"retinaface {width}x{height} entry {index}: {len(results)} results")
            tensors.append(tensor)
            kept.append(results)
        raw = fw.run_batch(lambda x: session.run(names, {"input0": x}), tensors)
        cases.append({"input_wh": [width, height], "raw": [golden.raw(n, r) for n, r in zip(names, raw)],
                      "entries": [{"source_wh": [width, height], "results": k} for k in kept]})
    head = common("retinaface", {"package": "facexlib", "version": gf.versions("facexlib")["facexlib"],
                                 "what": "RetinaFace('mobile0.25').detect_faces; names as usual exports have them"},
                  ["facexlib", "torch", "torchvision", "onnx", "onnxruntime"], RETINA_SCORE, RETINA_IOU)
    head["metadata"] = metadata
    head["input"] = {"name": "input0", "layout": "nchw", "dtype": "float32", "batch_open": True}
    head["recipe"] = {"channels": "bgr", "resize": "none", "rounding": None, "interpolation": None, "pad": None,
                      "mean": [104, 117, 123], "scale": [1, 1, 1]}
    head["outputs"] = [{"name": "loc", "dims": ["batch", "priors", 4]},
                       {"name": "conf", "dims": ["batch", "priors", 2], "values": "softmax: background, face"},
                       {"name": "landms", "dims": ["batch", "priors", 10]}]
    head["score_rule"] = "conf[1], kept when > threshold"
    head["box_rule"] = (
        "priors per stride 8, 16, 32 (map sides rounded up), row, column, side of (16,32 / 64,128 / 256,512): centre = "
        "(cell + 0.5) * stride / input side, size = side / input side, not clamped; centre = prior + loc[0:2] * 0.1 * "
        "prior size, size = prior size * exp(loc[2:4] * 0.2); point = prior centre + landms * 0.1 * prior size; shares of "
        "the input")
    head["nms_rule"] = "plain IoU, a box goes when > threshold"
    head["batch_1_equal"] = True
    head["interpolation_check"] = golden.interpolation_check(
        lambda im: im[..., ::-1].transpose(2, 0, 1) - np.float32([104, 117, 123])[:, None, None], (37, 29))
    golden.write(dict(head, cases=cases))


# ---- SCRFD

SCRFD_SCORE, SCRFD_IOU = 0.5, 0.4


def load_scrfd():
    """insightface.model_zoo.scrfd, without the packages' own __init__ (they load much that does not run here)."""
    folder = Path(importlib.util.find_spec("insightface").submodule_search_locations[0])
    for name, path in (("insightface", folder), ("insightface.model_zoo", folder / "model_zoo")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    return importlib.import_module("insightface.model_zoo.scrfd")


class ReadySession:
    """Stands where SCRFD expects a session: answers with given arrays, and keeps the tensor it was asked with."""

    def __init__(self, names, arrays):
        self.names, self.arrays, self.blob = names, arrays, None

    def get_inputs(self):
        return [types.SimpleNamespace(name="input.1", shape=[1, 3, None, None])]

    def get_outputs(self):
        return [types.SimpleNamespace(name=n, shape=list(a.shape)) for n, a in zip(self.names, self.arrays)]

    def run(self, _names, feed):
        self.blob = next(iter(feed.values()))
        return self.arrays


def made_up(rng, width, height, with_points):
    """Scores, distances and landmarks such as the network gives them: a few faces, each seen by several anchors."""
    maps = [[], [], []]
    for stride in (8, 16, 32):
        cols, rows = width // stride, height // stride
        count = cols * rows * 2
        centre = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), -1).reshape(-1, 2).repeat(2, 0) * stride
        score = rng.uniform(0.0, 0.3, count)
        box = rng.uniform(0.3, 2.0, (count, 4))
        points = rng.uniform(-1.5, 1.5, (count, 10))
        for _ in range({8: 4, 16: 3, 32: 1}[stride]):
            at, half = rng.uniform([0, 0], [width, height]), rng.uniform(0.8, 1.6, 2) * stride
            for a in np.flatnonzero(np.abs(centre - at).max(1) < 0.8 * stride):
                score[a] = rng.uniform(0.35, 0.97)
                jitter = rng.normal(0, 0.08, 4)
                box[a] = np.concatenate([centre[a] - at + half, at + half - centre[a]]) / stride + jitter
                layout = np.array([[-.4, -.3], [.4, -.3], [0, .1], [-.3, .5], [.3, .5]]) * half + at - centre[a]
                points[a] = layout.reshape(-1) / stride + rng.normal(0, 0.05, 10)
        for k, array in enumerate((score[:, None], box, points)):
            maps[k].append(array.astype(np.float32))
    return maps[0] + maps[1] + (maps[2] if with_points else [])


def scrfd_mapping(source, tensor):
    """The way that SCRFD.detect takes back: both axes by the scale of the height, which it cuts to whole pixels."""
    (w, h), (width, height) = source, tensor
    scaled = height if h / w > height / width else int(width * (h / w))
    return {"scale_x": scaled / h, "scale_y": scaled / h, "pad_x": 0, "pad_y": 0}


def scrfd(name, names, with_points, batched):
    module = load_scrfd()
    golden = fw.Golden(name)
    cases = []
    for width, height in SIZES:
        arrays, kept = [], []
        for index, (w, h) in enumerate(SOURCES):
            for seed in range(2000):
                rng = np.random.default_rng([seed, index, width, height])
                raw = made_up(rng, width, height, with_points)
                session = ReadySession(names, [r[None] for r in raw] if batched else raw)
                detector = module.SCRFD(session=session)
                detector.batched = batched
                seen = {}
                inner = detector.nms
                detector.nms = lambda dets: (seen.update(dets=dets), inner(dets))[1]
                found, points = detector.detect(np.zeros((h, w, 3), np.uint8), input_size=(width, height),
                                                det_thresh=SCRFD_SCORE)
                if len(found) < 5 or len(found) == len(seen["dets"]):
                    continue
                results = [face(f[4], f[:4], points[k] if with_points else []) for k, f in enumerate(found)]
                if not with_points:
                    for r in results:
                        del r["keypoints"]
                if fw.check_results(results, many_classes=False):
                    continue
                dets = seen["dets"].astype(np.float64)
                if not fw.scores_clear(np.concatenate([r.reshape(-1) for r in raw[:3]]), SCRFD_SCORE):
                    continue
                if not all(fw.decisions_clear(dets[:, :4], dets[:, 4], None, SCRFD_IOU, p) for p in (0.0, 1.0)):
                    continue
                break
            else:
                gf.refuse(f"{name} {width}x{height} entry {index}")
            arrays.append(raw)
            kept.append(results)
        case = {"input_wh": [width, height]}
        entries = [{"source_wh": list(wh), "mapping": scrfd_mapping(wh, (width, height)), "results": k}
                   for wh, k in zip(SOURCES, kept)]
        if batched:
            case["raw"] = [golden.raw(n, np.stack([a[k] for a in arrays])) for k, n in enumerate(names)]
        else:
            for entry, raw in zip(entries, arrays):
                entry["raw"] = [golden.raw(n, r) for n, r in zip(names, raw)]
        cases.append(dict(case, entries=entries))

    def preprocess(image):
        arrays = made_up(np.random.default_rng(0), 96, 64, with_points)
        session = ReadySession(names, [a[None] for a in arrays] if batched else arrays)
        detector = module.SCRFD(session=session)
        detector.batched = batched
        detector.detect(image[..., ::-1], input_size=(96, 64), det_thresh=SCRFD_SCORE)
        return session.blob[0]

    head = common("scrfd", {"package": "insightface", "version": gf.versions("insightface")["insightface"],
                            "what": "model_zoo.scrfd.SCRFD.detect over made-up raw outputs"},
                  ["insightface", "opencv-python-headless"], SCRFD_SCORE, SCRFD_IOU)
    head["input"] = {"name": "input.1", "layout": "nchw", "dtype": "float32", "batch_open": batched}
    head["recipe"] = {"channels": "rgb", "resize": "letterbox_top_left", "rounding": "floor", "interpolation": "bilinear",
                      "pad": 0, "mean": [127.5] * 3, "scale": [1 / 128] * 3}
    last = [1] * 3 + [4] * 3 + [10] * 3
    head["outputs"] = [{"name": n, "dims": (["batch"] if batched else []) + ["anchors", k]} for n, k in zip(names, last)]
    if not batched:
        head["unbatched"] = True
        head["raw_of"] = "every entry has its own raw outputs"
    head["score_rule"] = "as given (sigmoid is inside), kept when >= threshold"
    head["box_rule"] = (
        "per stride 8, 16, 32: row, column, two anchors at column * stride, row * stride; box = anchor - (left, top), anchor "
        "+ (right, bottom), point = anchor + offset, all times stride; then divided by resized height / source height "
        "(that one ratio for both axes)")
    head["nms_rule"] = "in px of the source, sides + 1, a box goes when > threshold; the plain rule keeps the same here"
    head["batch_1_equal"] = True
    head["interpolation_check"] = golden.interpolation_check(preprocess, (96, 64))
    golden.write(dict(head, cases=cases))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder with models/; without it yunet is not made")
    parser.add_argument("--only")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    names = [f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in (8, 16, 32)]
    numbered = ["443", "468", "493", "446", "471", "496"]
    jobs = {"yunet": lambda: yunet(given.data), "scrfd_kps": lambda: scrfd("scrfd_kps", names, True, True),
            "scrfd": lambda: scrfd("scrfd", numbered, False, False), "retinaface": retinaface}
    if not given.data:
        del jobs["yunet"]
    for name, job in jobs.items():
        if given.only in (None, name):
            job()


main()
