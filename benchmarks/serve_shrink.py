#!/usr/bin/env python3
"""What it costs and brings to decode JPEGs no larger than a served model needs (docs/serving_pictures.md).

Usage: serve_shrink.py SIGHTLINE MODEL TRUTH [ROUNDS]

MODEL is served twice, with shrink: true and false, by one instance of one thread. All JPEGs of TRUTH are posted to both,
ROUNDS times in turn (5). TRUTH is a folder of YOLO's labels (images/, labels/), or of dlib's (*.xml with <box>), whose one
class is face. Printed: the accuracy of both by `sightline eval`, the mean ms of decoding a picture as the server tells it,
and its CPU time a request.
"""
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

PROGRAM, MODEL = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
TRUTH = pathlib.Path(sys.argv[3]).resolve()
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 5
CONFIDENCE = 0.001  # as `sightline eval --model`


def yolo_of_dlib(folder, to):
    """dlib's boxes as YOLO's; two of one picture in several files are taken once."""
    (to / "images").mkdir(parents=True)
    (to / "labels").mkdir()
    (to / "data.yaml").write_text("names: [face]\nval: images\n")
    for path in sorted(folder.glob("*.xml")):
        if "stylesheet" in path.name or "landmarks" in path.name:
            continue
        for image in xml.etree.ElementTree.parse(path).getroot().iter("image"):
            source = folder / image.get("file")
            width, height = size_of(source)
            lines = [[float(box.get(key)) for key in ("left", "top", "width", "height")] for box in image.iter("box")
                     if box.get("ignore") != "1"]
            (to / "images" / source.name).write_bytes(source.read_bytes())
            (to / "labels" / (source.stem + ".txt")).write_text("".join(
                f"0 {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n" for x, y, w, h in lines))
    return to


def size_of(path):
    """Of a JPEG, by its frame header."""
    data, at = path.read_bytes(), 2
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2:at + 4], "big")
        if 0xC0 <= marker <= 0xC2:
            return int.from_bytes(data[at + 7:at + 9], "big"), int.from_bytes(data[at + 5:at + 7], "big")
        at += 2 + length


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
            subprocess.run([PROGRAM, "eval", "--detections", truth, scratch / name], check=True)


main()
