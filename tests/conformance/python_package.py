#!/usr/bin/env python3
"""The Python package of python/: installed by pip, its types, and every call against `sightline serve`.

Usage: python_package.py MODELS SIGHTLINE...
"""
import http.server
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter()

import numpy as np  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]
ROOT = pathlib.Path(__file__).resolve().parents[2]
ARRAYS = {"bool": np.array([[True, False]]), "float": np.array([[1.5, -2]], np.float32), "double": np.array([[1e300]]),
          "float16": np.array([[0.5, 65504]], np.float16), "string": np.array([[b"a\0b", "\u00e9"]], object),
          **{f"{sign}int{bits}": np.array([[0, 1, np.iinfo(f"{sign}int{bits}").max]], f"{sign}int{bits}")
             for sign in ("", "u") for bits in (8, 16, 32, 64)}}


def install(folder):
    """As `pip install ./python` does it, into a folder of this test; NumPy is there already."""
    source = folder / "source"
    shutil.copytree(ROOT / "python", source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder / "site", source],
                          capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        print(f"SKIPPED: conformance_python_package: pip install ./python: {done.stderr[-500:]}")
        sys.exit(77)
    sys.path.insert(0, str(folder / "site"))
    check((folder / "site" / "sightline" / "py.typed").exists(), "installed, with its types")
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", folder / "mypy", folder / "source" / "sightline"],
                          capture_output=True, text=True, timeout=600)
    check(done.returncode == 0, f"mypy --strict: {done.stdout.strip()[-300:]}")


def raised(kind, action, *words):
    try:
        action()
    except kind as error:
        good = all(word in str(error) for word in words)
        return error if good else print(f"    said: {error}")
    return None


def tensors(server):
    from sightline import Client, NotFound, Refused, Busy
    with Client(f"http://{server.address['HTTP']}") as client:
        check(client.live() and client.ready() and client.ready("add_sub") and not client.ready("nothing"), "live, ready")
        check(("add_sub", "1", "READY", "") in [(m.name, m.version, m.state, m.reason) for m in client.models()], "models()")
        about = client.metadata("add_sub")
        check(about.name == "add_sub" and [t.name for t in about.inputs] == ["INPUT0", "INPUT1"] and about.inputs[0].shape == [-1, 16],
              "metadata()")
        a, b = np.arange(32, dtype=np.float32).reshape(2, 16), np.ones((2, 16), np.float32)
        got = client.infer("add_sub", {"INPUT0": a, "INPUT1": b})
        check(set(got) == {"OUTPUT0", "OUTPUT1"} and np.array_equal(got["OUTPUT0"], a + b), "infer()")
        got = client.infer("add_sub", {"INPUT0": a, "INPUT1": b}, outputs=["OUTPUT1"], version="1", request_id="x",
                           parameters={"priority": 1})
        check(set(got) == {"OUTPUT1"} and np.array_equal(got["OUTPUT1"], a - b), "one output, a version, a priority")
        got = client.infer("add_sub", {"INPUT0": a[:, ::-1], "INPUT1": b.astype(">f4")})
        check(np.array_equal(got["OUTPUT0"], a[:, ::-1] + b), "arrays that do not lie in order, and big-endian ones")
        for name, array in ARRAYS.items():
            got = client.infer("identity_" + name, {"x": array})["y"]
            if name == "string":
                check(got.ravel().tolist() == [b"a\0b", "\u00e9".encode()], "strings go, bytes come")
            else:
                check(got.dtype == array.dtype and np.array_equal(got, array), name)
        error = raised(NotFound, lambda: client.infer("nothing", {"x": a}), "nothing")
        check(error is not None and error.status == 404, f"no such model: {error}")
        error = raised(Refused, lambda: client.infer("add_sub", {"INPUT0": a}), "INPUT1")
        check(error is not None and error.status == 400, f"a wrong request: {error}")
        check(raised(ValueError, lambda: client.infer("add_sub", {"INPUT0": a.astype(np.complex64)})) is not None,
              "a type that the protocol does not have")
        client.unload("add_sub")
        hasty = Client(f"http://{server.address['HTTP']}", retries=0)
        error = raised(Busy, lambda: hasty.infer("add_sub", {"INPUT0": a, "INPUT1": b}))
        check(error is not None and error.status == 503 and error.retry_after_s is not None, f"not loaded: {error}")
        client.load("add_sub")
        check(np.array_equal(client.infer("add_sub", {"INPUT0": a, "INPUT1": b})["OUTPUT0"], a + b), "loaded again")
        good = []

        def many():
            good.append(all(np.array_equal(client.infer("identity_int32", {"x": np.full((1, 3), i, np.int32)})["y"],
                                           np.full((1, 3), i, np.int32)) for i in range(50)))

        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(good == [True] * 8, "one client, eight threads")


class Moody(http.server.BaseHTTPRequestHandler):
    """Refuses as often as it is told to, and remembers who asked."""
    protocol_version = "HTTP/1.1"
    refusals, retry_after, status, asked = 0, "0", 503, []
    drop_after = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Moody.asked.append(self.headers.get("Authorization"))
        refuse = Moody.refusals > 0
        Moody.refusals -= 1
        body = b'{"error": "come again"}' if refuse else b"[]"
        self.send_response(Moody.status if refuse else 200)
        self.send_header("Content-Length", str(len(body)))
        if refuse and Moody.retry_after is not None:
            self.send_header("Retry-After", Moody.retry_after)
        self.end_headers()
        self.wfile.write(body)
        if Moody.drop_after:
            self.close_connection = True  # without having said so

    def log_message(self, *_):
        pass


def refusals():
    from sightline import Busy, Client, ConnectionFailed
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Client(f"http://127.0.0.1:{server.server_port}", key="abc", retries=3, longest_wait_s=1)
    for status in (429, 503):
        Moody.status, Moody.refusals, Moody.retry_after, Moody.asked = status, 3, "0", []
        check(client.models() == [] and len(Moody.asked) == 4, f"{status} is asked again, three times at most")
        Moody.refusals, Moody.asked = 9, []
        error = raised(Busy, client.models, "come again")
        check(error is not None and error.status == status and len(Moody.asked) == 4, "and then told")
        Moody.refusals, Moody.retry_after, Moody.asked = 9, "3600", []
        error = raised(Busy, client.models)
        check(error is not None and error.retry_after_s == 3600 and len(Moody.asked) == 1, "a long Retry-After is told at once")
    Moody.refusals, Moody.retry_after, Moody.asked = 1, None, []
    check(client.models() == [] and len(Moody.asked) == 2, "without Retry-After it waits by itself")
    check(Moody.asked == ["Bearer abc"] * 2, "the key goes along")
    Moody.refusals, Moody.status, Moody.asked = 1, 500, []
    check(raised(Exception, client.models) is not None and len(Moody.asked) == 1, "a failure is not asked again")
    Moody.refusals, Moody.drop_after = 0, 1
    check(client.models() == [] and client.models() == [], "a connection that was closed meanwhile is made anew")
    server.shutdown()
    server.server_close()
    client.close()
    check(raised(ConnectionFailed, client.models, "127.0.0.1") is not None and not client.live(), "nobody listens")


def pictures(server, picture):
    from sightline import Client, NotFound, Refused
    with Client(f"http://{server.address['HTTP']}") as client:
        answer = client.detect("street", picture)
        check(answer.width > 0 and answer.version == "1" and len(answer.detections) > 0 and
              {"class", "class_id", "confidence", "box_xyxy_px"} <= set(answer.detections[0]),
              f"detect(): {len(answer.detections)} objects")
        sure = answer.detections[0]["confidence"]
        some = client.detect("street", picture.read_bytes(), confidence=sure - 0.001, max_results=1, version="1")
        check(len(some.detections) == 1 and some.detections[0]["confidence"] == sure, "bytes, a confidence, the best one, a version")
        check(client.detect("street", picture, classes=["car"]).detections ==
              [d for d in answer.detections if d["class"] == "car"], "a class alone")
        drawn = client.drawn("detect", "street", picture)
        check(drawn[:2] == b"\xff\xd8" and drawn != picture.read_bytes(), "drawn()")
        error = raised(Refused, lambda: client.detect("street", b"no picture"))
        check(error is not None and error.status in (400, 415), f"no picture: {error}")
        check(raised(Refused, lambda: client.classify("street", picture), "detect") is not None, "a task that it does not do")
        check(raised(NotFound, lambda: client.detect("nothing", picture), "nothing") is not None, "no such model")


def main():
    with tempfile.TemporaryDirectory() as folder:
        install(pathlib.Path(folder))
        refusals()
        models = [word for name in ("add_sub", *("identity_" + name for name in ARRAYS)) for word in ("--model", MODELS / f"{name}.onnx")]
        with Served(PROGRAM, *models) as server:
            tensors(server)
        subprocess.run([sys.executable, ROOT / "tests" / "integration" / "street_pictures.py", PROGRAM[0], f"{folder}/street", "1"],
                       check=True, capture_output=True, timeout=600)
        picture = pathlib.Path(folder) / "people.jpg"
        subprocess.run(["ffmpeg", "-v", "error", "-i", sorted(pathlib.Path(folder).glob("street/**/*.png"))[0], "-q:v", "2", picture], check=True)
        with Served(PROGRAM, "--model", "street") as server:
            pictures(server, picture)
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
