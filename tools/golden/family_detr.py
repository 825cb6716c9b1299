#!/usr/bin/env python3
"""Golden results of the DETR families: small models made from a configuration, decoded by their image processors.

`rtdetr_deploy` is what the RT-DETR (and D-FINE) project's own exporter gives; it wants --rtdetr-path.
"""

import argparse
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import family_writer as fw  # first: it tells the libraries to stay offline
import golden_files as gf

import numpy as np
import torch
import transformers as hf
from reference_imports import commit_of

CLASSES = 5
QUERIES = 30
SIZES = [(64, 64), (96, 64), (64, 128)]
SOURCES = [(77, 50), (60, 91), (130, 130), (41, 64)]
THRESHOLD = 0.5


class Raw(torch.nn.Module):
    def __init__(self, network, boxes_first=False):
        super().__init__()
        self.network, self.boxes_first = network, boxes_first

    def forward(self, pixels):
        out = self.network(pixel_values=pixels)
        return (out.pred_boxes, out.logits) if self.boxes_first else (out.logits, out.pred_boxes)


def resnet():
    return hf.ResNetConfig(embedding_size=16, hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1], layer_type="basic",
                           out_features=["stage2", "stage3", "stage4"])


def detr():
    backbone = resnet()
    config = hf.DetrConfig(
        backbone_config=backbone, num_labels=CLASSES, num_queries=QUERIES, d_model=32, encoder_layers=1,
        decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64)
    torch.manual_seed(1)
    network = hf.DetrForObjectDetection(config)
    # with the usual random weights all queries look alike, so the decoder's are drawn wider
    for name, weight in network.named_parameters():
        if name.startswith("model.decoder") and weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.35)
    torch.nn.init.normal_(network.model.query_position_embeddings.weight, std=1.0)
    return network, [network.class_labels_classifier], [network.bbox_predictor.layers[-1]]


def rtdetr():
    backbone = hf.RTDetrResNetConfig(embedding_size=16, hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1],
                                     layer_type="basic", out_features=["stage2", "stage3", "stage4"])
    config = hf.RTDetrConfig(
        backbone_config=backbone, num_labels=CLASSES, num_queries=QUERIES, d_model=32, encoder_hidden_dim=32,
        encoder_in_channels=[24, 32, 48], decoder_in_channels=[32, 32, 32], encoder_ffn_dim=64, decoder_ffn_dim=64,
        decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, freeze_backbone_batch_norms=False)
    torch.manual_seed(2)
    network = hf.RTDetrForObjectDetection(config)
    decoder = network.model.decoder
    return network, [network.model.enc_score_head, decoder.class_embed[-1]], [
        network.model.enc_bbox_head.layers[-1], decoder.bbox_embed[-1].layers[-1]]


def d_fine():
    backbone = hf.HGNetV2Config(
        embedding_size=16, stem_channels=[3, 8, 16], hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1],
        stage_in_channels=[16, 16, 24, 32], stage_mid_channels=[8, 8, 16, 16], stage_out_channels=[16, 24, 32, 48],
        stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"])
    config = hf.DFineConfig(
        backbone_config=backbone, num_labels=CLASSES, num_queries=QUERIES, d_model=32, encoder_hidden_dim=32,
        encoder_in_channels=[24, 32, 48], decoder_in_channels=[32, 32, 32], encoder_ffn_dim=64, decoder_ffn_dim=64,
        decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, freeze_backbone_batch_norms=False)
    torch.manual_seed(3)
    network = hf.DFineForObjectDetection(config)
    decoder = network.model.decoder
    return network, [network.model.enc_score_head, decoder.class_embed[-1]], [
        network.model.enc_bbox_head.layers[-1]] + [b.layers[-1] for b in decoder.bbox_embed]


def rf_detr():
    backbone = hf.RfDetrDinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, patch_size=16, image_size=64, num_windows=2,
        out_features=["stage2", "stage4"])
    config = hf.RfDetrConfig(
        backbone_config=backbone, num_labels=CLASSES + 1, num_queries=QUERIES // 2, d_model=32, decoder_ffn_dim=64,
        decoder_layers=2, decoder_self_attention_heads=4, decoder_cross_attention_heads=4, group_detr=1)
    torch.manual_seed(4)
    network = hf.RfDetrForObjectDetection(config)
    return network, [network.model.enc_out_class_embed[0], network.class_embed], [
        network.model.enc_out_bbox_embed[0].layers[-1], network.bbox_embed.layers[-1]]


def fix_positions(network, width, height):
    """The interpolated position codes become constants, as the rfdetr project's export makes them (no ONNX operator)."""
    for module in network.modules():
        if hasattr(module, "interpolate_pos_encoding"):
            size = module.patch_size
            cells = torch.zeros(1, (width // size) * (height // size) + 1, network.config.backbone_config.hidden_size)
            with torch.no_grad():
                codes = type(module).interpolate_pos_encoding(module, cells, height, width).clone()
            module.interpolate_pos_encoding = lambda *_unused, codes=codes: codes


def outputs_of(layer, network, tensor):
    seen = []
    hook = layer.register_forward_hook(lambda m, i, o: seen.append(o.detach().reshape(-1, o.shape[-1])))
    with torch.no_grad():
        network(pixel_values=tensor)
    hook.remove()
    return torch.cat(seen)


def enliven(network, class_layers, box_layers, tensor, box_std, softmax):
    fw.calibrate(network_call(network), tensor)
    for layer in class_layers[:-1]:
        fw.liven(layer, outputs_of(layer, network, tensor), 1, 1.0)
    for layer in box_layers:
        fw.liven(layer, outputs_of(layer, network, tensor), 1, box_std)
    last = class_layers[-1]
    fw.liven(last, outputs_of(last, network, tensor), 1, 2.0)
    seen = outputs_of(last, network, tensor)
    with torch.no_grad():  # a third of the queries shall speak
        if softmax:
            last.bias[-1] += torch.quantile(seen[:, :-1].max(1).values - seen[:, -1], 0.6)
        else:
            last.bias -= torch.quantile(seen.max(1).values, 0.6)


class network_call(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        return self.network(pixel_values=pixels)


def results_of(processor, logits, boxes, source_wh):
    outputs = types.SimpleNamespace(logits=torch.from_numpy(logits[None]), pred_boxes=torch.from_numpy(boxes[None]))
    target = torch.tensor([[source_wh[1], source_wh[0]]])
    found = processor.post_process_object_detection(outputs, threshold=THRESHOLD, target_sizes=target)[0]
    order = np.argsort(-found["scores"].numpy(), kind="stable")
    return [{"class_id": int(found["labels"][i]), "score": round(float(found["scores"][i]), 6),
             "box_xyxy_px": fw.numbers(found["boxes"][i])} for i in order]


def unclear(results, logits, softmax):
    values = torch.from_numpy(logits)
    scores = torch.softmax(values, -1)[:, :-1] if softmax else torch.sigmoid(values)
    if not fw.scores_clear(scores.numpy(), THRESHOLD):
        return "a score at the threshold"
    if len(results) >= len(logits):
        return "every query speaks"
    sides = [min(r["box_xyxy_px"][2] - r["box_xyxy_px"][0], r["box_xyxy_px"][3] - r["box_xyxy_px"][1]) for r in results]
    if min(sides, default=0) < 1:
        return "a tiny box"
    return fw.check_results(results)


def load_postprocessor(path):
    """RTDETRPostProcessor of the RT-DETR project, imported from its own file; its registry is left out."""
    file = Path(path) / "rtdetrv2_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py"
    for name in ("src", "src.zoo", "src.zoo.rtdetr"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    core = sys.modules["src.core"] = types.ModuleType("src.core")
    core.register = lambda *a, **k: lambda cls: cls
    spec = importlib.util.spec_from_file_location("src.zoo.rtdetr.rtdetr_postprocessor", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.RTDETRPostProcessor


class Deployed(torch.nn.Module):
    def __init__(self, raw, postprocessor):
        super().__init__()
        self.raw, self.postprocessor = raw, postprocessor

    def forward(self, images, orig_target_sizes):
        logits, boxes = self.raw(images)
        return self.postprocessor({"pred_logits": logits, "pred_boxes": boxes}, orig_target_sizes)


def make(name, build, processor_class, softmax, box_std, what, names, recipe, deploy=None, reference=None,
         sizes=SIZES):
    golden = fw.Golden(name)
    input_name, output_names = names
    boxes_at = 0 if output_names[0] == "dets" else 1
    network, class_layers, box_layers = build()
    network.eval()

    def processor_for(width, height):
        return processor_class(size={"height": height, "width": width}, **({"do_pad": False}))

    def tensor(processor, image):
        return processor(images=[image], return_tensors="pt")["pixel_values"].numpy()

    warm_processor = processor_for(*sizes[0])
    warm = torch.from_numpy(np.concatenate([tensor(warm_processor, fw.picture(900 + i, 90, 70)) for i in range(8)]))
    enliven(network, class_layers, box_layers, warm, box_std, softmax)
    network.eval()
    cases = []
    for width, height in sizes:
        processor = processor_for(width, height)
        fix_positions(network, width, height)
        model = Raw(network, boxes_first=boxes_at == 0).eval()
        example = (torch.zeros(2, 3, height, width),)
        inputs = [input_name]
        if deploy:
            model = Deployed(model, deploy(CLASSES, True, QUERIES).deploy()).eval()
            example += (torch.tensor([[width, height]] * 2),)
            inputs.append("orig_target_sizes")
        axes = {n: {0: "batch"} for n in inputs + output_names}
        session, metadata = fw.export(model, example, inputs, output_names, axes)

        def run(x, sizes=None):
            feed = {input_name: x}
            if deploy:
                feed["orig_target_sizes"] = np.asarray(sizes, np.int64)
            return session.run(None, feed)

        def decode(raw, i, wh):
            if not deploy:
                return results_of(processor, raw[1 - boxes_at][i], raw[boxes_at][i], wh)
            labels, boxes, scores = raw
            return [{"class_id": int(labels[i, q]), "score": round(float(scores[i, q]), 6),
                     "box_xyxy_px": fw.numbers(boxes[i, q])} for q in range(QUERIES) if scores[i, q] > THRESHOLD]

        tensors = []
        for index, wh in enumerate(SOURCES):
            reasons = set()
            x, chunk = None, 12
            for start in range(index * 1000, index * 1000 + 300, chunk):
                tried = [tensor(processor, fw.picture(seed, *wh)) for seed in range(start, start + chunk)]
                with torch.no_grad():
                    out = network(pixel_values=torch.from_numpy(np.concatenate(tried)))
                for one, logits, boxes in zip(tried, out.logits.numpy(), out.pred_boxes.numpy()):
                    results = results_of(processor, logits, boxes, wh)
                    why = unclear(results, logits, softmax)
                    if not why:
                        x = one
                        break
                    reasons.add(why)
                if x is not None:
                    break
            else:
                gf.refuse(f"{name} {width}x{height} entry {index}: {sorted(reasons)}; last {results}")
            tensors.append(x)
        raw = run(np.concatenate(tensors), SOURCES)
        for i, wh in enumerate(SOURCES):
            for whole, part in zip(raw, run(tensors[i], [wh])):
                if not fw.nearly(part[0], whole[i]):
                    gf.refuse("an entry alone gives other numbers than in the batch")
        with torch.no_grad():
            asked = [torch.from_numpy(np.concatenate(tensors))] + ([torch.tensor(SOURCES)] if deploy else [])
            for ours, torchs in zip(raw, model(*asked)):
                if not fw.nearly(ours, torchs.numpy(), 2e-3):
                    gf.refuse("ONNX and torch differ")
        entries = [{"source_wh": list(wh), "results": decode(raw, i, wh)} for i, wh in enumerate(SOURCES)]
        for entry in entries:
            if deploy:
                entry["orig_target_sizes"] = entry["source_wh"]
        cases.append({"input_wh": [width, height],
                      "raw": [golden.raw(n, r) for n, r in zip(output_names, raw)], "entries": entries})
    width, height = sizes[1]
    processor = processor_for(width, height)
    channels = raw[1 - boxes_at].shape[-1] if not deploy else CLASSES
    dims = {"logits": ["batch", "queries", "classes + 1" if softmax else "classes"],
            "pred_boxes": ["batch", "queries", 4], "dets": ["batch", "queries", 4],
            "labels": ["batch", "queries"] if deploy else ["batch", "queries", "classes"],
            "boxes": ["batch", "queries", 4], "scores": ["batch", "queries"]}
    rule = ("softmax over the classes and, last, no object; a query's best class without no object, when > threshold"
            if softmax else
            "sigmoid; every (query, class) > threshold is a detection; at most as many as queries, the best first")
    head = {
        "family": name.replace("_deploy", ""), "task": "detect",
        "reference": reference or {"package": "transformers", "version": hf.__version__, "what": what},
        "versions": gf.versions("torch", "torchvision", "transformers", "onnx", "onnxruntime"), "metadata": metadata,
        "input": {"name": input_name, "layout": "nchw", "dtype": "float32", "batch_open": True},
        "recipe": recipe,
        "outputs": [{"name": n, "dims": dims[n], **({"dtype": "int64"} if deploy and n == "labels" else {})}
                    for n in output_names],
        "classes": channels - 1 if softmax else channels,
        "box_rule": "px of the source: x1, y1, x2, y2" if deploy else
                    "cx, cy, w, h in shares of the input (activated); times the size of the source, not clipped",
        "confidence_threshold": THRESHOLD, "iou_threshold": None, "class_aware": None,
        "max_detections": raw[0].shape[1],
        "score_rule": "score > threshold, class_id = label as given" if deploy else rule, "nms_rule": None,
        "batch_1_equal": True,
        "interpolation_check": golden.interpolation_check(lambda im: tensor(processor, im)[0], (width, height)),
        "cases": cases,
    }
    if deploy:
        head["other_inputs"] = [{"name": "orig_target_sizes", "dims": ["batch", 2], "dtype": "int64",
                                 "values": "width, height of the source"}]
    golden.write(head)


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    hf.logging.set_verbosity_error()
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--rtdetr-path", help="checkout of lyuwenyu/RT-DETR; without it rtdetr_deploy is not made")
    given = parser.parse_args()
    stretch = {"channels": "rgb", "resize": "stretch", "rounding": "nearest",
               "interpolation": "bilinear with antialias, on 8-bit pixels (torchvision)", "pad": None}
    imagenet = dict(stretch, mean=[123.675, 116.28, 103.53], scale=[1 / (255 * s) for s in (0.229, 0.224, 0.225)])
    plain = dict(stretch, mean=[0, 0, 0], scale=[1 / 255] * 3)
    names = ("pixel_values", ["logits", "pred_boxes"])
    jobs = {
        "detr": (detr, hf.DetrImageProcessor, True, 0.7,
                 "DetrForObjectDetection; DetrImageProcessor with both sides given", names, imagenet),
        "rtdetr": (rtdetr, hf.RTDetrImageProcessor, False, 0.7, "RTDetrForObjectDetection; RTDetrImageProcessor", names,
                   plain),
        "d_fine": (d_fine, hf.RTDetrImageProcessor, False, 0.7, "DFineForObjectDetection; RTDetrImageProcessor", names,
                   plain),
        "rf_detr": (rf_detr, hf.RfDetrImageProcessor, False, 0.7,
                    "RfDetrForObjectDetection; RfDetrImageProcessor; names of inputs and outputs as the rfdetr project's "
                    "exporter writes them", ("input", ["dets", "labels"]), imagenet),
    }
    if given.rtdetr_path:
        jobs["rtdetr_deploy"] = (
            rtdetr, hf.RTDetrImageProcessor, False, 0.7, "", ("images", ["labels", "boxes", "scores"]), plain,
            load_postprocessor(given.rtdetr_path),
            {"package": "lyuwenyu/RT-DETR", "version": commit_of(given.rtdetr_path),
             "what": "rtdetr_postprocessor.py in deploy mode over transformers' RTDetrForObjectDetection, inputs and "
                     "outputs as tools/export_onnx.py names them (D-FINE's exporter: the same)"})
    for name, job in jobs.items():
        if given.only in (None, name):
            make(name, *job)


main()
