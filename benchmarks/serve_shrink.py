#!/usr/bin/env python3
"""What it costs and brings to decode JPEGs no larger than a served model needs (docs/serving_pictures.md).

Usage: serve_shrink.py SIGHTLINE MODEL TRUTH [ROUNDS]

MODEL is served twice, with shrink: true and false, by one instance of one thread. All JPEGs of TRUTH are posted to both,
ROUNDS times in turn (5). TRUTH is a folder of YOLO's labels (images/, labels/), or of dlib's faces (training.xml, testing.xml):
of these 96 windows of 4:3 around faces are cut and made JPEGs of 768x576 (Pillow is needed). Printed: the accuracy of both by `sightline eval`, the mean ms of decoding a picture as the server tells it,
and its CPU time a request.
"""
import http.client
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

PROGRAM, MODEL = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
TRUTH = pathlib.Path(sys.argv[3]).resolve()
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 5
WINDOWS = 96
CONFIDENCE = 0.001  # as `sightline eval --model`


def yolo_of_dlib(folder, to):
    """Windows of dlib's pictures, with YOLO's labels."""
    from PIL import Image
    (to / "images").mkdir(parents=True)
    (to / "labels").mkdir()
    (to / "data.yaml").write_text("names: [face]\nval: images\n")
    photos = []
    for name in ("training.xml", "testing.xml"):
        for image in xml.etree.ElementTree.parse(folder / name).getroot().iter("image"):
            boxes = [[float(box.get(key)) for key in ("left", "top", "width", "height")] for box in image.iter("box")]
            if boxes and (folder / image.get("file")).exists():
                photos.append((Image.open(folder / image.get("file")).convert("RGB"), boxes))
    dice = random.Random(7)
    for number in range(WINDOWS):
        photo, boxes = photos[number % len(photos)]
        x, y, w, h = dice.choice(boxes)
        width = min(w * dice.uniform(2, 10), photo.width, photo.height * 4 / 3)
        height = width * 3 / 4
        left = min(max(0, x + w / 2 - width * dice.uniform(0.3, 0.7)), photo.width - width)
        top = min(max(0, y + h / 2 - height * dice.uniform(0.3, 0.7)), photo.height - height)
        cut = photo.resize((768, 576), Image.BICUBIC, box=(left, top, left + width, top + height))
        cut.save(to / "images" / f"{number:03}.jpg", quality=90)
        lines = ""
        for x, y, w, h in boxes:
            x1, y1 = max(0, (x - left) / width), max(0, (y - top) / height)
            x2, y2 = min(1, (x + w - left) / width), min(1, (y + h - top) / height)
            # What is cut to less than half of it need not be found.
            if x2 > x1 and y2 > y1 and (x2 - x1) * width * (y2 - y1) * height >= 0.5 * w * h:
                lines += f"0 {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}\n"
        (to / "labels" / f"{number:03}.txt").write_text(lines)
    return to


def cpu_s(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(folder):
    config = folder / "serve.yaml"
    config.write_text("models:\n" + "".join(
        f"  - model: {MODEL}\n    name: {name}\n    instances: 1\n    pictures: at_load\n    shrink: {shrink}\n"
        for name, shrink in (("small", "true"), ("whole", "false"))))
    process = subprocess.Popen([PROGRAM, "serve", "--http", "0", "--grpc", "off", "--metrics", "off", "--config", config],
                               stderr=subprocess.PIPE, text=True)
    port = None
    for line in process.stderr:
        port = port or re.search(r"HTTP at \S+:(\d+)", line)
        if line.strip().endswith("ready"):
            return process, int(port.group(1))
    sys.exit("the server did not begin")


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        truth = TRUTH if (TRUTH / "labels").exists() else yolo_of_dlib(TRUTH, scratch / "truth")
        pictures = sorted(path for path in (truth / "images").rglob("*.jp*g"))
        process, port = serve(scratch)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        decode, cpu = {"small": 0.0, "whole": 0.0}, {"small": 0.0, "whole": 0.0}
        for name in decode:
            (scratch / name).mkdir()
        for turn in range(ROUNDS):
            for name in decode:
                before = cpu_s(process)
                for path in pictures:
                    connection.request("POST", f"/v1/detect/{name}?confidence={CONFIDENCE}", path.read_bytes())
                    answer = connection.getresponse()
                    found = json.loads(answer.read())
                    assert answer.status == 200, found
                    decode[name] += float(re.search(r"decode;dur=([\d.]+)", answer.headers["Server-Timing"]).group(1))
                    if turn > 0:
                        continue
                    width, height = found["width"], found["height"]
                    lines = ""
                    for one in found["detections"]:
                        x1, y1, x2, y2 = one["box_xyxy_px"]
                        lines += (f"{one['class_id']} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} "
                                  f"{(y2 - y1) / height} {one['confidence']}\n")
                    (scratch / name / (path.stem + ".txt")).write_text(lines)
                cpu[name] += cpu_s(process) - before
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        for name in decode:
            requests = ROUNDS * len(pictures)
            print(f"\n{'shrink: true' if name == 'small' else 'shrink: false'}: decode {decode[name] / requests:.3f} ms, "
                  f"{1000 * cpu[name] / requests:.2f} ms of CPU a request, {len(pictures)} pictures")
            subprocess.run([PROGRAM, "eval", "--format", "yolo", "--detections", truth, scratch / name], check=True)


main()
