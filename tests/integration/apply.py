#!/usr/bin/env python3
"""Changes of a run that is under way, as its user makes them: apply, SIGHUP, retry.

Usage: apply.py SIGHTLINE

Simulated cameras without pixels; what happened is read from the database and from what the program
says, so nothing waits for a fixed time.
"""
import json
import os
import pathlib
import signal
import sys
import tempfile

from shop import Shop, check, finish, wait_for

PROGRAM = os.path.abspath(sys.argv[1])

with tempfile.TemporaryDirectory() as folder:
    shop = Shop(PROGRAM, folder)
    socket = shop.folder / "out" / "control.sock"
    shop.more_frames("gate")
    shop.more_frames("yard")
    wait_for(socket.exists, "the control socket")
    check(socket.stat().st_mode & 0o777 == 0o600, "it is its owner's alone")

    done = shop.apply()
    check(done.returncode == 0 and "nothing changes" in done.stdout, "the same configuration changes nothing")

    shop.cameras["roof"] = {"seed": 3}
    done = shop.apply("--dry-run")
    check(done.returncode == 0 and "+ camera roof" in done.stdout and "not applied" in done.stdout, "a dry run says what would change")
    done = shop.apply()
    check(done.returncode == 0 and "+ camera roof" in done.stdout and done.stdout.endswith("applied\n"), "a camera is added")
    shop.more_frames("roof")

    shop.cameras["gate"]["line"] = "middle"
    done = shop.apply("--json")
    check(done.returncode == 0 and json.loads(done.stdout)["applied"] is True, "a line is added")
    wait_for(lambda: shop.rows("SELECT 1 FROM events WHERE rule = 'middle'"), "someone crosses it")

    shop.cameras["gate"]["line"] = "far"
    shop.more = "limits: {threads: 1}"
    done = shop.apply()
    check(done.returncode == 1 and "limits.threads cannot change" in done.stderr, "what only a new run can change is refused")
    shop.more = "limitz: {}"
    done = shop.apply()
    check(done.returncode == 2 and "shop.yaml:" in done.stderr and '"limits"' in done.stderr, "a mistake is named with its line")
    shop.more = ""
    shop.cameras["yard"]["source"] = "sim://street?peple=3"
    done = shop.apply()
    check(done.returncode in (1, 2) and '"people"' in done.stderr, "a source that is none is refused")
    before = len(shop.rows("SELECT 1 FROM events WHERE rule = 'middle'"))
    wait_for(lambda: len(shop.rows("SELECT 1 FROM events WHERE rule = 'middle'")) > before, "the old line still counts")
    check(not shop.rows("SELECT 1 FROM events WHERE rule = 'far'"), "and the new one does not")

    # The file itself, read again at SIGHUP: first wrong, then right.
    shop.write()
    shop.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "is not taken, nothing has changed" in shop.log_text(), "SIGHUP with a mistake is logged")
    del shop.cameras["yard"]["source"]
    del shop.cameras["roof"]
    shop.write()
    shop.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "- camera roof" in shop.log_text(), "SIGHUP takes the file")
    wait_for(lambda: shop.rows("SELECT 1 FROM camera_states WHERE camera_id = 'roof' AND state = 'ended'"), "the camera has left")
    wait_for(lambda: shop.rows("SELECT 1 FROM events WHERE rule = 'far'"), "the new line counts")

    # A camera that nobody answers for is tried again at once when asked.
    shop.cameras["away"] = {"source": "rtsp://127.0.0.1:9/none", "model": "motion"}
    check(shop.apply().returncode == 0, "a camera that is away is added")
    wait_for(lambda: shop.rows("SELECT 1 FROM camera_states WHERE camera_id = 'away' AND state = 'backing_off'"), "it is waited for")
    check(shop.command("retry", "away").returncode == 0, "it can be tried now")
    check(shop.command("retry").returncode == 0, "so can all")
    done = shop.command("retry", "nobody")
    check(done.returncode == 1 and "nobody" in done.stderr, "a camera that is not there is named")
    shop.process.send_signal(signal.SIGUSR1)
    shop.more_frames("gate")

    # From another file, and against a run that is not there.
    del shop.cameras["away"]
    done = shop.apply("--out", "out", name="other.yaml")
    check(done.returncode == 0 and "- camera away" in done.stdout, "another file may be applied")
    done = shop.command("apply", "other.yaml", "--out", "elsewhere")
    check(done.returncode == 1 and "no run answers" in done.stderr, "that no run is there is said")

    summary = {camera["id"]: camera for camera in shop.end()["cameras"]}
    for camera in ("gate", "yard"):
        frames = shop.frames(camera)
        missing = len(set(range(frames[-1] + 1)) - set(frames))
        dropped = summary[camera]["dropped"]
        # A machine that is busy elsewhere may be late; whatever is missing was counted as that.
        check(len(frames) == len(set(frames)) and missing <= dropped.get("late", 0), f"{camera}: {missing} frames missing, {summary[camera]}")
        check(set(dropped) <= {"shutdown", "late"}, f"{camera}: no other reason")
    check(not socket.exists(), "the socket is gone")
    check("AddressSanitizer" not in shop.log_text() and "ThreadSanitizer" not in shop.log_text(), "no sanitizer spoke")

# As nohup starts a program: what it ignores stays ignored, but apply reaches it.
with tempfile.TemporaryDirectory() as folder:
    shop = Shop(PROGRAM, folder, before_run=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for((shop.folder / "out" / "control.sock").exists, "a run under nohup listens")
    shop.more_frames("gate")
    status = pathlib.Path(f"/proc/{shop.process.pid}/status").read_text()
    ignored = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), 16)
    check(ignored & 1 == 1, "SIGHUP stays ignored")
    shop.process.send_signal(signal.SIGHUP)
    shop.cameras["roof"] = {"seed": 3}
    done = shop.apply()
    check(done.returncode == 0 and "+ camera roof" in done.stdout, "apply reaches it")
    shop.more_frames("roof")
    check(not shop.end()["cameras"][0]["dropped"].get("decode_error"), "and it ends as any other")

finish()
