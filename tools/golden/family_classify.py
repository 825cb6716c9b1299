#!/usr/bin/env python3
"""Golden results of classification: torchvision's ResNet, MobileNetV3, EfficientNet, and timm's ViT, random weights."""

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms._presets import ImageClassification

import family_writer as fw
import golden_files as gf

SIZES = [(64, 64), (96, 64), (64, 128)]
SOURCES = [(77, 50), (60, 91), (130, 130), (41, 64)]
CLASSES = 10


def preset(width, height):
    """torchvision's own preset; 256 : 224 is kept, and the crop may be oblong."""
    made = ImageClassification(crop_size=0, resize_size=0)
    made.crop_size = [height, width]
    made.resize_size = [round(max(width, height) * 256 / 224)]
    return made


class Seen(torch.nn.Module):
    """A network and the activation that some exports append."""

    def __init__(self, network, activation):
        super().__init__()
        self.network, self.activation = network, activation

    def forward(self, x):
        return self.activation(self.network(x))


def results_of(row, rule, threshold):
    values = torch.from_numpy(row)
    if rule == "logits":
        values = torch.softmax(values, 0)
    if rule == "sigmoid_of_logits":
        values = torch.sigmoid(values)
    values = values.numpy()
    order = np.argsort(-values, kind="stable")
    if threshold is not None:
        order = [i for i in order if values[i] > threshold]
    return [{"class_id": int(i), "score": round(float(values[i]), 6)} for i in order], values


def make(name, build, what, rule, activation, transform_of, recipe, packages, threshold=None):
    golden = fw.Golden(name)
    cases, metadata = [], {}
    for width, height in SIZES:
        network, last = build(width, height)
        transform = transform_of(width, height)

        def tensor(image):
            return transform(Image.fromarray(image)).numpy()

        warm = np.stack([tensor(fw.picture(900 + i, 90, 70)) for i in range(8)])
        fw.calibrate(network, torch.from_numpy(warm))
        with torch.no_grad():
            fw.liven(last, network(torch.from_numpy(warm)), 1, 1.5)
        model = Seen(network, activation).eval()
        axes = {"input": {0: "batch"}, "output": {0: "batch"}}
        session, metadata = fw.export(model, (torch.from_numpy(warm[:1]),), ["input"], ["output"], axes)
        tensors = []
        for index, wh in enumerate(SOURCES):
            for seed in range(index * 100, index * 100 + 100):
                x = tensor(fw.picture(seed, *wh))[None]
                out = session.run(None, {"input": x})[0][0]
                results, values = results_of(out, rule, threshold)
                gaps = -np.diff(np.sort(values)[::-1])
                if threshold is None and gaps.min() > 5e-5 and gaps[0] > 0.02 and values.max() < 0.97:
                    break
                if threshold is not None and fw.scores_clear(values, threshold) and len(results) >= 2:
                    if fw.check_results(results, low=2) == "":
                        break
            else:
                gf.refuse(f"{name}: no picture with clear scores")
            tensors.append(x)
        raw = fw.run_batch(lambda x: session.run(None, {"input": x}), tensors)[0]
        with torch.no_grad():
            if not fw.nearly(raw, model(torch.from_numpy(np.concatenate(tensors))).numpy(), 1e-3):
                gf.refuse("ONNX and torch differ")
        entries = [
            {"source_wh": list(wh), "results": results_of(raw[i], rule, threshold)[0]} for i, wh in enumerate(SOURCES)
        ]
        cases.append({"input_wh": [width, height], recipe["key"]: recipe["shorter"](width, height),
                      "raw": [golden.raw("output", raw)], "entries": entries})
    width, height = SIZES[1]
    check_transform = transform_of(width, height)
    check = golden.interpolation_check(lambda im: check_transform(Image.fromarray(im)).numpy(), (width, height))
    check[recipe["key"]] = recipe["shorter"](width, height)
    head = {
        "family": name, "task": "classify", "reference": what, "versions": gf.versions("torch", *packages),
        "metadata": metadata,
        "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "recipe": {k: v for k, v in recipe.items() if k not in ("shorter", "key")},
        "outputs": [{"name": "output", "dims": ["batch", "classes"],
                     "values": "logits" if "logits" in rule else "probabilities"}],
        "classes": CLASSES,
        "confidence_threshold": threshold,
        "score_rule": {"logits": "softmax over the classes", "softmax": "as the model gives it: softmax is inside",
                       "sigmoid": "as the model gives it: sigmoid is inside; every class with score > threshold",
                       "sigmoid_of_logits": "sigmoid of the logits; every class with score > threshold"}[rule],
        "batch_1_equal": True, "interpolation_check": check, "cases": cases,
    }
    golden.write(head)


def torchvision_net(maker, last):
    def build(_width, _height):
        torch.manual_seed(1)
        network = maker(weights=None, num_classes=CLASSES)
        return network.eval(), last(network)

    return build


PRESET = {
    "channels": "rgb", "resize": "other: shorter side to resize_shorter_to (longer side int(shorter * long / short)), "
    "then centre crop: top = int(round((h - crop_h) / 2)), left likewise", "rounding": "floor",
    "interpolation": "bilinear with antialias, on 8-bit pixels (Pillow)", "pad": None,
    "mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)],
    "key": "resize_shorter_to", "shorter": lambda w, h: preset(w, h).resize_size[0],
}


def main():
    torch.set_num_threads(1)
    models = torchvision.models

    def reference(what):
        return {"package": "torchvision", "version": torchvision.__version__.split("+")[0], "what": what}

    make("classify_logits", torchvision_net(models.resnet18, lambda n: n.fc),
         reference("resnet18; transforms._presets.ImageClassification"), "logits", torch.nn.Identity(), preset, PRESET,
         ["torchvision", "pillow", "onnx", "onnxruntime"])
    make("classify_softmax", torchvision_net(models.mobilenet_v3_small, lambda n: n.classifier[-1]),
         reference("mobilenet_v3_small with softmax"), "softmax", torch.nn.Softmax(1), preset, PRESET,
         ["torchvision", "pillow", "onnx", "onnxruntime"])
    make("classify_multilabel", torchvision_net(models.efficientnet_b0, lambda n: n.classifier[-1]),
         reference("efficientnet_b0 with sigmoid"), "sigmoid", torch.nn.Sigmoid(), preset, PRESET,
         ["torchvision", "pillow", "onnx", "onnxruntime"], threshold=0.5)

    make("classify_multilabel_logits", torchvision_net(models.efficientnet_b0, lambda n: n.classifier[-1]),
         reference("efficientnet_b0, sigmoid by torch behind it"), "sigmoid_of_logits", torch.nn.Identity(), preset, PRESET,
         ["torchvision", "pillow", "onnx", "onnxruntime"], threshold=0.5)

    import timm
    import timm.data

    def vit(width, height):
        torch.manual_seed(3)
        network = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(height, width),
                                    num_classes=CLASSES)
        return network.eval(), network.head

    def vit_transform(width, height):
        config = timm.data.resolve_data_config({"input_size": (3, height, width)}, model=vit(width, height)[0])
        return timm.data.create_transform(**config)

    def vit_resize(width, height):
        size = vit_transform(width, height).transforms[0].size
        return [int(size[-1]), int(size[0])] if isinstance(size, (tuple, list)) else size

    recipe = dict(PRESET, mean=[127.5] * 3, scale=[1 / 127.5] * 3, shorter=vit_resize, key="resize_to_cover_wh",
                  resize="other: by the larger of the two ratios to resize_to_cover_wh, sides rounded, ratio kept (an "
                  "int: shorter side to it), then centre crop: top = int(round((h - crop_h) / 2)), left likewise",
                  interpolation="cubic with antialias, on 8-bit pixels (Pillow)")
    make("classify_vit", vit, {"package": "timm", "version": timm.__version__,
                               "what": "vit_tiny_patch16_224; data.create_transform"},
         "logits", torch.nn.Identity(), vit_transform, recipe, ["timm", "torchvision", "pillow", "onnx", "onnxruntime"])


main()
