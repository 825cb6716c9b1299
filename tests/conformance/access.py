#!/usr/bin/env python3
"""Keys, roles, limits, logs and traces of `sightline serve`, asked by real clients over both protocols.

Usage: access.py MODELS SIGHTLINE...
"""
import base64
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter()

import grpc  # noqa: E402
import numpy as np  # noqa: E402
import tritonclient.grpc as triton_grpc  # noqa: E402
import tritonclient.http as triton_http  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served, until  # noqa: E402

MODELS = pathlib.Path(sys.argv[1]).resolve()
PROGRAM = sys.argv[2:]
ROOT = pathlib.Path(__file__).resolve().parents[2]
INFER = "/v2/models/add_sub_int32/infer"
X = np.arange(16, dtype=np.int32).reshape(1, 16)
BODY = {"inputs": [{"name": n, "datatype": "INT32", "shape": [1, 16], "data": X.tolist()} for n in ("INPUT0", "INPUT1")]}
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SERVICE = "/inference.GRPCInferenceService/"


def keys(*arguments, code=0):
    done = subprocess.run([*PROGRAM, "keys", *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done.stdout


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def metadata(key):
    return (("authorization", f"Bearer {key}"),) if key else ()


def code_of(channel, path, key, message=b"", stream=False, more=()):
    """The status of a call, as a word; "OK" for an answer."""
    try:
        if stream:
            for _ in channel.stream_stream(path)(iter([message]), metadata=(*metadata(key), *more), timeout=PATIENCE_S):
                break
        else:
            channel.unary_unary(path)(message, metadata=(*metadata(key), *more), timeout=PATIENCE_S)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def methods():
    """Every method of the protocol, as the repository's own description has them: name, whether it streams."""
    found = []
    for line in (ROOT / "proto" / "open_inference.proto").read_text().splitlines():
        line = line.strip()
        if line.startswith("rpc "):
            found.append((line[4:].split("(")[0].strip(), "stream" in line))
    return found


def expected_role(name):
    if name in ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics",
                "RepositoryIndex"):
        return "viewer"
    return "infer" if name in ("ModelInfer", "ModelStreamInfer") else "admin"


def command(folder):
    file = folder / "made.json"
    key = keys("create", "--keys", file, "--name", "front", "--role", "infer", "--rate", "100/s", "--burst", 200,
               "--concurrency", 8, "--expires", "90d", "--models", "a,b").strip()
    check(key.startswith("slk_") and len(key) == 60, "keys create prints a key alone")
    check(stat.S_IMODE(file.stat().st_mode) == 0o600, "the file of keys is its owner's alone")
    check(key[17:] not in file.read_text() and key not in file.read_text(), "the file holds no key")
    listed = json.loads(keys("list", "--keys", file, "--json"))
    check([(k["name"], k["role"], k["state"], k["rate"], k["burst"], k["concurrency"], k["models"]) for k in listed] ==
          [("front", "infer", "valid", 100, 200, 8, ["a", "b"])], "keys list tells what was given")
    made = json.loads(keys("create", "--keys", file, "--name", "x", "--role", "viewer", "--json"))
    check(made["key"][4:16] == made["id"], "--json has the key and its id")
    keys("create", "--keys", file, "--name", "front", "--role", "viewer", code=1)
    keys("create", "--keys", file, "--name", "y", "--role", "root", code=2)
    keys("create", "--keys", file, "--name", "y", "--role", "viewer", "--expires", "yesterday", code=2)
    keys("create", "--keys", file, "--name", "y", "--role", "viewer", "--rate", "fast", code=2)
    keys("revoke", "--keys", file, "nobody", code=1)
    check(json.loads(keys("revoke", "--keys", file, made["id"], "--json"))["state"] == "revoked", "keys revoke by id")
    said = keys("revoke", "--keys", file, key)
    check("revoked" in said and key[17:] not in said, "keys revoke by the key itself, which is not shown")
    check([k["state"] for k in json.loads(keys("list", "--keys", file, "--json"))] == ["revoked"] * 2, "both are revoked")


def serving(folder):
    file = folder / "keys.json"
    made = {role: keys("create", "--keys", file, "--name", role, "--role", role).strip() for role in ("viewer", "infer", "admin")}
    made["slow"] = keys("create", "--keys", file, "--name", "slow", "--role", "infer", "--rate", "2/h", "--burst", "2").strip()
    made["other"] = keys("create", "--keys", file, "--name", "other", "--role", "infer", "--models", "elsewhere").strip()
    collector = subprocess.Popen([sys.executable, str(ROOT / "tests" / "servers" / "otlp_collector.py")], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
    spans_at = f"http://127.0.0.1:{collector.stdout.readline().split()[1]}"
    config = folder / "serve.yaml"
    config.write_text(f"keys: keys.json\naccess_log: access.log\notlp: {spans_at}/v1/traces\n")
    log = folder / "access.log"
    loud = [*PROGRAM, "--log-level", "debug"]
    with Served(loud, "--config", config, "--model", MODELS / "add_sub_int32.onnx", "--instances", 1) as server:
        over_http(server, made)
        over_grpc(server, made)
        clients(server, made)
        limits(server, made)
        traces(server, made, spans_at)
        odd_words(server, made)
        moved_log(server, made, log)
        revoked(server, made, file)
    check(server.process.returncode == 0 or server.stop() == 0, "it ends well")
    collector.kill()
    lines = [json.loads(line) for name in ("access.log", "access.log.1") for line in (folder / name).read_text().splitlines()]
    check(all(line["status"] != 200 or "request_id" in line for line in lines) and len(lines) > 50,
          f"{len(lines)} lines of the access log are JSON")
    check({"http", "grpc"} == {line["protocol"] for line in lines}, "both protocols are logged")
    inferred = [line for line in lines if line.get("route", "").endswith("ModelInfer") and line["status"] == 0]
    check(inferred and all(line["model"] == "add_sub_int32" and "compute_ms" in line and line["bytes_in"] > 0 for line in inferred),
          "calls of gRPC are logged with model, bytes and times")
    check({"key", "role", "rate", "model"} <= {line.get("refused") for line in lines}, "refusals are logged with their reason")
    said = "\n".join(server.said) + "".join((folder / name).read_text() for name in ("access.log", "access.log.1"))
    coded = {role: base64.b64encode(key.encode()).decode().rstrip("=")[4:] for role, key in made.items()}
    leaked = [line for line in said.splitlines() if any(key[17:] in line or coded[role] in line for role, key in made.items())]
    check(not leaked, f"no key is in any log, at the debug level either {leaked[:1]}")
    check("API keys were read" in said, "and the log did speak")
    check("s3cret" not in said, "nor a password of a URL, nor what a query or an odd header says")


def over_http(server, made):
    for path, port in (("/v2", "HTTP"), ("/v2/health/live", "HTTP"), ("/v2/health/ready", "HTTP"), ("/metrics", "metrics"),
                       ("/nothing", "HTTP")):
        status, headers, _ = server.ask(path, server=port)
        check(status == 401 and headers.get("WWW-Authenticate", "").startswith("Bearer"), f"{path} is refused without a key")
    check(server.ask("/metrics", server="metrics", headers=bearer(made["viewer"]))[0] == 200, "metrics by a viewer's key")
    check(server.ask("/v2", headers={"x-api-key": made["viewer"]})[0] == 200, "a key as x-api-key")
    check(server.ask(INFER, BODY, bearer(made["viewer"]))[0] == 403, "a viewer may not infer")
    check(server.ask(INFER, BODY, bearer(made["other"]))[0] == 403, "a key for other models may not infer")
    check(server.ask("/v2/repository/models/add_sub_int32/load", {}, bearer(made["infer"]))[0] == 403, "only admins load")
    check(server.ask("/v2/repository/models/add_sub_int32/load", {}, bearer(made["admin"]))[0] == 200, "an admin loads")


def over_grpc(server, made):
    channel = grpc.insecure_channel(server.address["gRPC"])
    found = methods()
    check(len(found) == 20, f"{len(found)} methods of the protocol")
    for name, stream in found:
        path = SERVICE + name
        codes = {key: code_of(channel, path, made.get(key, key), stream=stream)
                 for key in (None, "slk_wrong", "viewer", "infer", "admin")}
        role = expected_role(name)
        may = {"viewer": role == "viewer", "infer": role != "admin", "admin": True}
        good = codes[None] == codes["slk_wrong"] == "UNAUTHENTICATED" and all(
            (codes[key] == "PERMISSION_DENIED") != may[key] and codes[key] != "UNAUTHENTICATED" for key in may)
        check(good, f"{name}: {codes}")
    for path, stream in ((HEALTH, False), ("/grpc.health.v1.Health/Watch", True), (REFLECTION, True), ("/no.Service/Method", False)):
        check(code_of(channel, path, None, stream=stream) == "UNAUTHENTICATED", f"{path} is refused without a key")
    check(code_of(channel, HEALTH, made["viewer"]) == "OK", "health with a key")
    check(code_of(channel, REFLECTION, made["viewer"], b"\x3a\x00", stream=True) == "OK", "reflection with a key")
    check(code_of(channel, "/no.Service/Method", made["viewer"]) == "UNIMPLEMENTED", "what is not there, with a key")
    check(code_of(channel, HEALTH, None, more=(("x-api-key", made["viewer"]),)) == "OK", "a key as x-api-key")


def clients(server, made):
    """tritonclient with a header, as its users give it one."""
    http = triton_http.InferenceServerClient(server.address["HTTP"])
    given = [triton_http.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for one in given:
        one.set_data_from_numpy(X)
    answer = http.infer("add_sub_int32", given, headers=bearer(made["infer"]))
    check(answer.as_numpy(answer.get_response()["outputs"][0]["name"]) is not None, "tritonclient over HTTP")
    client = triton_grpc.InferenceServerClient(server.address["gRPC"])
    given = [triton_grpc.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for one in given:
        one.set_data_from_numpy(X)
    answer = client.infer("add_sub_int32", given, headers={"authorization": f"Bearer {made['infer']}"})
    check(len(answer.get_response().outputs) == 2, "tritonclient over gRPC")
    answers = []
    client.start_stream(lambda result, error: answers.append((result, error)),
                        headers={"authorization": f"Bearer {made['infer']}"})
    client.async_stream_infer("add_sub_int32", given)
    client.async_stream_infer("elsewhere", given)
    check(until(lambda: len(answers) == 2) and answers[0][1] is None and answers[1][1] is not None, "a stream over gRPC")
    client.stop_stream()
    client.start_stream(lambda result, error: answers.append((result, error)),
                        headers={"authorization": f"Bearer {made['other']}"})
    client.async_stream_infer("add_sub_int32", given)
    check(until(lambda: len(answers) == 3) and "not for this model" in str(answers[2][1]), "a stream for another model's key")
    client.stop_stream()


def limits(server, made):
    statuses, last = [], {}
    for _ in range(4):
        status, last, _ = server.ask("/v2", headers=bearer(made["slow"]))
        statuses.append(status)
    check(statuses == [200, 200, 429, 429], f"a rate over HTTP: {statuses}")
    check(int(last["Retry-After"]) > 1000 and last["RateLimit-Limit"] == "2" and last["RateLimit-Remaining"] == "0" and
          int(last["RateLimit-Reset"]) > 3000, f"its headers: {[last.get(n) for n in ('Retry-After', 'RateLimit-Limit')]}")
    channel = grpc.insecure_channel(server.address["gRPC"])
    check(code_of(channel, SERVICE + "ServerLive", made["slow"]) == "RESOURCE_EXHAUSTED", "the same key over gRPC")
    try:
        channel.unary_unary(SERVICE + "ModelInfer")(b"", metadata=metadata(made["slow"]), timeout=PATIENCE_S)
        check(False, "inference beyond the rate")
    except grpc.RpcError as error:
        trailing = dict(error.trailing_metadata())
        check(error.code().name == "RESOURCE_EXHAUSTED" and int(trailing.get("grpc-retry-pushback-ms", 0)) > 1000,
              "inference beyond the rate says when to come back")


def traces(server, made, spans_at):
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    _, headers, _ = server.ask(INFER, BODY, {**bearer(made["infer"]), "traceparent": f"00-{trace}-{span}-01",
                                             "tracestate": "a=1", "X-Request-Id": "my-request"})
    check(headers["X-Request-Id"] == "my-request" and headers["tracestate"] == "a=1", "the request's id comes back")
    mine = headers["traceparent"].split("-")
    check(mine[1] == trace and mine[2] != span and mine[3] == "01", "so does its trace, with a span of the server")

    def seen():
        with urllib.request.urlopen(spans_at + "/spans", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    check(until(lambda: sum(s["traceId"] == trace for s in seen()["spans"]) == 3), "a collector gets three spans of it")
    spans = {s["name"]: s for s in seen()["spans"] if s["traceId"] == trace}
    request = spans.get("POST /v2/models/{model}/infer", {})
    check(request.get("parentSpanId") == span and request.get("spanId") == mine[2], "the request's is under the caller's")
    check(all(spans.get(name, {}).get("parentSpanId") == mine[2] for name in ("queue", "compute")), "queue and compute are under it")
    check(seen()["refused"] == [], f"the collector found no fault: {seen()['refused']}")


def odd_words(server, made):
    """What people send by mistake."""
    key = made["admin"]
    host, port = server.address["HTTP"].rsplit(":", 1)
    odd = [f"Authorization: {key}x", f"Authorization: Bearer {key} {key}", f"Authorization: Bearer\t{key}", f"Authorization: Basic {key}",
           f"Authorization: Bearer{key}", "Authorization: Basic " + base64.b64encode(key.encode()).decode(), f"Authorization: \x01{key}",
           f"X-Api-Key: {key}\x00", f"Authorization : Bearer {key}", f"{key}: 1", f"X-Request-Id: {key}x y", f"traceparent: {key}",
           f"tracestate: {key}", "Cookie: s3cret", f"Expect: {key}", f"Content-Encoding: {key}"]
    answers = []
    for line in odd + ["X: 1"]:
        for target in ("/v2", f"/v2/models/{key}", f"/{key}?key={key}&password=s3cret", f"http://me:s3cret@host/v2?key={key}", key):
            with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n{line}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while part := connection.recv(65536):
                    answer += part
            answers.append(answer)
    check(all(a.startswith(b"HTTP/1.1 4") for a in answers), f"{len(answers)} odd requests are refused")
    check(not any(key[17:].encode() in a for a in answers), "and answered without the key in them")
    check(server.ask(f"/v2?api_key={key}")[0] == 401, "a key in a query is none")
    channel = grpc.insecure_channel(server.address["gRPC"])
    for word in (key + "x", f"Basic {key}", f"Bearer {key} {key}"):
        check(code_of(channel, f"/{key}/{key}", None, more=(("authorization", word),)) == "UNAUTHENTICATED", "odd metadata")


def moved_log(server, made, log):
    os.rename(log, str(log) + ".1")
    server.process.send_signal(signal.SIGHUP)
    check(until(log.exists), "SIGHUP opens the access log anew")
    check(server.ask("/v2", headers={**bearer(made["viewer"]), "X-Request-Id": "after"})[0] == 200, "and the server goes on")
    check(until(lambda: "after" in log.read_text()), "into the new file")


def revoked(server, made, file):
    keys("revoke", "--keys", file, "viewer")
    check(until(lambda: server.ask("/v2", headers=bearer(made["viewer"]))[0] == 401, 5), "a revoked key stops while it runs")
    made["new"] = keys("create", "--keys", file, "--name", "new", "--role", "viewer").strip()
    check(until(lambda: server.ask("/v2", headers=bearer(made["new"]))[0] == 200, 5), "and a new one begins")


def opened(folder):
    file = folder / "open.json"
    keys("create", "--keys", file, "--name", "x", "--role", "viewer")
    config = folder / "open.yaml"
    config.write_text("keys: open.json\nopen_health: true\nopen_metrics: true\n")
    with Served(PROGRAM, "--config", config) as server:
        check(server.ask("/v2/health/live")[0] == 200 and server.ask("/metrics", server="metrics")[0] == 200, "what is opened is open")
        check(server.ask("/v2")[0] == 401, "and nothing else")
        channel = grpc.insecure_channel(server.address["gRPC"])
        check(code_of(channel, HEALTH, None) == "OK" and code_of(channel, SERVICE + "ServerMetadata", None) == "UNAUTHENTICATED",
              "over gRPC, too")
    config.write_text("model_control: false\naddress_rate: 0.001\naddress_burst: 4\n")
    with Served(PROGRAM, "--config", config, "--model", MODELS / "add_sub_int32.onnx", "--instances", 1) as server:
        check(server.ask("/v2/repository/models/add_sub_int32/unload", {})[0] == 403, "control that is turned off")
        check(server.ask("/v2/logging", {"log_verbose_level": 1})[0] == 403, "so is the log's level")
        channel = grpc.insecure_channel(server.address["gRPC"])
        check(code_of(channel, SERVICE + "RepositoryModelUnload", None) == "PERMISSION_DENIED", "over gRPC, too")
        statuses = [server.ask("/v2")[0] for _ in range(6)]
        check(statuses[0] == 200 and statuses[-1] == 429, f"an address has its limit: {statuses}")
        check(code_of(channel, SERVICE + "ModelInfer", None) == "RESOURCE_EXHAUSTED", "the same over gRPC")


def over_tls(folder):
    """The same refusals where gRPC's own credentials of TLS carry the gate."""
    file = folder / "tls.json"
    key = keys("create", "--keys", file, "--name", "x", "--role", "viewer").strip()
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "tls.key",
                        "-out", folder / "tls.crt"], check=True, capture_output=True, timeout=PATIENCE_S)
    except FileNotFoundError:
        print("SKIPPED: the openssl program is not installed: no keys over TLS")
        return
    (folder / "tls.key").chmod(0o600)
    with Served(PROGRAM, "--keys", file, "--tls-cert", folder / "tls.crt", "--tls-key", folder / "tls.key") as server:
        trusted = grpc.ssl_channel_credentials((folder / "tls.crt").read_bytes())
        channel = grpc.secure_channel(server.address["gRPC"], trusted)
        for path, stream in ((SERVICE + "ServerLive", False), (HEALTH, False), (REFLECTION, True), ("/no.Service/Method", False)):
            check(code_of(channel, path, None, stream=stream) == "UNAUTHENTICATED", f"{path} over TLS is refused without a key")
        check(code_of(channel, SERVICE + "ServerLive", key) == "OK", "and answered with one")
        check(code_of(channel, SERVICE + "LogSettings", key) == "PERMISSION_DENIED", "as far as its role goes")


with tempfile.TemporaryDirectory() as made_folder:
    command(pathlib.Path(made_folder))
    serving(pathlib.Path(made_folder))
    opened(pathlib.Path(made_folder))
    over_tls(pathlib.Path(made_folder))
sys.exit(exit_code())
