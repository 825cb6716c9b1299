#!/usr/bin/env python3
"""Golden results of SAM: encoder, and decoder with prompts; small models made from a configuration.

sam: transformers' models, with the names of their usual export, and one point. sam_boxes: Meta's own package, its own
module for the export of the decoder, and points and boxes. Two files each, encoder and decoder.
"""

import warnings

import family_writer as fw  # first: it tells the libraries to stay offline
import golden_files as gf

import numpy as np
import torch
import transformers as hf
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.onnx import SamOnnxModel
from segment_anything.utils.transforms import ResizeLongestSide

SIDES = [64, 96, 128]
SOURCES = [(37, 26), (30, 45), (52, 52), (21, 40)]
DEPTH = 24


class Encoder(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixel_values):
        found = self.network.get_image_embeddings(pixel_values)
        places = self.network.get_image_wide_positional_embeddings()
        return found, places.repeat(pixel_values.shape[0], 1, 1, 1)


class Decoder(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, input_points, input_labels, image_embeddings, image_positional_embeddings):
        sparse, dense = self.network.prompt_encoder(input_points=input_points, input_labels=input_labels, input_boxes=None,
                                                    input_masks=None)
        masks, scores = self.network.mask_decoder(
            image_embeddings=image_embeddings, image_positional_embeddings=image_positional_embeddings,
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True)[:2]
        return scores, masks


def spread(layer, scores):
    """Rescales the last layer of a head of scores, so that they lie about 0.5 and apart."""
    with torch.no_grad():
        factor = 0.12 / scores.std()
        layer.weight.mul_(factor)
        layer.bias.copy_((layer.bias - scores.mean()) * factor + 0.5)


def check_scores(name, scores):
    if np.min(scores) < 0.02 or np.max(scores) > 0.98 or np.min(np.diff(np.sort(scores, -1))) < 1e-3:
        gf.refuse(f"{name}: scores {scores}")


def random_weights(network):
    for name, weight in network.named_parameters():
        if weight.dim() == 2 or "embed" in name:
            torch.nn.init.normal_(weight, std=0.3)
        elif weight.dim() == 4:
            torch.nn.init.kaiming_normal_(weight)
    return network


def build(side):
    torch.manual_seed(1)
    config = hf.SamConfig(
        vision_config=dict(hidden_size=32, output_channels=DEPTH, num_hidden_layers=2, num_attention_heads=2,
                           image_size=side, patch_size=16, window_size=2, global_attn_indexes=[1], mlp_ratio=2.0,
                           num_pos_feats=DEPTH // 2, mlp_dim=64),
        prompt_encoder_config=dict(hidden_size=DEPTH, image_size=side, patch_size=16),
        mask_decoder_config=dict(hidden_size=DEPTH, mlp_dim=48, num_hidden_layers=2, num_attention_heads=2,
                                 iou_head_hidden_dim=24))
    network = hf.SamModel(config).eval()
    return random_weights(network)


def of_transformers():
    golden = fw.Golden("sam")
    cases = []
    encoder_names = ["image_embeddings", "image_positional_embeddings"]
    decoder_in = ["input_points", "input_labels"] + encoder_names
    decoder_out = ["iou_scores", "pred_masks"]

    def processor_for(side):
        return hf.SamProcessor(hf.SamImageProcessor(size={"longest_edge": side}, pad_size={"height": side, "width": side}))

    for side in SIDES:
        network = build(side)
        processor = processor_for(side)
        given = []
        for i, (w, h) in enumerate(SOURCES):
            point = [round(w * (0.3 + 0.1 * i), 1), round(h * (0.7 - 0.1 * i), 1)]
            one = processor(images=[fw.picture(i + 3, w, h)], input_points=[[[point]]], input_labels=[[[1]]],
                            return_tensors="pt")
            given.append((point, one))
        pixels = [one["pixel_values"].numpy() for _, one in given]
        axes = {n: {0: "batch"} for n in ["pixel_values"] + encoder_names}
        encoder, _ = fw.export(Encoder(network), (torch.from_numpy(pixels[0]),), ["pixel_values"], encoder_names, axes)
        raw_encoder = fw.run_batch(lambda x: encoder.run(None, {"pixel_values": x}), pixels)
        points = np.concatenate([one["input_points"].numpy().astype(np.float32).reshape(1, 1, 1, 2) for _, one in given])
        labels = np.ones((len(given), 1, 1), np.int64)
        made = tuple(torch.from_numpy(a) for a in (points, labels, *raw_encoder))
        with torch.no_grad():
            spread(network.mask_decoder.iou_prediction_head.proj_out, Decoder(network)(*made)[0])
        axes = {n: {0: "batch"} for n in decoder_in + decoder_out}
        decoder, _ = fw.export(
            Decoder(network), tuple(torch.from_numpy(a[:1]) for a in (points, labels, *raw_encoder)), decoder_in,
            decoder_out, axes)

        def decode(k):
            return decoder.run(None, dict(zip(decoder_in, (points[k], labels[k], raw_encoder[0][k], raw_encoder[1][k]))))

        raw = decode(slice(0, None))
        check_scores(f"sam {side}", raw[0].reshape(len(given), 3))
        entries = []
        for i, (wh, (point, one)) in enumerate(zip(SOURCES, given)):
            for whole, part in zip(raw, decode(slice(i, i + 1))):
                if not fw.nearly(part[0], whole[i], 1e-3):
                    gf.refuse("an entry alone gives other numbers than in the batch")
            sizes = [[wh[1], wh[0]]], one["reshaped_input_sizes"].tolist()
            large = processor.image_processor.post_process_masks([torch.from_numpy(raw[1][i])], *sizes, binarize=False)[0]
            masks = processor.image_processor.post_process_masks([torch.from_numpy(raw[1][i])], *sizes)[0][0].numpy()
            results = [{"class_id": 0, "score": round(float(raw[0][i, 0, k]), 6),
                        "mask": {"x": 0, "y": 0, "w": wh[0], "h": wh[1], "rle": fw.rle(masks[k])}} for k in range(3)]
            results.sort(key=lambda r: -r["score"])
            shares = [m.mean() for m in masks]
            if not any(0.1 < s < 0.9 for s in shares):
                gf.refuse(f"sam {side} entry {i}: shares {shares}")
            entries.append({"source_wh": list(wh), "point_px": point, "label": 1,
                            "input_point": fw.numbers(points[i]), "resized_wh": one["reshaped_input_sizes"][0].tolist()[::-1],
                            "unsure_pixels": int((np.abs(large[0].numpy()) < 1e-3).sum()), "results": results})
        cases.append({
            "input_wh": [side, side],
            "raw": [golden.raw(n, r) for n, r in zip(encoder_names[:1] + decoder_out, (raw_encoder[0], *raw))],
            "image_positional_embeddings": golden.raw(encoder_names[1], raw_encoder[1][:1]), "entries": entries})

    golden.write({
        "family": "sam", "task": "promptable",
        "reference": {"package": "transformers", "version": hf.__version__,
                      "what": "SamModel in two parts; SamProcessor, post_process_masks"},
        "versions": gf.versions("torch", "torchvision", "transformers", "onnx", "onnxruntime"), "metadata": {},
        "input": {"name": "pixel_values", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "decoder_inputs": [
            {"name": "input_points", "dims": ["batch", "prompts", "points", 2], "dtype": "float32",
             "values": "px of the resized picture: px of the source * resized side / source side"},
            {"name": "input_labels", "dims": ["batch", "prompts", "points"], "dtype": "int64",
             "values": "1 inside, 0 outside"},
            {"name": "image_embeddings", "dims": ["batch", "depth", "side / 16", "side / 16"]},
            {"name": "image_positional_embeddings", "dims": ["batch", "depth", "side / 16", "side / 16"]}],
        "recipe": {"channels": "rgb", "resize": "letterbox_top_left", "rounding": "nearest",
                   "interpolation": "bilinear with antialias, on 8-bit pixels (torchvision)",
                   "pad": "0 after normalisation (so the mean colour)",
                   "mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)]},
        "outputs": [{"name": "image_embeddings", "dims": ["batch", "depth", "side / 16", "side / 16"], "file": "encoder"},
                    {"name": "iou_scores", "dims": ["batch", "prompts", 3], "file": "decoder"},
                    {"name": "pred_masks", "dims": ["batch", "prompts", 3, "side / 4", "side / 4"], "file": "decoder"}],
        "score_rule": "iou_scores as given; the three masks by falling score",
        "mask_rule": "logits enlarged bilinearly (half-pixel centres, no antialias) to the input, cut to resized_wh, resized "
                     "the same way to the source; on where > 0. unsure_pixels: how many of the three masks' pixels lie "
                     "within 1e-3 of that",
        "batch_1_equal": True,
        "interpolation_check": golden.interpolation_check(
            lambda im: processor_for(96)(images=[im], return_tensors="pt")["pixel_values"][0].numpy(), (96, 96)),
        "cases": cases,
    })


def build_meta(side):
    torch.manual_seed(2)
    cells = side // 16
    network = Sam(
        image_encoder=ImageEncoderViT(depth=2, embed_dim=32, img_size=side, num_heads=2, patch_size=16, mlp_ratio=2.0,
                                      use_rel_pos=True, global_attn_indexes=(1,), window_size=2, out_chans=DEPTH),
        prompt_encoder=PromptEncoder(embed_dim=DEPTH, image_embedding_size=(cells, cells),
                                     input_image_size=(side, side), mask_in_chans=4),
        mask_decoder=MaskDecoder(num_multimask_outputs=3, transformer_dim=DEPTH, iou_head_depth=2,
                                 iou_head_hidden_dim=24,
                                 transformer=TwoWayTransformer(depth=2, embedding_dim=DEPTH, mlp_dim=48, num_heads=2)))
    return random_weights(network.eval())


# one point; one inside and one outside; a box; a box and a point
PROMPTS = [([[.4, .5]], [1], None), ([[.3, .6], [.8, .2]], [1, 0], None), ([], [], [.2, .25, .7, .9]),
           ([[.5, .4]], [1], [.1, .2, .8, .9])]
DECODER_IN = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]


def of_meta():
    golden = fw.Golden("sam_boxes")
    cases = []

    def tensor_of(network, side, image):
        resized = torch.from_numpy(ResizeLongestSide(side).apply_image(image)).permute(2, 0, 1)[None]
        return network.preprocess(resized).numpy(), list(resized.shape[:1:-1])

    for side in SIDES:
        network = build_meta(side)
        transform = ResizeLongestSide(side)
        pixels, sizes = zip(*[tensor_of(network, side, fw.picture(i + 3, *wh)) for i, wh in enumerate(SOURCES)])
        axes = {n: {0: "batch"} for n in ("images", "image_embeddings")}
        encoder, _ = fw.export(network.image_encoder, (torch.from_numpy(pixels[0]),), ["images"], ["image_embeddings"], axes)
        embeddings = fw.run_batch(lambda x: encoder.run(None, {"images": x}), list(pixels))[0]
        given = []
        for (w, h), (points, labels, box), embedding in zip(SOURCES, PROMPTS, embeddings):
            points = [[round(x * w, 1), round(y * h, 1)] for x, y in points]
            coords = transform.apply_coords(np.array(points, np.float64).reshape(-1, 2), (h, w))
            codes = list(labels)
            if box is None:  # as Meta's example of the exported decoder does
                coords, codes = np.concatenate([coords, [[0.0, 0.0]]]), codes + [-1]
            else:
                box = [round(v * s, 1) for v, s in zip(box, (w, h, w, h))]
                corners = transform.apply_boxes(np.array([box]), (h, w)).reshape(2, 2)
                coords, codes = np.concatenate([coords, corners]), codes + [2, 3]
            given.append((points, labels, box, [
                embedding[None], coords[None].astype(np.float32), np.array([codes], np.float32),
                np.zeros((1, 1, side // 4, side // 4), np.float32), np.zeros(1, np.float32), np.array([h, w], np.float32)]))
        several = SamOnnxModel(network, return_single_mask=False)
        single = SamOnnxModel(network, return_single_mask=True)
        scores = torch.cat([several(*[torch.from_numpy(a) for a in g[3]])[1] for g in given])
        spread(network.mask_decoder.iou_prediction_head.layers[-1], scores)
        axes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
        decoder, _ = fw.export(several, tuple(torch.from_numpy(a) for a in given[0][3]), DECODER_IN,
                               ["masks", "iou_predictions", "low_res_masks"], axes)
        entries, raw = [], []
        for wh, size, (points, labels, box, inputs) in zip(SOURCES, sizes, given):
            _, iou, low = decoder.run(None, dict(zip(DECODER_IN, inputs)))
            masks, best, _ = single(*[torch.from_numpy(a) for a in inputs])
            check_scores(f"sam_boxes {side}", iou)
            mask = masks[0, 0].numpy() > network.mask_threshold
            if not 0.02 < mask.mean() < 0.98 or not np.any(np.abs(iou - best.numpy()) < 1e-5):
                gf.refuse(f"sam_boxes {side} {wh}: a mask of {mask.mean():.3f} of the picture")
            entries.append({
                "source_wh": list(wh), "points_px": points, "labels": labels, "box_px": box,
                "point_coords": fw.numbers(inputs[1]), "point_labels": fw.numbers(inputs[2]), "resized_wh": size,
                "unsure_pixels": int((np.abs(masks[0, 0].numpy()) < 1e-3).sum()),
                "results": [{"class_id": 0, "score": round(float(best[0, 0]), 6),
                             "mask": {"x": 0, "y": 0, "w": wh[0], "h": wh[1], "rle": fw.rle(mask)}}]})
            raw.append((iou, low))
        cases.append({
            "input_wh": [side, side],
            "raw": [golden.raw(n, r) for n, r in zip(
                ("image_embeddings", "iou_predictions", "low_res_masks"),
                (embeddings, *(np.concatenate([r[k] for r in raw]) for k in range(2))))],
            "entries": entries})
    golden.write({
        "family": "sam_boxes", "task": "promptable",
        "reference": {"package": "segment-anything", "version": gf.versions("segment-anything")["segment-anything"],
                      "what": "Sam, ResizeLongestSide, SamOnnxModel with return_single_mask"},
        "versions": gf.versions("segment-anything", "torch", "torchvision", "onnx", "onnxruntime"), "metadata": {},
        "input": {"name": "images", "layout": "nchw", "dtype": "float32", "batch_open": True},
        "recipe": {"channels": "rgb", "resize": "letterbox_top_left", "rounding": "nearest",
                   "interpolation": "bilinear with antialias, on 8-bit pixels (torchvision)", "pad": "0 after normalisation",
                   "mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)]},
        "outputs": [{"name": "image_embeddings", "dims": ["batch", "depth", "side / 16", "side / 16"], "file": "encoder"},
                    {"name": "iou_predictions", "dims": ["batch", 4], "file": "decoder"},
                    {"name": "low_res_masks", "dims": ["batch", 4, "side / 4", "side / 4"], "file": "decoder"}],
        "score_rule": "the decoder gives four masks; of two points or fewer, the one that closes the points included, the "
                      "best of the last three, else the first; its iou_predictions as given",
        "mask_rule": "as in sam.json",
        "interpolation_check": golden.interpolation_check(
            lambda im: tensor_of(build_meta(96), 96, im)[0][0], (96, 96)),
        "cases": cases,
    })


torch.set_num_threads(1)
warnings.filterwarnings("ignore")
hf.logging.set_verbosity_error()
of_transformers()
of_meta()
