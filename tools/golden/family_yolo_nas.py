"""Golden of YOLO-NAS: the package super-gradients with made-up weights, its own processing and post-prediction callback.

super-gradients imports packages for training and for the cloud that are not used here; they are replaced by stubs."""

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

import family_common as fc
import golden_files as gf

ARGS = fc.start(__doc__, "super-gradients")
UNUSED = {"boto3", "botocore", "data_gradients", "albumentations", "torchmetrics", "onnxsim", "pkg_resources", "pycocotools", "imagesize", "jsonschema", "stringcase", "rapidfuzz"}


class Anything(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return made_up(name)


def made_up(name):
    class Stub(metaclass=Anything):
        def __init__(self, *args, **kwargs):
            pass

        def __call__(self, *args, **kwargs):
            return args[0] if args else self

        def __getattr__(self, inner):
            if inner.startswith("__"):
                raise AttributeError(inner)
            return made_up(inner)()

    Stub.__name__ = name
    return Stub


class StubModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = made_up(name)
        setattr(self, name, value)
        return value


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in UNUSED or name.startswith("torch.utils.tensorboard"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = StubModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Stubs())
PACKAGED = (Path(ARGS.super_gradients_path) / "super_gradients").is_dir()  # as pip unpacks it, not a checkout
sys.path.insert(0, str(Path(ARGS.super_gradients_path) / ("" if PACKAGED else "src")))
import pkg_resources  # noqa: E402  the stub

pkg_resources.working_set = []
pkg_resources.parse_requirements = lambda *lines: []
pkg_resources.resource_filename = lambda package, file: os.path.join(os.path.dirname(importlib.import_module(package).__file__), file)
os.environ["CRASH_HANDLER"] = "FALSE"

import onnx  # noqa: E402
import torch  # noqa: E402
from super_gradients.training.models.detection_models.yolo_nas.yolo_nas_variants import YoloNAS_S  # noqa: E402
from super_gradients.training.processing.processing import (  # noqa: E402
    ComposeProcessing, DetectionCenterPadding, DetectionLongestMaxSizeRescale, ImagePermute, StandardizeImage)
from super_gradients.training.utils.predict import DetectionPrediction  # noqa: E402
from super_gradients.training.utils.utils import HpmStruct  # noqa: E402

NAMES = ["ball", "cup", "door", "lamp", "shoe"]
SIZES = [(64, 64), (96, 64), (64, 128)]
CONFIDENCE, IOU = 0.25, 0.7


def package_version():
    import importlib.metadata

    return next(d.version for d in importlib.metadata.distributions(path=[ARGS.super_gradients_path]) if d.metadata["Name"] == "super-gradients")


def mapping_of(source_wh, input_wh):
    """tensor = picture * scale + pad, by DetectionLongestMaxSizeRescale and DetectionCenterPadding."""
    factor = min((i - 4) / s for s, i in zip(source_wh, input_wh))
    pad = [(i - round(s * factor)) // 2 for s, i in zip(source_wh, input_wh)]
    return {"scale_x": factor, "scale_y": factor, "pad_x": pad[0], "pad_y": pad[1]}


def yolo_nas(seed):
    name, classes = "yolo_nas", len(NAMES)
    torch.manual_seed(seed)
    net = YoloNAS_S(HpmStruct(num_classes=classes))
    net.eval()

    def processing(input_wh):
        """As for the published weights, which put at most 636 px into 640."""
        width, height = input_wh
        return ComposeProcessing([DetectionLongestMaxSizeRescale(output_shape=(height - 4, width - 4)), DetectionCenterPadding(output_shape=(height, width), pad_value=114),
                                  StandardizeImage(max_value=255.0), ImagePermute(permutation=(2, 0, 1))])

    def preprocess(image, input_wh):
        return np.ascontiguousarray(processing(input_wh).preprocess_image(image)[0], np.float32)

    data = fc.calibration(preprocess, SIZES)
    fc.settle_batch_norm(net, data)
    wanted = []
    for level in range(net.heads.num_heads):
        head = getattr(net.heads, f"head{level + 1}")
        wanted += [(head.reg_pred, np.tile(-0.45 * np.arange(net.heads.reg_max + 1), 4), 1.6), (head.cls_pred, -3.4 - 0.25 * (np.arange(classes) % 3), 1.7)]
    fc.spread(net, data, wanted)
    if hasattr(net, "prep_model_for_conversion"):
        net.prep_model_for_conversion(input_size=(1, 3, 64, 64))
    net.heads.eval_size = None  # otherwise the cells of one size only
    sessions = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "yolo_nas.onnx"
        for size in SIZES:
            torch.onnx.export(net, torch.zeros(1, 3, size[1], size[0]), str(path), opset_version=14, do_constant_folding=True, input_names=["input"], output_names=["boxes", "scores"],
                              dynamic_axes={"input": {0: "batch"}, "boxes": {0: "batch"}, "scores": {0: "batch"}}, dynamo=False)
            metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
            sessions[(size[1], size[0])] = gf.open_session(path)
    run = lambda b: sessions[b.shape[2:]].run(None, {"input": b})
    callback = net.get_post_prediction_callback(conf=CONFIDENCE, iou=IOU, nms_top_k=1024, max_predictions=300, multi_label_per_box=True, class_agnostic_nms=False)

    def answer(raw, input_wh, source_wh):
        rows = callback((torch.from_numpy(raw[0].copy()), torch.from_numpy(raw[1].copy())))[0].numpy()
        steps = processing(input_wh)
        metadata = steps.preprocess_image(np.zeros((source_wh[1], source_wh[0], 3), np.uint8))[1]
        found = DetectionPrediction(bboxes=rows[:, :4], bbox_format="xyxy", confidence=rows[:, 4], labels=rows[:, 5], image_shape=(input_wh[1], input_wh[0]))
        boxes = steps.postprocess_predictions(found, metadata).bboxes_xyxy
        return [{"class_id": int(r[5]), "score": fc.shortest(r[4]), "box_xyxy_px": [fc.shortest(v) for v in box]} for r, box in zip(rows, boxes)]

    head = {
        "family": name, "task": "detect",
        "reference": {"package": "super-gradients" if PACKAGED else "Deci-AI/super-gradients",
                      "version": package_version() if PACKAGED else (Path(ARGS.super_gradients_path) / "COMMIT").read_text().strip(), "what": "YoloNAS_S exported by torch.onnx.export without preprocessing and suppression; processing of the published weights, PPYoloEPostPredictionCallback"},
        "versions": gf.versions("torch", "torchvision", "onnxruntime", "opencv-python-headless", "numpy"), "metadata": metadata,
        "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True, "note": "names are those given at the export; files differ in them"},
        "recipe": {"channels": "rgb", "resize": "other: scaled to fit into (width - 4) x (height - 4) (636 in 640), then centred with pad = floor(free / 2); boxes go back by that pad and the one unrounded factor", "rounding": "nearest",
                   "interpolation": "bilinear", "pad": 114, "mean": [0, 0, 0], "scale": [1 / 255] * 3},
        "outputs": [{"name": "boxes", "dims": ["batch", "cells", "4"], "row": "x1, y1, x2, y2 in px of the input"}, {"name": "scores", "dims": ["batch", "cells", "classes"], "row": "class scores (sigmoid done)"}],
        "classes": classes, "labels": NAMES, "confidence_threshold": CONFIDENCE, "iou_threshold": IOU, "class_aware": True, "multi_label": True, "max_detections": 300,
        "score_rule": "every class of a cell > confidence_threshold is a box of its own",
        "nms_rule": "plain IoU, a box goes when IoU with a kept better one of its class > iou_threshold"}
    golden = fc.Golden(ARGS, name, head)
    golden.interpolation_check(preprocess, SIZES[1])
    judge = fc.judge_detector(head, lambda raw: (raw[0][0], raw[1][0]))
    for number, size in enumerate(SIZES):
        golden.case(size, preprocess, run, answer, judge, ["boxes", "scores"], seed=number)
        case = golden.cases[-1]
        case["entries"] = [{"source_wh": e["source_wh"], "mapping": mapping_of(e["source_wh"], size), "results": e["results"]} for e in case["entries"]]
    golden.write()


if __name__ == "__main__":
    fc.first_that_will_do(yolo_nas, range(3, 13))
