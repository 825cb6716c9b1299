#!/usr/bin/env python3
"""Writes the tiny TorchScript models that the tests use into tests/data/models/.

Needs PyTorch (1.13 or newer; an old one, as newer libraries read what older ones wrote) and the Python
package "onnx". The results are committed, so nobody needs to run this unless a model is added.

    tools/make_torchscript_models.py                        the committed ones
    tools/make_torchscript_models.py --from A.onnx B.torchscript   any ONNX file of the operators below

Those of an ONNX file's name are the same network as that file, weight by weight, which is what lets
backends be compared by them.
"""
import argparse
import json
import os
import typing
import zipfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "models")


def symmetric(pads):
    """ONNX names the beginnings of all axes, then their ends; PyTorch's operators want both equal."""
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise SystemExit(f"pads {pads} are not symmetric")
    return pads[:half]


def max_pool(x, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0)):
    return F.max_pool2d(x, kernel_shape, strides, symmetric(list(pads)))


def average_pool(x, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), count_include_pad=0):
    return F.avg_pool2d(x, kernel_shape, strides, symmetric(list(pads)),
                        count_include_pad=bool(count_include_pad))


class OnnxGraph(torch.nn.Module):
    """The nodes of an ONNX graph, one after the other."""

    def __init__(self, path):
        super().__init__()
        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.outputs = [o.name for o in graph.output]
        self.constants = {}  # shapes, sizes and axes: not weights
        self.names = {}
        for i, tensor in enumerate(graph.initializer):
            self.keep(tensor.name, numpy_helper.to_array(tensor), i)
        inputs = [i for i in graph.input if i.name not in self.names and i.name not in self.constants]
        self.input = inputs[0].name
        self.shape = [d.dim_value or 1 for d in inputs[0].type.tensor_type.shape.dim]

    def keep(self, name, array, number):
        if array.dtype == np.float32:
            self.names[name] = f"w{number}"
            self.register_buffer(f"w{number}", torch.from_numpy(array.copy()))
        self.constants[name] = array

    def forward(self, x):
        values = {self.input: x}
        for name, buffer in self.names.items():
            values[name] = getattr(self, buffer)
        for node in self.nodes:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            given = [values.get(name) for name in node.input]
            fixed = [self.constants.get(name) for name in node.input]
            results = self.run(node.op_type, attributes, given, fixed, len(node.output))
            if not isinstance(results, (list, tuple)):
                results = [results]
            values.update(zip(node.output, results))
        found = tuple(values[name] for name in self.outputs)
        return found if len(found) > 1 else found[0]

    def run(self, op, attributes, given, fixed, outputs):
        x = given[0] if given else None
        simple = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div,
                  "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Exp": torch.exp, "Log": torch.log,
                  "Abs": torch.abs, "Sqrt": torch.sqrt}
        if op in simple:
            return simple[op](*given)
        if op == "Conv":
            return F.conv2d(x, given[1], given[2] if len(given) > 2 else None,
                            attributes.get("strides", [1, 1]),
                            symmetric(list(attributes.get("pads", [0, 0, 0, 0]))),
                            attributes.get("dilations", [1, 1]), attributes.get("group", 1))
        if op == "Clip":
            low = fixed[1] if len(fixed) > 1 else attributes.get("min")
            high = fixed[2] if len(fixed) > 2 else attributes.get("max")
            return torch.clamp(x, None if low is None else float(low),
                               None if high is None else float(high))
        if op in ("AveragePool", "MaxPool"):
            pool = average_pool if op == "AveragePool" else max_pool
            known = ("kernel_shape", "strides", "pads", "count_include_pad")
            return pool(x, **{k: v for k, v in attributes.items() if k in known})
        if op == "Concat":
            return torch.cat(given, attributes["axis"])
        if op == "Split":
            sizes = attributes.get("split")
            if len(fixed) > 1:
                sizes = fixed[1].tolist()
            axis = attributes.get("axis", 0)
            return torch.split(x, sizes or x.shape[axis] // outputs, axis)
        if op == "Transpose":
            return x.permute(attributes["perm"])
        if op == "Reshape":
            wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(fixed[1].tolist())]
            return x.reshape(wanted)
        if op == "Pad":
            pads = fixed[1].tolist()
            half = len(pads) // 2
            flat = []
            for axis in reversed(range(half)):
                flat += [pads[axis], pads[axis + half]]
            return F.pad(x, flat, value=float(fixed[2]) if len(fixed) > 2 else 0.0)
        if op == "Slice":
            starts, ends = fixed[1].tolist(), fixed[2].tolist()
            axes = fixed[3].tolist() if len(fixed) > 3 else range(len(starts))
            steps = fixed[4].tolist() if len(fixed) > 4 else [1] * len(starts)
            for start, end, axis, step in zip(starts, ends, axes, steps):
                index = [slice(None)] * x.dim()
                index[axis] = slice(start, min(end, 2**31), step)
                x = x[tuple(index)]
            return x
        if op == "Resize":
            scales = fixed[2].tolist() if len(fixed) > 2 and fixed[2] is not None else []
            size = None if scales else fixed[3].tolist()[2:]
            if attributes.get("mode", b"nearest") != b"nearest":
                raise SystemExit("only nearest is resized here")
            return F.interpolate(x, size=size, scale_factor=scales[2:] or None)
        raise SystemExit(f"operator {op} is not known here")


def convert(onnx_file, to, notes=None):
    graph = OnnxGraph(onnx_file).eval()
    with torch.no_grad():
        traced = torch.jit.trace(graph, torch.rand(graph.shape) + 0.25)
    save(traced, to, notes)


def save(module, to, notes=None):
    # As Ultralytics writes what it knows of a model.
    extra = {"config.txt": json.dumps(notes)} if notes else {}
    whole = to + ".whole"
    torch.jit.save(module, whole, _extra_files=extra)
    # Without what says in which folder of which machine the code once stood.
    name = os.path.splitext(os.path.basename(to))[0]
    with zipfile.ZipFile(whole) as read, zipfile.ZipFile(to, "w") as write:
        for entry in read.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                copy = zipfile.ZipInfo(f"{name}/{entry.filename.split('/', 1)[1]}")
                copy.compress_type = entry.compress_type
                write.writestr(copy, read.read(entry))
    os.remove(whole)
    print(f"{os.path.getsize(to):8} {to}")


class TwoOutputs(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor):
        total = a + b
        return total, (total.argmax(-1), total.to(torch.float64) * 0.5)


class Dictionary(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> typing.Dict[str, torch.Tensor]:
        return {"out": x}


class OneSize(torch.nn.Module):
    """Takes pictures of 32x48 alone, as a traced detector with its anchors does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("grid", torch.arange(32 * 48, dtype=torch.float32).reshape(1, 1, 32, 48))

    def forward(self, x: torch.Tensor):
        return (x.mean(1, keepdim=True) + self.grid).flatten(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="source", nargs=2, metavar=("ONNX", "TORCHSCRIPT"))
    arguments = parser.parse_args()
    if arguments.source:
        convert(*arguments.source)
        return
    convert(os.path.join(OUT, "conv.onnx"), os.path.join(OUT, "conv.torchscript"))
    convert(os.path.join(OUT, "blobs_yolox.onnx"), os.path.join(OUT, "blobs_yolox.torchscript"),
            {"description": "test", "stride": 8, "imgsz": [128, 160], "batch": 1,
             "names": {"0": "white", "1": "red"}})
    save(torch.jit.script(TwoOutputs()), os.path.join(OUT, "two_outputs.torchscript"))
    save(torch.jit.script(Dictionary()), os.path.join(OUT, "dictionary.torchscript"))
    save(torch.jit.script(OneSize().eval()), os.path.join(OUT, "one_size.torchscript"))


if __name__ == "__main__":
    main()
