#!/usr/bin/env python3
"""Golden results of top-down heat-map pose: HRNet's decoding (quarter offset) and ViTPose's (unbiased, DARK).

The heat maps are made up (blobs with noise), in the layout of the networks' exports; the projects' own code decodes them.
"""

import argparse
import importlib
import sys
import types
from pathlib import Path

import family_writer as fw  # first: it tells the libraries to stay offline
import golden_files as gf

import numpy as np
import torch
import transformers as hf
from reference_imports import commit_of

JOINTS = 7
SIZES = [(48, 64), (64, 64), (96, 64)]
# source size, box of the person in it: x, y, w, h
PEOPLE = [((77, 50), (10, 5, 30, 40)), ((60, 91), (4.5, 11, 50, 70)), ((130, 130), (0, 0, 130, 130)),
          ((41, 64), (8, 3.25, 20.5, 55))]


def blobs(rng, columns, rows):
    """One blob per joint, some near the border, one of them hardly there."""
    y, x = np.mgrid[0:rows, 0:columns]
    maps = []
    for joint in range(JOINTS):
        cx, cy = rng.uniform(0.3, columns - 1.3), rng.uniform(0.3, rows - 1.3)
        height = 0.15 if joint == JOINTS - 1 else rng.uniform(0.5, 0.95)
        maps.append(height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 1.5 ** 2)) + rng.normal(0, 0.003, x.shape))
    return np.stack(maps).astype(np.float32)


def clear(maps):
    """The highest cell and the signs of its slopes do not hang on a hair."""
    for one in maps:
        top = np.sort(one.reshape(-1))[-2:]
        y, x = np.unravel_index(one.argmax(), one.shape)
        if top[1] - top[0] < 2e-3:
            return False
        if 0 < x < one.shape[1] - 1 and abs(one[y, x + 1] - one[y, x - 1]) < 2e-3:
            return False
        if 0 < y < one.shape[0] - 1 and abs(one[y + 1, x] - one[y - 1, x]) < 2e-3:
            return False
    return True


def write(name, output, decode, head):
    golden = fw.Golden(name)
    cases = []
    for width, height in SIZES:
        columns, rows = width // 4, height // 4
        maps, entries = [], []
        for index, (wh, box) in enumerate(PEOPLE):
            for seed in range(2000):
                one = blobs(np.random.default_rng([seed, index, width, height]), columns, rows)
                if clear(one):
                    break
            else:
                gf.refuse(name)
            points, scores = decode(one[None], box, width, height)
            if not np.all(np.isfinite(points)) or np.abs(points).max() > 1000:
                gf.refuse(f"{name}: wild points {points}")
            maps.append(one)
            entries.append({"source_wh": list(wh), "box_xywh_px": list(box), "results": [{
                "class_id": 0, "score": round(float(np.mean(scores)), 6),
                "keypoints": [[round(float(x), 4), round(float(y), 4), round(float(s), 6)]
                              for (x, y), s in zip(points, scores)]}]})
        cases.append({"input_wh": [width, height], "raw": [golden.raw(output, np.stack(maps))], "entries": entries})
    head = dict({"family": name, "task": "pose"}, **head)
    head.update(
        metadata={}, outputs=[{"name": output, "dims": ["batch", "joints", "height / 4", "width / 4"]}], classes=1,
        keypoints=JOINTS, confidence_threshold=None, score_rule="a joint's score is its map's largest value; score = mean",
        crop_rule="the box, widened about its centre to the input's aspect ratio, then times 1.25, fills the input",
        recipe={"channels": "rgb", "resize": "other: affine crop, see crop_rule", "rounding": None,
                "interpolation": "bilinear", "pad": "0 before normalisation",
                "mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)]},
        batch_1_equal=True, cases=cases)
    golden.write(head)


def hrnet(path):
    sys.path.insert(0, str(Path(path) / "lib"))
    for package in ("core", "utils"):  # their __init__ load training code
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(Path(path) / "lib" / package)]
    inference = importlib.import_module("core.inference")
    config = types.SimpleNamespace(TEST=types.SimpleNamespace(POST_PROCESS=True))

    def decode(maps, box, width, height):
        x, y, w, h = box
        center = np.array([x + w * 0.5, y + h * 0.5], np.float32)
        w, h = max(w, h * width / height), max(h, w * height / width)
        scale = np.array([w / 200 * 1.25, h / 200 * 1.25], np.float32)
        points, scores = inference.get_final_preds(config, maps, [center], [scale])
        return points[0], scores[0, :, 0]

    write("hrnet", "output", decode, {
        "reference": {"package": "leoxiaobin/deep-high-resolution-net.pytorch", "version": commit_of(path),
                      "what": "core.inference.get_final_preds over made-up heat maps"},
        "versions": gf.versions("opencv-python-headless"),
        "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "box_rule": "cell of the largest value, moved by 0.25 towards the larger neighbour on each axis when 1 < x < columns "
                    "- 1 and 1 < y < rows - 1 (both); point = box corner + cell * box width / columns (the widened box; the "
                    "height uses the same ratio)"})


def vitpose():
    processors = {}

    def decode(maps, box, width, height):
        if (width, height) not in processors:
            processors[width, height] = hf.VitPoseImageProcessor(size={"width": width, "height": height})
        outputs = types.SimpleNamespace(heatmaps=torch.from_numpy(maps))
        found = processors[width, height].post_process_pose_estimation(outputs, boxes=[[list(box)]])[0][0]
        return found["keypoints"].numpy(), found["scores"].numpy()

    write("vitpose", "heatmaps", decode, {
        "reference": {"package": "transformers", "version": hf.__version__,
                      "what": "VitPoseImageProcessor.post_process_pose_estimation over made-up heat maps"},
        "versions": gf.versions("torch", "transformers", "scipy"),
        "input": {"name": "pixel_values", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "box_rule": "cell of the largest value; maps blurred (sigma 0.8, radius 5, mirrored with the edge repeated), clamped "
                    "to 0.001..50, logarithm; one Newton step with central differences (edges repeated; second "
                    "derivatives over one cell, mixed one as (f(x+1,y+1) - f(x+1,y) - f(x,y+1) + 2 f - f(x-1,y) - f(x,y-1) + "
                    "f(x-1,y-1)) / 2; the Hessian plus float epsilon on its diagonal); point = box corner + cell * box side / "
                    "(columns - 1 or rows - 1), per axis, the widened box"})


def main():
    torch.set_num_threads(1)
    hf.logging.set_verbosity_error()
    parser = argparse.ArgumentParser()
    parser.add_argument("--hrnet-path", help="checkout of leoxiaobin/deep-high-resolution-net.pytorch; without it no hrnet")
    given = parser.parse_args()
    if given.hrnet_path:
        hrnet(given.hrnet_path)
    vitpose()


main()
