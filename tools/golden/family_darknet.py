"""Goldens of YOLOv3 and YOLOv4 in the forms that Darknet's weights are exported to. OpenCV's own reading of Darknet files is
the reference for maps as they are before the last layer; the forms of the ONNX model zoo are read by the code of its README
files, from a checkout of onnx/models. The networks are small, with made-up weights; their last layers and anchors are those of
AlexeyAB/darknet's cfg files."""

import ast
import struct
import tempfile
from pathlib import Path

import numpy as np

import family_common as fc
import golden_files as gf

ARGS = fc.start(__doc__, "darknet", "onnx-models")

import cv2  # noqa: E402  older than 5: later ones do not read Darknet's files

NAMES = ["ball", "cup", "door", "lamp"]
CLASSES, NUMBERS = len(NAMES), 5 + len(NAMES)
SIZES = [(64, 64), (64, 32), (32, 64)]
SQUARE = [(64, 64), (96, 96), (32, 32)]  # the zoo's code for YOLOv4 takes square inputs alone
CONFIDENCE, IOU = 0.25, 0.45
STRETCH = {"channels": "rgb", "resize": "stretch", "rounding": "floor", "interpolation": "bilinear", "pad": 0, "mean": [0, 0, 0], "scale": [1 / 255] * 3}
VERSIONS = gf.versions("onnxruntime", "opencv-python-headless", "numpy", "pillow")


def commit_of(path):
    return (Path(path) / "COMMIT").read_text().strip()


def yolo_blocks(cfg):
    """The [yolo] blocks of a cfg, as text but for the number of classes, by falling stride if the cfg has them so."""
    blocks = [b.split("\n\n[")[0] for b in (Path(ARGS.darknet_path) / "cfg" / f"{cfg}.cfg").read_text().split("[yolo]")[1:]]
    return ["[yolo]" + "\n".join(f"classes={CLASSES}" if l.replace(" ", "").startswith("classes=") else l for l in b.splitlines()) for b in blocks]


def settings_of(block):
    pairs = [l.split("=") for l in block.splitlines() if "=" in l and not l.startswith("#")]
    found = {k.strip(): v.strip() for k, v in pairs}
    numbers = [float(v) for v in found["anchors"].split(",")]
    return [(numbers[2 * int(m)], numbers[2 * int(m) + 1]) for m in found["mask"].split(",")], found


def operators_of(cfg):
    """How often an export of the cfg has the operators that tell the versions apart."""
    text = (Path(ARGS.darknet_path) / "cfg" / f"{cfg}.cfg").read_text().replace(" ", "")
    counts = {"LeakyRelu": text.count("activation=leaky"), "MaxPool": text.count("[maxpool]"), "Softplus": text.count("activation=mish")}
    return {k: v for k, v in counts.items() if v}


def convolution(filters, size, stride, activation):
    return f"[convolutional]\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation={activation}\n"


class Network:
    """Convolutions that halve the picture, and a [yolo] layer of the cfg at each of its strides."""

    def __init__(self, cfg, seed, objectness=-4.2):
        blocks = sorted(yolo_blocks(cfg), key=lambda b: min(settings_of(b)[0]))  # the smallest stride first
        self.strides = [8, 16, 32][-len(blocks):]
        self.anchors = [settings_of(b)[0] for b in blocks]
        self.objectness = objectness
        rng = np.random.default_rng(seed)
        self.layers, self.text, channels, wanted = [], "", 3, dict(zip(self.strides, blocks))
        self.lasts, self.yolos, count = [], [], 0
        for stride in (2, 4, 8, 16, 32):
            filters = 10 + stride // 2
            self.text += convolution(filters, 3, 2, "leaky")
            self.layers.append([np.zeros(filters), rng.normal(0, np.sqrt(2 / (9 * channels)), (filters, channels, 3, 3))])
            channels, count = filters, count + 1
            if stride in wanted:
                self.text += convolution(3 * NUMBERS, 1, 1, "linear") + wanted[stride] + "\n[route]\nlayers=-3\n"
                self.layers.append([np.zeros(3 * NUMBERS), rng.normal(0, 1, (3 * NUMBERS, filters, 1, 1))])
                self.lasts.append((len(self.layers) - 1, f"conv_{count}"))
                self.yolos.append(f"yolo_{count + 1}")
                count += 3
        self.nets, self.rows = {}, {}
        for level, (layer, name) in enumerate(self.lasts):
            seen = np.concatenate([self.net(size).run(b, [name])[0].transpose(1, 0, 2, 3).reshape(3 * NUMBERS, -1) for size in SIZES for b in calibration(size)], 1)
            mean, deviation = self.wanted_of(level)
            factor = deviation / np.maximum(seen.std(1), 1e-6)
            self.layers[layer][1] *= factor[:, None, None, None]
            self.layers[layer][0] = mean - seen.mean(1) * factor
            self.nets.clear()

    def wanted_of(self, level):
        """Means and deviations of a level's channels: boxes of 12 to 40 px whatever the anchors, some objects, some of each class."""
        mean, deviation = [], []
        for width, height in self.anchors[level]:
            size = 14 + 10 * level
            mean += [0, 0, np.log(size / width), np.log(size / height), self.objectness] + [0.8 - 0.3 * (i % 3) for i in range(CLASSES)]
            deviation += [1.2, 1.2, 0.35, 0.35, 2.8] + [1.8] * CLASSES
        return np.array(mean), np.array(deviation)

    def net(self, size):
        if size not in self.nets:
            with tempfile.TemporaryDirectory() as folder:
                cfg, weights = Path(folder) / "net.cfg", Path(folder) / "net.weights"
                cfg.write_text(f"[net]\nwidth={size[0]}\nheight={size[1]}\nchannels=3\nbatch=1\n{self.text}")
                numbers = np.concatenate([np.concatenate([bias.ravel(), kernel.ravel()]) for bias, kernel in self.layers])
                weights.write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + numbers.astype("<f4").tobytes())
                net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
            net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
            self.nets[size] = Runner(net)
        return self.nets[size]

    def run(self, batch):
        """The maps before the [yolo] layers, by rising stride; what these layers make of them is remembered."""
        size = (batch.shape[3], batch.shape[2])
        found = self.net(size).run(batch, [name for _, name in self.lasts] + self.yolos)
        maps, rows = found[: len(self.lasts)], found[len(self.lasts) :]
        for i in range(len(batch)):
            self.rows[maps[0][i].tobytes()] = np.concatenate([r.reshape(len(batch), -1, NUMBERS)[i] for r in rows])
        return maps

    def rows_of(self, smallest_stride_map):
        return self.rows[np.ascontiguousarray(smallest_stride_map).tobytes()]


class Runner:
    def __init__(self, net):
        self.net = net

    def run(self, batch, names):
        self.net.setInput(np.ascontiguousarray(batch, np.float32))
        return [np.array(o) for o in self.net.forward(names)]


def stretched(image, input_wh):
    """As the samples of OpenCV for Darknet: blobFromImage(..., 1 / 255, size, swapRB)."""
    return cv2.dnn.blobFromImage(np.ascontiguousarray(image[..., ::-1]), 1 / 255, input_wh, swapRB=True, crop=False)[0]


def calibration(size):
    return [np.stack([stretched(fc.picture(*s, [1, *s, *size, i]), size) for s in fc.sources_for(size) for i in range(4)])]


def nearly_filling(size):
    """Sources that leave less padding than a cell, since all that is padding gives one score, and an even number of px of it."""
    width, height = size
    return [(width, height - 4), (width - 8, height), (2 * width, 2 * height - 16), (width + width // 2, height + height // 2)]


def result(class_id, score, box):
    return {"class_id": int(class_id), "score": fc.shortest(score), "box_xyxy_px": [fc.shortest(v) for v in box]}


def head_of(name, reference, recipe, outputs, **more):
    return {"family": name, "task": "detect", "reference": reference, "versions": VERSIONS, "metadata": {},
            "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "names are made up; files differ in them"},
            "recipe": recipe, "outputs": outputs, "classes": CLASSES, "labels": NAMES, "confidence_threshold": CONFIDENCE, "iou_threshold": IOU,
            "class_aware": True, "max_detections": None,
            "score_rule": "objectness * best class > confidence_threshold; the best class of a row only",
            "nms_rule": "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold", **more}


def maps(seed, name, cfg, order, dims):
    """order: of the outputs, by rising stride; dims: of an output."""
    network = Network(cfg, seed)
    levels = range(len(network.strides))
    levels = list(levels) if order == "rising" else list(levels)[::-1]
    as_given = (lambda m: m) if dims[1] == "3 * (5 + classes)" else (lambda m: m.transpose(0, 2, 3, 1))
    first = levels.index(0)

    def smallest(raw):
        return raw[first][0] if as_given(raw[first]) is raw[first] else raw[first][0].transpose(2, 0, 1)

    def run(batch):
        found = network.run(batch)
        return [np.ascontiguousarray(as_given(found[l])) for l in levels]

    def candidates(raw, input_wh):
        rows = network.rows_of(smallest(raw))
        return fc.centre_to_corners(rows[:, :4] * np.array([*input_wh, *input_wh])), rows[:, 5:]

    def answer(raw, input_wh, source_wh):
        rows = network.rows_of(smallest(raw))
        size = np.array([*source_wh, *source_wh], np.float64)
        boxes = rows[:, :4] * size
        boxes[:, :2] -= boxes[:, 2:] / 2
        best = rows[:, 5:].argmax(1)
        scores = rows[np.arange(len(rows)), 5 + best]
        kept = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), best.tolist(), CONFIDENCE, IOU)
        found = [result(best[i], scores[i], [*boxes[i, :2], *(boxes[i, :2] + boxes[i, 2:])]) for i in kept]
        return sorted(found, key=lambda r: -r["score"])

    outputs = [{"name": f"map_{network.strides[l]}", "dims": dims, "row": "x, y, w, h, objectness, class scores of each anchor, as the last convolution gives them"} for l in levels]
    head = head_of(name, {"package": "opencv-python-headless", "version": cv2.__version__, "what": f"a small network with the [yolo] layers of cfg/{cfg}.cfg (AlexeyAB/darknet {commit_of(ARGS.darknet_path)}), read by readNetFromDarknet; the rows of those layers, NMSBoxesBatched"},
                   STRETCH, outputs, strides=[network.strides[l] for l in levels], anchors_px=[list(a) for level in network.anchors for a in level],
                   operators=operators_of(cfg), decoding="what OpenCV's Region layer does; anchors_px by rising stride are the family's own")
    golden = fc.Golden(ARGS, name, head)
    golden.interpolation_check(stretched, SIZES[1])
    for number, size in enumerate(SIZES):
        judge = fc.judge_detector(head, lambda raw, size=size: candidates(raw, size))
        golden.case(size, stretched, run, answer, judge, [o["name"] for o in outputs], seed=seed + number)
    golden.write()


def functions_of(readme, names, changes=()):
    """Functions out of the Python in a README, by name, with pieces of text replaced."""
    import PIL.Image
    from scipy import special

    scope = {"np": np, "cv2": cv2, "special": special, "Image": PIL.Image}
    text = (Path(ARGS.onnx_models_path) / readme).read_text()
    for code in text.split("```python\n")[1:]:
        code = code.split("```")[0].replace("np.float)", "np.float64)")
        for old, new in changes:
            code = code.replace(old, new)
        tree = ast.parse(code)
        tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
        exec(compile(tree, readme, "exec"), scope)
    return [scope[n] for n in names]


def zoo_yolov4(seed):
    name = "yolov4_zoo"
    readme = "validated/vision/object_detection_segmentation/yolov4/README.md"
    text = (Path(ARGS.onnx_models_path) / readme).read_text()
    clipping = text[text.index("    # (3) clip") : text.index("    # (4) discard")]
    prepare, decode, boxes_of, suppress = functions_of(readme, ["image_preprocess", "postprocess_bbbox", "postprocess_boxes", "nms"], [(clipping, "")])
    suppress.__globals__.update(bboxes_iou=functions_of(readme, ["bboxes_iou"])[0])
    network = Network("yolov4", seed, objectness=-4.5)
    anchors = np.array(network.anchors, np.float32)
    def preprocess(image, input_wh):
        return np.ascontiguousarray(prepare(np.copy(image), [input_wh[1], input_wh[0]]).transpose(2, 0, 1), np.float32)

    def run(batch):
        found = []
        for m in network.run(batch):
            m = m.reshape(len(m), 3, NUMBERS, *m.shape[2:]).transpose(0, 3, 4, 1, 2).copy()
            m[..., 4:] = 1 / (1 + np.exp(-m[..., 4:]))
            found.append(m)
        return found

    def rows_of(raw):
        return decode([r.copy() for r in raw], anchors, np.array([8, 16, 32]), [1.2, 1.1, 1.05])

    def answer(raw, input_wh, source_wh):
        found = boxes_of(rows_of(raw), (source_wh[1], source_wh[0]), input_wh[0], CONFIDENCE)
        kept = suppress(found, IOU, method="nms")
        return sorted((result(r[5], r[4], r[:4]) for r in kept), key=lambda r: -r["score"])

    def candidates(raw):
        rows = rows_of(raw)
        return fc.centre_to_corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5:]

    outputs = [{"name": f"Identity{'' if i == 0 else f'_{i}'}:0", "dims": ["batch", f"height / {s}", f"width / {s}", "3", "5 + classes"], "row": "x, y, w, h as the last convolution gives them; objectness, class scores (sigmoid done)"} for i, s in enumerate((8, 16, 32))]
    recipe = {**STRETCH, "resize": "letterbox_center", "pad": 128}
    head = head_of(name, {"package": "onnx/models", "version": commit_of(ARGS.onnx_models_path), "what": f"image_preprocess, postprocess_bbbox, postprocess_boxes (clipping taken out), nms of {readme}; maps of a small network by OpenCV, in the form that it states, the sigmoid of the scores done"},
                   recipe, outputs, operators=operators_of("yolov4"))
    golden = fc.Golden(ARGS, name, head)
    golden.interpolation_check(preprocess, SQUARE[1])
    before, fc.sources_for = fc.sources_for, nearly_filling
    for number, size in enumerate(SQUARE):
        golden.case(size, preprocess, run, answer, fc.judge_detector(head, candidates), [o["name"] for o in outputs], seed=seed + number)
    fc.sources_for = before
    golden.write()


def zoo_yolov3(seed):
    """Boxes and scores as keras-yolo3 has them, of the rows of OpenCV's layers; ONNX's own operator chooses, as in the zoo's graph."""
    import onnx
    import PIL.Image

    name = "yolov3_zoo"
    readme = "validated/vision/object_detection_segmentation/yolov3/README.md"
    letterbox = functions_of(readme, ["letterbox_image"])[0]
    text = (Path(ARGS.onnx_models_path) / readme).read_text()
    chosen = text[text.index("out_boxes, out_scores, out_classes = [], [], []") :].split("```")[0]
    network = Network("yolov3", seed, objectness=-5)  # every class of a row may be a result
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph([helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["indices"])], "choice",
                              [helper.make_tensor_value_info("boxes", kind.FLOAT, [1, None, 4]), helper.make_tensor_value_info("scores", kind.FLOAT, [1, CLASSES, None])],
                              [helper.make_tensor_value_info("indices", kind.INT64, [None, 3])],
                              [helper.make_tensor("most", kind.INT64, [1], [20]), helper.make_tensor("iou", kind.FLOAT, [1], [IOU]), helper.make_tensor("least", kind.FLOAT, [1], [CONFIDENCE])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(model, file.name)
        session = gf.open_session(file.name)

    def preprocess(image, input_wh):
        boxed = letterbox(PIL.Image.fromarray(image), input_wh)
        return np.ascontiguousarray((np.array(boxed, dtype="float32") / 255.0).transpose(2, 0, 1))

    def one(tensor, source_wh):
        rows = network.rows_of(network.run(tensor[None])[0][0])
        width, height = tensor.shape[2], tensor.shape[1]
        scale = min(width / source_wh[0], height / source_wh[1])
        shape = np.round(np.array(source_wh) * scale)  # yolo_correct_boxes
        offset = (np.array([width, height]) - shape) / 2
        centre = (rows[:, :2] * [width, height] - offset) / shape * source_wh
        half = rows[:, 2:4] * [width, height] / shape * source_wh / 2
        boxes = np.concatenate([(centre - half)[:, ::-1], (centre + half)[:, ::-1]], 1).astype(np.float32)[None]
        scores = np.ascontiguousarray(rows[:, 5:].T.astype(np.float32))[None]
        return [boxes, scores, session.run(None, {"boxes": boxes, "scores": scores})[0]]

    def answer(raw):
        scope = {"boxes": raw[0], "scores": raw[1], "indices": raw[2]}
        exec(compile(chosen, readme, "exec"), scope)
        found = zip(scope["out_classes"], scope["out_scores"], scope["out_boxes"])
        return sorted((result(c, s, b[[1, 0, 3, 2]]) for c, s, b in found), key=lambda r: -r["score"])

    outputs = [{"name": "yolonms_layer_1/ExpandDims_1:0", "dims": ["1", "rows", "4"], "row": "y1, x1, y2, x2 in px of the source"},
               {"name": "yolonms_layer_1/ExpandDims_3:0", "dims": ["1", "classes", "rows"], "row": "objectness * class (sigmoid done)"},
               {"name": "yolonms_layer_1/concat_2:0", "dims": ["boxes", "3"], "row": "picture, class, row", "dtype": "int64", "note": "int32 in the zoo's files"}]
    head = head_of(name, {"package": "onnx/models", "version": commit_of(ARGS.onnx_models_path), "what": f"letterbox_image and the choice by indices of {readme}; boxes and scores of the [yolo] layers of a small network by OpenCV, in the form that it states, suppressed by ONNX Runtime's NonMaxSuppression"},
                   {**STRETCH, "resize": "letterbox_center", "interpolation": "cubic (Pillow)", "pad": 128}, outputs, unbatched=True,
                   other_inputs=[{"name": "image_shape", "dtype": "float32", "row": "height, width of the source"}])
    head["score_rule"] = "the indices say which class of which row is a result"
    head["nms_rule"] = "done in the graph"
    golden = fc.Golden(ARGS, name, head)
    golden.interpolation_check(preprocess, SIZES[1])
    for number, size in enumerate(SIZES):
        entries = []
        for source_number, source_wh in enumerate(nearly_filling(size)):
            why = {}
            for attempt in range(1500):
                raw = one(preprocess(fc.picture(*source_wh, [seed, number, source_number, attempt]), size), source_wh)
                suppressed = fc.judge_suppression(raw[0][0], raw[1][0].T, CONFIDENCE, IOU, True, True)
                found = answer(raw)
                verdict = suppressed or fc.judge_results(found) or ("nothing suppressed" if (raw[1] > CONFIDENCE).sum() <= len(found) else None)
                if verdict is None:
                    break
                why[verdict] = why.get(verdict, 0) + 1
            else:
                gf.refuse(f"{name} {size} {source_wh}: {sorted(why.items(), key=lambda x: -x[1])[:5]}")
            entries.append({"source_wh": list(source_wh), "raw": [{"name": o["name"], "shape": list(r.shape), "offset": golden.add(r)} for o, r in zip(outputs, raw)], "results": found})
        golden.cases.append({"input_wh": list(size), "raw": [], "entries": entries})
    golden.write()


def main():
    channels, last = ["batch", "3 * (5 + classes)", "rows", "columns"], ["batch", "rows", "columns", "3 * (5 + classes)"]
    makers = {"yolov3_maps": lambda s: maps(s, "yolov3_maps", "yolov3", "falling", channels),
              "yolov3_tiny_maps": lambda s: maps(s, "yolov3_tiny_maps", "yolov3-tiny", "falling", last),
              "yolov4_maps": lambda s: maps(s, "yolov4_maps", "yolov4", "rising", channels),
              "yolov4_tiny_maps": lambda s: maps(s, "yolov4_tiny_maps", "yolov4-tiny", "falling", channels),
              "yolov4_zoo": zoo_yolov4, "yolov3_zoo": zoo_yolov3}
    for name, make in makers.items():
        if fc.wanted(ARGS, name) and ARGS.darknet_path and (ARGS.onnx_models_path or not name.endswith("zoo")):
            fc.first_that_will_do(make, range(3, 13))


if __name__ == "__main__":
    main()
