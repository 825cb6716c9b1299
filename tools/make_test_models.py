#!/usr/bin/env python3
"""Writes the tiny ONNX models that the unit tests use into tests/data/models/.

Needs the Python package "onnx" (1.15 or newer); the results are committed, so nobody needs to run
this unless a model is added. The bytes depend on the package's version only in `producer_version`.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "models")
FLOAT = TensorProto.FLOAT


def value(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def save(name, nodes, inputs, outputs, weights=(), weights_as_inputs=False, ir_version=8,
         metadata=None, opset=13):
    weights = list(weights)
    inputs = list(inputs)
    if weights_as_inputs:
        # In between, so that a test sees that the order of the rest is kept.
        inputs = inputs[:1] + [value(w.name, list(w.dims), w.data_type) for w in weights] + inputs[1:]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, producer_name="sightline-tests", producer_version="1",
                              opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    for key, text in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    onnx.checker.check_model(model)
    onnx.save(model, os.path.join(OUT, name + ".onnx"))
    return model


def main():
    os.makedirs(OUT, exist_ok=True)
    conv_weight = (np.arange(4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3) - 50) / 100
    conv = [helper.make_node("Conv", ["images", "w", "b"], ["c"], kernel_shape=[3, 3],
                             strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["output"])]
    conv_weights = [weight("w", conv_weight), weight("b", np.float32([0.5, -0.5, 1, 0]))]

    save("conv", conv, [value("images", [1, 3, 8, 8])], [value("output", [1, 4, 4, 4])], conv_weights,
         metadata={"names": "{0: 'person', 1: 'car'}", "stride": "2"})
    save("conv_weights_as_inputs", conv, [value("images", [1, 3, 8, 8])],
         [value("output", [1, 4, 4, 4])], conv_weights, weights_as_inputs=True, ir_version=4,
         metadata={"note": "kept"})
    # Before IR version 4 every weight had to be listed among the inputs.
    save("conv_ir3", conv, [value("images", [1, 3, 8, 8])], [value("output", [1, 4, 4, 4])],
         conv_weights, weights_as_inputs=True, ir_version=3)

    # Batch and size are free; the output's are known from the input's by name.
    save("dynamic", [helper.make_node("Mul", ["x", "two"], ["y"])],
         [value("x", ["N", 3, "H", "W"])], [value("y", ["N", 3, "H", "W"])],
         [weight("two", np.float32(2))])
    # How many rows come out depends on the values.
    save("data_dependent", [helper.make_node("NonZero", ["x"], ["where"])],
         [value("x", [1, 8])], [value("where", [2, "found"], TensorProto.INT64)])
    save("two_inputs", [helper.make_node("Add", ["a", "b"], ["sum"]),
                        helper.make_node("Sub", ["a", "b"], ["difference"])],
         [value("a", [2, 3]), value("b", ["rows", 3])],
         [value("sum", [2, 3]), value("difference", [2, 3])])
    save("half", [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT8)],
         [value("x", [1, 4], TensorProto.FLOAT16)], [value("y", [1, 4], TensorProto.UINT8)])
    # A sequence comes out, as classic machine learning exporters write it.
    sequence = helper.make_tensor_sequence_value_info("parts", FLOAT, None)
    save("sequence", [helper.make_node("SplitToSequence", ["x"], ["parts"], axis=1)],
         [value("x", [1, 4])], [sequence])

    # Declares [4, 2] and gives [2, 4], as some exporters do. The checker does not notice: the shape
    # comes from a value.
    save("wrong_shape", [helper.make_node("Reshape", ["x", "shape"], ["y"])],
         [value("x", [1, 8]), value("shape", [2], TensorProto.INT64)], [value("y", [4, 2])])

    # Weights in a file beside the model, and in one outside its folder.
    for name, location in (("external", "external.bin"), ("external_escape", "../../secret.bin")):
        tensor = TensorProto(name="w", data_type=FLOAT, dims=[1, 4],
                             data_location=TensorProto.EXTERNAL)
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], name,
                                  [value("x", [1, 4])], [value("y", [1, 4])], [tensor])
        model = helper.make_model(graph, producer_name="sightline-tests",
                                  opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        with open(os.path.join(OUT, name + ".onnx"), "wb") as file:
            file.write(model.SerializeToString())
    total = sum(os.path.getsize(os.path.join(OUT, f)) for f in os.listdir(OUT))
    print(f"{len(os.listdir(OUT))} models, {total} bytes in {os.path.normpath(OUT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
