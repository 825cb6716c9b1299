#!/usr/bin/env python3
"""Live cameras by real RTSP servers that are stopped, killed, changed and replaced by garbage.

Usage: live_cameras.py SIGHTLINE RTSP_SERVER

One camera suffers, another beside it loses nothing; a third has a wrong password and is left in peace.
What happened is read from the database while the run goes on, so nothing waits for a fixed time.
"""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from checks import check, failures  # noqa: E402
from live_run import LiveRun  # noqa: E402

PROGRAM, SERVER = sys.argv[1:3]
PATIENCE_S = 60  # for each step; a loaded machine is slow


class Camera:
    """An RTSP server; it ends with its standard input."""

    def __init__(self, *options, port=0):
        self.process = subprocess.Popen([SERVER, "--gop", "10", "--port", str(port), *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("PORT "):
            self.process.kill()
            print("skipped: the RTSP server does not start here; GStreamer's plugins may be missing")
            sys.exit(77)
        self.port = int(line.split()[1])

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Garbage:
    """Answers every request on a port with bytes that mean nothing."""

    def __init__(self, port):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen()
        self.served = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.recv(100)
                client.sendall(os.urandom(5000))
                self.served.set()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Run(LiveRun):
    def __init__(self, folder, config):
        super().__init__(PROGRAM, folder, config, check, PATIENCE_S)

    def wait_for(self, what, condition):
        super().wait_for(what, condition, lambda: f"; states of gate: {self.states('gate')}")

    def wait_for_states(self, what, camera, *wanted):
        """Until the camera's states, from the start, are these."""
        self.wait_for(what, lambda: self.states(camera)[:len(wanted)] == list(wanted))


def main():
    password = "c0rrect-h0rse"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        gate = Camera("--auth", "digest", "--user", "viewer", "--password", password)
        yard = Camera("--size", "160x120")
        stack.callback(lambda: (gate.kill(), yard.kill()))
        run = Run(folder, f"""
cameras:
  - {{id: gate, source: "rtsp://viewer:{password}@127.0.0.1:{gate.port}/live", model: motion, live: {{frozen_after: 0s}},
     coordinates: fraction, lines: [{{name: middle, from: [0.5, 1], to: [0.5, 0]}}]}}
  - {{id: yard, source: "rtsp://127.0.0.1:{yard.port}/live", model: motion, live: {{frozen_after: 0s}}}}
  - {{id: locked, source: "rtsp://viewer:wr0ng-w0rd@127.0.0.1:{gate.port}/live", model: motion}}
outputs: {{dir: out, video: {{enabled: false}}, report: {{enabled: false}}}}
""")
        stack.callback(lambda: run.process.poll() is None and run.process.kill())
        seen = ["connecting", "live"]
        run.wait_for_states("two cameras are live", "gate", *seen)
        run.wait_for_states("the other too", "yard", "connecting", "live")
        run.wait_for_states("a wrong password is said so", "locked", "connecting", "backing_off")

        gate.signal(signal.SIGSTOP)  # the connection stays, nothing comes: half-open
        seen += ["stalled", "backing_off"]
        run.wait_for_states("a camera that hangs is stalled", "gate", *seen)
        gate.signal(signal.SIGCONT)
        seen += ["live"]
        run.wait_for_states("it comes back", "gate", *seen)

        port = gate.port
        gate.kill()
        seen += ["backing_off"]
        run.wait_for_states("a camera that is killed is gone", "gate", *seen)
        garbage = Garbage(port)
        check(garbage.served.wait(PATIENCE_S), "garbage in its place is read and survived")
        garbage.close()
        gate = Camera("--codec", "mjpeg", "--size", "480x272", "--fps", "15", port=port)
        run.wait_for("it is live again with another codec and size", lambda: run.states("gate")[-1:] == ["live"])
        run.wait_for("frames of the new size are processed",
                     lambda: run.rows("SELECT count(*) FROM frames WHERE camera_id = 'gate' AND width = 480") > [(5,)])

        code, summary, errors = run.finish()
        check(code == 0, f"the run ends well when it is asked to (exit code {code})")
        check(password not in errors and "wr0ng-w0rd" not in errors, "no password in the messages")
        for camera in summary["cameras"]:
            lost = camera["frames_in"] - camera["processed"] - sum(camera["skipped"].values()) - sum(camera["dropped"].values())
            check(lost == 0, f"camera {camera['id']}: every frame is accounted for: {camera['dropped']}")
        check(run.states("yard") == ["connecting", "live"], "the camera beside it noticed nothing")
        damaged = [camera["dropped"].get("decode_error", 0) for camera in summary["cameras"] if camera["id"] == "yard"]
        check(damaged == [0], "and lost nothing of its stream")
        check(run.states("locked").count("connecting") == 1, "the camera that refuses was not hammered")
        gaps = run.rows("SELECT count(*), count(nullif(last_reason, '')) FROM camera_gaps WHERE camera_id = 'gate'")
        check(gaps == [(2, 2)], f"two gaps, each with its reason: {gaps}")
        epochs = run.rows("SELECT count(DISTINCT epoch) FROM frames WHERE camera_id = 'gate'")
        check(epochs == [(3,)], f"every connection is an epoch of its own: {epochs}")
        order = run.rows("SELECT frame, timestamp, epoch FROM frames WHERE camera_id = 'gate' ORDER BY frame")
        check(order == sorted(order, key=lambda row: row[1]) == sorted(order, key=lambda row: row[2]),
              "ordinals, capture times and epochs rise together")
    if failures:
        sys.exit(f"{len(failures)} failed: {failures}")


main()
