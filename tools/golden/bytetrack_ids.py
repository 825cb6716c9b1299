#!/usr/bin/env python3
"""Golden tracks of ByteTrack, by the reference's own BYTETracker, on recorded and on made detections."""

import argparse
import configparser
import hashlib
import types
from pathlib import Path

import numpy as np

import golden_files as gf
import reference_imports

MATCH_THRESHOLD = 0.8
TRACK_BUFFER = 30
TRACK_THRESHOLDS = (0.5, 0.6)

# Recorded sequences: only ids and the rows of det.txt that they were given are stored, never the data's own boxes.
# MOT17-04 is long, so of it only the summary is kept.
SEQUENCES = [
    ("media/mot/MOT15/TUD-Campus", (0.5, 0.6)),
    ("media/mot/MOT15/TUD-Stadtmitte", (0.5, 0.6)),
    ("media/mot/MOT17-val-half/MOT17-02-FRCNN", (0.5, 0.6)),
    ("media/mot/MOT17-val-half/MOT17-04-FRCNN", ()),
    ("media/mot/MOT17-val-half/MOT17-05-FRCNN", (0.5, 0.6)),
    ("media/mot/MOT17-val-half/MOT17-09-FRCNN", (0.5, 0.6)),
    ("media/mot/MOT17-val-half/MOT17-11-FRCNN", (0.5, 0.6)),
]
MOT15_FRAME_RATE = 25  # MOT15's TUD sequences have no seqinfo.ini here; the challenge states 25


def read_detections(path):
    """MOTChallenge det.txt -> {frame: float64 array of [x1, y1, x2, y2, score]} in the file's order."""
    rows = {}
    for line in Path(path).read_text().splitlines():
        if line.strip():
            v = [float(x) for x in line.split(",")]
            rows.setdefault(int(v[0]), []).append([v[2], v[3], v[2] + v[4], v[3] + v[5], v[6]])
    return {frame: np.array(r, dtype=np.float64) for frame, r in rows.items()}


def frame_rate_of(folder):
    ini = configparser.ConfigParser()
    if ini.read(folder / "seqinfo.ini"):
        return int(ini["Sequence"]["frameRate"]), int(ini["Sequence"]["seqLength"])
    return MOT15_FRAME_RATE, 0


def run_reference(module, detections, last_frame, frame_rate, track_threshold):
    """-> [(frame, id, row of the frame's detections, score, x, y, w, h)] in the reference's order of output."""

    class WatchedTrack(module.STrack):
        """The reference's STrack, which also remembers the detection that it was last updated with."""

        def __init__(self, tlwh, score):
            super().__init__(tlwh, score)
            self.seen = (*tlwh, score)

        def update(self, new_track, frame_id):
            super().update(new_track, frame_id)
            self.seen = new_track.seen

        def re_activate(self, new_track, frame_id, new_id=False):
            super().re_activate(new_track, frame_id, new_id)
            self.seen = new_track.seen

    plain = module.STrack
    module.STrack = WatchedTrack
    counter = next(c for c in plain.__mro__ if "_count" in vars(c))
    counter._count = 0  # ids are counted per process in the reference; every golden starts at 1
    args = types.SimpleNamespace(
        track_thresh=track_threshold, track_buffer=TRACK_BUFFER, match_thresh=MATCH_THRESHOLD, mot20=False
    )
    tracker = module.BYTETracker(args, frame_rate=frame_rate)
    out = []
    for frame in range(1, last_frame + 1):
        dets = detections.get(frame, np.zeros((0, 5)))
        rows = {}
        for i, d in enumerate(dets):
            rows.setdefault((*module.STrack.tlbr_to_tlwh(d[:4]), d[4]), []).append(i)
        for track in tracker.update(dets.copy(), (1, 1), (1, 1)):
            assert track.frame_id == frame, "an output track that was not updated in its frame"
            row = rows[track.seen].pop(0)
            out.append((frame, track.track_id, row, track.score, *track.tlwh))
    module.STrack = plain
    return out


def lines_of(out, kind):
    if kind == "ids":
        frames = {}
        for frame, track_id, row, *_ in out:
            frames.setdefault(frame, []).append(f"{track_id}:{row}")
        return "".join(f"{f} {' '.join(p)}\n" for f, p in frames.items())
    return "".join(f"{f},{i},{r},{s:g},{x:.2f},{y:.2f},{w:.2f},{h:.2f}\n" for f, i, r, s, x, y, w, h in out)


def summary_of(out, frames, frame_rate, track_threshold):
    text = lines_of(out, "ids")
    by_id = lines_of(sorted(out, key=lambda o: (o[0], o[1])), "ids")
    return {
        "frames": frames,
        "frame_rate": frame_rate,
        "track_thresh": track_threshold,
        "rows": len(out),
        "ids": len({o[1] for o in out}),
        "largest_id": max((o[1] for o in out), default=0),
        "ids_text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "ids_by_id_sha256": hashlib.sha256(by_id.encode()).hexdigest(),
    }


def made_walkers(seed, frames, walkers, width, height, heights, jitter_share, score_step):
    """Detections of people who cross, hide behind each other, leave for up to 40 frames, and fade.

    `heights` bounds the walkers' heights in pixels, `jitter_share` is the detector's noise as a share of the box, and
    scores are multiples of `score_step`.
    -> {frame: [(x, y, w, h, score)]}, coordinates with one decimal, order shuffled per frame.
    """
    rng = np.random.default_rng(seed)

    def stepped(score):
        return round(round(score / score_step) * score_step, 2)

    people = []
    for _ in range(walkers):
        h = rng.uniform(*heights)
        people.append(
            {
                "h": h,
                "w": h * rng.uniform(0.32, 0.48),
                "x": rng.uniform(0, width),
                "y": rng.uniform(0.35, 0.75) * height,
                "vx": rng.choice([-1, 1]) * rng.uniform(0.003, 0.03) * h,
                "vy": rng.uniform(-0.015, 0.015) * h,
                "first": int(rng.integers(1, max(2, frames // 3))) if rng.random() < 0.6 else 1,
                "last": int(rng.integers(frames // 2, frames)) if rng.random() < 0.3 else frames,
                # (start, length) without any detection; lengths lie around the buffer of 30 frames on purpose
                "gone": [(int(rng.integers(20, frames)), int(rng.choice([1, 2, 5, 12, 25, 29, 30, 31, 32, 40])))
                         for _ in range(rng.integers(1, 5))],
                # (start, length) with a low score
                "faint": [(int(rng.integers(10, frames)), int(rng.integers(3, 20))) for _ in range(rng.integers(1, 5))],
            }
        )
    result = {}
    for frame in range(1, frames + 1):
        found = []
        boxes = []
        for p in people:
            p["x"] += p["vx"] + rng.normal(0, 0.003) * p["h"]
            p["y"] += p["vy"] + rng.normal(0, 0.0015) * p["h"]
            if p["x"] < -p["w"] or p["x"] > width:
                p["vx"] = -p["vx"]
            if not 0.2 * height < p["y"] < 0.85 * height:
                p["vy"] = -p["vy"]
            if not p["first"] <= frame <= p["last"]:
                continue
            if any(s <= frame < s + n for s, n in p["gone"]):
                continue
            score = float(np.clip(rng.normal(0.85, 0.06), 0.05, 0.99))
            if any(s <= frame < s + n for s, n in p["faint"]):
                score = float(np.clip(rng.normal(0.3, 0.2), 0.05, 0.65))
            jitter = rng.normal(0, jitter_share, 4) * [p["w"], p["h"], p["w"], p["h"]]
            box = np.array([p["x"], p["y"], p["w"], p["h"]]) + jitter
            # the one with its feet lower on the picture stands in front; who is hidden fades or is missed
            hidden = 0.0
            for o in boxes:
                ix = min(box[0] + box[2], o[0] + o[2]) - max(box[0], o[0])
                iy = min(box[1] + box[3], o[1] + o[3]) - max(box[1], o[1])
                if ix > 0 and iy > 0 and o[1] + o[3] > box[1] + box[3]:
                    hidden = max(hidden, ix * iy / (box[2] * box[3]))
            boxes.append(box)
            if hidden > 0.8 or rng.random() < 0.01:
                continue
            if hidden > 0.4:
                score = min(score, float(rng.uniform(0.08, 0.6)))
            found.append((*(round(float(v), 1) for v in box), stepped(score)))
            if any(s <= frame < s + 6 for s, _ in p["faint"]):  # the detector splits one person in two
                double = box + rng.normal(0, 0.04, 4) * [p["w"], p["h"], p["w"], p["h"]]
                found.append((*(round(float(v), 1) for v in double), stepped(float(rng.uniform(0.3, 0.95)))))
        for _ in range(rng.poisson(0.3)):  # false alarms
            h = rng.uniform(*heights)
            found.append((round(float(rng.uniform(0, width)), 1), round(float(rng.uniform(0, height)), 1),
                          round(float(h * 0.4), 1), round(float(h), 1), stepped(float(rng.uniform(0.05, 0.75)))))
        order = rng.permutation(len(found))
        result[frame] = [found[i] for i in order]
    return result


MADE = [
    # name, seed, frames, walkers, picture width and height, heights, jitter, score step, frame rate
    ("walkers", 7, 400, 10, 960, 540, (90, 220), 0.012, 0.01, 30),
    ("crowd", 11, 160, 25, 960, 540, (90, 220), 0.012, 0.01, 30),
    ("slow_camera", 23, 220, 10, 640, 480, (90, 220), 0.012, 0.01, 14),
    # small and noisy, so that one pixel decides; scores of 0.1, 0.5, 0.6 and 0.7 often, so that > and >= differ
    ("small", 33, 200, 18, 320, 240, (14, 40), 0.06, 0.05, 25),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with media/")
    parser.add_argument("--bytetrack-path", required=True, type=Path, help="checkout of ifzhang/ByteTrack")
    parser.add_argument("--out", type=Path, default=Path("tests/golden/bytetrack"))
    args = parser.parse_args()
    module = reference_imports.load_bytetrack(args.bytetrack_path)
    index = {
        "reference": {"repository": "ifzhang/ByteTrack", "commit": reference_imports.commit_of(args.bytetrack_path)},
        "versions": gf.versions("numpy", "scipy", "lap", "cython_bbox"),
        "track_buffer": TRACK_BUFFER,
        "match_thresh": MATCH_THRESHOLD,
        "mot20": False,
        "made": [],
        "recorded": [],
    }
    files = {}

    for name, seed, frames, walkers, width, height, heights, jitter, step, frame_rate in MADE:
        made = made_walkers(seed, frames, walkers, width, height, heights, jitter, step)
        text = "".join(
            f"{f},-1,{x},{y},{w},{h},{s}\n" for f, rows in made.items() for x, y, w, h, s in rows
        )
        det_name = f"{name}.det.txt"
        files[det_name] = text
        # what a reader of the stored file gets is what the reference is given
        scratch = {}
        for line in text.splitlines():
            v = [float(q) for q in line.split(",")]
            scratch.setdefault(int(v[0]), []).append([v[2], v[3], v[2] + v[4], v[3] + v[5], v[6]])
        detections = {f: np.array(r) for f, r in scratch.items()}
        for threshold in TRACK_THRESHOLDS:
            out = run_reference(module, detections, frames, frame_rate, threshold)
            kind = "boxes" if threshold == TRACK_THRESHOLDS[0] else "ids"
            file = f"{name}.{threshold}.{kind}.txt"
            files[file] = lines_of(out, kind)
            index["made"].append(
                {"name": name, "seed": seed, "det": det_name, "det_rows": text.count("\n"), "file": file, "kind": kind}
                | summary_of(out, frames, frame_rate, threshold)
            )

    for folder, stored_thresholds in SEQUENCES:
        det = args.data / folder / "det/det.txt"
        detections = read_detections(det)
        frame_rate, length = frame_rate_of(args.data / folder)
        frames = max(length, max(detections))
        for threshold in TRACK_THRESHOLDS:
            out = run_reference(module, detections, frames, frame_rate, threshold)
            entry = {
                "name": Path(folder).name,
                "det": folder + "/det/det.txt",
                "det_sha256": gf.sha256_of_file(det),
                "det_rows": sum(len(d) for d in detections.values()),
            }
            if threshold in stored_thresholds:
                entry |= {"file": f"{Path(folder).name}.{threshold}.ids.txt", "kind": "ids"}
                files[entry["file"]] = lines_of(out, "ids")
            index["recorded"].append(entry | summary_of(out, frames, frame_rate, threshold))

    if any(e["rows"] == 0 for e in index["made"] + index["recorded"]):
        gf.refuse("a sequence gave no tracks")
    for name, text in files.items():
        gf.write_text(args.out / name, text, limit_bytes=200_000)
    gf.write_json(args.out / "index.json", index, depth=2, limit_bytes=30_000)


if __name__ == "__main__":
    main()
