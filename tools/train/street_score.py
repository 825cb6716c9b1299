"""Average precision at IoU 0.5 with objects of which nothing is asked (see street_frames.VISIBLE)."""
import numpy as np


def iou_of(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    both = np.clip(high - low, 0, None).prod(-1)
    area = lambda x: (x[:, 2:4] - x[:, :2]).prod(-1)  # noqa: E731
    return both / (area(a)[:, None] + area(b)[None] - both + 1e-9)


def suppress(found, threshold):
    """Rows x1, y1, x2, y2, score, class by falling score; hard suppression, each class on its own."""
    found = found[np.argsort(-found[:, 4], kind="stable")]
    keep = []
    over = (iou_of(found, found) > threshold) & (found[:, None, 5] == found[None, :, 5])
    gone = np.zeros(len(found), bool)
    for i in range(len(found)):
        if not gone[i]:
            keep.append(i)
            gone |= over[i]
    return found[keep]


def average_precision(found, truth, kind, least_iou=0.5):
    """found: per picture rows x1, y1, x2, y2, score, class; truth: rows x1, y1, x2, y2, class, visible, counts."""
    entries, objects = [], 0
    for f, t in zip(found, truth):
        f, t = f[f[:, 5] == kind], t[t[:, 4] == kind]
        objects += int(t[:, 6].sum())
        taken = np.zeros(len(t), bool)
        overlap = iou_of(f, t) if len(f) and len(t) else np.zeros((len(f), len(t)))
        for i in np.argsort(-f[:, 4], kind="stable"):
            here = np.where(taken | (overlap[i] < least_iou), 0, overlap[i])
            counting = here * (t[:, 6] > 0)
            if len(t) and counting.max() > 0:
                taken[counting.argmax()] = True
                entries.append((f[i, 4], 1))
            elif len(t) and here.max() > 0:
                taken[here.argmax()] = True  # nothing is asked of it: neither right nor wrong
            else:
                entries.append((f[i, 4], 0))
    if objects == 0 or not entries:
        return float("nan"), 0.0
    entries = np.array(sorted(entries, reverse=True))
    right = np.cumsum(entries[:, 1])
    recall, precision = right / objects, right / np.arange(1, len(entries) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.linspace(0, 1, 101)  # as COCO samples it
    at = np.searchsorted(recall, steps, side="left")
    return float(np.mean([precision[i] if i < len(precision) else 0 for i in at])), float(recall[-1])
