#!/usr/bin/env python3
"""Pictures in, answers out: the /v1 routes of `sightline serve` as curl, browsers and programs ask them, and the model
NAME_pictures by tritonclient; all equal to what `sightline detect` finds in the same pictures.

Usage: v1_pictures.py MODELS SIGHTLINE...
"""
import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter()

import numpy as np  # noqa: E402
import tritonclient.grpc as grpcclient  # noqa: E402
import tritonclient.http as httpclient  # noqa: E402
from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served, until  # noqa: E402

MODELS = pathlib.Path(sys.argv[1]).resolve()
BLOBS = MODELS.parent / "models" / "blobs_yolox.onnx"  # a detector of coloured blobs, of tests/data
PROGRAM = sys.argv[2:]
IMAGES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "images"
PICTURES = [IMAGES / name for name in ("444.jpg", "420.jpg", "turn6.jpg", "gray.jpg")]
PICTURES += sorted(IMAGES.glob("*.png"))[:2] + sorted(IMAGES.glob("*.webp"))[:2]
ROUTE = "/v1/detect/blobs"
TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def detected():
    """By picture: what `sightline detect` says of it."""
    done = subprocess.run([*PROGRAM, "detect", "--model", str(BLOBS), "--json", *map(str, PICTURES)], capture_output=True,
                          text=True, timeout=PATIENCE_S, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {pathlib.Path(line["input"]).name: line for line in lines}


def same(answer, line):
    return all(answer.get(key) == line[key] for key in ("width", "height", "detections"))


def form(files, fields=()):
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields]
    for name, content in files:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n'
                     "Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def bodies(server, lines):
    for path in PICTURES:
        status, _, body = server.ask(ROUTE, path.read_bytes(), {"Content-Type": TYPES[path.suffix]})
        check(status == 200 and same(json.loads(body), lines[path.name]), f"{path.name} as it is: as detect has it")
    files = [(path.name, path.read_bytes()) for path in PICTURES]
    body, headers = form(files)
    status, _, answer = server.ask(ROUTE, body, headers)
    results = json.loads(answer).get("results", [])
    good = status == 200 and len(results) == len(PICTURES)
    good = good and all(one["name"] == path.name and same(one, lines[path.name]) for one, path in zip(results, PICTURES))
    check(good, "a form of several files: as detect has them")
    encoded = [base64.b64encode(content).decode() for _, content in files]
    status, _, answer = server.ask(ROUTE, {"images": encoded}, {"Content-Type": "application/json"})
    results = json.loads(answer).get("results", [])
    check(status == 200 and all(same(one, lines[path.name]) for one, path in zip(results, PICTURES)), "base64 in JSON")
    status, _, answer = server.ask(ROUTE, {"image": encoded[0]}, {"Content-Type": "application/json"})
    check(status == 200 and same(json.loads(answer), lines[PICTURES[0].name]), "one in JSON is answered as one")


def by_curl(server, lines):
    if shutil.which("curl") is None:
        print("SKIPPED: there is no curl")
        return
    address = f"http://{server.address['HTTP']}{ROUTE}"
    path = PICTURES[0]
    plain = subprocess.run(["curl", "-sS", "--data-binary", f"@{path}", address], capture_output=True, timeout=PATIENCE_S)
    check(plain.returncode == 0 and same(json.loads(plain.stdout), lines[path.name]), "curl --data-binary")
    sent = subprocess.run(["curl", "-sS", "-F", f"a=@{path}", "-F", f"b=@{PICTURES[1]}", address], capture_output=True,
                          timeout=PATIENCE_S)
    results = json.loads(sent.stdout)["results"]
    check([one["name"] for one in results] == [path.name, PICTURES[1].name] and same(results[1], lines[PICTURES[1].name]),
          "curl -F, two files")
    drawn = subprocess.run(["curl", "-sS", "-H", "Accept: image/jpeg", "--data-binary", f"@{path}", address],
                           capture_output=True, timeout=PATIENCE_S)
    check(drawn.stdout.startswith(b"\xff\xd8\xff") and drawn.stdout.rstrip().endswith(b"\xff\xd9"), "curl, drawn")


def wishes(server, lines):
    path = PICTURES[0]
    content, line = path.read_bytes(), lines[path.name]
    few = sorted((d["confidence"] for d in line["detections"]), reverse=True)
    status, _, body = server.ask(f"{ROUTE}?max=1", content)
    check(status == 200 and json.loads(body)["detections"] == line["detections"][:1], "max=1")
    status, _, body = server.ask(f"{ROUTE}?confidence={few[0]}", content)
    check(status == 200 and all(d["confidence"] >= few[0] for d in json.loads(body)["detections"]), "confidence")
    name = line["detections"][0]["class"]
    status, _, body = server.ask(f"{ROUTE}?classes={name}", content)
    check(status == 200 and json.loads(body)["detections"] == [d for d in line["detections"] if d["class"] == name], "classes")


def errors(server):
    jpeg = PICTURES[0].read_bytes()
    for what, path, body, headers, expected, words in [
            ("text", ROUTE, b"no picture at all", {}, 415, "JPEG, PNG and WebP"),
            ("GIF", ROUTE, b"GIF89a" + bytes(100), {"Content-Type": "image/gif"}, 415, "JPEG"),
            ("nothing", ROUTE, b"", {}, 400, "empty"),
            ("a cut picture", ROUTE, jpeg[:-50], {}, 400, "truncated"),
            ("garbage behind the magic", ROUTE, jpeg[:3] + bytes(500), {}, 400, ""),
            ("no such model", "/v1/detect/none", jpeg, {}, 404, "none"),
            ("no such version", ROUTE + "/versions/7", jpeg, {}, 404, "7"),
            ("another task", "/v1/classify/blobs", jpeg, {}, 400, "POST /v1/detect/blobs"),
            ("a model that is none for pictures", "/v1/detect/add_sub", jpeg, {}, 400, "add_sub"),
            ("a wish that is none", ROUTE + "?confidence=7", jpeg, {}, 400, "confidence"),
            ("a form without a boundary", ROUTE, jpeg, {"Content-Type": "multipart/form-data"}, 400, "boundary"),
            ("JSON that is none", ROUTE, b"{", {"Content-Type": "application/json"}, 400, "JSON"),
            ("the wrong method", ROUTE, None, {}, 405, "")]:
        status, _, answer = server.ask(path, body, headers, method="POST" if body == b"" else None)
        good = status == expected and words in json.loads(answer).get("error", "")
        check(good, f"{what}: {expected}" + ("" if good else f", not {status} {answer[:300]}"))
    # The width of a PNG's header: 5000. Its pixels are never looked at.
    png = bytearray(next(IMAGES.glob("*.png")).read_bytes())
    png[16:20] = (5000).to_bytes(4, "big")
    status, _, answer = server.ask(ROUTE, bytes(png))
    check(status == 400, f"a header of 5000 pixels: {answer[:200]}")
    body, headers = form([("a.jpg", jpeg), ("b.txt", b"text"), ("c.jpg", jpeg[:200])])
    status, _, answer = server.ask(ROUTE, body, headers)
    results = json.loads(answer)["results"]
    check(status == 200 and "detections" in results[0] and [one.get("status") for one in results[1:]] == [415, 400],
          "each of several pictures has its own error")


def ensemble(server, lines):
    contents = [path.read_bytes() for path in PICTURES]
    lists = [lines[path.name]["detections"] for path in PICTURES]
    most = max(map(len, lists))
    for name, module, address in [("HTTP", httpclient, server.address["HTTP"]), ("gRPC", grpcclient, server.address["gRPC"])]:
        client = module.InferenceServerClient(address)
        image = module.InferInput("image", [len(contents), 1], "BYTES")
        image.set_data_from_numpy(np.array(contents, dtype=object).reshape(-1, 1))
        result = client.infer("blobs_pictures", [image])
        counts = result.as_numpy("num_detections")
        boxes, scores, classes = (result.as_numpy(f"detection_{what}") for what in ("boxes", "scores", "classes"))
        check(counts.shape == (len(contents), 1) and counts.flatten().tolist() == list(map(len, lists)), f"{name}: counts")
        check(boxes.shape == (len(contents), most, 4) and scores.shape == classes.shape == (len(contents), most), f"{name}: shapes")
        good = all(np.array_equal(boxes[i, :len(one)], np.array([d["box_xyxy_px"] for d in one], np.float32).reshape(-1, 4))
                   and np.array_equal(scores[i, :len(one)], np.array([d["confidence"] for d in one], np.float32))
                   and classes[i, :len(one)].tolist() == [d["class_id"] for d in one] and (classes[i, len(one):] == -1).all()
                   for i, one in enumerate(lists))
        check(good, f"{name}: boxes, scores and classes are those of detect")
        answers = [json.loads(text) for text in result.as_numpy("json").flatten()]
        check(all(same(one, lines[path.name]) for one, path in zip(answers, PICTURES)), f"{name}: json")
        asked = module.InferRequestedOutput("num_detections")
        check(client.infer("blobs_pictures", [image], outputs=[asked]).as_numpy("json") is None, f"{name}: only what is asked for")
        metadata = client.get_model_metadata("blobs_pictures")
        metadata = metadata if isinstance(metadata, dict) else {"platform": metadata.platform, "inputs": [
            {"name": one.name, "datatype": one.datatype} for one in metadata.inputs]}
        check(metadata["platform"] == "ensemble" and metadata["inputs"][0]["name"] == "image", f"{name}: metadata")
        config = client.get_model_config("blobs_pictures") if name == "HTTP" else client.get_model_config("blobs_pictures", as_json=True)["config"]
        check(config["ensemble_scheduling"]["step"][0]["model_name"] == "blobs", f"{name}: configuration")
        index = client.get_model_repository_index() if name == "HTTP" else client.get_model_repository_index(as_json=True)["models"]
        check("blobs_pictures" in [one["name"] for one in index], f"{name}: the index has it")
        check(client.is_model_ready("blobs_pictures"), f"{name}: ready")
        wrong = module.InferInput("image", [1, 1], "BYTES")
        wrong.set_data_from_numpy(np.array([b"no picture"], dtype=object).reshape(-1, 1))
        try:
            client.infer("blobs_pictures", [wrong])
            check(False, f"{name}: what is no picture is refused")
        except Exception as error:  # tritonclient's own of either protocol
            check("JPEG" in str(error), f"{name}: what is no picture is refused: {error}")


def changes(server):
    """Loading anew and unloading while pictures come: nothing but answers, and 503 once it is unloaded."""
    jpeg, seen, stop = PICTURES[0].read_bytes(), [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append(server.ask(ROUTE, jpeg)[0])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(seen)
            status, _, answer = server.ask("/v2/repository/models/blobs/load", b"")
            check(status == 200, f"loaded anew: {answer}")
            check(until(lambda: len(seen) > before + 5), "pictures are answered on")
        good = set(seen) == {200}
        check(good, "a new version takes over without a failed request" + ("" if good else f": {set(seen)}"))
        check(server.ask("/v2/repository/models/blobs/unload", b"")[0] == 200, "unloaded")
        check(until(lambda: seen[-1] == 503), "then 503")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    check(set(seen) == {200, 503}, f"nothing else: {set(seen)}")
    check(server.ask("/v2/repository/models/blobs/load", b"")[0] == 200 and server.ask(ROUTE, jpeg)[0] == 200, "and back")


def document(server):
    status, headers, body = server.ask("/openapi.json")
    spec = json.loads(body)
    check(status == 200 and headers["Content-Type"] == "application/json" and spec["openapi"].startswith("3.1"), "OpenAPI 3.1")
    try:
        from openapi_spec_validator import OpenAPIV31SpecValidator
        mistakes = [error.message for error in OpenAPIV31SpecValidator(spec).iter_errors()]
        check(not mistakes, f"the document is valid: {mistakes[:3]}")
    except ImportError:
        print("SKIPPED: openapi-spec-validator is not installed")
    operations = {(method, path) for path, item in spec["paths"].items() for method in item}
    for one in [("post", "/v1/detect/{model}"), ("post", "/v1/embed/{model}/versions/{version}"), ("get", "/v2"),
                ("post", "/v2/models/{model}/infer"), ("get", "/openapi.json")]:
        check(one in operations, f"{one[0]} {one[1]} is in it")
    silent = [path for path, item in spec["paths"].items() for operation in item.values() if not operation.get("summary")]
    check(not silent, f"every route says what it is for: {silent}")
    # What stands in the document is there: no method of it is refused as one that the path does not have.
    gone = []
    for method, path in operations:
        if any("text/event-stream" in answer.get("content", {}) for answer in spec["paths"][path][method]["responses"].values()):
            continue  # has no end
        for name in ("model", "version", "region"):
            path = path.replace("{" + name + "}", "1")
        if server.ask(path, b"" if method == "post" else None, method=method.upper())[0] == 405:
            gone.append((method, path))
    check(not gone, f"every route of it is answered: {gone}")


def main():
    lines = detected()
    check(sum(len(line["detections"]) for line in lines.values()) > 0, "there is something to find")
    with tempfile.TemporaryDirectory() as cache:
        with Served(PROGRAM, "--model", f"blobs={BLOBS}", "--model", MODELS / "add_sub.onnx",
                    environment={"XDG_CACHE_HOME": cache}) as server:
            bodies(server, lines)
            by_curl(server, lines)
            wishes(server, lines)
            errors(server)
            ensemble(server, lines)
            document(server)
            changes(server)
            check(server.stop() == 0, "it ends")


main()
sys.exit(exit_code())
