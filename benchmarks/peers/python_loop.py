#!/usr/bin/env python3
"""The loop that people write today for "video in, tracks and counts out": the peer of `sightline run`.

OpenCV decodes, ONNX Runtime infers, NumPy and OpenCV do the model's own pre- and post-processing, supervision's
ByteTrack tracks; detections go to SQLite and, with --json, to JSON lines. The last line on standard output is
{"frames", "wall_s", "cpu_s", "fps", "tracks", ...}.

Timed: from opening the video to the last row written. Not timed: imports and loading the model.
"""

import argparse
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import supervision as sv


class Yolox:
    """YOLOX: top-left letterbox on 114, raw BGR; grid decode; NMS over all classes together."""

    def __init__(self, session, score, nms_iou):
        self.score, self.nms_iou = score or 0.1, nms_iou or 0.45
        _, _, self.h, self.w = session.get_inputs()[0].shape
        grids, strides = [], []
        for stride in (8, 16, 32):
            x, y = np.meshgrid(np.arange(self.w // stride), np.arange(self.h // stride))
            grids.append(np.stack((x, y), 2).reshape(-1, 2))
            strides.append(np.full((x.size, 1), stride))
        self.grid = np.concatenate(grids).astype(np.float32)
        self.stride = np.concatenate(strides).astype(np.float32)
        self.padded = np.full((self.h, self.w, 3), 114, np.uint8)

    def preprocess(self, frame):
        ratio = min(self.h / frame.shape[0], self.w / frame.shape[1])
        size = int(frame.shape[1] * ratio), int(frame.shape[0] * ratio)
        self.padded[: size[1], : size[0]] = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(self.padded.transpose(2, 0, 1)[None], dtype=np.float32), ratio

    def postprocess(self, outputs, ratio, _frame):
        rows = outputs[0][0]
        best = rows[:, 5:].argmax(1)
        scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + best]
        keep = scores > self.score
        rows, scores, best = rows[keep], scores[keep], best[keep]
        centre = (rows[:, :2] + self.grid[keep]) * self.stride[keep]
        half = np.exp(rows[:, 2:4]) * self.stride[keep] / 2
        return np.concatenate([centre - half, centre + half], axis=1) / ratio, scores, best


class UltraFace:
    """Ultra-Light face detector: stretch, RGB (x - 127) / 128; SSD deltas over priors, or boxes already decoded."""

    def __init__(self, session, score, nms_iou):
        self.score, self.nms_iou = score or 0.7, nms_iou or 0.3
        _, _, self.h, self.w = session.get_inputs()[0].shape
        self.raw_deltas = self.w == 320  # the published 320 files give deltas, the 640 file gives boxes
        priors = []
        for stride, sides in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256))):
            cols, rows = -(-self.w // stride), -(-self.h // stride)
            for y in range(rows):
                for x in range(cols):
                    priors += [((x + 0.5) / cols, (y + 0.5) / rows, s / self.w, s / self.h) for s in sides]
        self.priors = np.clip(np.array(priors, np.float32), 0, 1)

    def preprocess(self, frame):
        return cv2.dnn.blobFromImage(frame, 1 / 128, (self.w, self.h), (127, 127, 127), swapRB=True), None

    def postprocess(self, outputs, _, frame):
        scores, boxes = outputs[0][0, :, 1], outputs[1][0]
        keep = scores > self.score
        scores, boxes = scores[keep], boxes[keep]
        if self.raw_deltas:
            priors = self.priors[keep]
            centre = boxes[:, :2] * 0.1 * priors[:, 2:] + priors[:, :2]
            half = np.exp(boxes[:, 2:] * 0.2) * priors[:, 2:] / 2
            boxes = np.concatenate([centre - half, centre + half], axis=1)
        height, width = frame.shape[:2]
        return boxes * np.array([width, height, width, height], np.float32), scores, np.zeros(len(scores), int)


class FastestDet:
    """FastestDet: stretch, BGR / 255; one 22x22 map; NMS over all classes together."""

    def __init__(self, session, score, nms_iou):
        self.score, self.nms_iou = score or 0.3, nms_iou or 0.45
        _, _, self.h, self.w = session.get_inputs()[0].shape

    def preprocess(self, frame):
        return cv2.dnn.blobFromImage(frame, 1 / 255, (self.w, self.h)), None

    def postprocess(self, outputs, _, frame):
        cells = outputs[0][0]
        rows, cols = cells.shape[1:]
        scores = (cells[0] ** 0.6 * cells[5:].max(axis=0) ** 0.4).ravel()
        keep = np.nonzero(scores > self.score)[0]
        cells = cells.reshape(len(cells), -1)[:, keep]
        centre = np.stack([(keep % cols + np.tanh(cells[1])) / cols, (keep // cols + np.tanh(cells[2])) / rows], axis=1)
        half = (1 / (1 + np.exp(-cells[3:5].T))) / 2
        height, width = frame.shape[:2]
        size = np.array([width, height, width, height], np.float32)
        return np.concatenate([centre - half, centre + half], axis=1) * size, scores[keep], cells[5:].argmax(axis=0)


FAMILIES = {"yolox": Yolox, "ultraface": UltraFace, "fastestdet": FastestDet}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("model")
    parser.add_argument("--family", required=True, choices=FAMILIES)
    parser.add_argument("--threads", type=int, default=0,
                        help="ONNX Runtime's intra-op threads and OpenCV's threads; 0 leaves both at their defaults")
    parser.add_argument("--max-frames", type=int, default=0)
    parser.add_argument("--score", type=float, default=0.0, help="0: the family's usual threshold")
    parser.add_argument("--nms", type=float, default=0.0, help="0: the family's usual IoU")
    parser.add_argument("--json", type=Path, help="write the detections as JSON lines to this file")
    parser.add_argument("--db", type=Path, help="write the detections to this SQLite file (replaced)")
    args = parser.parse_args()

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if args.threads:
        options.intra_op_num_threads = args.threads
        cv2.setNumThreads(args.threads)
    session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    head = FAMILIES[args.family](session, args.score, args.nms)

    wall, cpu = time.perf_counter(), time.process_time()
    video = cv2.VideoCapture(args.video)
    if not video.isOpened():
        sys.exit(f"{args.video}: cannot be opened as a video")
    fps = video.get(cv2.CAP_PROP_FPS) or 30
    tracker = sv.ByteTrack(frame_rate=round(fps))
    json_file = open(args.json, "w") if args.json else None
    db = None
    if args.db:
        args.db.unlink(missing_ok=True)
        db = sqlite3.connect(args.db)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE detections (frame INTEGER, pts_us INTEGER, track_id INTEGER, class_id INTEGER,"
                   " score REAL, x1 REAL, y1 REAL, x2 REAL, y2 REAL)")

    frames = detections_seen = 0
    class_of_track = {}
    pending = []
    while not args.max_frames or frames < args.max_frames:
        ok, frame = video.read()
        if not ok:
            break
        tensor, ratio = head.preprocess(frame)
        outputs = session.run(None, {input_name: tensor})
        boxes, scores, classes = head.postprocess(outputs, ratio, frame)
        detections = sv.Detections(xyxy=boxes, confidence=scores, class_id=classes)
        detections = detections.with_nms(head.nms_iou, class_agnostic=True)
        tracked = tracker.update_with_detections(detections)

        detections_seen += len(detections)
        pts_us = round(frames * 1e6 / fps)
        rows = [
            (frames, pts_us, int(track), int(label), round(float(score), 4), *np.round(box, 2).tolist())
            for box, score, label, track in zip(
                tracked.xyxy, tracked.confidence, tracked.class_id, tracked.tracker_id
            )
        ]
        for row in rows:
            class_of_track.setdefault(row[2], row[3])
        if json_file:
            json_file.write(json.dumps({
                "frame": frames,
                "pts_us": pts_us,
                "tracks": [{"id": r[2], "class_id": r[3], "confidence": r[4], "box_xyxy_px": r[5:]} for r in rows],
            }) + "\n")
        if db:
            pending += rows
            if len(pending) >= 1000:
                db.executemany("INSERT INTO detections VALUES (?,?,?,?,?,?,?,?,?)", pending)
                db.commit()
                pending.clear()
        frames += 1
    video.release()
    if db:
        db.executemany("INSERT INTO detections VALUES (?,?,?,?,?,?,?,?,?)", pending)
        db.commit()
        db.close()
    if json_file:
        json_file.close()

    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({
        "frames": frames,
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "fps": round(frames / wall, 2),
        "tracks": len(class_of_track),
        "detections": detections_seen,
        "counts": dict(Counter(class_of_track.values())),
        "threads": args.threads or f"default ({os.cpu_count()} cores)",
    }))


if __name__ == "__main__":
    main()
