#!/usr/bin/env python3
"""The Open Inference Protocol over gRPC, by a real client and by hand: every call, and every error.

Usage: v2_grpc.py MODELS SIGHTLINE...
"""
import asyncio
import pathlib
import queue
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import client_environment  # noqa: E402

client_environment.enter()

import grpc  # noqa: E402
import numpy as np  # noqa: E402
import tritonclient.grpc as triton  # noqa: E402
import tritonclient.grpc.aio as triton_aio  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool  # noqa: E402
from tritonclient.grpc import service_pb2 as pb  # noqa: E402
from tritonclient.utils import InferenceServerException, shared_memory as shm  # noqa: E402

from checks import check, exit_code  # noqa: E402
from served import PATIENCE_S, TYPES, Served  # noqa: E402

MODELS = pathlib.Path(sys.argv[1])
PROGRAM = sys.argv[2:]

CONTENTS = {"bool": "bool_contents", "uint8": "uint_contents", "uint16": "uint_contents", "uint32": "uint_contents",
            "uint64": "uint64_contents", "int8": "int_contents", "int16": "int_contents", "int32": "int_contents",
            "int64": "int64_contents", "float": "fp32_contents", "double": "fp64_contents", "string": "bytes_contents"}


def sample(name):
    if name == "string":
        return np.array([[b"a", b"", b"\xff\x00"], [b"x" * 300, b"0", b"\n"]], dtype=np.object_)
    kind = np.dtype({"float": "float32", "double": "float64"}.get(name, name))
    if kind == np.bool_:
        return np.array([[True, False, True]])
    if kind.kind == "f":
        return np.array([[0, -1.5, 3.25], [65504, 0.5, 2]], dtype=kind)
    limits = np.iinfo(kind)
    return np.array([[limits.min, 0, limits.max], [1, 2, 3]], dtype=kind)


def tensor(name, array, datatype):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def same(got, expected):
    if expected.dtype == np.object_:
        return got.tolist() == expected.tolist()
    return got.dtype == expected.dtype and np.array_equal(got, expected)


def refused(action, code, *words):
    try:
        action()
    except grpc.RpcError as error:
        text, got = error.details(), error.code().name
    except InferenceServerException as error:
        text, got = error.message(), str(error.status()).rpartition(".")[2]
    else:
        return False
    good = got == code and all(word in text for word in words)
    return good or print(f"    said: {got} {text}")


def types(client, stub):
    for name, datatype in TYPES.items():
        array = sample(name)
        result = client.infer("identity_" + name, [tensor("x", array, datatype)])
        check(same(result.as_numpy("y"), array), f"{datatype}: raw")
        if name not in CONTENTS:
            continue
        request = pb.ModelInferRequest(model_name="identity_" + name)
        given = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
        getattr(given.contents, CONTENTS[name]).extend(array.flatten().tolist())
        result = triton.InferResult(stub.ModelInfer(request))
        check(same(result.as_numpy("y"), array), f"{datatype}: typed contents")
    raw = struct.pack("<3H", 0x3F80, 0xBF80, 0)
    request = pb.ModelInferRequest(model_name="identity_bfloat16", raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="BF16", shape=[1, 3])
    check(stub.ModelInfer(request).raw_output_contents == [raw], "BF16: raw")


def metadata(client):
    check(client.is_server_live() and client.is_server_ready(), "live and ready")
    check(client.get_server_metadata().name == "sightline", "server metadata")
    about = client.get_model_metadata("add_sub", as_json=True)
    check(about["platform"] == "onnxruntime_onnx" and about["versions"] == ["1"] and
          about["inputs"][0] == {"name": "INPUT0", "datatype": "FP32", "shape": ["-1", "16"]}, "model metadata")
    config = client.get_model_config("add_sub").config
    check(config.max_batch_size == 32 and list(config.input[0].dims) == [16] and config.HasField("dynamic_batching") and
          config.backend == "onnxruntime", "configuration")
    check(client.is_model_ready("add_sub") and client.is_model_ready("add_sub", "1"), "a model is ready")
    check(not client.is_model_ready("add_sub", "7") and not client.is_model_ready("nothing"), "others are not")
    for what in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        check(refused(lambda: what("nothing"), "NOT_FOUND", "nothing"), f"an unknown model: {what.__name__}")
    check(refused(lambda: client.get_model_metadata("add_sub", "x"), "INVALID_ARGUMENT"), "a version that is no number")


def inference(client):
    a = np.arange(32, dtype=np.float32).reshape(2, 16)
    b = np.full((2, 16), 3, dtype=np.float32)
    inputs = [tensor("INPUT0", a, "FP32"), tensor("INPUT1", b, "FP32")]
    result = client.infer("add_sub", inputs, request_id="\u00e9 1", priority=1, timeout=10_000_000, parameters={"custom": "x"})
    check(same(result.as_numpy("OUTPUT0"), a + b) and same(result.as_numpy("OUTPUT1"), a - b), "two outputs")
    check(result.get_response().id == "\u00e9 1" and result.get_response().model_version == "1", "id and version")
    result = client.infer("add_sub", inputs, outputs=[triton.InferRequestedOutput("OUTPUT1")])
    check(result.as_numpy("OUTPUT0") is None and same(result.as_numpy("OUTPUT1"), a - b), "one output alone")
    result = client.infer("add_sub", inputs, outputs=[triton.InferRequestedOutput("OUTPUT0", class_count=2)])
    check(result.as_numpy("OUTPUT0").tolist() == [[b"18.000000:15", b"17.000000:14"], [b"34.000000:15", b"33.000000:14"]],
          "classification")
    result = client.infer("add_sub", inputs, compression_algorithm="gzip")
    check(same(result.as_numpy("OUTPUT0"), a + b), "gzip")
    answers = queue.Queue()
    for _ in range(40):
        client.async_infer("add_sub", inputs, lambda result, error: answers.put((result, error)))
    good = 0
    for _ in range(40):
        result, error = answers.get(timeout=PATIENCE_S)
        good += error is None and same(result.as_numpy("OUTPUT0"), a + b)
    check(good == 40, "asynchronous requests")


def bad_requests(stub):
    def request():
        made = pb.ModelInferRequest(model_name="identity_int32", raw_input_contents=[struct.pack("<2i", 1, 2)])
        made.inputs.add(name="x", datatype="INT32", shape=[1, 2])
        return made

    def bad(what, change, code, *words):
        made = request()
        change(made)
        check(refused(lambda: stub.ModelInfer(made), code, *words), f"refused: {what}")

    def set_shape(made, *shape):
        del made.inputs[0].shape[:]
        made.inputs[0].shape.extend(shape)

    bad("an unknown model", lambda r: setattr(r, "model_name", "nothing"), "NOT_FOUND", "nothing")
    bad("an unknown version", lambda r: setattr(r, "model_version", "9"), "NOT_FOUND", "9")
    bad("another name", lambda r: setattr(r.inputs[0], "name", "z"), "INVALID_ARGUMENT", "'z'")
    bad("an unknown datatype", lambda r: setattr(r.inputs[0], "datatype", "INT33"), "INVALID_ARGUMENT", "INT33")
    bad("another datatype", lambda r: setattr(r.inputs[0], "datatype", "FP32"), "INVALID_ARGUMENT", "INT32")
    bad("another rank", lambda r: set_shape(r, 2), "INVALID_ARGUMENT", "shape")
    bad("a negative shape", lambda r: set_shape(r, -1, -2), "INVALID_ARGUMENT", "-1")
    bad("a shape that overflows", lambda r: set_shape(r, 1 << 62, 1 << 62), "INVALID_ARGUMENT", "elements")
    bad("too few bytes", lambda r: set_shape(r, 1, 3), "INVALID_ARGUMENT", "byte size")
    bad("no data", lambda r: r.ClearField("raw_input_contents"), "INVALID_ARGUMENT")
    bad("too much raw data", lambda r: r.raw_input_contents.append(b""), "INVALID_ARGUMENT", "raw input contents")
    bad("no input", lambda r: r.ClearField("inputs"), "INVALID_ARGUMENT")
    bad("twice", lambda r: (r.inputs.append(r.inputs[0]), r.raw_input_contents.append(r.raw_input_contents[0])),
        "INVALID_ARGUMENT", "twice")
    bad("both kinds of contents", lambda r: r.inputs[0].contents.int_contents.append(1), "INVALID_ARGUMENT", "contents")
    bad("an output that is none", lambda r: r.outputs.add(name="q"), "INVALID_ARGUMENT", "'q'")
    bad("a size in shared memory without a region",
        lambda r: r.inputs[0].parameters["shared_memory_byte_size"].__setattr__("int64_param", 8), "INVALID_ARGUMENT",
        "shared_memory_region")
    bad("a region that is none", lambda r: r.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "no"),
        "NOT_FOUND", "no")
    bad("a priority of words", lambda r: r.parameters["priority"].__setattr__("string_param", "high"), "INVALID_ARGUMENT",
        "priority")

    def narrow(made):
        made.model_name = "identity_int8"
        made.ClearField("raw_input_contents")
        made.inputs[0].datatype = "INT8"
        made.inputs[0].contents.int_contents.extend([1, 300])

    bad("a number that does not fit", narrow, "INVALID_ARGUMENT", "300")

    def strings(made):
        made.model_name = "identity_string"
        made.inputs[0].datatype = "BYTES"
        made.raw_input_contents[0] = struct.pack("<I", 0xFFFFFFFF)

    bad("a string's length beyond the data", strings, "INVALID_ARGUMENT", "string")
    check(stub.ModelInfer(request()).raw_output_contents[0] == struct.pack("<2i", 1, 2), "and a good one is still answered")


def streams(server, client):
    answers = queue.Queue()
    with triton.InferenceServerClient(server.address["gRPC"]) as streaming:
        streaming.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(100):
            name, value = ("nothing", i) if i % 10 == 9 else ("identity_int32", i)
            given = [tensor("x", np.array([[value]], np.int32), "INT32")]
            streaming.async_stream_infer(name, given, request_id=str(i), enable_empty_final_response=True)
        good = 0
        for i in range(100):
            result, error = answers.get(timeout=PATIENCE_S)
            if i % 10 == 9:
                good += error is not None and "nothing" in str(error)
            else:
                response = result.get_response() if result else None
                good += error is None and response.id == str(i) and result.as_numpy("y")[0][0] == i and \
                    response.parameters["triton_final_response"].bool_param
        check(good == 100, "a stream: answers in order, errors among them")
        streaming.stop_stream()
    with triton.InferenceServerClient(server.address["gRPC"]) as streaming:
        streaming.start_stream(lambda result, error: None)
        for i in range(100):
            streaming.async_stream_infer("identity_int32", [tensor("x", np.array([[i]], np.int32), "INT32")])
        streaming.stop_stream(cancel_requests=True)
    check(client.is_server_live(), "a stream that is cut off harms nobody")


def repository(client):
    index = {model.name: model for model in client.get_model_repository_index().models}
    check(index["add_sub"].state == "READY" and index["add_sub"].version == "1", "the index")
    client.unload_model("add_sub_int32")
    check(not client.is_model_ready("add_sub_int32"), "unloaded")
    a = np.zeros((1, 16), np.int32)
    inputs = [tensor("INPUT0", a, "INT32"), tensor("INPUT1", a, "INT32")]
    check(refused(lambda: client.infer("add_sub_int32", inputs), "UNAVAILABLE", "no available versions"), "who asks it is told")
    client.load_model("add_sub_int32")
    check(client.infer("add_sub_int32", inputs).as_numpy("OUTPUT0") is not None, "loaded again")
    check(refused(lambda: client.load_model("nothing"), "NOT_FOUND", "nothing"), "an unknown model is not loaded")
    check(refused(lambda: client.unload_model("nothing"), "NOT_FOUND"), "nor unloaded")
    check(refused(lambda: client.load_model("add_sub", config="{}"), "UNIMPLEMENTED"), "nor with a configuration from outside")
    before = client.get_inference_statistics("add_sub").model_stats[0]
    b = np.zeros((3, 16), np.float32)
    client.infer("add_sub", [tensor("INPUT0", b, "FP32"), tensor("INPUT1", b, "FP32")])
    after = client.get_inference_statistics("add_sub").model_stats[0]
    check(after.inference_count - before.inference_count == 3 and after.execution_count - before.execution_count == 1 and
          after.inference_stats.success.count - before.inference_stats.success.count == 1, "statistics")
    check(len(client.get_inference_statistics().model_stats) > 10, "of all models")


def shared_memory(client):
    a = np.arange(16, dtype=np.float32).reshape(1, 16)
    size = a.nbytes
    region = shm.create_shared_memory_region("g", "/sightline_test_grpc", 4 * size)
    try:
        shm.set_shared_memory_region(region, [a, a * 2])
        client.register_system_shared_memory("g", "/sightline_test_grpc", 4 * size)
        status = client.get_system_shared_memory_status()
        check(status.regions["g"].byte_size == 4 * size and status.regions["g"].key == "/sightline_test_grpc", "regions are listed")
        inputs = [triton.InferInput(f"INPUT{i}", [1, 16], "FP32") for i in (0, 1)]
        outputs = [triton.InferRequestedOutput("OUTPUT0"), triton.InferRequestedOutput("OUTPUT1")]
        for i in (0, 1):
            inputs[i].set_shared_memory("g", size, offset=i * size)
        outputs[0].set_shared_memory("g", size, offset=2 * size)
        result = client.infer("add_sub", inputs, outputs=outputs)
        got = shm.get_contents_as_numpy(region, np.float32, [4, 16])
        check(np.array_equal(got[2], a[0] * 3) and same(result.as_numpy("OUTPUT1"), -a), "tensors in shared memory, one output raw")
        check(refused(lambda: client.register_system_shared_memory("g", "/sightline_test_grpc", 1), "ALREADY_EXISTS"), "twice")
        check(refused(lambda: client.get_system_shared_memory_status("h"), "NOT_FOUND"), "the status of one that is none")
        client.unregister_system_shared_memory("g")
        check(len(client.get_system_shared_memory_status().regions) == 0, "unregistered")
        check(len(client.get_cuda_shared_memory_status().regions) == 0, "CUDA shared memory: none")
        check(refused(lambda: client.register_cuda_shared_memory("c", b"", 0, 1), "UNIMPLEMENTED"), "and none is taken")
    finally:
        shm.destroy_shared_memory_region(region)


def settings(client):
    check(list(client.get_trace_settings().settings["trace_level"].value) == ["OFF"], "trace settings")
    changed = client.update_trace_settings("add_sub", {"trace_rate": "5"}).settings
    check(list(changed["trace_rate"].value) == ["5"], "changed")
    check(refused(lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}), "INVALID_ARGUMENT"),
          "no traces without a file for them")
    check(client.get_log_settings().settings["log_error"].bool_param, "log settings")
    check(refused(lambda: client.update_log_settings({"log_file": "/tmp/x"}), "INVALID_ARGUMENT"), "no log file by the network")


def with_asyncio(server):
    async def ask():
        async with triton_aio.InferenceServerClient(server.address["gRPC"]) as client:
            inputs = [[tensor("x", np.full((1, 8), i, np.int32), "INT32")] for i in range(20)]
            results = await asyncio.gather(*(client.infer("identity_int32", given) for given in inputs))
            values = [int(r.as_numpy("y")[0][0]) for r in results]

            async def requests():
                for given in inputs:
                    yield {"model_name": "identity_int32", "inputs": given}

            streamed = [int(result.as_numpy("y")[0][0]) async for result, error in client.stream_infer(requests())]
            return await client.is_server_ready() and values == streamed == list(range(20))

    check(asyncio.run(ask()), "the client of asyncio, with a stream")


def health_and_reflection(channel):
    check_health = channel.unary_unary("/grpc.health.v1.Health/Check", lambda raw: raw, lambda raw: raw)
    check(check_health(b"") == b"\x08\x01", "grpc.health.v1: serving")
    # list_services = 7 of ServerReflectionRequest; list_services_response = 6, service = 1, name = 1.
    reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", lambda raw: raw,
                                    lambda raw: raw)
    services = next(reflect(iter([b"\x3a\x00"])))
    check(b"inference.GRPCInferenceService" in services, "reflection lists the service")
    # file_containing_symbol = 4; file_descriptor_response = 4, file_descriptor_proto = 1.
    symbol = b"inference.GRPCInferenceService"
    raw = next(reflect(iter([b"\x22" + bytes([len(symbol)]) + symbol])))
    marker = raw.find(b"\n\x14open_inference.proto")
    ours = descriptor_pb2.FileDescriptorProto()
    ours.ParseFromString(raw[marker:])
    compare(ours)


def fields_of(message, prefix=""):
    """(message, field) -> number, type, label, name of its type; of nested messages, too."""
    found = {}
    for field in message.field:
        found[(prefix + message.name, field.name)] = (field.number, field.type, field.label, field.type_name)
    for nested in message.nested_type:
        found.update(fields_of(nested, prefix + message.name + "."))
    return found


def compare(ours):
    """Every field of ours is the client's, and every field of the service's messages is ours."""
    theirs, config = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(theirs)
    descriptor_pool.Default().FindFileByName("model_config.proto").CopyToProto(config)
    got = {key: value for message in ours.message_type for key, value in fields_of(message).items()}
    known = {key: value for file in (theirs, config) for message in file.message_type
             for key, value in fields_of(message).items()}
    needed = {key for message in theirs.message_type for key in fields_of(message)}
    wrong = [key for key, value in got.items() if known.get(key) != value]
    missing = sorted(needed - set(got))
    check(not wrong and not missing, f"{len(got)} fields are the client's; wrong {wrong}, missing {missing}")
    calls = {(m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming) for m in ours.service[0].method}
    check(calls == {(m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
                    for m in theirs.service[0].method}, f"{len(calls)} calls are the client's")


def open_stream_at_the_end():
    """A client that says nothing must not hold the end for as long as --drain would."""
    server = Served(PROGRAM, "--drain", "1h", "--model", MODELS / "identity_int32.onnx").wait_ready()
    answers = queue.Queue()
    streaming = triton.InferenceServerClient(server.address["gRPC"])
    streaming.start_stream(lambda result, error: answers.put((result, error)))
    streaming.async_stream_infer("identity_int32", [tensor("x", np.array([[7]], np.int32), "INT32")])
    result, error = answers.get(timeout=PATIENCE_S)
    check(error is None and result.as_numpy("y")[0][0] == 7, "an open stream is answered")
    check(server.stop() == 0, "and does not hold the end of the server")
    error = answers.get(timeout=PATIENCE_S)[1]
    check(error is not None and "ending" in str(error), f"but is told: {error}")
    streaming.stop_stream()
    streaming.close()


def main():
    names = ["add_sub", "add_sub_int32", "rows_mixed", "lookup", "identity_bfloat16", *("identity_" + n for n in TYPES)]
    arguments = [a for name in names for a in ("--model", MODELS / f"{name}.onnx")]
    with Served(PROGRAM, "--shared-memory", *arguments) as server:
        client = triton.InferenceServerClient(server.address["gRPC"])
        channel = grpc.insecure_channel(server.address["gRPC"])
        stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata(client)
        types(client, stub)
        inference(client)
        bad_requests(stub)
        streams(server, client)
        repository(client)
        shared_memory(client)
        settings(client)
        with_asyncio(server)
        health_and_reflection(channel)
        client.close()
        channel.close()
        check(server.stop() == 0, "SIGTERM ends it with exit code 0")
    open_stream_at_the_end()
    return exit_code()


if __name__ == "__main__":
    sys.exit(main())
