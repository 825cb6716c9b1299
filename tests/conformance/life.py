#!/usr/bin/env python3
"""The life of `sightline serve`: what it refuses to begin with, versions, a configuration file, its end under load.

Usage: life.py MODELS SIGHTLINE...
"""
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served, until  # noqa: E402

MODELS = pathlib.Path(sys.argv[1]).resolve()
OTHERS = MODELS.parent / "models"
PROGRAM = sys.argv[2:]
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
REQUEST = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]}]}


def refused(what, arguments, code, *words):
    ports = [word for option in ("--http", "--grpc", "--metrics") if option not in arguments for word in (option, "0")]
    done = subprocess.run([*PROGRAM, "serve", *ports, *map(str, arguments)], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    good = done.returncode == code and all(word in done.stderr for word in words)
    check(good, f"{what}: {done.stderr.strip().splitlines()[-1:]}" + ("" if good else f" exit code {done.returncode}"))


def beginnings(root):
    refused("a model that is none", ["--model", root / "none.onnx"], 1, "none.onnx")
    (root / "garbage.onnx").write_bytes(b"garbage" * 100)
    refused("a file that is no model", ["--model", root / "garbage.onnx"], 1, "garbage")
    refused("a sequence", ["--model", OTHERS / "sequence.onnx"], 1, "sequence")
    refused("two models of one name", ["--model", MODELS / "add_sub.onnx", "--model", MODELS / "add_sub.onnx"], 2, "add_sub")
    refused("nothing to serve on", ["--http", "off", "--grpc", "off"], 2)
    refused("an address that is none", ["--http", "somewhere:1"], 2, "--http")
    refused("a batch that the model cannot have", ["--config", write(root, "models:\n  - model: " + str(OTHERS / "conv.onnx") +
                                                                   "\n    max_batch: 8\n")], 1, "max_batch 8")
    refused("a key that is none", ["--config", write(root, "modles: []\n")], 2, 'unknown key "modles"', '"models"')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused("an HTTP port that is taken", ["--http", port], 1, str(port), "--http")
        refused("a gRPC port that is taken", ["--grpc", port], 1, str(port), "--grpc")


def write(root, text):
    path = root / "serve.yaml"
    path.write_text(text)
    return path


def versions(root):
    folder = root / "numbers"
    for version, model in ((1, "identity_int32"), (2, "identity_int64"), (10, "identity_int32")):
        (folder / str(version)).mkdir(parents=True)
        shutil.copy(MODELS / f"{model}.onnx", folder / str(version) / "model.onnx")
    with Served(PROGRAM, "--model", folder) as server:
        about = json.loads(server.ask("/v2/models/numbers")[2])
        check(about["versions"] == ["10"] and about["inputs"][0]["datatype"] == "INT32", "the highest version is served")
    config = write(root, "models:\n  - model: numbers/\n    versions: all\n  - model: " + str(MODELS / "add_sub.onnx") +
                   "\n    name: sums\n    instances: 1\n    max_batch: 4\n")
    with Served(PROGRAM, "--config", config) as server:
        about = json.loads(server.ask("/v2/models/numbers/versions/2")[2])
        check(about["versions"] == ["1", "2", "10"] and about["inputs"][0]["datatype"] == "INT64", "or all of them")
        shutil.rmtree(folder / "10")
        (folder / "11").mkdir()
        shutil.copy(MODELS / "identity_int32.onnx", folder / "11" / "model.onnx")
        status, _, _ = server.ask("/v2/repository/models/numbers/load", b"", method="POST")
        about = json.loads(server.ask("/v2/models/numbers")[2])
        check(status == 200 and about["versions"] == ["1", "2", "11"], "loaded anew, as the folder has them now")
        status, _, body = server.ask("/v2/models/numbers/versions/10/infer", REQUEST)
        check(status == 503, "the version that went is not there")
        config = json.loads(server.ask("/v2/models/sums/config")[2])
        check(config["max_batch_size"] == 4 and config["instance_group"][0]["count"] == 1, "settings of the file")


class Client(threading.Thread):
    """Asks on one connection until the server ends it; what it is not told well is a failure."""

    def __init__(self, address):
        super().__init__()
        self.address, self.good, self.bad = address, 0, []

    def run(self):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        body = json.dumps(REQUEST)
        while True:
            try:
                connection.request("POST", "/v2/models/identity_int32/infer", body)
            except OSError:
                return
            try:
                answer = connection.getresponse()
            except http.client.RemoteDisconnected:
                return  # between two requests: this one was not accepted
            except ConnectionResetError:
                return  # the same, where the request came after the end of the connection
            except OSError as error:
                self.bad.append(("no answer", error))
                return
            try:
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.bad.append(("cut short", error))
                return
            if answer.status != 200 or json.loads(text)["outputs"][0]["data"] != [1, 2]:
                self.bad.append((answer.status, text))
                return
            self.good += 1


def end_under_load():
    server = Served(PROGRAM, "--model", MODELS / "identity_int32.onnx").wait_ready()
    clients = [Client(server.address["HTTP"]) for _ in range(8)]
    for client in clients:
        client.start()
    check(until(lambda: min(client.good for client in clients) > 20), "eight clients are answered")
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(PATIENCE_S)
    for client in clients:
        client.join(PATIENCE_S)
    check(code == 0 and not any(client.bad for client in clients), f"SIGTERM under load: {sum(c.good for c in clients)} answers, "
                                                                   f"none bad {[c.bad for c in clients if c.bad][:1]}")


def reload_under_load(root):
    """A new version takes over from the one that it replaces, and no request fails."""
    folder = root / "reloaded" / "identity_int32"
    (folder / "1").mkdir(parents=True)
    shutil.copy(MODELS / "identity_int32.onnx", folder / "1" / "model.onnx")
    with Served(PROGRAM, "--model", folder) as server:
        clients = [Client(server.address["HTTP"]) for _ in range(8)]
        for client in clients:
            client.start()
        for version in range(2, 22):
            (folder / str(version)).mkdir()
            shutil.copy(MODELS / "identity_int32.onnx", folder / str(version) / "model.onnx")
            before = min(client.good for client in clients)
            status, _, _ = server.ask("/v2/repository/models/identity_int32/load", b"", method="POST")
            about = json.loads(server.ask("/v2/models/identity_int32")[2])
            if status != 200 or about["versions"] != [str(version)] or \
                    not until(lambda: min(client.good for client in clients) > before or any(c.bad for c in clients)):
                break
        good = sum(client.good for client in clients)
        check(version == 21 and not any(client.bad for client in clients),
              f"20 new versions while 8 clients ask: {good} answers, none bad {[c.bad for c in clients if c.bad][:1]}")
        server.stop()
        for client in clients:
            client.join(PATIENCE_S)


def documents(server):
    text = server.ask("/metrics", server="metrics")[2].decode()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    words = "".join(page.read_text() for page in (*DOCS.glob("serving*.md"), DOCS / "metrics.md"))
    check(len(names) > 10 and not [n for n in names if f"`{n}`" not in words], f"{len(names)} metrics are in the documents "
          f"{[n for n in names if f'`{n}`' not in words]}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        beginnings(root)
        versions(root)
    with Served(PROGRAM) as server:
        check(server.ask("/v2/health/ready")[0] == 200, "without models it is ready")
        documents(server)
    with Served(PROGRAM, "--model", MODELS / "add_sub.onnx") as server:
        documents(server)
    end_under_load()
    with tempfile.TemporaryDirectory() as folder:
        reload_under_load(pathlib.Path(folder))
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
