#!/usr/bin/env python3
"""Golden results of torchvision's detectors, exported as torchvision exports them: suppression lies inside the graph."""

import argparse
import warnings

import numpy as np
import torch
import torchvision
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms import functional as F

import family_writer as fw
import golden_files as gf

SIZES = [(64, 64), (96, 64), (64, 128)]
CLASSES = 6  # with the background, which is label 0
THRESHOLD = 0.5


def backbone(**more):
    return resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, **more)


def hooked(model, layers, images):
    """Outputs of `layers` in one run, all positions together, channels last."""
    seen = {layer: [] for layer in layers}

    def note(layer, _inputs, output):
        flat = output.movedim(1, -1) if output.dim() == 4 else output
        seen[layer].append(flat.reshape(-1, flat.shape[-1]))

    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return {layer: torch.cat(found) for layer, found in seen.items()}


def liven(model, images, *layers_and_stds):
    for layer, std in layers_and_stds:
        fw.liven(layer, hooked(model, [layer], images)[layer], 1, std)


def balance(model, images, biases, wanted=10, score=THRESHOLD):
    """Shifts `biases` (of what speaks against a detection) until about `wanted` detections of a picture reach `score`."""
    low, high = -12.0, 12.0
    start = [b.detach().clone() for b, _ in biases]
    for _ in range(12):
        middle = (low + high) / 2
        with torch.no_grad():
            for (bias, step), old in zip(biases, start):
                bias.copy_(old + middle * step)
            many = np.mean([int((found["scores"] > score).sum()) for found in model(images)])
        low, high = (middle, high) if many > wanted else (low, middle)


def ssd():
    torch.manual_seed(1)
    return detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES).eval()


def liven_ssd(model, images):
    classify = model.head.classification_head.module_list
    liven(model, images, *[(m[1], 0.8) for m in classify], *[(m[1], 1.0) for m in model.head.regression_head.module_list])
    model.detections_per_img = 20
    background = torch.zeros(CLASSES)
    background[0] = 1
    balance(model, images, [(m[1].bias, background.repeat(m[1].bias.numel() // CLASSES)) for m in classify])


def faster():
    torch.manual_seed(2)
    return detection.FasterRCNN(backbone(), CLASSES, min_size=96, max_size=192, box_detections_per_img=20,
                                rpn_post_nms_top_n_test=60, rpn_nms_thresh=0.6).eval()


def liven_rcnn(model, images):
    liven(model, images, (model.rpn.head.cls_logits, 1.5), (model.rpn.head.bbox_pred, 0.3),
          (model.roi_heads.box_predictor.cls_score, 1.5), (model.roi_heads.box_predictor.bbox_pred, 1.0))
    background = torch.zeros(CLASSES)
    background[0] = 1
    wanted = model.roi_heads.detections_per_img // 2 + 2
    balance(model, images, [(model.roi_heads.box_predictor.cls_score.bias, background)], wanted)


def mask_rcnn():
    torch.manual_seed(3)
    return detection.MaskRCNN(backbone(), CLASSES, min_size=96, max_size=192, box_detections_per_img=8,
                              rpn_post_nms_top_n_test=60, rpn_nms_thresh=0.6).eval()


def liven_mask(model, images):
    liven_rcnn(model, images)
    liven(model, images, (model.roi_heads.mask_predictor.mask_fcn_logits, 3.0))


def retina():
    torch.manual_seed(4)
    return detection.RetinaNet(backbone(returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)), CLASSES, min_size=96, max_size=192,
                               detections_per_img=20).eval()


def liven_retina(model, images):
    liven(model, images, (model.head.classification_head.cls_logits, 1.0), (model.head.regression_head.bbox_reg, 0.3))
    bias = model.head.classification_head.cls_logits.bias
    balance(model, images, [(bias, -torch.ones_like(bias))])


def mask_of(mask):
    """Tight rectangle around the pixels above one half."""
    on = mask > 0.5
    ys, xs = np.flatnonzero(on.any(1)), np.flatnonzero(on.any(0))
    if ys.size == 0:
        return {"x": 0, "y": 0, "w": 0, "h": 0, "rle": []}
    x, y, w, h = int(xs[0]), int(ys[0]), int(xs[-1] - xs[0] + 1), int(ys[-1] - ys[0] + 1)
    return {"x": x, "y": y, "w": w, "h": h, "rle": fw.rle(on[y:y + h, x:x + w])}


def results_of(found):
    results = []
    for i in range(len(found["scores"])):
        score = float(found["scores"][i])
        if score <= THRESHOLD_OF["now"]:
            continue
        one = {"class_id": int(found["labels"][i]), "score": round(score, 6), "box_xyxy_px": fw.numbers(found["boxes"][i])}
        if "masks" in found:
            one["mask"] = mask_of(found["masks"][i, 0])
        results.append(one)
    return results


THRESHOLD_OF = {"now": THRESHOLD}


def make(name, build, liven_it, outputs, batched, what, threshold, sizes=SIZES):
    THRESHOLD_OF["now"] = threshold
    golden = fw.Golden(name)
    model = build()
    warm = [F.to_tensor(fw.picture(900 + i, 96, 96)) for i in range(6)]
    fw.calibrate(model, warm)
    liven_it(model, warm)
    cases = []
    for width, height in sizes:
        example = F.to_tensor(fw.picture(1, width, height))
        args = (example[None],) if batched else ([example],)
        axes = {name_: {0: "detections"} for name_ in outputs}
        session, metadata = fw.export(model, args, ["image"], outputs, axes)
        entries = []
        for index in range(fw.BATCH):
            reasons = []
            for seed in range(index * 1000, index * 1000 + 400):
                x = F.to_tensor(fw.picture(seed, width, height))
                with torch.no_grad():
                    found = {k: v.numpy() for k, v in model([x])[0].items()}
                results = results_of(found)
                why = fw.check_results(results)
                if not why and not fw.scores_clear(found["scores"], threshold):
                    why = "a score at the threshold"
                if not why and len(results) == len(found["scores"]):
                    why = "nothing below the threshold"
                if not why and "masks" in found and sum(r["mask"]["w"] > 0 for r in results) < 3:
                    why = "empty masks"
                sides = [min(r["box_xyxy_px"][2] - r["box_xyxy_px"][0], r["box_xyxy_px"][3] - r["box_xyxy_px"][1])
                         for r in results]
                if not why and min(sides) < 1:
                    why = "a box without area"
                if not why:
                    given = x.numpy()[None] if batched else x.numpy()
                    raw = session.run(outputs, {"image": given})
                    if all(fw.nearly(a, found[o], 2e-3) for a, o in zip(raw, outputs)):
                        break
                    why = "ONNX and torch differ"
                reasons.append(why)
            else:
                gf.refuse(f"{name} {width}x{height} entry {index}: {sorted(set(reasons))}, last {results}")
            stored = [golden.raw_runs(o, r) if o == "masks" else golden.raw(o, r) for o, r in zip(outputs, raw)]
            entries.append({"source_wh": [width, height], "raw": stored,
                            "results": results_of(dict(zip(outputs, raw)))})
        cases.append({"input_wh": [width, height], "entries": entries})
    width, height = sizes[1]
    dims = {"boxes": ["detections", 4], "labels": ["detections"], "scores": ["detections"],
            "masks": ["detections", 1, "height", "width"]}
    head = {
        "family": name, "task": "segment" if "masks" in outputs else "detect",
        "reference": {"package": "torchvision", "version": torchvision.__version__.split("+")[0], "what": what},
        "versions": gf.versions("torch", "torchvision", "onnx", "onnxruntime"), "metadata": metadata,
        "input": {"name": "image", "layout": "nchw" if batched else "chw",
                  "dims": [1, 3, "height", "width"] if batched else [3, "height", "width"],
                  "dtype": "float32", "batch_open": False},
        "recipe": {"channels": "rgb", "resize": "none", "rounding": None, "interpolation": None, "pad": None,
                   "mean": [0, 0, 0], "scale": [1 / 255] * 3,
                   "note": "resizing and normalisation are inside the graph; boxes come back in px of the input"},
        "outputs": [{"name": o, "dims": dims[o], "dtype": "int64" if o == "labels" else "float32"} for o in outputs],
        "unbatched": True, "raw_of": "every entry has its own raw outputs, labels stored as floats",
        "classes": CLASSES, "labels": ["__background__"] + [f"class_{i}" for i in range(1, CLASSES)],
        "confidence_threshold": threshold, "iou_threshold": None, "class_aware": None, "max_detections": None,
        "score_rule": "score as given, kept when > confidence_threshold; class_id = label as given; 0 " +
                      ("is an ordinary class of the head, unused by COCO weights" if name == "retinanet" else
                       "is the background and never comes"), "nms_rule": None, "clipped": True,
        "batch_1_equal": True,
        "interpolation_check": golden.interpolation_check(lambda im: F.to_tensor(im).numpy(), (37, 29)),
        "cases": cases,
    }
    if "masks" in outputs:
        head["mask_rule"] = ("masks are probabilities pasted at the size of the input; on where > 0.5; x, y, w, h is the "
                             "tight rectangle around them. Stored as runs: [first index, count, offset], 0 elsewhere")
    golden.write(head)


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    only = parser.parse_args().only
    jobs = {
        "ssd": (ssd, liven_ssd, ["boxes", "scores", "labels"], True, "ssdlite320_mobilenet_v3_large", 0.5),
        "fasterrcnn": (faster, liven_rcnn, ["boxes", "labels", "scores"], False, "FasterRCNN, resnet18 with FPN", 0.5),
        "maskrcnn": (mask_rcnn, liven_mask, ["boxes", "labels", "scores", "masks"], False,
                     "MaskRCNN, resnet18 with FPN", 0.5, [(32, 32), (48, 32), (32, 64)]),
        "retinanet": (retina, liven_retina, ["boxes", "scores", "labels"], True, "RetinaNet, resnet18 with FPN", 0.5),
    }
    for name, job in jobs.items():
        if only in (None, name):
            make(name, *job)


main()
