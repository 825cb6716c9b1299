"""Whether tools/int8 finds ranges and layers as it says; run by calibrate.py with the interpreter that quantises.

Usage: int8_ranges.py FOLDER_OF_TOOLS
The reference of ranges is onnxruntime.quantization's own collector, over the same values at once.
"""
import sys

sys.path.insert(0, sys.argv[1])
import numpy as np  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.quantization.calibrate import HistogramCollector  # noqa: E402

from layers import Layers  # noqa: E402
from value_ranges import BINS, PERCENTILE, ValueRange  # noqa: E402


def ranges():
    draw = np.random.default_rng(7)
    tensors = {
        "normal": [draw.normal(0, s, 20_000) for s in (1, 3, 2)],
        "after a relu": [np.maximum(draw.normal(0, 2, 20_000), 0) for _ in range(3)],
        "zeros first": [np.zeros(20_000), draw.normal(5, 1, 20_000)],
        "a few far away": [np.append(draw.normal(0, 1, 30_000), 900.0)],
    }
    for what, batches in tensors.items():
        seen = ValueRange()
        for batch in batches:
            seen.add(batch.astype(np.float32))
        everything = np.concatenate(batches).astype(np.float32)
        low, high = seen.range_by("minmax")
        assert (low, high) == (min(everything.min(), 0), max(everything.max(), 0)), what
        collector = HistogramCollector("percentile", False, 8192, 128, PERCENTILE, "same")
        collector.collect({what: everything})
        wanted = collector.compute_collection_result()[what][:2]
        bin_width = 2 * seen.bound / BINS + 2 * float(np.abs(everything).max()) / 8192
        for ours, theirs in zip(seen.range_by("percentile"), (min(wanted[0], 0), max(wanted[1], 0))):
            assert abs(ours - theirs) <= 1.5 * bin_width, (what, ours, theirs, bin_width)
        assert seen.counts.sum() == everything.size, (what, "every value is counted once")
    # One value of 30,000 far away: entropy gives it up, where minmax keeps it.
    assert seen.range_by("entropy")[1] < 300 < seen.range_by("minmax")[1]
    try:
        ValueRange().add(np.array([1, np.nan], np.float32))
        raise AssertionError("not a number was taken")
    except ValueError:
        pass


def layers():
    """picture -> first -> Relu -> depthwise -> x * sigmoid(x) -> plain -> Concat(plain, first) -> prediction -> Exp"""
    weights = lambda name, shape: numpy_helper.from_array(np.ones(shape, np.float32), name)  # noqa: E731
    nodes = [
        helper.make_node("Conv", ["picture", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "deep", group=4),
        helper.make_node("Sigmoid", ["c"], ["d"], "sigmoid"),
        helper.make_node("Mul", ["c", "d"], ["e"], "swish"),
        helper.make_node("Conv", ["e", "w3"], ["f"], "middle"),
        helper.make_node("Concat", ["f", "b"], ["g"], "concat", axis=1),
        helper.make_node("Conv", ["g", "w4"], ["h"], "last"),
        helper.make_node("Sigmoid", ["h"], ["i"], "score"),
        helper.make_node("Exp", ["i"], ["out"], "decode"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2, 8, 8])],
        [weights("w1", (4, 3, 1, 1)), weights("w2", (4, 1, 1, 1)), weights("w3", (4, 4, 1, 1)), weights("w4", (2, 8, 1, 1))])
    found = Layers(helper.make_model(graph))
    assert found.kinds == {"first": "first", "deep": "depthwise", "middle": "plain", "last": "prediction"}, found.kinds
    all_nodes = found.nodes_to_quantise(set())
    assert all_nodes == ["first", "relu", "deep", "sigmoid", "swish", "middle", "concat", "last"], all_nodes
    without = found.nodes_to_quantise({"deep"})
    assert without == ["first", "relu", "middle", "concat", "last"], "with a layer goes its activation"
    assert found.nodes_to_quantise({"first", "deep", "last"}) == ["middle"]
    assert found.nodes_to_quantise({"first", "deep", "middle", "last"}) == []


ranges()
layers()
print("ranges and layers are as they should be")
