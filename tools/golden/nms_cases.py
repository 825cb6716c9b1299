#!/usr/bin/env python3
"""Golden results of non-maximum suppression on made boxes.

Hard: YOLOX's nms() (inclusive pixels), supervision's box_non_max_suppression() (plain IoU, with and without classes)
and Ultra-Light's hard_nms() (epsilon in the IoU). Soft (linear, Gaussian): OpenCV's dnn.softNMSBoxes(), compared here
with the pseudo-code of its paper (Bodla et al. 2017, arXiv 1704.04503).
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import supervision

import golden_files as gf
import reference_imports

SEED = 5
WIDTH, HEIGHT = 640, 480
CLASSES = 4


def made_boxes(count, clusters, whole_pixels, seed):
    """Boxes around shared centres, distinct scores. -> (float64 [n, 4] x1 y1 x2 y2, scores, class ids)"""
    rng = np.random.default_rng(seed)
    centre = rng.uniform([60, 60], [WIDTH - 60, HEIGHT - 60], (clusters, 2))
    size = rng.uniform(30, 110, (clusters, 2))
    which = rng.integers(0, clusters, count)
    c = centre[which] + rng.normal(0, 0.12, (count, 2)) * size[which]
    s = size[which] * rng.uniform(0.75, 1.3, (count, 2))
    boxes = np.round(np.concatenate([c - s / 2, c + s / 2], axis=1), 0 if whole_pixels else 1)
    scores = np.round(rng.permutation(np.linspace(0.02, 0.98, count)), 4)
    assert len(set(scores.tolist())) == count
    return boxes, scores, rng.integers(0, CLASSES, count)


def iou_matrix(boxes, inclusive):
    one = 1.0 if inclusive else 0.0
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inter = np.prod(np.clip(high - low + one, 0, None), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + one, axis=1)
    return inter / (area[:, None] + area[None, :] - inter)


def check_margin(ious, threshold):
    """No pair may lie so near the threshold that float32 and float64 could decide differently."""
    nearest = np.abs(ious - threshold).min()
    if nearest < 1e-5:
        gf.refuse(f"an IoU lies {nearest:.1e} from the threshold {threshold}; change the seed")


def paper_soft_nms(boxes, scores, score_threshold, iou_threshold, sigma, method):
    ious = iou_matrix(boxes, inclusive=False)
    scores = scores.copy()
    left = set(range(len(scores)))
    kept, updated = [], []
    while left:
        best = max(left, key=lambda i: scores[i])
        if scores[best] < score_threshold:
            break
        left.remove(best)
        kept.append(best)
        updated.append(scores[best])
        for i in left:
            if scores[i] < score_threshold:
                continue
            if method == "gaussian":
                scores[i] *= np.exp(-(ious[best, i] ** 2) / sigma)
            elif ious[best, i] > iou_threshold:
                scores[i] *= 1 - ious[best, i]
    return kept, updated


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yolox-path", required=True, type=Path)
    parser.add_argument("--ultraface-path", required=True, type=Path)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/nms"))
    args = parser.parse_args()
    demo_utils, _ = reference_imports.load_yolox(args.yolox_path)
    _, box_utils, _ = reference_imports.load_ultraface(args.ultraface_path)

    boxes, scores, classes = made_boxes(220, 18, False, SEED)
    by_score = lambda kept: sorted((int(k) for k in kept), key=lambda k: -scores[k])
    hard = []
    for threshold in (0.3, 0.45, 0.7):
        check_margin(iou_matrix(boxes, True), threshold)
        check_margin(iou_matrix(boxes, False), threshold)
        hard.append({"rule": "inclusive", "classes": False, "iou_threshold": threshold,
                     "kept": by_score(demo_utils.nms(boxes, scores, threshold))})
        for with_classes in (False, True):
            rows = np.column_stack([boxes, scores, classes] if with_classes else [boxes, scores])
            mask = supervision.box_non_max_suppression(rows, threshold)
            hard.append({"rule": "plain", "classes": with_classes, "iou_threshold": threshold,
                         "kept": by_score(np.nonzero(mask)[0])})
        # as Ultra-Light does it: on boxes divided by the picture's size, at most the 200 best
        normal = boxes / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        picked = box_utils.hard_nms(np.column_stack([normal, scores]), threshold)
        kept = [int(np.nonzero(scores == s)[0][0]) for s in picked[:, 4]]
        hard.append({"rule": "ultraface", "classes": False, "iou_threshold": threshold, "kept": by_score(kept)})

    soft_boxes, soft_scores, _ = made_boxes(120, 12, True, SEED + 1)
    xywh = np.column_stack([soft_boxes[:, :2], soft_boxes[:, 2:] - soft_boxes[:, :2]]).astype(int).tolist()
    soft = []
    for method, constant in (("linear", cv2.dnn.SoftNMSMethod_SOFTNMS_LINEAR),
                             ("gaussian", cv2.dnn.SoftNMSMethod_SOFTNMS_GAUSSIAN)):
        for score_threshold, iou_threshold, sigma in ((0.05, 0.3, 0.5), (0.2, 0.47, 0.3)):
            if method == "linear":
                check_margin(iou_matrix(soft_boxes, False), iou_threshold)
            updated, kept = cv2.dnn.softNMSBoxes(
                xywh, soft_scores.tolist(), score_threshold, iou_threshold, 0, sigma, constant
            )
            expected, expected_scores = paper_soft_nms(
                soft_boxes, soft_scores, score_threshold, iou_threshold, sigma, method
            )
            kept, updated = np.ravel(kept).tolist(), np.ravel(updated)
            if kept != expected or np.abs(updated - expected_scores).max() > 1e-5:
                gf.refuse(f"OpenCV's {method} Soft-NMS differs from the paper's pseudo-code")
            entry = {"method": method, "score_threshold": score_threshold}
            entry |= {"iou_threshold": iou_threshold} if method == "linear" else {"sigma": sigma}
            soft.append(entry | {"kept": kept, "scores": gf.round_all(updated, 6)})

    if any(not 5 <= len(c["kept"]) < len(boxes) for c in hard + soft):
        gf.refuse("a case keeps too little or everything")
    pack = lambda b, s: [[*row, score] for row, score in zip(b.tolist(), s.tolist())]
    gf.write_json(
        args.out / "nms.json",
        {
            "versions": gf.versions("numpy", "supervision", "opencv-python-headless"),
            "references": {
                "inclusive": "Megvii-BaseDetection/YOLOX @ " + reference_imports.commit_of(args.yolox_path),
                "plain": "supervision, box_non_max_suppression",
                "ultraface": "Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB @ "
                + reference_imports.commit_of(args.ultraface_path),
                "soft": "OpenCV, dnn.softNMSBoxes",
            },
            "seed": SEED,
            "picture_wh": [WIDTH, HEIGHT],
            "hard_boxes": pack(boxes, scores),
            "hard_class_ids": classes.tolist(),
            "hard": hard,
            "soft_boxes": pack(soft_boxes, soft_scores),
            "soft": soft,
        },
        depth=2,
        limit_bytes=60_000,
    )


if __name__ == "__main__":
    main()
