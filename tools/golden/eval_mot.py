#!/usr/bin/env python3
"""Golden figures of tracking accuracy: TrackEval's CLEAR, Identity and HOTA for 2D boxes of the MOTChallenge.

Made sequences (truth with classes, marks, visibility and hidden people; results with misses, swapped, broken and double
ids, false boxes and boxes on distractors) are stored beside the figures. Recorded ones are only named: their results are the
detections with the ids of tests/golden/bytetrack, or a tracker's output that lies beside the truth.
"""

import argparse
import hashlib
import tempfile
from pathlib import Path

import numpy as np

import trackeval

import golden_files as gf

VAL_HALF = "media/mot/MOT17-val-half/"
RECORDED = [
    (VAL_HALF + "MOT17-02-FRCNN", "MOT17"),
    (VAL_HALF + "MOT17-05-FRCNN", "MOT17"),
    (VAL_HALF + "MOT17-09-FRCNN", "MOT17"),
    (VAL_HALF + "MOT17-11-FRCNN", "MOT17"),
    ("media/mot/MOT15/TUD-Campus", "MOT15"),
    ("media/mot/MOT15/TUD-Stadtmitte", "MOT15"),
]


def made_sequence(seed, frames, people, mot15):
    """-> (text of the truth, text of the results). People walk to and fro; who stands behind is hidden."""
    rng = np.random.default_rng(seed)
    width, height = 640, 360
    walkers = []
    for k in range(people):
        h = rng.uniform(60, 140)
        walkers.append({
            "id": 3 * k + 1, "w": 0.4 * h, "h": h, "x": rng.uniform(0, width), "y": rng.uniform(60, height - 60),
            "vx": rng.normal(0, 4), "vy": rng.normal(0, 0.8),
            # mostly pedestrians; riders, cars, carts, standing people, distractors and reflections among them
            "class": int(rng.choice([1, 1, 1, 1, 1, 2, 3, 6, 7, 8, 12])) if k >= 3 else 1,
            "first": int(rng.integers(1, frames // 2)) if rng.random() < 0.4 else 1,
            "last": int(rng.integers(frames // 2, frames + 1)) if rng.random() < 0.4 else frames,
            "tracker_id": 100 + k,
        })
    truth, found = [], []
    next_id = 200
    for frame in range(1, frames + 1):
        here = [w for w in walkers if w["first"] <= frame <= w["last"]]
        boxes = {}
        for w in here:
            w["x"] = (w["x"] + w["vx"]) % width
            w["y"] += w["vy"]
            if not 40 < w["y"] < height - 40:
                w["vy"] = -w["vy"]
            boxes[w["id"]] = np.round([w["x"] - w["w"] / 2, w["y"] - w["h"] / 2, w["w"], w["h"]], 1)
        for w in here:
            b = boxes[w["id"]]
            hidden = 0.0
            for o in here:
                p = boxes[o["id"]]
                ix = min(b[0] + b[2], p[0] + p[2]) - max(b[0], p[0])
                iy = min(b[1] + b[3], p[1] + p[3]) - max(b[1], p[1])
                if o is not w and ix > 0 and iy > 0 and p[1] + p[3] > b[1] + b[3]:
                    hidden = max(hidden, ix * iy / (b[2] * b[3]))
            mark = 0 if w["class"] not in (1,) or rng.random() < 0.03 else 1
            columns = ",".join(f"{v:g}" for v in b)
            if mot15:
                truth.append(f"{frame},{w['id']},{columns},{mark},-1,-1,-1\n")
            else:
                truth.append(f"{frame},{w['id']},{columns},{mark},{w['class']},{1 - hidden:.4f}\n")
            if hidden > 0.7 or rng.random() < 0.08:
                continue
            if rng.random() < 0.01:  # the track breaks
                w["tracker_id"] = next_id
                next_id += 1
            noise = rng.normal(0, 0.05, 4) * [w["w"], w["h"], w["w"], w["h"]]
            v = np.round(b + noise, 2)
            found.append((frame, w["tracker_id"], v))
            if rng.random() < 0.02:  # found twice
                found.append((frame, next_id, np.round(v + rng.normal(0, 4, 4), 2)))
                next_id += rng.integers(0, 2)
        if len(here) > 1 and rng.random() < 0.05:  # two ids are swapped
            a, b = rng.choice(len(here), 2, replace=False)
            here[a]["tracker_id"], here[b]["tracker_id"] = here[b]["tracker_id"], here[a]["tracker_id"]
        for _ in range(rng.poisson(0.3)):
            h = rng.uniform(30, 120)
            v = np.round([rng.uniform(0, width), rng.uniform(0, height), 0.4 * h, h], 2)
            found.append((frame, 900 + int(rng.integers(0, 5)), v))
        if frame % 29 == 0:  # frames without any result, and without any truth
            found = [f for f in found if f[0] != frame]
        if frame % 31 == 0:
            truth = [line for line in truth if not line.startswith(f"{frame},")]
    seen, text = set(), []
    for frame, number, v in found:
        if (frame, number) in seen:
            continue
        seen.add((frame, number))
        text.append(f"{frame},{number}," + ",".join(f"{q:.2f}" for q in v) + ",0.9,-1,-1,-1\n")
    return "".join(truth), "".join(text)


MADE = [
    # name, seed, frames, people, rules
    ("street", 3, 90, 12, "MOT17"),
    ("square", 8, 60, 20, "MOT17"),
    ("square20", 8, 60, 20, "MOT20"),
    ("campus", 5, 80, 8, "MOT15"),
]


def ids_as_results(det_text, ids_text):
    """Rows of the detections with the ids that a tracker gave them (tests/golden/bytetrack, form "ids")."""
    rows = {}
    for line in det_text.splitlines():
        columns = line.split(",")
        if len(columns) >= 7:
            rows.setdefault(int(float(columns[0])), []).append(columns)
    text = []
    for line in ids_text.splitlines():
        frame, *pairs = line.split()
        for pair in pairs:
            number, row = pair.split(":")
            c = rows[int(frame)][int(row)]
            text.append(",".join([frame, number, *c[2:7], "-1", "-1", "-1"]) + "\n")
    return "".join(text)


def evaluate(sequences, benchmark):
    """{name: (truth, results)} -> {name: figures, "combined": figures}, by TrackEval alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lengths = {}
        for name, (truth, results) in sequences.items():
            frames = [int(float(line.split(",")[0])) for line in (truth + results).splitlines() if line.strip()]
            lengths[name] = max(frames)
            (root / "gt" / name / "gt").mkdir(parents=True)
            (root / "gt" / name / "gt" / "gt.txt").write_text(truth)
            (root / "trackers" / "ours" / "data").mkdir(parents=True, exist_ok=True)
            (root / "trackers" / "ours" / "data" / f"{name}.txt").write_text(results)
        dataset = trackeval.datasets.MotChallenge2DBox({
            "GT_FOLDER": str(root / "gt"), "TRACKERS_FOLDER": str(root / "trackers"), "BENCHMARK": benchmark,
            "TRACKERS_TO_EVAL": ["ours"], "SKIP_SPLIT_FOL": True, "SEQ_INFO": lengths, "PRINT_CONFIG": False,
            "OUTPUT_FOLDER": str(root / "out"),
        })
        metrics = [trackeval.metrics.CLEAR({"PRINT_CONFIG": False}), trackeval.metrics.Identity({"PRINT_CONFIG": False}),
                   trackeval.metrics.HOTA()]
        per_metric = {}
        for name in sequences:
            data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", name), "pedestrian")
            for metric in metrics:
                per_metric.setdefault(metric.get_name(), {})[name] = metric.eval_sequence(data)
        figures = {}
        for name in [*sequences, "combined"]:
            row = {}
            for metric in metrics:
                results = per_metric[metric.get_name()]
                row |= metric.combine_sequences(results) if name == "combined" else results[name]
            figures[name] = {
                key: float(np.mean(row[theirs])) if key in FLOATS else int(row[theirs]) for key, theirs in FIELDS.items()
            }
        return figures


FLOATS = {"mota", "motp", "idf1", "id_precision", "id_recall", "hota", "det_a", "ass_a", "loc_a"}
FIELDS = {
    "mota": "MOTA", "motp": "MOTP", "matches": "CLR_TP", "misses": "CLR_FN", "false": "CLR_FP", "id_switches": "IDSW",
    "fragments": "Frag", "mostly_tracked": "MT", "partly_tracked": "PT", "mostly_lost": "ML", "idf1": "IDF1",
    "id_precision": "IDP", "id_recall": "IDR", "id_matches": "IDTP", "hota": "HOTA", "det_a": "DetA", "ass_a": "AssA",
    "loc_a": "LocA",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with media/")
    parser.add_argument("--bytetrack-golden", type=Path, default=Path("tests/golden/bytetrack"))
    parser.add_argument("--out", type=Path, default=Path("tests/golden/evaluate"))
    args = parser.parse_args()
    index = {"versions": gf.versions("trackeval", "numpy", "scipy"), "made": [], "recorded": [], "combined": []}
    files = {}
    made = {}
    for name, seed, frames, people, rules in MADE:
        truth, results = made_sequence(seed, frames, people, rules == "MOT15")
        base = name.removesuffix("20")
        files[f"{base}.gt.txt"], files[f"{base}.result.txt"] = truth, results
        made[name] = (truth, results)
        figures = evaluate({name: (truth, results)}, rules)[name]
        index["made"].append({"name": name, "truth": f"{base}.gt.txt", "results": f"{base}.result.txt",
                              "rules": rules} | figures)
    together = evaluate({n: made[n] for n in ("street", "square")}, "MOT17")["combined"]
    index["combined"].append({"names": ["street", "square"], "rules": "MOT17"} | together)

    for folder, rules in RECORDED:
        name = Path(folder).name
        truth_path = args.data / folder / "gt/gt.txt"
        det_path = args.data / folder / "det/det.txt"
        runs = [(f"{name}.{t}.ids.txt", t) for t in (0.5, 0.6)]
        for ids_file, _ in runs:
            results = ids_as_results(det_path.read_text(), (args.bytetrack_golden / ids_file).read_text())
            index["recorded"].append({
                "name": name, "truth": f"{folder}/gt/gt.txt", "truth_sha256": gf.sha256_of_file(truth_path),
                "det": f"{folder}/det/det.txt", "det_sha256": gf.sha256_of_file(det_path), "ids": ids_file,
                "results_sha256": hashlib.sha256(results.encode()).hexdigest(), "rules": rules,
            } | evaluate({name: (truth_path.read_text(), results)}, rules)[name])
        other = args.data / folder / "tracker_example/test.txt"
        if other.is_file():
            index["recorded"].append({
                "name": name, "truth": f"{folder}/gt/gt.txt", "truth_sha256": gf.sha256_of_file(truth_path),
                "results": f"{folder}/tracker_example/test.txt", "results_sha256": gf.sha256_of_file(other),
                "rules": rules,
            } | evaluate({name: (truth_path.read_text(), other.read_text())}, rules)[name])

    for entry in index["made"] + index["recorded"]:
        if entry["matches"] < 5:
            gf.refuse(f"{entry['name']}: next to nothing was found")
    for name, text in files.items():
        gf.write_text(args.out / name, text, limit_bytes=100_000)
    gf.write_json(args.out / "mot.json", index, depth=2, limit_bytes=40_000)


if __name__ == "__main__":
    main()
