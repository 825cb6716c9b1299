"""Makes INT8 models of an ONNX model, at the command of `sightline models calibrate`.

Usage: quantize.py

Commands come on standard input, one JSON object a line, and are answered on standard output by one line each:

  {"do": "open", "model": FILE, "scratch": FOLDER}
      -> {"layers": [{"name", "op", "kind"}], "versions": {...}}   in the order of the graph; kind: see layers.py
  {"do": "observe", "inputs": [{"name", "dtype", "shape"}, ...]}, followed by their bytes, little-endian, in that order
      -> {}                                                        one picture, as the engine prepares it
  {"do": "make", "method": "minmax" | "entropy" | "percentile", "fp32": [layer, ...], "weights": 8 | 7, "out": FILE}
      -> {"layers": N, "bytes": N}                                 a QDQ model with N layers in INT8

What goes wrong is answered by {"error": SENTENCE}. The end of the input ends the program. Nothing is written but
FILE and what lies in FOLDER; memory is bounded by the model and one picture.
"""
import copy
import json
import os
import pathlib
import sys


def reply(to, **content):
    to.write(json.dumps(content) + "\n")
    to.flush()


# Libraries print; standard output is for answers alone.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.fusions import ReplaceUpsampleWithResize
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from layers import Layers, QUANTISED_OPS
    from value_ranges import METHODS, ValueRange
except ImportError as missing:
    reply(ANSWERS, error=f"this Python ({sys.executable}) lacks a package: {missing}; quantize.py needs those of requirements.txt")
    sys.exit(1)

LEAST_OPSET = 13  # of DequantizeLinear with a scale for each channel
DTYPES = {"float32": np.float32, "float16": np.float16, "uint8": np.uint8, "int64": np.int64}


def opset_of(model):
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def quiet_session(model_bytes):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = os.cpu_count() or 1
    # Every tensor is wanted as the file has it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])


def prepared(file, scratch):
    """The model with batch normalisation folded into the layers, every shape that can be known, and names."""
    model = onnx.load(file)
    opset = opset_of(model)
    if opset < LEAST_OPSET:
        if opset <= 10:
            ReplaceUpsampleWithResize(ONNXModel(model), opset).apply()
        model = onnx.version_converter.convert_version(model, LEAST_OPSET)
    converted, out = (str(pathlib.Path(scratch) / name) for name in ("converted.onnx", "prepared.onnx"))
    onnx.save(model, converted)
    quant_pre_process(converted, out, skip_symbolic_shape=True)
    model = onnx.load(out)
    os.remove(converted)
    os.remove(out)
    taken = {node.name for node in model.graph.node}
    for i, node in enumerate(model.graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{i}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
    return model


class Quantizer:
    def __init__(self, file, scratch):
        self.model = prepared(file, scratch)
        self.layers = Layers(self.model)
        if not self.layers.names:
            raise ValueError("the model has no layer that INT8 is for (Conv, ConvTranspose, Gemm, MatMul with weights)")
        self.ranges = {}
        self.by_method = {}  # ranges, made when they are first wanted
        self.session = None
        self.seen = []

    def _open_session(self):
        """Over the model with every tensor that may be quantised among its outputs."""
        infos = {v.name: v for v in (*self.model.graph.value_info, *self.model.graph.output, *self.model.graph.input)}
        weights = {w.name for w in self.model.graph.initializer}
        tensors = []
        for node in self.model.graph.node:
            if node.op_type not in QUANTISED_OPS:
                continue
            for name in (*node.input, *node.output):
                info = infos.get(name)
                if name in weights or name in self.ranges or info is None:
                    continue
                if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
                    self.ranges[name] = ValueRange()
                    tensors.append(name)
        watched = copy.deepcopy(self.model)
        outputs = {o.name for o in watched.graph.output}
        inputs = {i.name for i in watched.graph.input}
        for name in tensors:
            if name not in outputs and name not in inputs:
                watched.graph.output.append(onnx.ValueInfoProto(name=name, type=onnx.TypeProto(
                    tensor_type=onnx.TypeProto.Tensor(elem_type=onnx.TensorProto.FLOAT))))
        self.session = quiet_session(watched.SerializeToString())
        self.inputs = [name for name in tensors if name in inputs]
        self.seen = [name for name in tensors if name not in inputs]

    def observe(self, feeds):
        if self.session is None:
            self._open_session()
        values = dict(zip(self.seen, self.session.run(self.seen, feeds)))
        values.update((name, feeds[name]) for name in self.inputs)
        self.by_method = {}
        for name, tensor in values.items():
            try:
                self.ranges[name].add(tensor)
            except ValueError as error:
                raise ValueError(f"tensor {name}: {error}") from error

    def make(self, method, in_fp32, weight_bits, out):
        if method not in METHODS:
            raise ValueError(f"{method} is none of {', '.join(METHODS)}")
        if self.session is None:
            raise ValueError("no picture was observed")
        unknown = set(in_fp32) - set(self.layers.names)
        if unknown:
            raise ValueError(f"no layer is called {sorted(unknown)[0]}")
        nodes = self.layers.nodes_to_quantise(set(in_fp32))
        if not nodes:
            raise ValueError("no layer is left for INT8")
        if method not in self.by_method:
            self.by_method[method] = TensorsData(CalibrationMethod.MinMax, {
                name: seen.range_by(method) for name, seen in self.ranges.items() if np.isfinite(seen.lowest)})
        quantizer = QDQQuantizer(
            copy.deepcopy(self.model), per_channel=True, reduce_range=weight_bits == 7, weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8, tensors_range=self.by_method[method],
            nodes_to_quantize=nodes, nodes_to_exclude=[], op_types_to_quantize=list(QUANTISED_OPS), extra_options={})
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        model = quantizer.model.model
        # ONNX Runtime's optimiser lists all of its own domains, though no node is of them.
        used = {node.domain for node in model.graph.node} | {"", "ai.onnx"}
        kept = [opset for opset in model.opset_import if opset.domain in used]
        del model.opset_import[:]
        model.opset_import.extend(kept)
        onnx.checker.check_model(model)
        onnx.save(model, out)
        return len(self.layers.names) - len(set(in_fp32))


def read_feeds(source, inputs):
    feeds = {}
    for tensor in inputs:
        dtype = np.dtype(DTYPES[tensor["dtype"]])
        count = int(np.prod(tensor["shape"], dtype=np.int64))
        data = source.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise EOFError
        feeds[tensor["name"]] = np.frombuffer(data, dtype).reshape(tensor["shape"])
    return feeds


def main():
    source = sys.stdin.buffer
    quantizer = None
    while line := source.readline():
        order = json.loads(line)
        try:
            # First of all: the bytes that follow belong to the order, whatever becomes of it.
            feeds = read_feeds(source, order["inputs"]) if order["do"] == "observe" else None
            if order["do"] == "open":
                quantizer = Quantizer(order["model"], order["scratch"])
                reply(ANSWERS, layers=quantizer.layers.described(), versions={
                    "python": ".".join(map(str, sys.version_info[:3])), "onnx": onnx.__version__,
                    "onnxruntime": onnxruntime.__version__, "numpy": np.__version__})
            elif order["do"] == "observe":
                quantizer.observe(feeds)
                reply(ANSWERS)
            elif order["do"] == "make":
                layers = quantizer.make(order["method"], order["fp32"], order["weights"], order["out"])
                reply(ANSWERS, layers=layers, bytes=os.path.getsize(order["out"]))
            else:
                raise ValueError(f"unknown command {order['do']}")
        except EOFError:
            return
        except OSError as error:
            where = error.filename or "the scratch folder"
            reply(ANSWERS, error=f"{where}: {error.strerror}: set TMPDIR to a folder that can be written and has room")
        except Exception as error:  # whatever a library throws: one sentence for the program above
            words = str(error).strip().splitlines()
            reply(ANSWERS, error=f"{type(error).__name__}: {words[0][:500] if words else ''}")


if __name__ == "__main__":
    main()
