"""`sightline serve` for a test: ports that are free, its end, its words."""
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

PATIENCE_S = 60  # for each step; a loaded machine is slow
# What the models of tests/data/serving that take one element type are called by the protocol.
TYPES = {"bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
         "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
         "string": "BYTES"}


class Served:
    def __init__(self, program, *arguments, environment=None):
        self.process = subprocess.Popen(
            [*program, "serve", "--http", "0", "--grpc", "0", "--metrics", "0", *map(str, arguments)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, **(environment or {})})
        self.said = []
        self.address = {}
        self.listening, self.ready, self.over = threading.Event(), threading.Event(), threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if "serving HTTP at" in line:
                for name, address in re.findall(r"(HTTP|gRPC|metrics) at (\S+?)[,;\s]", line):
                    self.address[name] = address
                self.listening.set()
            if line.rstrip().endswith("ready"):
                self.ready.set()
        self.over.set()
        self.listening.set()
        self.ready.set()

    def wait_ready(self):
        assert self.ready.wait(PATIENCE_S) and not self.over.is_set(), self.said
        return self

    def wait_listening(self):
        assert self.listening.wait(PATIENCE_S) and self.address, self.said
        return self

    def stop(self):
        """The exit code after SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "it did not end"

    def __enter__(self):
        return self.wait_ready()

    def __exit__(self, *_):
        self.stop()

    def ask(self, path, body=None, headers=None, server="HTTP", method=None):
        """Status, headers and body, whatever the status; a body that is no bytes is sent as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address[server]}{path}", data=body, headers=headers or {},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()


def until(condition, patience_s=PATIENCE_S):
    """Whether it comes true in time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
