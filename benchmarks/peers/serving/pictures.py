#!/usr/bin/env python3
"""Makes 768x576 JPEGs (quality 90, 4:2:0) with faces from photographs that have boxes of faces (dlib's training.xml).

    pictures.py --media FOLDER_WITH_XML --model MENDED.onnx --out FOLDER

Cuts windows of 4:3 that hold faces, as they are and mirrored, and keeps those in which the model finds at least two
until there are enough; prints how many faces it finds on average.
"""
import argparse
import pathlib
import random
import sys
import xml.etree.ElementTree

import cv2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from faces import Faces  # noqa: E402

WIDTH, HEIGHT, QUALITY = 768, 576, 90


def photographs(folder):
    """Pictures with the boxes of their faces, x1, y1, x2, y2."""
    for name in ("training.xml", "testing.xml"):
        for image in xml.etree.ElementTree.parse(folder / name).iter("image"):
            boxes = [tuple(int(box.get(key)) for key in ("left", "top", "width", "height")) for box in image.iter("box")]
            path = folder / image.get("file")
            if len(boxes) >= 2 and path.exists():
                yield path, [(x, y, x + w, y + h) for x, y, w, h in boxes]


def window(dice, picture, boxes):
    """A cut of 4:3 around two or more neighbouring faces."""
    height, width = picture.shape[:2]
    wanted = dice.sample(boxes, min(len(boxes), dice.choice((2, 3, 4))))
    x1, y1, x2, y2 = (f(box[i] for box in wanted) for i, f in enumerate((min, min, max, max)))
    need = max(x2 - x1, (y2 - y1) * WIDTH / HEIGHT) * dice.uniform(1.2, 2.2)
    w = int(min(need, width, height * WIDTH / HEIGHT))
    h = int(w * HEIGHT / WIDTH)
    left = int(min(max(0, (x1 + x2 - w) / 2 + dice.uniform(-0.1, 0.1) * w), width - w))
    top = int(min(max(0, (y1 + y2 - h) / 2 + dice.uniform(-0.1, 0.1) * h), height - h))
    return picture[top:top + h, left:left + w]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=pathlib.Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=48)
    args = parser.parse_args()
    faces, dice = Faces(args.model), random.Random(7)
    photos = [(cv2.imread(str(path)), boxes) for path, boxes in photographs(args.media)]
    if not photos:
        sys.exit(f"{args.media}: no photographs with two faces")
    args.out.mkdir(parents=True, exist_ok=True)
    made, found, size = 0, 0, 0
    for attempt in range(args.count * 100):
        picture, boxes = photos[attempt % len(photos)]
        cut = window(dice, picture, boxes)
        if cut.shape[1] < 120:
            continue
        cut = cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        if dice.random() < 0.5:
            cut = cut[:, ::-1]
        jpeg = cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        there = len(faces.detect(jpeg)["faces"])
        if there < 2:
            continue
        (args.out / f"faces_{made:03}.jpg").write_bytes(jpeg)
        made, found, size = made + 1, found + there, size + len(jpeg)
        if made == args.count:
            break
    print(f"{made} pictures of {WIDTH}x{HEIGHT} from {len(photos)} photographs, {found / max(1, made):.2f} faces and "
          f"{size / max(1, made) / 1000:.0f} kB on average")
    return 0 if made == args.count else 1


if __name__ == "__main__":
    sys.exit(main())
