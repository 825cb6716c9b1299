#!/usr/bin/env python3
"""KServe's own Python client, HTTP and gRPC, against `sightline serve`.

Usage: kserve_client.py MODELS SIGHTLINE...
"""
import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter("requirements_kserve.txt", "kserve.inference_client", "SIGHTLINE_KSERVE_PYTHON")

import grpc  # noqa: E402
import httpx  # noqa: E402
import numpy as np  # noqa: E402
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest  # noqa: E402
from kserve.inference_client import RESTConfig  # noqa: E402
from kserve.protocol.infer_type import RequestedOutput  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]
A = np.arange(32, dtype=np.float32).reshape(2, 16)
B = np.full((2, 16), 3, np.float32)
TEXTS = np.array([["a", "", "\u00e9t\u00e9"]], dtype=np.object_)


def asked(model, arrays, datatype, binary, outputs=None):
    inputs = []
    for name, array in arrays.items():
        inputs.append(InferInput(name, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=inputs, request_outputs=outputs)


def sums(answer):
    found = {output.name: output.as_numpy() for output in answer.outputs}
    return np.array_equal(found["OUTPUT0"], A + B) and np.array_equal(found["OUTPUT1"], A - B)


async def http(address):
    base = f"http://{address}"
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        check(await client.is_server_live(base) and await client.is_server_ready(base), "HTTP: live and ready")
        check(await client.is_model_ready(base, "add_sub"), "HTTP: the model is ready")
        check(not await client.is_model_ready(base, "nothing"), "HTTP: another is not")
        for binary in (True, False):
            for outputs in (True, False, None):
                wanted = None if outputs is None else [
                    RequestedOutput(name, {"binary_data": outputs}) for name in ("OUTPUT0", "OUTPUT1")]
                answer = await client.infer(base, asked("add_sub", {"INPUT0": A, "INPUT1": B}, "FP32", binary, wanted),
                                            model_name="add_sub")
                check(sums(answer) and answer.model_name == "add_sub",
                      f"HTTP: tensors in {'binary' if binary else 'JSON'}, out {({True: 'binary', False: 'JSON'}).get(outputs, 'as it likes')}")
        answer = await client.infer(base, asked("identity_string", {"x": TEXTS}, "BYTES", True), model_name="identity_string")
        check([t if isinstance(t, str) else t.decode() for t in answer.outputs[0].as_numpy().ravel()] == TEXTS.ravel().tolist(),
              "HTTP: strings")
        try:
            await client.infer(base, asked("add_sub", {"INPUT0": A}, "FP32", True), model_name="add_sub")
            said = ""
        except httpx.HTTPStatusError as error:
            said = str(error)
        check("INPUT1" in said and "400" in said, f"HTTP: the server's sentence arrives: {said}")


async def rpc(address):
    async with InferenceGRPCClient(url=address) as client:
        check(await client.is_server_live() and await client.is_server_ready(), "gRPC: live and ready")
        check(await client.is_model_ready("add_sub"), "gRPC: the model is ready")
        for binary in (True, False):
            answer = await client.infer(asked("add_sub", {"INPUT0": A, "INPUT1": B}, "FP32", binary))
            check(sums(answer), f"gRPC: tensors {'raw' if binary else 'as contents'}")
        answer = await client.infer(asked("identity_string", {"x": TEXTS}, "BYTES", True))
        check([t if isinstance(t, str) else t.decode() for t in answer.outputs[0].as_numpy().ravel()] == TEXTS.ravel().tolist(),
              "gRPC: strings")
        try:
            await client.infer(asked("add_sub", {"INPUT0": A}, "FP32", True))
            said = None
        except grpc.RpcError as error:
            said = error
        check(said is not None and said.code() == grpc.StatusCode.INVALID_ARGUMENT and "INPUT1" in said.details(),
              "gRPC: the server's sentence arrives")


def main():
    with Served(PROGRAM, "--model", MODELS / "add_sub.onnx", "--model", MODELS / "identity_string.onnx") as server:
        asyncio.run(http(server.address["HTTP"]))
        asyncio.run(rpc(server.address["gRPC"]))
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
