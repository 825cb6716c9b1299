#!/usr/bin/env python3
"""Golden results of semantic segmentation: torchvision's DeepLabV3 and the U-Net of segmentation-models-pytorch."""

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torchvision
from PIL import Image
from segmentation_models_pytorch.encoders._preprocessing import preprocess_input
from torchvision.transforms._presets import SemanticSegmentation

import family_writer as fw
import golden_files as gf

SIZES = [(32, 32), (40, 24), (24, 40)]
SOURCES = [(77, 50), (60, 91), (130, 130), (41, 64)]


class Out(torch.nn.Module):
    """torchvision answers with a dictionary; its entry `out` is what an export names first."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


def class_map(scores, binary):
    if binary:
        return (scores[0] > (0.5 if binary == "probabilities" else 0)).astype(np.int32)
    return scores.argmax(0).astype(np.int32)


def make(name, model, last, classes, binary, output, preprocess_for, reference, recipe, packages):
    golden = fw.Golden(name)
    cases = []
    warm = np.stack([preprocess_for(48, 48)(fw.picture(900 + i, 90, 70)) for i in range(8)])
    warm = torch.from_numpy(warm)
    fw.calibrate(model, warm)
    with torch.no_grad():
        seen = {}
        hook = last.register_forward_hook(lambda m, i, o: seen.update(o=o))
        model(warm)
        hook.remove()
        fw.liven(last, seen["o"], 1, 2.0)
    axes = {"input": {0: "batch", 2: "height", 3: "width"}, output: {0: "batch", 2: "height", 3: "width"}}
    for width, height in SIZES:
        preprocess = preprocess_for(width, height)
        session, metadata = fw.export(model, (torch.zeros(1, 3, height, width),), ["input"], [output], axes)
        tensors = []
        for index, wh in enumerate(SOURCES):
            for seed in range(index * 100, index * 100 + 100):
                x = preprocess(fw.picture(seed, *wh))[None]
                found = class_map(session.run(None, {"input": x})[0][0], binary)
                counts = np.bincount(found.reshape(-1), minlength=max(classes, 2))
                if counts.min() > 0.05 * found.size:
                    break
            else:
                gf.refuse(f"{name}: no picture with every class")
            tensors.append(x)
        raw = fw.run_batch(lambda x: session.run(None, {"input": x}), tensors)[0]
        with torch.no_grad():
            if not fw.nearly(raw, model(torch.from_numpy(np.concatenate(tensors))).numpy(), 1e-3):
                gf.refuse("ONNX and torch differ")
        entries = []
        for i, wh in enumerate(SOURCES):
            found = class_map(raw[i], binary)
            entries.append({"source_wh": list(wh), "results": [
                {"w": found.shape[1], "h": found.shape[0], "class_map_rle": fw.class_map_rle(found)}]})
        cases.append({"input_wh": [width, height], "raw": [golden.raw(output, raw)], "entries": entries})
    width, height = SIZES[1]
    head = {
        "family": name.split("_")[0], "task": "semantic", "reference": reference,
        "versions": gf.versions("torch", *packages), "metadata": metadata,
        "input": {"name": "input", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "recipe": recipe,
        "outputs": [{"name": output, "dims": ["batch", "classes", "height", "width"],
                     "values": binary or "logits"}],
        "classes": classes,
        "score_rule": {False: "class = argmax over the channels; class_map_rle = [class, count]..., row-major",
                       "logits": "one channel: 1 where the logit > 0 (sigmoid > 0.5), else 0",
                       "probabilities": "one channel, sigmoid is inside: 1 where > 0.5, else 0"}[binary],
        "batch_1_equal": True,
        "interpolation_check": golden.interpolation_check(preprocess_for(width, height), (width, height)),
        "cases": cases,
    }
    golden.write(head)


def main():
    torch.set_num_threads(1)

    def preset_for(width, height):
        preset = SemanticSegmentation(resize_size=None)
        preset.resize_size = [height, width]
        return lambda image: preset(Image.fromarray(image)).numpy()

    recipe = {
        "channels": "rgb", "resize": "stretch", "rounding": "nearest",
        "interpolation": "bilinear with antialias, on 8-bit pixels (Pillow)", "pad": None,
        "mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)],
    }
    torch.manual_seed(1)
    deeplab = Out(torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3)).eval()
    make("deeplabv3", deeplab, deeplab.network.classifier[-1], 3, False, "out", preset_for,
         {"package": "torchvision", "version": torchvision.__version__.split("+")[0],
          "what": "deeplabv3_mobilenet_v3_large; transforms._presets.SemanticSegmentation with both sides given"},
         recipe, ["torchvision", "pillow", "onnx", "onnxruntime"])

    def normalise(image):
        return preprocess_input(image, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], input_space="RGB",
                                input_range=[0, 1])

    def smp_for(width, height):
        def preprocess(image):
            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            return normalise(resized).transpose(2, 0, 1).astype(np.float32)

        return preprocess

    recipe = dict(recipe, interpolation="bilinear", rounding="nearest")
    for name, classes, activation, binary in (
        ("unet", 3, None, False), ("unet_binary_logits", 1, None, "logits"),
        ("unet_binary_sigmoid", 1, "sigmoid", "probabilities"),
    ):
        torch.manual_seed(2)
        unet = smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(32, 16, 8),
                        classes=classes, activation=activation).eval()
        make(name, unet, unet.segmentation_head[0], classes, binary, "output", smp_for,
             {"package": "segmentation-models-pytorch", "version": smp.__version__,
              "what": "Unet('resnet18', encoder_depth=3); preprocess_input after cv2.resize"},
             recipe, ["segmentation-models-pytorch", "opencv-python-headless", "onnx", "onnxruntime"])


main()
