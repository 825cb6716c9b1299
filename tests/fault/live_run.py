"""A run of live cameras under test, watched through its database while it goes on."""
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time


class LiveRun:
    """`check(good, what)` is told of every step; a step may take `patience_s`."""

    def __init__(self, program, folder, config, check, patience_s, *options):
        (folder / "live.yaml").write_text(config)
        self.check, self.patience_s = check, patience_s
        self.database = folder / "out" / "sightline.db"
        self.errors = open(folder / "errors.txt", "w+")
        self.process = subprocess.Popen([program, "run", str(folder / "live.yaml"), "--json", *options],
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def rows(self, sql, *values):
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
                return database.execute(sql, values).fetchall()
        except sqlite3.OperationalError:  # not there yet, or busy
            return []

    def states(self, camera):
        return [row[0] for row in
                self.rows("SELECT state FROM camera_states WHERE camera_id = ? ORDER BY timestamp", camera)]

    def wait_for(self, what, condition, show=lambda: ""):
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline:
            if condition():
                return self.check(True, what)
            if self.process.poll() is not None:
                self.errors.seek(0)
                sys.exit(f"{what}: the run ended with {self.process.returncode}: {self.errors.read()}")
            time.sleep(0.05)
        self.check(False, f"{what} {show()}")

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=self.patience_s)
        self.errors.seek(0)
        return self.process.returncode, json.loads(out.strip().splitlines()[-1]), self.errors.read()
