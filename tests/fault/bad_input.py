#!/usr/bin/env python3
"""Bad input and bad disks: one line that says what and how to mend it, the right exit code, nothing lost.

Usage: bad_input.py SIGHTLINE
"""
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
failures = []


def run(*arguments, cwd=None):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120)


def expect(what, done, code, *words):
    lines = done.stderr.strip().splitlines()
    problems = []
    if done.returncode != code:
        problems.append(f"exit code {done.returncode}, expected {code}")
    if len(lines) != 1:
        problems.append(f"{len(lines)} error lines, expected one")
    for word in words:
        if word not in done.stderr:
            problems.append(f'"{word}" is not in the message')
    if problems:
        failures.append(f"{what}: {'; '.join(problems)}\n    {done.stderr.strip()}")
    else:
        print(f"ok  {what}: {lines[0] if lines else ''}")


def clip(path, seconds=4):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"color=gray:s=320x240:r=25:d={seconds}", "-f", "lavfi",
                    "-i", "color=white:s=24x48:r=25", "-filter_complex",
                    "[0][1]overlay=x='mod(t*60,320)':y=40:shortest=1", "-c:v", "libx264",
                    "-g", "12", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def counts(out):
    return json.loads(out.strip().splitlines()[-1])["cameras"][0]


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        good = clip(folder / "good.mp4")
        out = folder / "out"

        def job(source, *more, model="motion", to=out):
            return run("run", "--source", source, "--model", model, "--out", to, "--no-video", "--no-report",
                       "--json", *more)

        # Files that are not there, or not what they should be.
        expect("missing video", job(folder / "none.mp4"), 1, "none.mp4")
        (folder / "zero.mp4").write_bytes(b"")
        expect("empty video", job(folder / "zero.mp4"), 1, "zero.mp4")
        (folder / "garbage.mp4").write_bytes(random.Random(1).randbytes(100_000))
        expect("garbage video", job(folder / "garbage.mp4"), 1, "garbage.mp4")
        (folder / "empty").mkdir()
        expect("empty folder", job(folder / "empty"), 1, "empty")
        (folder / "zero.jpg").write_bytes(b"")
        expect("zero-byte picture", run("detect", "--model", "people", "--json", folder / "zero.jpg"), 1, "zero.jpg")
        (folder / "text.jpg").write_text("this is no picture")
        expect("text as picture", run("detect", "--model", "people", "--json", folder / "text.jpg"), 1, "text.jpg")

        # Models.
        expect("mistyped model", job(good, model="poeple"), 1, "people")
        expect("missing model file", job(good, model=folder / "none.onnx"), 1, "none.onnx")
        (folder / "garbage.onnx").write_bytes(random.Random(2).randbytes(10_000))
        expect("garbage model", job(good, model=folder / "garbage.onnx"), 1, "garbage.onnx")
        expect("adding a garbage model", run("models", "add", folder / "garbage.onnx"), 1, "garbage.onnx")

        # Configurations.
        config = folder / "c.yaml"
        config.write_text("cameras:\n  - id: a\n    sorce: good.mp4\n    model: motion\n")
        done = run("run", config)
        if done.returncode != 2 or "c.yaml:3:" not in done.stderr or "source" not in done.stderr:
            failures.append(f"unknown key: {done.returncode} {done.stderr}")
        config.write_bytes(b"\x00\xff\xfe cameras: [")
        if run("check", config).returncode != 2:
            failures.append("binary configuration is not refused with 2")
        expect("missing configuration", run("run", folder / "none.yaml"), 2, "none.yaml")
        if os.geteuid() != 0:
            config.chmod(0)
            expect("unreadable configuration", run("run", config), 2, "c.yaml")
        expect("nothing to run", run("run"), 2, "--source")
        if run("run", "--no-such-option").returncode != 2:
            failures.append("unknown option is not a usage error")

        # A truncated clip gives what it holds, and the ledger adds up.
        cut = folder / "cut.mkv"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(good), "-c", "copy", str(cut)], check=True)
        data = cut.read_bytes()
        cut.write_bytes(data[: len(data) * 6 // 10])
        done = job(cut)
        camera = counts(done.stdout)
        total = camera["processed"] + sum(camera["skipped"].values()) + sum(camera["dropped"].values())
        if (done.returncode != 0 or camera["frames_in"] != total or not 20 <= camera["processed"] <= 100
                or "cut off" not in done.stderr or len(done.stderr.strip().splitlines()) != 1):
            failures.append(f"truncated video: {done.returncode} {camera} {done.stderr}")
        else:
            print(f"ok  truncated video: {camera}")

        # What a good run wrote survives a bad one after it.
        done = job(good)
        assert done.returncode == 0, done.stderr
        before = sqlite3.connect(out / "sightline.db").execute("SELECT count(*) FROM detections").fetchone()
        assert before[0] > 0
        job(folder / "none.mp4")
        after = sqlite3.connect(out / "sightline.db").execute("SELECT count(*) FROM detections").fetchone()
        if before != after or not (out / "detections.jsonl").exists():
            failures.append("a failed run harmed the results of the one before it")

        # A database that is none, and a folder that cannot be made.
        bad = folder / "badout"
        bad.mkdir()
        (bad / "sightline.db").write_text("this is no database, but somebody's precious text" * 50)
        text = (bad / "sightline.db").read_bytes()
        expect("foreign file as database", job(good, to=bad), 1, "sightline.db")
        if (bad / "sightline.db").read_bytes() != text:
            failures.append("a foreign file was overwritten")
        expect("file where the folder should be", job(good, to=good), 1, "good.mp4")

        disk_full(folder, good, job)
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def disk_full(folder, good, job):
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        print("SKIPPED: bad_input disk_full: a small file system cannot be mounted here (needs root)")
        return
    try:
        out = disk / "out"
        done = job(good, to=out)
        assert done.returncode == 0, done.stderr
        rows = sqlite3.connect(out / "sightline.db").execute("SELECT count(*) FROM detections").fetchone()[0]
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(b"x" * max(0, free.f_bavail * free.f_bsize - 8192))
        long_clip = clip(folder / "long.mp4", seconds=60)
        done = job(long_clip, to=out)
        expect("full disk", done, 1, str(out))
        left = sqlite3.connect(out / "sightline.db").execute("SELECT count(*) FROM detections").fetchone()[0]
        if left < rows:
            failures.append(f"a full disk lost rows: {rows} before, {left} after")
        (disk / "filler").unlink()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)  # lazily: sqlite3 handles may live on


if __name__ == "__main__":
    sys.exit(main())
