"""What the scripts that make tests/golden/families/ share: pictures, weights with a spread, the search for inputs whose
results stand clear of every threshold, and the two files of a golden. The format stands in tools/golden/README.md."""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

import golden_files as gf

CLEARANCE = 2e-3  # least distance of a score or an IoU from the threshold it is compared with
SCORE_GAP = 1e-3  # least distance of two scores whose order matters
LIMIT_F32 = 200_000
LIMIT_JSON = 60_000
SIZES = [(64, 64), (96, 64), (64, 128)]


def sources_for(size):
    """Sizes of the four source pictures: never all of one shape, and never so long that padding is most of the input."""
    if size[0] == size[1]:
        return [(77, 50), (48, 71), (100, 100), (131, 90)]
    landscape = [(77, 50), (91, 70), (100, 100), (131, 64)]
    return landscape if size[0] > size[1] else [(h, w) for w, h in landscape]


def first_that_will_do(make, seeds):
    """Calls make(seed) until one is not refused."""
    for seed in seeds:
        try:
            return make(seed)
        except SystemExit as refusal:
            print(f"seed {seed}: {refusal}", flush=True)
    gf.refuse("no seed gives results that stand clear of the thresholds")


def start(description, *paths):
    """Options every script has. The references look for newer versions of themselves and for packages unless told not to."""
    os.environ.update(YOLO_OFFLINE="True", YOLO_AUTOINSTALL="False", YOLO_VERBOSE="False", WANDB_MODE="disabled", NO_ALBUMENTATIONS_UPDATE="1")
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp())
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", default="tests/golden/families")
    parser.add_argument("--only", default="", help="names of goldens, with commas between")
    for path in paths:
        parser.add_argument(f"--{path}-path", default="")
    args = parser.parse_args()
    args.out = Path(args.out).resolve()
    import torch

    torch.set_num_threads(1)
    return args


def picture(width, height, seed):
    """A made-up RGB picture: a slope of colour, filled rectangles, noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi, 3)
    slope = (np.cos(angle) * x[..., None] / width + np.sin(angle) * y[..., None] / height) * 90
    image = rng.uniform(60, 190, 3) + slope
    for _ in range(int(rng.integers(8, 14))):
        w, h = int(rng.integers(5, max(6, width // 2))), int(rng.integers(5, max(6, height // 2)))
        x0, y0 = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        image[y0 : y0 + h, x0 : x0 + w] = rng.uniform(0, 255, 3)
    image = image + rng.normal(0, 12, image.shape)
    image = (image - image.mean((0, 1))) / image.std() * 50 + 114  # pictures alike on the whole: a made-up network answers each in places
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def check_picture(width=37, height=29):
    """For the comparison of preprocessing: smooth in one half, edges in the other."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    smooth = np.stack([127 + 110 * np.sin(x / 6 + c) * np.cos(y / 5 - c) for c in range(3)], -1)
    edges = np.stack([((x.astype(int) // 3 + y.astype(int) // 4 + c) % 2) * (200 - 40 * c) + 20 for c in range(3)], -1)
    return np.clip(np.rint(np.where((x < width / 2)[..., None], smooth, edges)), 0, 255).astype(np.uint8)


def calibration(preprocess, sizes, each=6, seed=1):
    """Batches like those of the golden, for the statistics of a made-up network."""
    import torch

    return [torch.from_numpy(np.stack([preprocess(picture(*s, [seed, *s, *size, i]), size) for s in sources_for(size) for i in range(each)])) for size in sizes]


def settle_batch_norm(model, batches):
    """Fills the running means and variances of every BatchNorm from made-up pictures."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for norm in norms:
        norm.eval()
        norm.momentum = 0.03


def spread(model, batches, wanted):
    """Rescales the last layers so that each of their channels has the wanted mean and deviation over the made-up pictures.
    wanted: list of (layer, mean, deviation), numbers or one per channel. Layers are set one after the other."""
    import torch

    for layer, mean, deviation in wanted:
        _turn_to_places(model, batches, layer)
        seen = []
        hook = layer.register_forward_hook(lambda m, i, o: seen.append(o.detach().transpose(0, 1).flatten(1) if o.dim() == 4 else o.detach().flatten(0, -2).T))
        with torch.no_grad():
            for batch in batches:
                model(batch)
        hook.remove()
        values = torch.cat(seen, 1)
        now_mean, now_deviation = values.mean(1), values.std(1).clamp(min=1e-6)
        mean = torch.as_tensor(np.asarray(mean, dtype=np.float32)).expand(len(now_mean))
        deviation = torch.as_tensor(np.asarray(deviation, dtype=np.float32)).expand(len(now_mean))
        factor = deviation / now_deviation
        with torch.no_grad():
            layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.dim() - 1)))
            if layer.bias is None:
                layer.bias = torch.nn.Parameter(torch.zeros(len(now_mean)))
            layer.bias.sub_(now_mean).mul_(factor).add_(mean)
    return model


def _turn_to_places(model, batches, layer):
    """Turns the weights of a 1x1 layer to directions that differ from place to place more than from picture to picture;
    a made-up network would otherwise answer a whole picture with the same number."""
    import torch

    if not (isinstance(layer, torch.nn.Linear) or getattr(layer, "kernel_size", None) == (1, 1) and layer.groups == 1):
        return
    seen = []
    hook = layer.register_forward_pre_hook(lambda m, i: seen.append(i[0].detach().flatten(2) if i[0].dim() == 4 else i[0].detach().flatten(1, -2).transpose(1, 2)))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    hook.remove()
    if seen[0].dim() != 3 or seen[0].shape[2] < 2:
        return
    means = torch.cat([x.mean(2) for x in seen]).double()
    between = torch.cov((means - means.mean(0)).T)
    inside = torch.cat([(x - x.mean(2, keepdim=True)).transpose(1, 2).flatten(0, 1) for x in seen]).double()
    within = inside.T @ inside / len(inside)
    weights = layer.weight.detach().double().flatten(1).T
    ridge = torch.eye(len(between)) * 0.02 * within.diagonal().mean()
    turned = torch.linalg.solve(40 * between + 0.2 * within + ridge, within @ weights).T
    with torch.no_grad():
        layer.weight.copy_(turned.float().view_as(layer.weight))


# ---- judging whether the results stand clear of thresholds ----

def box_iou(a, b):
    """IoU of every box of a with every box of b, corners, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), -1)
    area = lambda r: np.prod(r[:, 2:] - r[:, :2], -1)
    return inter / (area(a)[:, None] + area(b)[None, :] - inter + 1e-12)


def centre_to_corners(boxes):
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], 1)


def judge_suppression(boxes, scores, threshold, iou_threshold, class_aware=True, multi_label=False, iou=box_iou):
    """None, or why this input will not do. boxes: corners (or whatever iou takes) in px of the network, scores: cells x classes."""
    scores = np.asarray(scores, np.float64)
    if np.abs((scores if multi_label else scores.max(1)) - threshold).min() < CLEARANCE:
        return "a score near the threshold"
    best = scores.argmax(1)
    if multi_label:
        rows, classes = np.nonzero(scores > threshold)
        values = scores[rows, classes]
    else:
        rows = np.nonzero(scores.max(1) > threshold)[0]
        classes, values = best[rows], scores[rows].max(1)
        if scores.shape[1] > 1 and len(rows) and (np.diff(np.sort(scores[rows], 1)[:, -2:], axis=1) < CLEARANCE).any():
            return "two classes of a cell alike"
    if not 5 <= len(rows) <= 120:
        return f"{len(rows)} candidates"
    overlap = np.triu(iou(np.asarray(boxes)[rows], np.asarray(boxes)[rows]), 1)
    same = classes[:, None] == classes[None, :] if class_aware else np.ones_like(overlap, bool)
    if (same & (np.abs(overlap - iou_threshold) < CLEARANCE) & (np.triu(np.ones_like(overlap), 1) > 0)).any():
        return "an IoU near the threshold"
    if (same & (overlap > iou_threshold) & (np.abs(values[:, None] - values[None, :]) < SCORE_GAP)).any():
        return "two overlapping boxes with the same score"
    return None


def judge_results(results, least=5, most=30, classes=2, box=True):
    scores = np.array([r["score"] for r in results])
    if not least <= len(results) <= most:
        return f"{len(results)} results"
    if len({r["class_id"] for r in results}) < classes:
        return "too few classes"
    if (np.diff(scores) > 0).any() or (-np.diff(scores)).min() < SCORE_GAP:
        return "two scores alike"
    if scores[0] - scores[-1] < 0.1:
        return "scores not spread"
    for r in results:
        if "box_xyxy_px" in r:
            x1, y1, x2, y2 = r["box_xyxy_px"]
            if min(x2 - x1, y2 - y1) < 2:
                return "a box without extent"
    return None


def mask_as_runs(mask):
    """The rectangle around the mask's ones, and the lengths of runs in it, row by row, zeros first."""
    ys, xs = np.nonzero(mask)
    x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    flat = (np.asarray(mask)[y0:y1, x0:x1] > 0).astype(np.int8).ravel()
    return {"x": int(x0), "y": int(y0), "w": int(x1 - x0), "h": int(y1 - y0), "rle": runs(flat)}


def runs(flat):
    edges = np.nonzero(np.diff(flat))[0] + 1
    lengths = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return [0] + lengths if flat[0] else lengths


def judge_detector(head, candidates, boxes_too=True, most=30, iou=box_iou):
    """A judge for a detector with suppression; candidates(raw) gives boxes in px of the network (corners, or what iou takes) and
    scores, cells x classes."""

    def judge(raw, results):
        boxes, scores = candidates(raw)
        verdict = judge_suppression(boxes, scores, head["confidence_threshold"], head["iou_threshold"], head["class_aware"], head.get("multi_label", False), iou)
        if verdict:
            return verdict
        results = results()
        above = (scores if head.get("multi_label") else scores.max(1)) > head["confidence_threshold"]
        if above.sum() <= len(results):
            return "nothing suppressed"
        return judge_results(results, most=most, classes=min(2, head["classes"]))

    return judge


class Golden:
    """One golden: collects, judges, writes."""

    def __init__(self, args, name, head):
        self.args, self.name, self.head = args, name, head
        self.numbers, self.count, self.cases = [], 0, []

    def add(self, array):
        array = np.ascontiguousarray(array, "<f4").ravel()
        if not np.isfinite(array).all():
            gf.refuse(f"{self.name}: numbers that are not finite")
        offset = self.count
        self.numbers.append(array)
        self.count += len(array)
        return offset

    def interpolation_check(self, preprocess, input_wh, samples=150):
        image = check_picture()
        height, width = image.shape[:2]
        tensor = np.asarray(preprocess(image, input_wh), np.float32).ravel()
        step = len(tensor) / samples
        at = sorted({int((i + (i % 7) / 7) * step) for i in range(samples)})
        self.head["interpolation_check"] = {
            "width": width, "height": height, "pixels": [self.add(image.astype(np.float32)), image.size],
            "input_wh": list(input_wh), "samples": [[i, float(tensor[i])] for i in at if i < len(tensor)]}

    def case(self, input_wh, preprocess, run, answer, judge, output_names, tries=1000, seed=0):
        """For each source picture looks for one whose results will do, then runs the four together."""
        tensors, sources = [], sources_for(input_wh)
        for number, source_wh in enumerate(sources):
            why = {}
            for attempt in range(tries):
                tensor = preprocess(picture(*source_wh, [seed, number, attempt, *input_wh]), input_wh)
                raw = run(tensor[None])
                verdict = judge(raw, lambda: answer(raw, input_wh, source_wh))
                if verdict is None:
                    break
                why[verdict] = why.get(verdict, 0) + 1
            else:
                gf.refuse(f"{self.name} {input_wh} entry {number}: {sorted(why.items(), key=lambda x: -x[1])[:8]}")
            tensors.append(tensor)
        together = run(np.stack(tensors))
        apart = [run(t[None]) for t in tensors]
        for i, whole in enumerate(together):
            for j, part in enumerate(apart):
                if not np.allclose(whole[j], part[i][0], rtol=1e-4, atol=1e-4 * max(1, np.abs(whole[j]).max() * 1e-2)):
                    gf.refuse(f"{self.name} {input_wh}: entry {j} alone differs from the batch by {np.abs(whole[j] - part[i][0]).max()}")
        entries = []
        for j, source_wh in enumerate(sources):
            alone = [whole[j : j + 1] for whole in together]
            results = answer(alone, input_wh, source_wh)
            verdict = judge(alone, lambda: results)
            if verdict is not None:
                gf.refuse(f"{self.name} {input_wh} entry {j} in the batch: {verdict}")
            entries.append({"source_wh": list(source_wh), "results": results})
        raw = [{"name": n, "shape": list(a.shape), "offset": self.add(a)} for n, a in zip(output_names, together)]
        self.cases.append({"input_wh": list(input_wh), "raw": raw, "entries": entries})

    def write(self, iou=None):
        if self.head.get("iou_threshold") and self.head.get("class_aware") and self.head["classes"] > 1:
            pairs = other_class_overlaps(self.cases, self.head["iou_threshold"], iou)
            if not pairs:
                gf.refuse(f"{self.name}: ignoring classes in the suppression would change nothing")
            self.head["kept_beside_another_class"] = pairs
        numbers = np.concatenate(self.numbers)
        if numbers.nbytes > LIMIT_F32:
            gf.refuse(f"{self.name}: {numbers.nbytes} bytes of numbers")
        counts = [len(e["results"]) for c in self.cases for e in c["entries"]]
        if not counts or min(counts) == 0:
            gf.refuse(f"{self.name}: empty")
        value = {**self.head, "batch_1_equal": True, "cases": self.cases}
        gf.write_text(self.args.out / f"{self.name}.json", as_lines(value), LIMIT_JSON)
        numbers.tofile(self.args.out / f"{self.name}.f32")
        print(f"{self.name}: {numbers.nbytes} bytes of numbers, results {counts}")


def as_lines(value):
    """One line per key, but one per result below "cases"."""
    short = lambda v: json.dumps(v, separators=(",", ":"))
    lines = []
    for case in value["cases"]:
        entries = []
        for entry in case["entries"]:
            inside = ",\n".join(short(r) for r in entry["results"])
            before = "".join(f"{short(k)}:{short(v)}," for k, v in entry.items() if k != "results")
            entries.append("{" + before + '"results":[\n' + inside + "]}")
        lines.append('{"input_wh":' + short(case["input_wh"]) + ',"raw":' + short(case["raw"]) + ',"entries":[\n' + ",\n".join(entries) + "]}")
    parts = [short(k) + ":" + (short(v) if k != "cases" else "[\n" + ",\n".join(lines) + "]") for k, v in value.items()]
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    assert json.loads(text) == json.loads(json.dumps(value))
    return text


def other_class_overlaps(cases, iou_threshold, iou=None):
    """Pairs of results that overlap more than the threshold and are kept only because their classes differ."""
    pairs = 0
    for results in (e["results"] for c in cases for e in c["entries"]):
        shapes = [r.get("box_xyxy_px") or r["rbox"] for r in results]
        overlap = np.triu((iou or box_iou)(shapes, shapes), 1)
        pairs += int((overlap > iou_threshold).sum())
    return pairs


def wanted(args, name):
    return not args.only or name in args.only.split(",")


def shortest(value):
    """Fewest digits that give the same float32 back."""
    return float(str(np.float32(value)))
