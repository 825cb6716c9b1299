#!/usr/bin/env python3
"""gRPC by server reflection alone, as grpcurl uses it: grpcio's own reflection client lists the services, fetches their
descriptors and makes the messages of calls from them. Nothing here knows the protocol's classes.

Usage: reflection.py MODELS SIGHTLINE...
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter(modules="grpc_reflection.v1alpha, tritonclient.grpc")

import grpc  # noqa: E402
from google.protobuf import json_format, message_factory  # noqa: E402
from google.protobuf.descriptor_pool import DescriptorPool  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]
SERVICE = "inference.GRPCInferenceService"


def call(channel, pool, service, method, **fields):
    """A call without streams: what is asked and what is answered as JSON has it."""
    described = pool.FindServiceByName(service).FindMethodByName(method)
    asked = json_format.ParseDict(fields, message_factory.GetMessageClass(described.input_type)())
    answered = message_factory.GetMessageClass(described.output_type)
    rpc = channel.unary_unary(f"/{service}/{method}", lambda message: message.SerializeToString(), answered.FromString)
    return json_format.MessageToDict(rpc(asked, timeout=PATIENCE_S), preserving_proto_field_name=True)


def main():
    with Served(PROGRAM, "--model", MODELS / "add_sub.onnx") as server, \
            grpc.insecure_channel(server.address["gRPC"]) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        services = set(known.get_services())
        check({SERVICE, "grpc.health.v1.Health"} <= services, f"the services are listed: {sorted(services)}")
        pool = DescriptorPool(known)
        # That of health is listed and not described: gRPC's C++ library answers it without a descriptor.
        check(len(pool.FindServiceByName(SERVICE).methods) == 20, "all 20 calls of the protocol are described")
        check("raw_input_contents" in pool.FindMessageTypeByName("inference.ModelInferRequest").fields_by_name, "and messages")
        check(call(channel, pool, SERVICE, "ServerLive") == {"live": True}, "ServerLive")
        check(call(channel, pool, SERVICE, "ServerReady") == {"ready": True}, "ServerReady")
        said = call(channel, pool, SERVICE, "ModelMetadata", name="add_sub")
        check([tensor["name"] for tensor in said["inputs"]] == ["INPUT0", "INPUT1"], "ModelMetadata")
        said = call(channel, pool, SERVICE, "ModelConfig", name="add_sub")
        check(said["config"]["name"] == "add_sub" and said["config"]["response_cache"] == {}, "ModelConfig: no cache is on")
        given = [{"name": name, "datatype": "FP32", "shape": [1, 16], "contents": {"fp32_contents": list(range(16))}}
                 for name in ("INPUT0", "INPUT1")]
        said = call(channel, pool, SERVICE, "ModelInfer", model_name="add_sub", inputs=given)
        check([tensor["name"] for tensor in said["outputs"]] == ["OUTPUT0", "OUTPUT1"], "ModelInfer")
        try:
            call(channel, pool, SERVICE, "ModelInfer", model_name="nothing")
            check(False, "a model that there is not is refused")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.NOT_FOUND and "nothing" in error.details(), "an error has its code and its sentence")
        try:
            pool.FindServiceByName("no.Service")
            check(False, "what is not there is not described")
        except KeyError:
            check(True, "what is not there is not described")
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
