#!/usr/bin/env python3
"""grpcurl, which knows the service by reflection alone. Skipped where it is not installed (on the PATH, or $GRPCURL).

Usage: grpcurl.py MODELS SIGHTLINE...
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]
GRPCURL = os.environ.get("GRPCURL") or shutil.which("grpcurl")
SERVICE = "inference.GRPCInferenceService"


def asked(server, *words, data=None):
    options = ["-plaintext", *(["-d", json.dumps(data)] if data is not None else [])]
    done = subprocess.run([GRPCURL, *options, server.address["gRPC"], *words], capture_output=True, text=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


def main():
    if not GRPCURL:
        print("SKIPPED: conformance_grpcurl: no grpcurl (go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3)")
        return 77
    with Served(PROGRAM, "--model", MODELS / "add_sub.onnx") as server:
        code, said, _ = asked(server, "list")
        check(code == 0 and {SERVICE, "grpc.health.v1.Health"} <= set(said.split()), "list: the services")
        code, said, _ = asked(server, "list", SERVICE)
        check(code == 0 and f"{SERVICE}.ModelInfer" in said.split() and len(said.split()) == 20, "list: the calls of one")
        code, said, _ = asked(server, "describe", "inference.ModelInferRequest")
        check(code == 0 and "raw_input_contents" in said, "describe: a message")
        code, said, _ = asked(server, f"{SERVICE}/ServerReady", data={})
        check(code == 0 and json.loads(said) == {"ready": True}, "ServerReady")
        request = {"model_name": "add_sub", "inputs": [
            {"name": name, "datatype": "FP32", "shape": [1, 16], "contents": {"fp32_contents": list(range(16))}}
            for name in ("INPUT0", "INPUT1")]}
        code, said, errors = asked(server, f"{SERVICE}/ModelInfer", data=request)
        check(code == 0 and [o["name"] for o in json.loads(said)["outputs"]] == ["OUTPUT0", "OUTPUT1"], f"ModelInfer {errors}")
        code, _, errors = asked(server, f"{SERVICE}/ModelInfer", data={"model_name": "nothing"})
        check(code != 0 and "NotFound" in errors and "nothing" in errors, "an error has its code and its sentence")
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
