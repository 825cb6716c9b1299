#!/usr/bin/env python3
"""Frames of clips as pictures, evenly chosen over all of them: what `models calibrate` and `models check` are measured with.

    python3 benchmarks/frames_of_clips.py OUT --frames 600 CLIP_OR_FOLDER...

Of every clip each frame counts the same, so a long one gives more. Files are OUT/CLIP_FRAME.png, without loss. Needs OpenCV
(benchmarks/peers/requirements.txt).
"""
import argparse
from pathlib import Path

import cv2

ENDINGS = {".mp4", ".avi", ".mkv", ".h264", ".h265", ".webm"}


def frames_of(clip):
    capture = cv2.VideoCapture(str(clip))
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield frame


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, required=True, help="of all clips together")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    clips = []
    for given in arguments.clips:
        clips += sorted(p for p in given.rglob("*") if p.suffix in ENDINGS) if given.is_dir() else [given]
    counts = {clip: sum(1 for _ in frames_of(clip)) for clip in clips}  # what containers say is not always true
    step = max(1.0, sum(counts.values()) / arguments.frames)
    arguments.out.mkdir(parents=True, exist_ok=True)
    written, due, at = 0, 0.0, 0
    for clip in clips:
        for number, frame in enumerate(frames_of(clip)):
            if at >= due and written < arguments.frames:
                cv2.imwrite(str(arguments.out / f"{clip.stem}_{number:05}.png"), frame)
                written += 1
                due += step
            at += 1
    print(f"{written} of {sum(counts.values())} frames of {len(clips)} clips in {arguments.out}")


if __name__ == "__main__":
    main()
