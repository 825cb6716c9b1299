#!/usr/bin/env python3
"""kill -9 at random moments of a run, each proven to have work in flight.

After every kill the database must open, pass its integrity check, and hold only whole frames: each
frame's rows equal to those of an undisturbed run, or absent. After the last kill a re-run into the
same database must end with exactly the rows of the undisturbed one, in every table.

Usage: kill9.py SIGHTLINE [KILLS]
"""
import collections
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

SEED = 20240229  # any; fixed so that a failure can be repeated


def make_clip(folder):
    clip = folder / "walk.mkv"
    # Moving shapes on a still ground, so that the motion detector has something to track.
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "color=gray:s=320x240:r=25:d=24",
         "-f", "lavfi", "-i", "color=white:s=24x48:r=25", "-f", "lavfi", "-i", "color=black:s=30x60:r=25",
         "-filter_complex", "[0][1]overlay=x='mod(t*60,320)':y=40:shortest=1[a];"
                            "[a][2]overlay=x='320-mod(t*40,320)':y=130:shortest=1",
         "-c:v", "mpeg4", "-q:v", "3", str(clip)], check=True)
    return clip


def start(program, clip, out):
    return subprocess.Popen(
        [program, "run", "--source", str(clip), "--model", "motion", "--out", str(out),
         "--no-video", "--no-report", "--quiet"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def works(victim):
    """Frames are on their way: the camera's reader is there, and began to read after everything was opened."""
    try:
        threads = pathlib.Path(f"/proc/{victim.pid}/task").glob("*/comm")
        return any(thread.read_text().startswith("read-") for thread in threads)
    except OSError:  # it ended under our eyes
        return False


def tables(database):
    names = [row[0] for row in database.execute(
        "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")]
    return {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in names}


def open_database(path):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), "integrity check"
    return database


def per_frame(database):
    frames = collections.defaultdict(list)
    for row in database.execute("SELECT frame, id, confidence, x1, y1, x2, y2 FROM detections"):
        frames[row[0]].append(repr(row))
    return {frame: sorted(rows) for frame, rows in frames.items()}


def main():
    program, kills = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        clip = make_clip(folder)
        began = time.monotonic()
        done = start(program, clip, folder / "whole")
        error = done.communicate()[1]
        assert done.returncode == 0, error.decode()
        duration = time.monotonic() - began
        whole = open_database(folder / "whole/sightline.db")
        expected, expected_frames = tables(whole), per_frame(whole)
        assert len(expected["detections"]) > 300, "the clip must give work to lose"

        out = folder / "killed"
        proven = attempts = grew = 0
        while proven < kills:
            attempts += 1
            assert attempts < 5 * kills, f"only {proven} of {attempts} kills met a run at work"
            victim = start(program, clip, out)
            deadline = time.monotonic() + rng.uniform(0, duration)
            at_work = False
            while time.monotonic() < deadline and victim.poll() is None:
                time.sleep(0.001)
                at_work = at_work or works(victim)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            if victim.returncode != -signal.SIGKILL or not at_work:
                continue  # it had ended, or had not begun: no proof, try again
            proven += 1  # its frames' thread ran, and its run, begun anew, was not finished
            path = out / "sightline.db"
            if not path.exists():
                continue
            database = open_database(path)
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name='detections'").fetchone():
                continue  # killed before the schema's transaction
            for frame, rows in per_frame(database).items():
                assert rows == expected_frames[frame], f"frame {frame} is not whole"
            grew += bool(per_frame(database))
            database.close()
            if rng.random() < 0.3:  # now and then from an empty database again
                for leftover in out.glob("sightline.db*"):
                    leftover.unlink()
        assert grew > 0, "no kill ever met committed rows"
        last = start(program, clip, out)
        error = last.communicate()[1]
        assert last.returncode == 0, error.decode()
        again = tables(open_database(out / "sightline.db"))
        for table in expected:
            assert again[table] == expected[table], f"table {table} differs after the re-run"
        print(f"{proven} kills in {attempts} runs, {grew} of them met committed rows; "
              f"{len(expected['detections'])} detections, {len(expected)} tables equal after the re-run")


if __name__ == "__main__":
    main()
