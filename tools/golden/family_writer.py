"""What the scripts family_*.py share: made pictures, export to ONNX, checks of decisions, and the two golden files."""

import io
import json
import os
from pathlib import Path

import numpy as np

import golden_files as gf

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

FOLDER = "tests/golden/families"
BATCH = 4
GAP = 2e-3  # no decision of a reference may lie nearer to its threshold than this


def picture(seed, width, height):
    """A made RGB picture: low noise over a slope, and rectangles with hard edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    slope = rng.uniform(-1, 1, (2, 3))
    base = 128 + 60 * (slope[0] * (x / width - 0.5)[..., None] + slope[1] * (y / height - 0.5)[..., None])
    base = base + rng.normal(0, 12, (height, width, 3))
    for _ in range(int(rng.integers(3, 9))):
        x1, x2 = sorted(rng.integers(0, width + 1, 2))
        y1, y2 = sorted(rng.integers(0, height + 1, 2))
        base[y1:y2, x1:x2] = 0.3 * base[y1:y2, x1:x2] + 0.7 * rng.uniform(0, 255, 3)
    return np.clip(base, 0, 255).astype(np.uint8)


def calibrate(model, tensors):
    """Fills BatchNorm's running statistics by a pass in train mode, so that random weights give lively outputs."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None
        m.train()
    with torch.no_grad():
        model(tensors)
    model.eval()
    return model


def liven(layer, outputs, axis, std):
    """Rescales a network's last layer in place: `outputs` (made with it as it is) get mean 0 and `std` per channel."""
    import torch

    other = [d for d in range(outputs.dim()) if d != axis]
    mean, old = outputs.mean(other), outputs.std(other).clamp_min(1e-6)
    with torch.no_grad():
        factor = std / old
        layer.weight.mul_(factor.reshape([-1] + [1] * (layer.weight.dim() - 1)))
        layer.bias.copy_((layer.bias - mean) * factor)


def export(model, args, input_names, output_names, dynamic_axes=None, opset=17):
    """torch.onnx.export to bytes. -> (session, metadata_props, output dims as written in the file)"""
    import onnx
    import onnxruntime
    import torch

    buffer = io.BytesIO()
    torch.onnx.export(
        model, args, buffer, input_names=input_names, output_names=output_names,
        dynamic_axes=dynamic_axes, opset_version=opset, dynamo=False,
    )
    made = onnx.load_from_string(buffer.getvalue())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    return session, {p.key: p.value for p in made.metadata_props}


def nearly(a, b, relative=1e-4):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= relative * np.maximum(1.0, np.abs(b))))


def run_batch(run, tensors):
    """Runs `run` (array [B,..] -> list of arrays) on all, and checks that each alone gives the same."""
    together = run(np.concatenate(tensors))
    for i, tensor in enumerate(tensors):
        alone = run(tensor)
        for whole, part in zip(together, alone):
            if not nearly(part[0], whole[i]):
                gf.refuse("an entry alone gives other numbers than in the batch")
    return together


def rle(mask):
    """Run lengths of a mask, row-major, starting with zeros."""
    flat = np.asarray(mask).reshape(-1).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return runs if flat.size and flat[0] == 0 else [0] + runs


def class_map_rle(class_map):
    """[class, count, class, count, ...], row-major."""
    flat = np.asarray(class_map).reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], edges])
    counts = np.diff(np.concatenate([starts, [flat.size]]))
    return [int(v) for pair in zip(flat[starts], counts) for v in pair]


def iou_matrix(boxes, plus=0.0):
    b = np.asarray(boxes, np.float64)
    wh = np.maximum(0, np.minimum(b[:, None, 2:], b[None, :, 2:]) - np.maximum(b[:, None, :2], b[None, :, :2]) + plus)
    area = (b[:, 2] - b[:, 0] + plus) * (b[:, 3] - b[:, 1] + plus)
    inter = wh[..., 0] * wh[..., 1]
    return inter / np.maximum(area[:, None] + area[None] - inter, 1e-12)


def decisions_clear(boxes, scores, classes, iou_threshold, plus=0.0, score_gap=1e-4):
    """True when greedy suppression of these candidates does not hang on a hair (classes None: all together)."""
    if len(scores) == 0:
        return True
    order = np.argsort(-np.asarray(scores), kind="stable")
    boxes, scores = np.asarray(boxes)[order], np.asarray(scores)[order]
    classes = np.zeros(len(scores)) if classes is None else np.asarray(classes)[order]
    iou = iou_matrix(boxes, plus)
    iou[classes[:, None] != classes[None]] = 0
    gone = np.zeros(len(scores), bool)
    for i in range(len(scores)):
        if gone[i]:
            continue
        later = iou[i, i + 1:]
        if np.any((np.abs(later - iou_threshold) < GAP) & ~gone[i + 1:]):
            return False
        rivals = (later > iou_threshold - GAP) & (scores[i] - scores[i + 1:] < score_gap)
        if np.any(rivals & ~gone[i + 1:]):
            return False
        gone[i + 1:] |= later > iou_threshold
    return True


def scores_clear(scores, threshold):
    """No score nearer than GAP to the threshold."""
    return not np.any(np.abs(np.asarray(scores, np.float64) - threshold) < GAP)


def check_results(results, many_classes=True, low=5, high=100):
    """5 to 100 results, at least two classes, scores apart enough to have one order."""
    if not low <= len(results) <= high:
        return f"{len(results)} results"
    if many_classes and len({r["class_id"] for r in results}) < 2:
        return "one class only"
    scores = [r["score"] for r in results]
    if scores != sorted(scores, reverse=True):
        return "not in order"
    if len(scores) > 1 and min(a - b for a, b in zip(scores, scores[1:])) < 2e-5:
        return "two scores too near to each other"
    return ""


def numbers(values, digits=4):
    return gf.round_all(np.asarray(values).reshape(-1), digits)


class Golden:
    """Collects the numbers of one golden and writes NAME.f32 and NAME.json."""

    def __init__(self, name):
        self.name, self.parts, self.count = name, [], 0

    def add(self, array):
        flat = np.ascontiguousarray(array, dtype="<f4").reshape(-1)
        if not np.all(np.isfinite(flat)):
            gf.refuse(f"{self.name}: a number that is not finite")
        self.parts.append(flat)
        self.count += flat.size
        return self.count - flat.size

    def raw(self, name, array):
        return {"name": name, "shape": list(np.shape(array)), "offset": self.add(array)}

    def raw_runs(self, name, array):
        """Like raw() for an array that is mostly zero: `runs` = [first index, count, offset in the file]..., else 0."""
        flat = np.asarray(array, np.float32).reshape(-1)
        on = np.concatenate([[0], (flat != 0).astype(np.int8), [0]])
        edges = np.flatnonzero(np.diff(on)).reshape(-1, 2)
        runs = [[int(a), int(b - a), self.add(flat[a:b])] for a, b in edges]
        return {"name": name, "shape": list(np.shape(array)), "runs": runs}

    def interpolation_check(self, preprocess, input_wh, size=(37, 29), seed=5, wanted=150):
        """`preprocess`: RGB uint8 picture -> CHW (or HWC) tensor, by the reference's own code."""
        image = picture(seed, *size)
        tensor = np.asarray(preprocess(image), np.float64)
        flat = tensor.reshape(-1)
        step = max(1, flat.size // wanted)
        picked = [(i * step + (i * 7) % step) for i in range(min(wanted, flat.size // step))]
        return {
            "width": size[0], "height": size[1], "pixels": [self.add(image), int(image.size)],
            "input_wh": list(input_wh), "tensor_shape": list(tensor.shape),
            "samples": [[int(i), round(float(flat[i]), 6)] for i in picked],
        }

    @staticmethod
    def _text(head):
        """One key per line; in the cases, one entry per line."""
        def flat(value):
            return json.dumps(value, separators=(",", ":"))

        cases = []
        for case in head["cases"]:
            entries = ",\n".join(flat(e) for e in case["entries"])
            rest = [f'"{k}":{flat(v)}' for k, v in case.items() if k != "entries"]
            cases.append("{" + ",\n".join(rest + ['"entries":[\n' + entries + "]"]) + "}")
        lines = [f'"{k}":{flat(v)}' for k, v in head.items() if k != "cases"]
        text = "{\n" + ",\n".join(lines + ['"cases":[\n' + ",\n".join(cases) + "]"]) + "\n}\n"
        assert json.loads(text) == json.loads(json.dumps(head))
        return text

    def _check_range(self, head):
        """Refuses a tensor whose values no pixel of 0 to 255 can give by the recipe's mean and scale."""
        recipe, check = head.get("recipe") or {}, head.get("interpolation_check")
        if not check or not recipe.get("mean") or not recipe.get("scale"):
            return
        ends = [(pixel - mean) * scale for pixel in (0, 255) for mean, scale in zip(recipe["mean"], recipe["scale"])]
        level = max(recipe["scale"])  # cubic interpolation overshoots by no more than rounding leaves of it
        values = [value for _, value in check["samples"]]
        if min(values) < min(ends) - level or max(values) > max(ends) + level:
            gf.refuse(f"{self.name}: the reference's tensor has {min(values)} to {max(values)}, the recipe gives {min(ends):.4g} to "
                      f"{max(ends):.4g}")

    def write(self, head, limit=200_000, json_limit=60_000):
        self._check_range(head)
        folder = Path(FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        data = np.concatenate(self.parts).tobytes()
        if len(data) > limit:
            gf.refuse(f"{self.name}.f32 would have {len(data)} bytes")
        if not head["cases"] or not all(c["entries"] for c in head["cases"]):
            gf.refuse(f"{self.name}: empty")
        gf.write_text(folder / f"{self.name}.json", self._text(head), json_limit)
        (folder / f"{self.name}.f32").write_bytes(data)
        print(f"{folder / self.name}.f32: {len(data)} bytes")
