#!/usr/bin/env python3
"""Recordings behind http:// addresses: read once, to their last frame, the same every time.

Usage: http_recordings.py SIGHTLINE
"""
import contextlib
import http.server
import json
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures  # noqa: E402

PROGRAM = sys.argv[1]
PATIENCE_S = 120
FRAMES = 60


class TogetherOnly:
    """Holds back every answer until all of the paths were asked for: who asks one after the other waits in vain."""

    def __init__(self, paths):
        self.missing = set(paths)
        self.asked = threading.Condition()

    def wait(self, path):
        with self.asked:
            self.missing.discard(path)
            self.asked.notify_all()
            self.asked.wait_for(lambda: not self.missing, timeout=PATIENCE_S)


def serve(files, hold=None):
    """Files by their path, in parts where parts are asked for; on a port of its own choice."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = files.get(self.path)
            if body is None:
                return self.send_error(404)
            if hold is not None:
                hold.wait(self.path)
            asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            begin = int(asked[1]) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            with contextlib.suppress(OSError):  # a viewer who has seen enough
                self.wfile.write(body[begin:])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def program(*arguments, code=0):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode != code:
        check(False, f"{arguments}: exit code {done.returncode}, not {code}: {done.stderr}")
    return done


def ids(folder):
    with contextlib.closing(sqlite3.connect(folder / "sightline.db")) as database:
        return database.execute("SELECT * FROM detections ORDER BY 1").fetchall()


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        clip = folder / "clip.mp4"
        program("sim", "render", "sim://street?people=8&fps=15&size=320x180", "--for", "4s", "--out", clip)
        # The name says nothing, not even that it is a video.
        address = serve({"/recordings?id=7": clip.read_bytes()}) + "/recordings?id=7"
        runs = []
        for out in (folder / "one", folder / "two"):
            done = program("run", "--source", address, "--model", "motion", "--every", "3", "--out", out, "--json")
            camera = json.loads(done.stdout.strip().splitlines()[-1])["cameras"][0]
            check(camera["frames_in"] == FRAMES and not camera["dropped"],
                  f"it ends with its last frame, and none is dropped: {camera['frames_in']} {camera['dropped']}")
            runs.append(ids(out))
        check(runs[0] == runs[1], f"the same rows with the same ids every time ({len(runs[0])})")
        check(len(runs[0]) > 10, "and there are some")
        done = program("detect", "--model", "motion", "--json", address)
        check(len(done.stdout.splitlines()) == FRAMES, "detect reads it, too")
        explained = json.loads(program("explain", "--source", address, "--json").stdout)
        check(explained["cameras"][0]["source"]["live"] is False, "explain says that it is no live stream")
        # Servers that are slow to say what they have are asked all at once.
        paths = [f"/camera/{n}" for n in range(6)]
        address = serve({path: clip.read_bytes() for path in paths}, hold=TogetherOnly(paths))
        explained = json.loads(program("explain", *(part for path in paths for part in ("--source", address + path)),
                                       "--model", "motion", "--json").stdout)
        check(len(explained["cameras"]) == len(paths) and not any(camera["source"]["live"] for camera in explained["cameras"]),
              "many are asked at once what they have")
        # detect with live addresses: an end that was asked for, and an error when nobody is there.
        done = program("detect", "--model", "truth", "--max-frames", "5", "--json", "sim://street?people=2&fps=60")
        check(len(done.stdout.splitlines()) == 5, "detect reads a live camera up to --max-frames")
        done = program("detect", "--model", "motion", "rtsp://127.0.0.1:1/live", code=1)
        check("refused" in done.stderr, "detect says that a live camera is not there")
    if failures:
        sys.exit(f"{len(failures)} failed: {failures}")


main()
