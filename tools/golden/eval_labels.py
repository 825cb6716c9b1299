#!/usr/bin/env python3
"""Golden figures of classification and of semantic segmentation: scikit-learn on made labels.

Classes that are never said, classes without pictures, pictures without a label, and pixels of the ignored value.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn import metrics

import golden_files as gf

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
PICTURES = 120
IGNORED = 255


def shares(values, defined):
    return [float(v) if d else None for v, d in zip(values, defined)]


def labels_case(rng):
    """Every picture has a score for every class; of "gnu" no picture is of it, and "fox" is never the surest."""
    truth = rng.choice(6, PICTURES, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    scores = rng.uniform(0, 1, (PICTURES, len(NAMES)))
    scores[np.arange(PICTURES), truth] += rng.uniform(0, 0.9, PICTURES)
    scores[:, 5] *= 0.4
    scores = np.round(scores, 4)
    for row in scores:
        if len(set(row)) != len(row):
            gf.refuse("equal scores: scikit-learn takes them in another order")
    surest = scores.argmax(1)
    ids = np.arange(len(NAMES))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, surest, labels=ids, zero_division=0)
    found = np.bincount(surest, minlength=len(NAMES))
    figures = {
        "top_1": float(metrics.accuracy_score(truth, surest)),
        "top_3": float(metrics.top_k_accuracy_score(truth, scores, k=3, labels=ids)),
        "precision": shares(precision, found > 0), "recall": shares(recall, support > 0),
        "f1": shares(f1, support + found > 0), "balanced_accuracy": float(metrics.balanced_accuracy_score(truth, surest)),
        "confusion": metrics.confusion_matrix(truth, surest, labels=ids).tolist(),
    }
    # "gnu" stands in the truth's list of classes by one picture more, whose results say nothing.
    truth_csv = ["image,label"] + [f"{NAMES[t]}/{i}.jpg,{NAMES[t]}" for i, t in enumerate(truth)]
    lines = ["image,label,score"]
    for i, row in enumerate(scores):
        order = rng.permutation(len(NAMES))
        lines += [f"{i}.jpg,{NAMES[c]},{row[c]}" for c in order]
    return "\n".join(truth_csv) + "\n", "\n".join(lines) + "\n", figures


def segments_case(rng):
    maps = []
    for height, width in [(12, 20), (9, 15), (16, 16)]:
        truth = np.kron(rng.choice([0, 1, 2, 5], (height // 3 + 1, width // 3 + 1)), np.ones((3, 3), int))[:height, :width]
        truth[rng.random(truth.shape) < 0.08] = IGNORED
        found = np.where(rng.random(truth.shape) < 0.25, rng.choice([0, 1, 2, 3, 5], truth.shape), truth)
        found[truth == IGNORED] = rng.choice([0, 1, 7], (truth == IGNORED).sum())  # 7 never counts
        maps.append((truth, found))
    t = np.concatenate([a[a != IGNORED] for a, _ in maps])
    f = np.concatenate([b[a != IGNORED] for a, b in maps])
    shown = np.union1d(t, f)
    iou = metrics.jaccard_score(t, f, labels=shown, average=None, zero_division=0)
    recall = metrics.recall_score(t, f, labels=np.unique(t), average=None)
    return {
        "maps": [{"width": a.shape[1], "height": a.shape[0], "truth": a.ravel().tolist(), "found": b.ravel().tolist()}
                 for a, b in maps],
        "classes": shown.tolist(), "iou": iou.tolist(), "mean_iou": float(iou.mean()),
        "pixel_accuracy": float(metrics.accuracy_score(t, f)), "mean_accuracy": float(recall.mean()),
        "pixels": int(len(t)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/evaluate"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(11)
    truth, results, figures = labels_case(rng)
    segments = segments_case(rng)
    if not 0.2 < figures["top_1"] < figures["top_3"] < 1 or not 0.2 < segments["mean_iou"] < 0.95:
        gf.refuse("the made labels are too good or too bad to tell anything")
    gf.write_text(args.out / "animals.truth.csv", truth, limit_bytes=10_000)
    gf.write_text(args.out / "animals.result.csv", results, limit_bytes=40_000)
    gf.write_json(args.out / "labels.json", {"versions": gf.versions("scikit-learn", "numpy"), "labels": figures,
                                             "segments": segments}, depth=2, limit_bytes=30_000)


if __name__ == "__main__":
    main()
