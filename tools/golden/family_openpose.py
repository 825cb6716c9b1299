#!/usr/bin/env python3
"""Golden results of OpenPose: made-up heat maps and part affinity fields, assembled by controlnet_aux's own Body.

Body resizes the picture so that its height becomes half of a fixed 368; here that number is twice the picture's height,
so the network sees the picture as it is and the maps are enlarged once, by 8.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import torch

import family_writer as fw
import golden_files as gf

SIZES = [(64, 64), (72, 64), (64, 72)]
# the 18 joints in shares of a person's box, and the limbs with the channels of their fields, as in the network's training
JOINTS = np.array([
    [.5, .12], [.5, .28], [.28, .28], [.2, .45], [.15, .6], [.72, .28], [.8, .45], [.85, .6], [.36, .58], [.34, .76],
    [.32, .95], [.64, .58], [.66, .76], [.68, .95], [.44, .08], [.56, .08], [.34, .1], [.66, .1]])


def load_body():
    """controlnet_aux.open_pose.body, without the packages' __init__ (they load other models)."""
    folder = Path(importlib.util.find_spec("controlnet_aux").submodule_search_locations[0])
    for name, path in (("controlnet_aux", folder), ("controlnet_aux.open_pose", folder / "open_pose")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    if importlib.util.find_spec("scipy.ndimage.filters") is None:  # an old name of the same function
        import scipy.ndimage

        sys.modules["scipy.ndimage.filters"] = scipy.ndimage
    importlib.import_module("controlnet_aux.open_pose.util")
    spec = importlib.util.find_spec("controlnet_aux.open_pose.body")
    text = Path(spec.origin).read_text()
    if text.count("boxsize = 368") != 1:
        gf.refuse("controlnet_aux.open_pose.body has changed")
    module = types.ModuleType(spec.name)
    module.__package__ = "controlnet_aux.open_pose"
    exec(compile(text.replace("boxsize = 368", "boxsize = 2 * oriImg.shape[0]"), spec.origin, "exec"), module.__dict__)
    return module


def limbs_of(module):
    """Body's own tables, read from its source: pairs of joints, and channels of the fields."""
    import ast

    text = Path(importlib.util.find_spec("controlnet_aux.open_pose.body").origin).read_text()
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("limbSeq", "mapIdx"):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found["limbSeq"], found["mapIdx"]


class Ready(torch.nn.Module):
    """Stands where Body expects its network: answers with given maps."""

    def __init__(self, fields, heat):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.answer = torch.from_numpy(fields[None]), torch.from_numpy(heat[None])

    def forward(self, x):
        assert x.shape[2:] == tuple(8 * s for s in self.answer[0].shape[2:])
        return self.answer


def made_up(rng, width, height, limbs, channels):
    columns, rows = width // 8, height // 8
    y, x = np.mgrid[0:rows, 0:columns]
    heat = rng.normal(0, 0.004, (19, rows, columns))
    fields = rng.normal(0, 0.004, (38, rows, columns))
    people = 1 if rng.random() < 0.3 else 2
    for person in range(people):
        w, h = (0.95 if people == 1 else 0.5) * width, rng.uniform(0.85, 1.0) * height
        left, top = person * 0.5 * width, rng.uniform(0, height - h)
        at = (JOINTS + rng.normal(0, 0.015, JOINTS.shape)) * [w, h] + [left, top]
        at = at / 8 - 0.5
        gone = set(rng.choice([4, 7, 10, 13, 16, 17], 2, replace=False).tolist())
        for k, (cx, cy) in enumerate(at):
            if k not in gone:
                heat[k] = np.maximum(heat[k], rng.uniform(0.7, 0.95) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * .75 ** 2)))
        for (a, b), (cx, cy) in zip(limbs, channels):
            if {a - 1, b - 1} & gone:
                continue
            start, end = at[a - 1], at[b - 1]
            length = np.hypot(*(end - start))
            unit = (end - start) / max(length, 1e-6)
            along = (x - start[0]) * unit[0] + (y - start[1]) * unit[1]
            across = np.abs((x - start[0]) * unit[1] - (y - start[1]) * unit[0])
            on = (along > -0.6) & (along < length + 0.6) & (across < 0.9)
            for channel, value in ((cx - 19, unit[0]), (cy - 19, unit[1])):
                fields[channel][on] = value * rng.uniform(0.85, 1.0)
    heat[18] = 1 - heat[:18].max(0)
    return fields.astype(np.float32), heat.astype(np.float32)


def people_of(module, fields, heat, width, height):
    body = module.Body.__new__(module.Body)
    body.model = Ready(fields, heat)
    candidate, subset = body(np.zeros((height, width, 3), np.uint8))
    people = []
    for person in module.Body.format_body_result(candidate, subset):
        points = [[round(float(p.x), 4), round(float(p.y), 4), round(float(p.score), 6)] if p else [0, 0, 0]
                  for p in person.keypoints]
        people.append({"class_id": 0, "score": round(float(person.total_score / person.total_parts), 6),
                       "parts": int(person.total_parts), "keypoints": points})
    return sorted(people, key=lambda p: -p["score"])


def same(a, b):
    """Two answers with the same people, joints at the same pixels."""
    return len(a) == len(b) and all(
        p["parts"] == q["parts"] and [k[:2] for k in p["keypoints"]] == [k[:2] for k in q["keypoints"]] and
        abs(p["score"] - q["score"]) < 0.02 for p, q in zip(a, b))


def main():
    torch.set_num_threads(1)
    module = load_body()
    limbs, channels = limbs_of(module)
    golden = fw.Golden("openpose")
    names = ["pafs", "heatmaps"]
    cases = []
    for width, height in SIZES:
        kept, entries = [], []
        for index in range(fw.BATCH):
            for seed in range(300):
                rng = np.random.default_rng([seed, index, width, height])
                fields, heat = made_up(rng, width, height, limbs, channels)
                people = people_of(module, fields, heat, width, height)
                if not people or sum(p["parts"] for p in people) < 10 or (index % 2 and len(people) < 2):
                    continue
                if any(not same(people, people_of(
                        module, (fields * (1 + 1e-3 * sign) + rng.normal(0, 2e-4, fields.shape)).astype(np.float32),
                        (heat * (1 - 1e-3 * sign) + rng.normal(0, 2e-4, heat.shape)).astype(np.float32), width, height))
                       for sign in (-1, 1, -1, 1)):
                    continue  # something hangs on a hair
                break
            else:
                gf.refuse(f"openpose {width}x{height} entry {index}")
            kept.append((fields, heat))
            entries.append({"source_wh": [width, height], "results": people})
        cases.append({"input_wh": [width, height],
                      "raw": [golden.raw(n, np.stack([k[i] for k in kept])) for i, n in enumerate(names)],
                      "entries": entries})
    golden.write({
        "family": "openpose", "task": "pose",
        "reference": {"package": "controlnet-aux", "version": gf.versions("controlnet-aux")["controlnet-aux"],
                      "what": "open_pose.body.Body over made-up maps; its boxsize is twice the picture's height"},
        "versions": gf.versions("controlnet-aux", "opencv-python-headless", "scipy", "torch"), "metadata": {},
        "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "recipe": {"channels": "as given by the caller (the original network: bgr)", "resize": "none", "rounding": None,
                   "interpolation": None, "pad": None, "mean": [128] * 3, "scale": [1 / 256] * 3},
        "outputs": [{"name": "pafs", "dims": ["batch", 38, "height / 8", "width / 8"]},
                    {"name": "heatmaps", "dims": ["batch", 19, "height / 8", "width / 8"],
                     "values": "18 joints, background"}],
        "outputs_note": "the fields come first in the network; names differ from file to file",
        "classes": 1, "keypoints": 18, "limbs": limbs, "field_channels": [[c - 19 for c in pair] for pair in channels],
        "confidence_threshold": 0.1,
        "score_rule": "score = total score / parts; people with fewer than 4 parts or less than 0.4 a part are left out; a "
                      "joint that was not found is 0, 0, 0; a joint's score is the enlarged map before the blur",
        "box_rule": "maps enlarged by 8 with OpenCV's Lanczos (INTER_LANCZOS4, float) to the input; peaks: not lower than "
                    "the 4 neighbours after a Gaussian blur (sigma 3, radius 12, mirrored with the edge repeated) and > 0.1 "
                    "there; whole pixels. Pairs of a limb: 10 points from peak to peak, rounded; mean of field dot direction "
                    "+ min(0.5 * height / length - 1, 0) > 0, and more than 8 of the 10 > 0.05; best first, each peak "
                    "once; then people are put together limb by limb",
        "batch_1_equal": True, "cases": cases,
    })


main()
