#!/usr/bin/env python3
"""How much of ByteTrack's made goldens survives one mistake in a port.

Each row changes one line of the reference in memory and prints the share of (frame, id, row) that stays equal, in %, for every
made sequence. A mistake with 100 everywhere would go unnoticed by the golden files: then the exit status is 1.
"""

import argparse
import inspect
import sys
import types
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

import bytetrack_ids
import reference_imports

# (mistake, track_thresh, [(text in byte_tracker.py, what stands there instead)])
MISTAKES = [
    ("score == track_thresh counts as high", 0.5, [("scores > self.args.track_thresh", "scores >= self.args.track_thresh")]),
    ("score == track_thresh counts as low", 0.5, [("scores < self.args.track_thresh", "scores <= self.args.track_thresh")]),
    ("score == 0.1 counts as low", 0.5, [("scores > 0.1", "scores >= 0.1")]),
    ("new track from track_thresh, without + 0.1", 0.5, [("args.track_thresh + 0.1", "args.track_thresh")]),
    ("0.6 + 0.1 in float32", 0.6, [("args.track_thresh + 0.1", "float(np.float32(args.track_thresh) + np.float32(0.1))")]),
    ("no fuse_score", 0.5, [("if not self.args.mot20", "if False")]),
    ("unconfirmed tracks predicted too", 0.5, [("multi_predict(strack_pool)", "multi_predict(strack_pool + unconfirmed)")]),
    ("removed tracks leave at once", 0.5, [
        ("sub_stracks(self.lost_stracks, self.removed_stracks)",
         "sub_stracks(self.lost_stracks, self.removed_stracks + removed_stracks)")]),
    ("no removal of duplicates", 0.5, [
        ("self.tracked_stracks, self.lost_stracks = remove_duplicate_stracks(self.tracked_stracks, self.lost_stracks)", "")]),
    ("lost tracks keep vh", 0.5, [("multi_mean[i][7] = 0", "pass")]),
    ("confirmed at once in every frame", 0.5, [("if frame_id == 1:", "if True:")]),
    ("lost tracks in the second association", 0.5, [
        ("for i in u_track if strack_pool[i].state == TrackState.Tracked]", "for i in u_track]")]),
    ("buffer 30 at every frame rate", 0.5, [("int(frame_rate / 30.0 * args.track_buffer)", "args.track_buffer")]),
]


def plain_ious(a, b):
    side = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = np.clip(side, 0, None).prod(2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    return inter / (area_a[:, None] + area_b[None] - inter)


def left_over(matches, shape):
    rows = [i for i in range(shape[0]) if i not in matches[:, 0]]
    columns = [j for j in range(shape[1]) if j not in matches[:, 1]]
    return matches, np.array(rows, int), np.array(columns, int)


def assign_then_cut(cost, thresh):
    rows, columns = linear_sum_assignment(cost)
    good = cost[rows, columns] <= thresh
    return left_over(np.stack([rows[good], columns[good]], 1), cost.shape)


def assign_extended(cost, thresh):
    n, m = cost.shape
    square = np.full((n + m, n + m), thresh / 2)
    square[n:, m:] = 0
    square[:n, :m] = cost
    rows, columns = linear_sum_assignment(square)
    good = (rows < n) & (columns < m)
    return left_over(np.stack([rows[good], columns[good]], 1), cost.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytetrack-path", required=True, type=Path, help="checkout of ifzhang/ByteTrack")
    parser.add_argument("--golden", type=Path, default=Path("tests/golden/bytetrack"))
    args = parser.parse_args()
    module = reference_imports.load_bytetrack(args.bytetrack_path)
    matching, source = module.matching, inspect.getsource(module)
    made = [(m[0], bytetrack_ids.read_detections(args.golden / f"{m[0]}.det.txt"), m[2], m[-1]) for m in bytetrack_ids.MADE]

    def variant(changes):
        text = source
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        changed = types.ModuleType("byte_tracker_changed")
        changed.__package__ = "yolox.tracker"
        exec(compile(text, "byte_tracker_changed", "exec"), changed.__dict__)
        return changed

    def run(changed, threshold):
        return [{o[:3] for o in bytetrack_ids.run_reference(changed, dets, frames, rate, threshold)}
                for _, dets, frames, rate in made]

    right = {t: run(module, t) for t in bytetrack_ids.TRACK_THRESHOLDS}
    unnoticed = []

    def show(name, changed, threshold=0.5, mistake=True):
        shares = [100 * len(a & b) / len(b) for a, b in zip(run(changed, threshold), right[threshold])]
        print(f"{name:44s}" + "".join(f"{s:12.2f}" for s in shares), flush=True)
        if mistake and min(shares) == 100:
            unnoticed.append(name)

    print(" " * 44 + "".join(f"{m[0]:>12s}" for m in made))
    for name, threshold, changes in MISTAKES:
        show(name, variant(changes), threshold)
    for name, attribute, replacement, mistake in (
        ("plain IoU instead of inclusive", "bbox_ious", plain_ious, True),
        ("assign all, then cut at the limit", "linear_assignment", assign_then_cut, True),
        ("(no mistake: extended matrix, SciPy's solver)", "linear_assignment", assign_extended, False),
    ):
        kept = getattr(matching, attribute)

        def guarded(cost, thresh, real=kept, new=replacement):
            return new(cost, thresh) if cost.size else real(cost, thresh)

        setattr(matching, attribute, replacement if attribute == "bbox_ious" else guarded)
        show(name, module, mistake=mistake)
        setattr(matching, attribute, kept)
    if unnoticed:
        sys.exit("unnoticed by the made sequences: " + "; ".join(unnoticed))


if __name__ == "__main__":
    main()
