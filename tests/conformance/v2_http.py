#!/usr/bin/env python3
"""The Open Inference Protocol over HTTP, by a real client and by hand: every request, and every error.

Usage: v2_http.py MODELS SIGHTLINE...
"""
import asyncio
import gzip
import json
import pathlib
import struct
import sys
import tempfile
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter()

import numpy as np  # noqa: E402
import tritonclient.http as http  # noqa: E402
import tritonclient.http.aio as http_aio  # noqa: E402
from tritonclient.utils import InferenceServerException, shared_memory as shm  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import TYPES, Served, until  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]


def sample(name):
    if name == "string":
        return np.array([["a", "", "\u00e9t\u00e9"], ["x" * 300, "0", "\x00\n\""]], dtype=np.object_)
    kind = np.dtype({"float": "float32", "double": "float64"}.get(name, name))
    if kind == np.bool_:
        return np.array([[True, False, True]])
    if kind.kind == "f":
        return np.array([[0, -1.5, 3.25], [65504, 1e-4, 2]], dtype=kind)
    limits = np.iinfo(kind)
    return np.array([[limits.min, 0, limits.max], [1, 2, 3]], dtype=kind)


def tensor(name, array, datatype, binary):
    given = http.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def same(got, expected):
    if expected.dtype == np.object_:
        return [[t if isinstance(t, str) else t.decode() for t in row] for row in got] == expected.tolist()
    return got.dtype == expected.dtype and np.array_equal(got, expected)


def refused(action, *words):
    try:
        action()
    except InferenceServerException as error:
        return all(word in str(error) for word in words) or print("    said:", error)
    return False


def types(server, client):
    for name, datatype in TYPES.items():
        array = sample(name)
        for binary_in in (True, False):
            for binary_out in (True, False):
                if name == "float16" and not (binary_in and binary_out):
                    continue
                result = client.infer("identity_" + name, [tensor("x", array, datatype, binary_in)],
                                      outputs=[http.InferRequestedOutput("y", binary_data=binary_out)])
                check(same(result.as_numpy("y"), array), f"{datatype}: in {'binary' if binary_in else 'JSON'}, out "
                                                         f"{'binary' if binary_out else 'JSON'}")
    half = tensor("x", sample("float16"), "FP16", True)
    wanted = [http.InferRequestedOutput("y", binary_data=False)]
    check(refused(lambda: client.infer("identity_float16", [half], outputs=wanted), "FP16", "binary"),
          "FP16 does not come as JSON")
    body = {"inputs": [{"name": "x", "datatype": "FP16", "shape": [1, 1], "data": [1]}]}
    status, _, said = server.ask("/v2/models/identity_float16/infer", body)
    check(status == 400 and b"FP16" in said, "nor does it go as JSON")
    # BF16 has no type in numpy.
    raw = struct.pack("<3H", 0x3F80, 0xBF80, 0)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "BF16", "shape": [1, 3], "parameters": {"binary_data_size": 6}}],
                       "parameters": {"binary_data_output": True}}).encode()
    status, headers, answer = server.ask("/v2/models/identity_bfloat16/infer", body + raw,
                                         {"Inference-Header-Content-Length": str(len(body))})
    head = int(headers.get("Inference-Header-Content-Length", 0))
    check(status == 200 and answer[head:] == raw, "BF16: in binary, out binary")


def metadata(server, client):
    check(client.is_server_live() and client.is_server_ready(), "live and ready")
    about = client.get_server_metadata()
    wanted = {"classification", "model_repository", "schedule_policy", "model_configuration", "system_shared_memory",
              "binary_tensor_data", "statistics", "trace", "logging"}
    check(about["name"] == "sightline" and wanted <= set(about["extensions"]), "server metadata")
    about = client.get_model_metadata("add_sub")
    check(about == {"name": "add_sub", "versions": ["1"], "platform": "onnxruntime_onnx",
                    "inputs": [{"name": f"INPUT{i}", "datatype": "FP32", "shape": [-1, 16]} for i in (0, 1)],
                    "outputs": [{"name": f"OUTPUT{i}", "datatype": "FP32", "shape": [-1, 16]} for i in (0, 1)]},
          "model metadata")
    check(client.get_model_metadata("add_sub", "1") == about, "the same by version")
    config = client.get_model_config("add_sub")
    check(config["max_batch_size"] == 32 and config["input"][0]["dims"] == [16] and "dynamic_batching" in config and
          config["input"][0]["data_type"] == "TYPE_FP32", "configuration of a model whose rows are independent")
    config = client.get_model_config("rows_mixed", "1")
    check(config["max_batch_size"] == 0 and config["input"][0]["dims"] == [-1, 4] and "dynamic_batching" not in config,
          "configuration of one whose rows are not")
    check(client.is_model_ready("add_sub") and client.is_model_ready("add_sub", "1"), "a model is ready")
    check(not client.is_model_ready("add_sub", "7") and not client.is_model_ready("nothing"), "others are not")
    for path in ("/v2/models/nothing", "/v2/models/nothing/config", "/v2/models/nothing/stats", "/v2/models/add_sub/versions/7",
                 "/v2/models/nothing/versions/1/config", "/v2/nothing", "/"):
        status, headers, body = server.ask(path)
        check(status == 404 and list(json.loads(body)) == ["error"], f"404 with an error: {path}")
    status, _, body = server.ask("/v2/models/add_sub/versions/one")
    check(status == 400 and b"version" in body, "a version that is no number")
    status, headers, _ = server.ask("/v2/models/add_sub/infer", method="GET")
    check(status == 405 and headers.get("Allow") == "POST", "GET of infer")


def inference(server, client):
    a = np.arange(32, dtype=np.float32).reshape(2, 16)
    b = np.full((2, 16), 3, dtype=np.float32)
    inputs = [tensor("INPUT0", a, "FP32", True), tensor("INPUT1", b, "FP32", False)]
    result = client.infer("add_sub", inputs, request_id="a \"name\" \u00e9")
    answer = result.get_response()
    check(same(result.as_numpy("OUTPUT0"), a + b) and same(result.as_numpy("OUTPUT1"), a - b), "binary and JSON in one request")
    check(answer["id"] == "a \"name\" \u00e9" and answer["model_version"] == "1", "the id comes back, with the version")
    result = client.infer("add_sub", inputs, model_version="1", outputs=[http.InferRequestedOutput("OUTPUT1")])
    check(result.as_numpy("OUTPUT0") is None and same(result.as_numpy("OUTPUT1"), a - b), "one output alone")
    for packing in ("gzip", "deflate"):
        result = client.infer("add_sub", inputs, request_compression_algorithm=packing, response_compression_algorithm=packing)
        check(same(result.as_numpy("OUTPUT0"), a + b), f"{packing} both ways")
    wide = np.zeros((40, 100), np.float32)
    result = client.infer("identity_float", [tensor("x", wide, "FP32", True)], response_compression_algorithm="gzip")
    check(same(result.as_numpy("y"), wide), "a large answer by gzip")
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [40, 100], "data": [0] * 4000}]}).encode()
    status, headers, answer = server.ask("/v2/models/identity_float/infer", body, {"Accept-Encoding": "gzip"})
    check(headers.get("Content-Encoding") == "gzip" and len(json.loads(gzip.decompress(answer))["outputs"][0]["data"]) == 4000,
          "it is packed")
    result = client.infer("add_sub", inputs, priority=1, timeout=10_000_000, parameters={"custom": "x", "other": 1})
    check(same(result.as_numpy("OUTPUT0"), a + b), "priority, timeout and parameters of one's own")
    result = client.infer("add_sub", inputs, outputs=[http.InferRequestedOutput("OUTPUT0", class_count=3, binary_data=False)])
    check(result.as_numpy("OUTPUT0").tolist() == [["18.000000:15", "17.000000:14", "16.000000:13"],
                                                  ["34.000000:15", "33.000000:14", "32.000000:13"]], "classification")
    nested = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}
    status, _, answer = server.ask("/v2/models/identity_int32/infer", nested)
    check(status == 200 and json.loads(answer)["outputs"] ==
          [{"name": "y", "datatype": "INT32", "shape": [2, 2], "data": [1, 2, 3, 4]}], "nested lists")
    special = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}]}
    head = json.dumps(special).encode()
    status, _, answer = server.ask("/v2/models/identity_float/infer", head + struct.pack("<2f", float("nan"), float("-inf")),
                                   {"Inference-Header-Content-Length": str(len(head))})
    check(status == 200 and answer.decode().endswith('"data":[NaN,-Infinity]}]}'), "NaN and infinity as Python reads them")
    x = np.array([1, 3], np.int64)
    result = client.infer("lookup", [tensor("index", x, "INT64", True)])
    check(result.as_numpy("row").tolist() == [[10, 11], [30, 31]], "a model of indices")
    status, _, answer = server.ask("/v2/models/lookup/infer", {"inputs": [
        {"name": "index", "datatype": "INT64", "shape": [1], "data": [9]}]})
    check(status == 500 and b"ONNX Runtime failed" in answer, "an index beyond the table fails in the model")
    jobs = [client.async_infer("lookup", [tensor("index", np.array([i % 5], np.int64), "INT64", True)]) for i in range(50)]
    good = 0
    for i, job in enumerate(jobs):
        if i % 5 == 4:
            good += refused(job.get_result)
        else:
            good += job.get_result().as_numpy("row")[0][0] == 10 * (i % 5)
    check(good == 50, "in batches, too: who asks for that spoils no other's answer")


GOOD = {"name": "x", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]}


def bad_requests(server):
    path = "/v2/models/identity_int32/infer"

    def bad(what, body, *words, status=400, headers=None, where=path):
        got, head, answer = server.ask(where, body, headers)
        try:
            error = json.loads(answer)["error"]
        except (ValueError, KeyError):
            error = repr(answer[:200])
        good = got == status and all(word in error for word in words) and head["Content-Type"] == "application/json"
        check(good, f"{what}: {error}" if good else f"{what}: {got} {error}")

    def with_input(**changes):
        return {"inputs": [{key: value for key, value in {**GOOD, **changes}.items() if value is not None}]}

    bad("no body", b"", "no JSON")
    bad("no JSON", b"hello")
    bad("cut JSON", b'{"inputs": [')
    bad("a list", b"[]", "object")
    bad("no inputs", {}, "inputs")
    bad("inputs that are none", {"inputs": 3}, "list")
    bad("an input that is none", {"inputs": [3]}, "objects")
    bad("no input", {"inputs": []}, "missing")
    bad("no name", with_input(name=None), "name")
    bad("another name", with_input(name="z"), "'z'")
    bad("twice", {"inputs": [GOOD, GOOD]}, "twice")
    bad("no datatype", with_input(datatype=None), "datatype")
    bad("an unknown datatype", with_input(datatype="INT33"), "INT33")
    bad("another datatype", with_input(datatype="FP32"), "INT32")
    bad("no shape", with_input(shape=None), "shape")
    bad("a shape of words", with_input(shape=["a"]), "shape")
    bad("a shape of fractions", with_input(shape=[1.5]), "shape")
    bad("a negative shape", with_input(shape=[-1, 2]), "-1")
    bad("a shape that overflows", with_input(shape=[1 << 62, 1 << 62]), "elements")
    bad("a shape that is too large", with_input(shape=[1 << 30, 1 << 9]))
    bad("too many dimensions", with_input(shape=[1] * 100), "dimensions")
    bad("another rank", with_input(shape=[2]), "shape")
    bad("no rows", with_input(shape=[0, 2], data=[]), "shape")
    bad("too few elements", with_input(data=[1]), "1 elements")
    bad("too many elements", with_input(data=[1, 2, 3]), "2 elements")
    bad("no data", with_input(data=None), "data")
    bad("data that is none", with_input(data=7), "data")
    bad("words for numbers", with_input(data=["a", "b"]), "INT32")
    bad("fractions for whole numbers", with_input(data=[1.5, 2]), "INT32")
    bad("numbers that do not fit", with_input(data=[1 << 31, 0]), "INT32")
    bad("nested too deep", b'{"inputs": ' + b"[" * 100_000, "")
    bad("nested too deep, and closed", b'{"inputs": [{"data": ' + b"[" * 200 + b"]" * 200 + b"}]}", "levels")
    bad("no UTF-8", b'{"id": "\xff"}', "")
    bad("an output that is none", {"inputs": [GOOD], "outputs": [{"name": "q"}]}, "'q'")
    bad("an output twice", {"inputs": [GOOD], "outputs": [{"name": "y"}, {"name": "y"}]}, "twice")
    bad("outputs that are none", {"inputs": [GOOD], "outputs": {}}, "list")
    bad("parameters that are none", {"inputs": [GOOD], "parameters": []}, "parameters")
    bad("a priority below 0", {"inputs": [GOOD], "parameters": {"priority": -1}}, "priority")
    bad("an id that is none", {"inputs": [GOOD], "id": 3}, "id")
    bad("a very long id", {"inputs": [GOOD], "id": "x" * 10_000}, "id")
    bad("an unknown model", with_input(), "unknown model", status=404, where="/v2/models/nothing/infer")
    bad("an unknown version", with_input(), "version", status=404, where="/v2/models/identity_int32/versions/9/infer")

    def binary(size, rest, length=None, **changes):
        head = json.dumps(with_input(data=None, parameters={"binary_data_size": size}, **changes)).encode()
        return head + rest, {"Inference-Header-Content-Length": str(len(head) if length is None else length)}

    for what, (body, headers), words in (
            ("binary data that is too short", binary(8, b"1234"), ("binary_data_size",)),
            ("binary data that is left over", binary(8, b"123456789"), ("left over",)),
            ("a size that is not the shape's", binary(4, b"1234"), ("byte size",)),
            ("a size beyond everything", binary(1 << 63, b"1234"), ("binary_data_size",)),
            ("a size below 0", binary(-1, b""), ("binary_data_size",)),
            ("a size that is no number", binary("x", b""), ("binary_data_size",)),
            ("a header beyond the body", binary(8, b"12345678", 1 << 40), ("cut short",)),
            ("a header of words", binary(8, b"12345678", "many"), ("whole number",)),
            ("a header of nothing", binary(8, b"12345678", 0), ("no JSON",)),
            ("a header below 0", binary(8, b"12345678", -5), ("whole number",))):
        bad(what, body, *words, headers=headers)

    def strings(raw, shape):
        head = json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": shape,
                                       "parameters": {"binary_data_size": len(raw)}}]}).encode()
        return head + raw, {"Inference-Header-Content-Length": str(len(head))}

    for what, raw, shape in (("a string's length beyond the data", struct.pack("<I", 0xFFFFFFFF), [1, 1]),
                             ("half a length", b"\x01\x00", [1, 1]), ("too few strings", struct.pack("<I", 0), [1, 2]),
                             ("too many strings", struct.pack("<II", 0, 0), [1, 1]),
                             ("very many strings", b"", [1 << 30, 1])):
        body, headers = strings(raw, shape)
        bad(what, body, headers=headers, where="/v2/models/identity_string/infer")
    raw = struct.pack("<I", 1) + b"\xff"
    body, headers = strings(raw, [1, 1])
    bad("strings that are no UTF-8, as JSON", body, "UTF-8", headers=headers, where="/v2/models/identity_string/infer")

    good = json.dumps({"inputs": [GOOD]}).encode()
    bad("gzip that is none", good, "unpacked", headers={"Content-Encoding": "gzip"})
    bad("gzip that is cut", gzip.compress(good)[:-9], "unpacked", headers={"Content-Encoding": "gzip"})
    bad("an unknown encoding", good, "br", status=501, headers={"Content-Encoding": "br"})
    bad("a bomb", zlib.compress(b" " * (80 << 20)), "bytes", status=413, headers={"Content-Encoding": "deflate"})
    bad("too much JSON", b" " * (17 << 20), "JSON", status=413)
    rows = {"inputs": [{"name": n, "datatype": "FP32", "shape": [33, 16], "data": [0] * 528} for n in ("INPUT0", "INPUT1")]}
    bad("too many rows", rows, "batch-size must be <= 32", where="/v2/models/add_sub/infer")
    rows["inputs"][0].update(shape=[1, 16], data=[0] * 16)
    rows["inputs"][1].update(shape=[2, 16], data=[0] * 32)
    bad("rows that differ", rows, "batch size", where="/v2/models/add_sub/infer")
    status, _, _ = server.ask(path, good)
    check(status == 200, "and a good one is still answered")


def repository(server, client):
    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    check(index["add_sub"] == {"name": "add_sub", "version": "1", "state": "READY"}, "the index")
    client.unload_model("add_sub_int32")
    entry = next(e for e in client.get_model_repository_index() if e["name"] == "add_sub_int32")
    check(entry["state"] == "UNAVAILABLE" and entry["reason"] == "unloaded", "unloaded")
    status, _, ready = server.ask("/v2/repository/index", {"ready": True})
    check("add_sub_int32" not in [e["name"] for e in json.loads(ready)], "it is not among those that are ready")
    check(not client.is_model_ready("add_sub_int32") and client.is_server_ready(), "the server is ready all the same")
    status, headers, body = server.ask("/v2/models/add_sub_int32/infer", {"inputs": []})
    check(status == 503 and b"no available versions" in body, "who asks it is told")
    client.load_model("add_sub_int32")
    check(client.is_model_ready("add_sub_int32"), "loaded again")
    check(refused(lambda: client.load_model("nothing"), "failed to load 'nothing'"), "an unknown model is not loaded")
    check(refused(lambda: client.unload_model("nothing"), "nothing"), "nor unloaded")
    check(refused(lambda: client.load_model("../../etc/passwd")), "nor is a path")
    check(refused(lambda: client.load_model("add_sub", config="{}"), "config"), "a configuration from outside is refused")


def statistics(client):
    def stats(name):
        return client.get_inference_statistics(name)["model_stats"][0]

    before = stats("add_sub")
    a = np.zeros((3, 16), np.float32)
    inputs = [tensor("INPUT0", a, "FP32", True), tensor("INPUT1", a, "FP32", True)]
    for _ in range(4):
        client.infer("add_sub", inputs)
    refused(lambda: client.infer("add_sub", inputs[:1]))
    after = stats("add_sub")
    delta = {key: after["inference_stats"][key]["count"] - before["inference_stats"][key]["count"]
             for key in after["inference_stats"]}
    check(delta == {"success": 4, "fail": 1, "queue": 4, "compute_input": 4, "compute_infer": 4, "compute_output": 4,
                    "cache_hit": 0, "cache_miss": 0}, "statistics of requests")
    check(after["inference_count"] - before["inference_count"] == 12 and
          after["execution_count"] - before["execution_count"] == 4, "of inferences and executions")
    batches = {b["batch_size"]: b["compute_infer"]["count"] for b in after["batch_stats"]}
    earlier = {b["batch_size"]: b["compute_infer"]["count"] for b in before["batch_stats"]}
    check(batches[3] - earlier.get(3, 0) == 4 and after["last_inference"] > 1.6e12, "of batches by their rows")
    times = after["inference_stats"]
    parts = sum(times[key]["ns"] for key in ("queue", "compute_input", "compute_infer", "compute_output"))
    check(times["success"]["ns"] >= parts, "the parts are no more than the whole")
    check(len(client.get_inference_statistics()["model_stats"]) > 10, "of all models")


def shared_memory(server, client):
    a = np.arange(16, dtype=np.float32).reshape(1, 16)
    size = a.nbytes
    given = shm.create_shared_memory_region("in", "/sightline_test_in", 2 * size)
    taken = shm.create_shared_memory_region("out", "/sightline_test_out", 2 * size)
    try:
        shm.set_shared_memory_region(given, [a, a * 2])
        client.register_system_shared_memory("in", "/sightline_test_in", 2 * size)
        client.register_system_shared_memory("out", "/sightline_test_out", 2 * size)
        status = client.get_system_shared_memory_status()
        check({region["name"]: region["byte_size"] for region in status} == {"in": 2 * size, "out": 2 * size}, "regions are listed")
        inputs = [http.InferInput(f"INPUT{i}", [1, 16], "FP32") for i in (0, 1)]
        outputs = [http.InferRequestedOutput(f"OUTPUT{i}", binary_data=True) for i in (0, 1)]
        for i in (0, 1):
            inputs[i].set_shared_memory("in", size, offset=i * size)
            outputs[i].set_shared_memory("out", size, offset=i * size)
        result = client.infer("add_sub", inputs, outputs=outputs)
        got = shm.get_contents_as_numpy(taken, np.float32, [2, 16])
        check(same(got, np.concatenate([a * 3, -a])), "tensors in shared memory, both ways")
        check(result.get_output("OUTPUT1") == {"name": "OUTPUT1", "datatype": "FP32", "shape": [1, 16]},
              "the answer has their shapes alone")
        outputs[0].set_shared_memory("out", size - 4)
        check(refused(lambda: client.infer("add_sub", inputs, outputs=outputs), "at least 64 bytes"), "too small for the answer")
        outputs[0].set_shared_memory("out", size)
        inputs[0].set_shared_memory("in", size, offset=2 * size)
        check(refused(lambda: client.infer("add_sub", inputs, outputs=outputs), "outside"), "beyond the region")
        inputs[0].set_shared_memory("other", size)
        check(refused(lambda: client.infer("add_sub", inputs, outputs=outputs), "other"), "a region that is none")
        for key in ("shared_memory_byte_size", "shared_memory_offset"):
            body = {"inputs": [{"name": f"INPUT{i}", "datatype": "FP32", "shape": [1, 16], "data": [0] * 16} for i in (0, 1)]}
            body["inputs"][1]["parameters"] = {key: 64}
            status, _, said = server.ask("/v2/models/add_sub/infer", body)
            check(status == 400 and b"shared_memory_region" in said, f"{key} without a region")
        check(refused(lambda: client.register_system_shared_memory("in", "/sightline_test_in", size), "already"), "a name twice")
        check(refused(lambda: client.register_system_shared_memory("b", "/sightline_test_in", 1 << 40), "outside"), "too large")
        check(refused(lambda: client.register_system_shared_memory("b", "/sightline_none", 1), "opened"), "an object that is none")
        for key in ("../etc/passwd", "/../../etc/passwd", "/", "", "a" * 5000):
            check(refused(lambda: client.register_system_shared_memory("b", key, 1)), f"a key that is none: {key[:20]!r}")
        # The client cuts it short behind the server's back.
        with open("/dev/shm/sightline_test_in", "r+b") as file:
            file.truncate(10)
        inputs[0] = http.InferInput("INPUT0", [1, 16], "FP32")
        inputs[0].set_shared_memory("in", size)
        check(refused(lambda: client.infer("add_sub", inputs), "shorter"), "a region that was cut short")
        client.unregister_system_shared_memory("in")
        client.unregister_system_shared_memory()
        check(client.get_system_shared_memory_status() == [], "unregistered")
        check(refused(lambda: client.get_system_shared_memory_status("in"), "in"), "the status of one that is none")
    finally:
        shm.destroy_shared_memory_region(given)
        shm.destroy_shared_memory_region(taken)


def cuda_shared_memory(server, client):
    check(client.get_cuda_shared_memory_status() == [], "CUDA shared memory: none")
    check(server.ask("/v2/cudasharedmemory/region/c/status")[::2] == (200, b"[]"), "nor of a name")
    client.unregister_cuda_shared_memory()
    client.unregister_cuda_shared_memory("c")
    status, _, said = server.ask("/v2/cudasharedmemory/region/c/register", {"raw_handle": {"b64": ""}, "device_id": 0, "byte_size": 1})
    check(status == 501 and b"CUDA" in said, "and none is taken")


def traces(folder):
    file = folder / "traces.json"
    with Served(PROGRAM, "--trace-file", file, "--model", MODELS / "add_sub.onnx", "--model", MODELS / "lookup.onnx") as server:
        client = http.InferenceServerClient(server.address["HTTP"], network_timeout=60)

        def ask():
            given = [http.InferInput(name, [1, 16], "FP32") for name in ("INPUT0", "INPUT1")]
            for one in given:
                one.set_data_from_numpy(np.ones((1, 16), np.float32))
            client.infer("add_sub", given)

        ask()
        changed = client.update_trace_settings("add_sub", {"trace_level": ["TIMESTAMPS"], "trace_rate": "3", "trace_count": "4"})
        check(changed["trace_level"] == ["TIMESTAMPS"] and changed["trace_file"] == str(file), "traces of one model are on")
        for _ in range(20):
            ask()
        check(client.get_trace_settings("add_sub")["trace_count"] == "0", "as many as were asked for")
        check(client.update_trace_settings("add_sub", {"trace_level": None, "trace_rate": None, "trace_count": None})["trace_level"] ==
              ["OFF"], "and off")
        ask()
        client.close()
        server.stop()
    told = json.loads(file.read_text())
    stamps = [{stamp["name"]: stamp["ns"] for stamp in one["timestamps"]} for one in told if "timestamps" in one]
    names = ["REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END"]
    ordered = all([one[name] for name in names] == sorted(one.values()) for one in stamps)
    check(len(told) == 8 and len(stamps) == 4 and ordered and all(one["model_name"] == "add_sub" for one in told[::2]),
          "the times of every third request, four in all")


def without_shared_memory():
    """Nobody has turned it on."""
    region = shm.create_shared_memory_region("off", "/sightline_test_off", 64)
    try:
        with Served(PROGRAM, "--model", MODELS / "add_sub.onnx") as server:
            client = http.InferenceServerClient(server.address["HTTP"], network_timeout=60)
            check("system_shared_memory" not in client.get_server_metadata()["extensions"], "shared memory is no extension when off")
            check(refused(lambda: client.register_system_shared_memory("off", "/sightline_test_off", 64), "--shared-memory"),
                  "and no region is registered")
            check(client.get_system_shared_memory_status() == [], "nor listed")
            client.close()
    finally:
        shm.destroy_shared_memory_region(region)


def settings(client):
    check(client.get_trace_settings()["trace_level"] == ["OFF"], "trace settings")
    changed = client.update_trace_settings("add_sub", {"trace_rate": 5})
    check(changed["trace_rate"] == "5" and client.get_trace_settings()["trace_rate"] == "1000", "of a model alone")
    check(client.update_trace_settings("add_sub", {"trace_rate": None})["trace_rate"] == "1000", "and back")
    check(refused(lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}), "--trace-file"),
          "no traces without a file for them")
    check(refused(lambda: client.update_trace_settings(settings={"trace_level": ["TENSORS"]})), "tensors are not traced")
    check(refused(lambda: client.update_trace_settings(settings={"trace_file": "/tmp/x"})), "no file by the network")
    check(refused(lambda: client.update_trace_settings(settings={"odd": "1"}), "odd"), "an unknown trace setting")
    before = client.get_log_settings()
    changed = client.update_log_settings({"log_verbose_level": 1})
    check(changed["log_verbose_level"] == 1, "log settings")
    client.update_log_settings({"log_verbose_level": 0})
    check(client.get_log_settings() == before, "and back")
    check(refused(lambda: client.update_log_settings({"log_file": "/tmp/x"}), "log file"), "no log file by the network")
    check(refused(lambda: client.update_log_settings({"log_info": 1}), "type"), "a value of another type")


def with_asyncio(server):
    async def ask():
        async with http_aio.InferenceServerClient(server.address["HTTP"]) as client:
            ready = await client.is_server_ready()
            inputs = [[tensor("x", np.full((1, 8), i, np.int32), "INT32", True)] for i in range(20)]
            results = await asyncio.gather(*(client.infer("identity_int32", given) for given in inputs))
            return ready and [int(r.as_numpy("y")[0][0]) for r in results] == list(range(20))

    check(asyncio.run(ask()), "the client of asyncio")


def metrics(server):
    _, headers, text = server.ask("/metrics", server="metrics")
    values = {}
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    label = '{model="add_sub",version="1"}'
    names = ["request_success", "request_failure", "count", "exec_count", "request_duration_us", "queue_duration_us",
             "compute_input_duration_us", "compute_infer_duration_us", "compute_output_duration_us", "pending_request_count"]
    check(all(f"nv_inference_{name}{label}" in values for name in names), "Triton's metrics")
    stats = json.loads(server.ask("/v2/models/add_sub/stats")[2])["model_stats"][0]
    counts = stats["inference_stats"]
    check(values[f"nv_inference_request_success{label}"] == counts["success"]["count"] and
          values[f"nv_inference_request_failure{label}"] == counts["fail"]["count"] and
          values[f"nv_inference_count{label}"] == stats["inference_count"], "they are those of the statistics")
    check(values["sightline_serve_ready"] == 1, "ready")


def main():
    names = ["add_sub", "add_sub_int32", "rows_mixed", "lookup", "identity_bfloat16", *("identity_" + n for n in TYPES)]
    arguments = [a for name in names for a in ("--model", MODELS / f"{name}.onnx")]
    with Served(PROGRAM, "--shared-memory", *arguments) as server:
        client = http.InferenceServerClient(server.address["HTTP"], concurrency=4, network_timeout=60)
        metadata(server, client)
        types(server, client)
        inference(server, client)
        bad_requests(server)
        repository(server, client)
        statistics(client)
        shared_memory(server, client)
        cuda_shared_memory(server, client)
        settings(client)
        with_asyncio(server)
        metrics(server)
        client.close()
        check(server.stop() == 0, "SIGTERM ends it with exit code 0")
    without_shared_memory()
    with tempfile.TemporaryDirectory() as folder:
        traces(pathlib.Path(folder))
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
