#!/usr/bin/env python3
"""What a run of recordings leaves when it is changed under way: nothing twice, nothing lost.

Usage: apply_recordings.py SIGHTLINE MODEL.onnx

Simulated recordings, small enough that a picture costs little and so long that none comes to its end.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from shop import Shop, check, finish, wait_for

PROGRAM = os.path.abspath(sys.argv[1])
MODEL = os.path.abspath(sys.argv[2])


def recording(seed):
    return f"sim://street?people=4&seed={seed}&fps=10&size=480x270&pace=none&duration=24h"


def many_lines(shop, camera, n=40):
    wanted = len(shop.lines(camera, "detections.jsonl.partial")) + n
    wait_for(lambda: len(shop.lines(camera, "detections.jsonl.partial")) >= wanted, f"{n} more lines of {camera}")


def applied(shop, what):
    done = shop.apply()
    check(done.returncode == 0 and done.stdout.endswith("applied\n"), f"{what}: {done.stderr or 'applied'}")


def steps_s(video):
    """Between the pictures of a video; None without the program that tells."""
    if shutil.which("ffprobe") is None:
        return None
    shown = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of",
                            "csv=p=0", video], capture_output=True, text=True, check=True).stdout
    times = [float(line.strip(",")) for line in shown.split()]
    return [after - before for before, after in zip(times, times[1:])]


def outputs_of_recordings(folder):
    out = folder / "out"
    shop = Shop(PROGRAM, folder, cameras={"gate": {"source": recording(1)}}, outputs="video: {enabled: true}")
    many_lines(shop, "gate")
    shop.cameras["gate"]["model"] = "truth?miss=0.1"
    applied(shop, "another model")
    wait_for((out / "gate.mp4").exists, "the first reading's video is finished")
    many_lines(shop, "gate")

    shop.cameras["yard"] = {"source": recording(2)}
    applied(shop, "a second camera")
    many_lines(shop, "yard")
    yard = shop.cameras.pop("yard")
    applied(shop, "it is taken out")
    wait_for((out / "yard.mp4").exists, "its video is finished")
    shop.cameras["yard"] = yard
    applied(shop, "it is put back")
    many_lines(shop, "yard")

    shop.outputs = "video: {enabled: false}"
    applied(shop, "no video")
    shop.outputs = "video: {enabled: true}"
    applied(shop, "and again a video")
    many_lines(shop, "gate")

    # What the run is about to write is no source, whoever writes it.
    gate = shop.cameras.pop("gate")
    shop.cameras["picture"] = {"source": "out/report.png", "model": "motion"}
    done = shop.apply()
    check(done.returncode == 2 and "report of camera gate" in done.stderr, f"a file that is about to be written is no source: {done.stderr}")
    shop.cameras = {"gate": gate, "yard": yard}

    summary = {camera["id"]: camera for camera in shop.end()["cameras"]}
    lines = shop.lines("gate")
    check(lines == list(range(len(lines))), f"gate: each frame of its last reading once ({len(lines)})")
    for camera in ("gate", "yard"):
        ledger = dict(shop.rows("SELECT outcome, frames FROM ledger WHERE camera_id = ? AND reason IN ('', 'shutdown')", camera))
        check(ledger["processed"] == summary[camera]["processed"] == len(shop.lines(camera)),
              f"{camera}: ledger, summary and lines agree: {ledger} {summary[camera]['processed']} {len(shop.lines(camera))}")
        check(ledger["in"] == summary[camera]["frames_in"], f"{camera}: so do the frames that came in")
    yard_lines = shop.lines("yard")
    check(yard_lines.count(0) == 2, "yard: both of its lives are told")
    videos = sorted(path.name for path in out.iterdir() if path.name.endswith(".mp4"))
    # Of gate: the first reading, the last one until the videos stopped, and since; of yard: as well.
    check(videos == ["gate.mp4", "gate~1.mp4", "gate~2.mp4", "yard.mp4", "yard~1.mp4", "yard~2.mp4"], f"every video is kept: {videos}")
    reports = sorted(path.name for path in out.iterdir() if path.name.startswith("report"))
    check(reports == ["report-yard.png", "report-yard~1.png", "report.png", "report~1.png"], f"every report is kept: {reports}")
    for video in videos:
        steps = steps_s(out / video)
        if steps is not None:
            check(steps and min(steps) > 0.09, f"{video}: the times are the stream's: {len(steps)} steps from {min(steps, default=0):.3f} s")
    check(not [path for path in out.iterdir() if path.name.endswith(".partial")], "nothing is left half")


def lines_in_several_files(folder):
    shop = Shop(PROGRAM, folder, cameras={"gate": {"source": recording(1)}}, outputs="video: {enabled: false}, report: {enabled: false}")
    many_lines(shop, "gate")
    off = "video: {enabled: false}, report: {enabled: false}, jsonl: {path: %s}"
    frames = 0
    for name in ("b.jsonl", "detections.jsonl"):
        shop.outputs = off % name
        applied(shop, f"lines into {name}")
        wait_for(lambda: len(shop.lines("gate", name + ".partial")) >= 20, f"lines in {name}")
    processed = shop.end()["cameras"][0]["processed"]
    for name in ("detections~1.jsonl", "b.jsonl", "detections.jsonl"):
        lines = shop.lines("gate", name)
        check(lines == list(range(frames, frames + len(lines))), f"{name} goes on at frame {frames}")
        frames += len(lines)
    check(frames == processed, f"each frame has its line: {frames} {processed}")


def replaced_model(folder):
    shutil.copy(MODEL, folder / "mine.onnx")
    shop = Shop(PROGRAM, folder, cameras={"gate": {"source": recording(1), "model": "mine.onnx"}, "yard": {"source": recording(2)}},
                outputs="video: {enabled: false}, report: {enabled: false}")
    many_lines(shop, "gate", 5)
    check("nothing changes" in shop.apply().stdout, "the same file is no change")
    # Another doc_string, of no meaning to anyone: field 6 of the model.
    with open(folder / "mine.onnx", "ab") as file:
        file.write(b"\x32\x07trained")
    done = shop.apply("--dry-run")
    check(done.stdout.startswith("~ cameras.gate.model: ") and "content" in done.stdout, f"a dry run says that it was replaced: {done.stdout}")
    applied(shop, "a model under its old name")
    check("nothing changes" in shop.apply().stdout, "and then it is no change any more")
    many_lines(shop, "gate", 5)
    # What is gone is no reason to stop who works with it.
    os.remove(folder / "mine.onnx")
    shop.cameras["roof"] = {"source": recording(3)}
    done = shop.apply()
    check(done.returncode != 0 or "cameras.gate" not in done.stdout, "a model that is gone is not taken for another one")
    lines = shop.lines("gate", "detections.jsonl.partial")
    check(lines == list(range(len(lines))), "gate's lines are those of its last reading")
    shop.end()


for part in (outputs_of_recordings, lines_in_several_files, replaced_model):
    print(part.__name__, flush=True)
    with tempfile.TemporaryDirectory() as name:
        part(pathlib.Path(name))
finish()
