#!/usr/bin/env python3
"""Writes the tiny ONNX models that the unit tests use into tests/data/models/, and those of `sightline serve` into
tests/data/serving/.

Needs the Python package "onnx" (1.15 or newer); the results are committed, so nobody needs to run
this unless a model is added. The bytes depend on the package's version only in `producer_version`.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "models")
SERVING = os.path.join(OUT, "..", "serving")
FLOAT = TensorProto.FLOAT


def value(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def save(name, nodes, inputs, outputs, weights=(), weights_as_inputs=False, ir_version=8,
         metadata=None, opset=13, inner=(), folder=OUT):
    weights = list(weights)
    inputs = list(inputs)
    if weights_as_inputs:
        # In between, so that a test sees that the order of the rest is kept.
        inputs = inputs[:1] + [value(w.name, list(w.dims), w.data_type) for w in weights] + inputs[1:]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights, value_info=list(inner))
    model = helper.make_model(graph, producer_name="sightline-tests", producer_version="1",
                              opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    for key, text in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    onnx.checker.check_model(model)
    onnx.save(model, os.path.join(folder, name + ".onnx"))
    return model


def blobs_yolox():
    """A detector that really detects: white and red rectangles on a dark or grey ground, as YOLOX rows.

    Input 160x128, so 320 + 80 + 20 rows of 5 + 2 numbers; only stride 8 ever finds anything. Each
    cell looks at the 40x40 pixels around it and takes the moments of the brightness there: the mean
    is the box's centre, the variance its size (a rectangle's is side^2 / 12). The cell that holds
    the centre answers, so a rectangle of up to 32x32 input pixels that is 24 apart from the others
    gives one box, right to about a pixel.
    """
    cells = 0.5 * np.arange(10, dtype=np.float32) - 1.75  # of 4 px, from the cell's edge, in strides
    one = np.ones((10, 10), np.float32)
    x, y = one * cells[None, :], one * cells[:, None]
    # Channels in: how bright (red channel), how blue. Out: sum, x, y, x^2, y^2, blue sum.
    moments = np.zeros((6, 2, 10, 10), np.float32)
    for i, kernel in enumerate((one, x, y, x * x, y * y)):
        moments[i, 0] = kernel
    moments[5, 1] = one
    eps = 1e-3  # where there is nothing, the box lies in the cell's middle
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "pick", "dark"], ["picked"]),          # BGR 0..255; (c / 255 - 0.65) * 8
        node("Clip", ["picked", "zero", "one"], ["bright"]),
        node("AveragePool", ["bright"], ["lit"], kernel_shape=[4, 4], strides=[4, 4]),
        node("Conv", ["lit", "moments", "eps"], ["sums"], strides=[2, 2], pads=[4, 4, 4, 4]),
        node("Split", ["sums", "split6"], ["s", "sx", "sy", "sxx", "syy", "sb"], axis=1),
    ]
    for axis in ("x", "y"):
        nodes += [
            node("Div", ["s" + axis, "s"], ["m" + axis]),
            node("Div", ["s" + axis * 2, "s"], ["raw2" + axis]),
            node("Mul", ["m" + axis, "m" + axis], ["sq" + axis]),
            node("Sub", ["raw2" + axis, "sq" + axis], ["var" + axis]),
            node("Add", ["var" + axis, "own"], ["whole" + axis]),      # a 4 px cell's own variance
            node("Clip", ["whole" + axis, "least"], ["safe" + axis]),
            node("Mul", ["safe" + axis, "twelve"], ["side2" + axis]),
            node("Log", ["side2" + axis], ["log2" + axis]),
            node("Mul", ["log2" + axis, "half"], ["t" + axis]),        # log of the side in strides
            node("Sub", ["m" + axis, "half"], ["off" + axis]),
            node("Abs", ["off" + axis], ["abs" + axis]),
            node("Sub", ["abs" + axis, "half"], ["past" + axis]),
            node("Relu", ["past" + axis], ["out" + axis]),             # how far outside the cell
        ]
    nodes += [
        node("Add", ["outx", "outy"], ["away"]),
        node("Mul", ["away", "minus6"], ["steep"]),
        node("Add", ["steep", "one"], ["lean"]),
        node("Relu", ["lean"], ["near"]),
        node("Mul", ["s", "quarter"], ["much"]),
        node("Clip", ["much", "zero", "most"], ["enough"]),
        node("Mul", ["near", "enough"], ["there"]),
        # A rectangle fills its box; what lies between two of them does not.
        node("Add", ["tx", "ty"], ["logarea"]),
        node("Exp", ["logarea"], ["area"]),
        node("Div", ["s", "area"], ["fill"]),                          # 4 when full
        node("Mul", ["fill", "two"], ["fill2"]),
        node("Add", ["fill2", "minus5"], ["fuller"]),
        node("Clip", ["fuller", "zero", "one"], ["whole"]),
        node("Mul", ["there", "whole"], ["objectness"]),
        node("Div", ["sb", "s"], ["blue"]),
        node("Clip", ["blue", "zero", "one"], ["white"]),
        node("Sub", ["one", "white"], ["red"]),
        node("Concat", ["mx", "my", "tx", "ty", "objectness", "white", "red"], ["map"], axis=1),
        node("Reshape", ["map", "flat"], ["planes"]),
        node("Transpose", ["planes"], ["rows"], perm=[0, 2, 1]),
        node("Pad", ["rows", "pads", "zero"], ["output"]),             # strides 16 and 32 find nothing
    ]
    pick = np.float32([[0, 0, 1], [1, 0, 0]]).reshape(2, 3, 1, 1) / np.float32(255 / 8)
    biases = np.float32([eps, eps / 2, eps / 2, eps / 4, eps / 4, eps / 2])
    scalars = {"zero": 0, "one": 1, "half": 0.5, "quarter": 0.25, "two": 2, "minus5": -5, "minus6": -6, "twelve": 12,
               "own": 0.25 / 12, "least": 1e-3, "most": 0.95}
    weights = [weight(name, np.float32(number)) for name, number in scalars.items()]
    weights += [weight("pick", pick), weight("dark", np.float32([-5.2, -5.2])),
                weight("moments", moments), weight("eps", biases),
                weight("split6", np.int64([1] * 6)), weight("flat", np.int64([1, 7, 320])),
                weight("pads", np.int64([0, 0, 0, 0, 100, 0]))]
    save("blobs_yolox", nodes, [value("images", [1, 3, 128, 160])], [value("output", [1, 420, 7])],
         weights, metadata={"names": "{0: 'white', 1: 'red'}"})


def fixed_batches():
    """Files with a batch of 1 that can be opened, and some whose graphs hold it in ways that cannot."""
    node = helper.make_node

    def shape(name, entries, raw=True):
        # In both forms in which a tensor holds its numbers.
        return numpy_helper.from_array(np.int64(entries), name) if raw else helper.make_tensor(
            name, TensorProto.INT64, [len(entries)], entries)

    def constant(name, entries, raw=True):
        return node("Constant", [], [name], value=shape("", entries, raw))

    picture = value("images", [1, 3, 4, 4])
    weight_2 = weight("two", np.float32(2).reshape(1))
    # Constants and initializers, raw and not, one of them for two nodes; what reshapes a weight stays.
    save("batch_of_one",
         [constant("rows", [1, 3, 16]), node("Reshape", ["images", "rows"], ["a"]),
          node("Reshape", ["a", "square"], ["b"]), node("Reshape", ["b", "flat"], ["c"]),
          constant("again", [1, 3, 16], raw=False), node("Reshape", ["c", "again"], ["d"]),
          node("Reshape", ["d", "flat"], ["e"]), node("Reshape", ["two", "unit"], ["two2"]),
          node("Mul", ["e", "two2"], ["output"])],
         [picture], [value("output", [1, 48])],
         [shape("square", [1, 3, 4, 4], raw=False), shape("flat", [1, -1]), shape("unit", [1, 1]), weight_2],
         metadata={"note": "kept"}, inner=[value("a", [1, 3, 16])])
    # The batch stands in the middle of a shape.
    save("batch_folded",
         [constant("groups", [3, 1, 16]), node("Reshape", ["images", "groups"], ["a"]),
          node("Transpose", ["a"], ["b"], perm=[1, 0, 2]), constant("back", [1, 3, 4, 4]),
          node("Reshape", ["b", "back"], ["output"])], [picture], [value("output", [1, 3, 4, 4])])
    # Runs with any number of pictures, and gives each of them something of the others.
    save("batch_mixed",
         [node("ReduceMean", ["images"], ["mean"], axes=[0], keepdims=1),
          node("Add", ["images", "mean"], ["output"])], [picture], [value("output", [1, 3, 4, 4])])


def serving():
    """Models as simple as they come, for the tests of `sightline serve`."""
    os.makedirs(SERVING, exist_ok=True)
    node = helper.make_node
    # Every element type of the protocol, in whatever shape.
    for name in ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16",
                 "float", "double", "string"):
        dtype = getattr(TensorProto, name.upper())
        save("identity_" + name, [node("Identity", ["x"], ["y"])], [value("x", ["rows", "columns"], dtype)],
             [value("y", ["rows", "columns"], dtype)], folder=SERVING)
    # Rows that know nothing of each other.
    for name, dtype in (("add_sub", FLOAT), ("add_sub_int32", TensorProto.INT32)):
        save(name, [node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]), node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])],
             [value("INPUT0", ["N", 16], dtype), value("INPUT1", ["N", 16], dtype)],
             [value("OUTPUT0", ["N", 16], dtype), value("OUTPUT1", ["N", 16], dtype)],
             folder=SERVING)
    # Rows of which each gets something of the others.
    save("rows_mixed", [node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1), node("Sub", ["x", "mean"], ["y"])],
         [value("x", ["N", 4])], [value("y", ["N", 4])], folder=SERVING)
    # Fails for an index beyond 3, and with it the whole batch.
    save("lookup", [node("Gather", ["table", "index"], ["row"])], [value("index", ["N"], TensorProto.INT64)],
         [value("row", ["N", 2])], [weight("table", np.float32([[0, 1], [10, 11], [20, 21], [30, 31]]))],
         folder=SERVING)


def main():
    os.makedirs(OUT, exist_ok=True)
    blobs_yolox()
    fixed_batches()
    serving()
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
