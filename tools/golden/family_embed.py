#!/usr/bin/env python3
"""Golden results of embeddings: CLIP's two towers, DINOv2, and OSNet for re-identification; random weights."""

import argparse
import importlib.util
import warnings
from pathlib import Path

import family_writer as fw  # first: it tells the libraries to stay offline
import golden_files as gf

import numpy as np
import torch
import transformers as hf
from PIL import Image
from reference_imports import commit_of
from torchvision import transforms

SOURCES = [(77, 50), (60, 91), (130, 130), (41, 64)]
IMAGENET = {"mean": [123.675, 116.28, 103.53], "scale": [1 / (255 * s) for s in (0.229, 0.224, 0.225)]}
CUBIC = "cubic with antialias, on 8-bit pixels (torchvision)"
CROP = "other: shorter side to {} (longer side int(shorter * long / short)), then centre crop"


class Field(torch.nn.Module):
    """One field of a transformers network's answer; the inputs are named as transformers names them."""

    def __init__(self, network, names, pick):
        super().__init__()
        self.network, self.names, self.pick = network.eval(), names, pick

    def forward(self, *inputs):
        return self.pick(self.network(**dict(zip(self.names, inputs))))


def widen(network, std=0.2):
    """Random weights wide enough for the answers to depend on the input."""
    for weight in network.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=std)
    return network


def unit(row):
    return torch.nn.functional.normalize(torch.from_numpy(row.copy())[None], dim=-1)[0].numpy()


def write(name, sizes, build, inputs_of, names, dims, head, packages, preprocess=None):
    golden = fw.Golden(name)
    cases = []
    input_names, output_name = names
    for width, height in sizes:
        model = build(width, height).eval()
        given = [inputs_of(width, height, 10 * i + 3, wh) for i, wh in enumerate(SOURCES)]
        axes = {n: {0: "batch"} for n in input_names + [output_name]}
        example = tuple(torch.from_numpy(a) for a in given[0])
        session, metadata = fw.export(model, example, input_names, [output_name], axes)

        def run(arrays):
            return session.run(None, dict(zip(input_names, arrays)))[0]

        raw = run([np.concatenate([g[k] for g in given]) for k in range(len(input_names))])
        entries = []
        for i, wh in enumerate(SOURCES):
            if not fw.nearly(run(given[i])[0], raw[i]):
                gf.refuse("an entry alone gives other numbers than in the batch")
            entry = {"results": [{"vector": gf.round_all(unit(raw[i]), 7)}]}
            if preprocess:
                entry["source_wh"] = list(wh)
            else:
                entry.update({n: given[i][k][0].tolist() for k, n in enumerate(input_names)})
            entries.append(entry)
        vectors = np.array([e["results"][0]["vector"] for e in entries])
        if np.max(vectors @ vectors.T - np.eye(len(vectors))) > 0.995:
            gf.refuse(f"{name}: two entries look alike: {vectors @ vectors.T}")
        cases.append({"input_wh": [width, height], "raw": [golden.raw(output_name, raw)], "entries": entries})
    head = dict({"family": name, "task": "embed"}, **head)
    head.update(versions=gf.versions("torch", *packages), metadata=metadata,
                outputs=[{"name": output_name, "dims": dims}], batch_1_equal=True,
                score_rule="vector = the row divided by its Euclidean length; the network does not do so")
    if preprocess:
        width, height = sizes[-1]
        head["interpolation_check"] = golden.interpolation_check(lambda im: preprocess(width, height, im)[0],
                                                                 (width, height))
    golden.write(dict(head, cases=cases))


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    hf.logging.set_verbosity_error()
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--torchreid-path", help="checkout of KaiyangZhou/deep-person-reid; without it no osnet")
    given = parser.parse_args()
    packages = ["torchvision", "transformers", "onnx", "onnxruntime"]
    reference = {"package": "transformers", "version": hf.__version__}
    image_input = {"name": "pixel_values", "layout": "nchw", "dtype": "float32", "batch_open": True}

    def from_picture(preprocess):
        return lambda w, h, seed, source: (preprocess(w, h, fw.picture(seed, *source)),)

    # CLIP, image: only square inputs, since its positions are not interpolated
    def clip_pixels(width, height, image):
        processor = hf.CLIPImageProcessor(size={"shortest_edge": max(width, height)},
                                          crop_size={"height": height, "width": width})
        return processor(images=[image], return_tensors="pt")["pixel_values"].numpy()

    def clip_image(width, _height):
        torch.manual_seed(1)
        config = hf.CLIPVisionConfig(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                                     image_size=width, patch_size=16, projection_dim=32)
        return Field(widen(hf.CLIPVisionModelWithProjection(config)), ["pixel_values"], lambda out: out.image_embeds)

    # CLIP, text: input_wh is [tokens, 1]
    end, begin = 199, 198

    def clip_text(length, _one):
        torch.manual_seed(2)
        config = hf.CLIPTextConfig(vocab_size=200, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                                   num_attention_heads=4, max_position_embeddings=length, projection_dim=32,
                                   bos_token_id=begin, eos_token_id=end, pad_token_id=end)
        return Field(widen(hf.CLIPTextModelWithProjection(config)), ["input_ids", "attention_mask"],
                     lambda out: out.text_embeds)

    def tokens(length, _one, seed, _source):
        rng = np.random.default_rng(seed)
        used = int(rng.integers(3, length - 1))
        ids = np.full((1, length), end, np.int64)
        ids[0, 0], ids[0, 1:used] = begin, rng.integers(0, 198, used - 1)
        mask = np.zeros((1, length), np.int64)
        mask[0, :used + 1] = 1
        return ids, mask

    # DINOv2: the class token after the last layer norm
    def dino_pixels(width, height, image):
        processor = hf.BitImageProcessor(
            size={"shortest_edge": round(max(width, height) * 256 / 224)}, crop_size={"height": height, "width": width},
            resample=3, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
        return processor(images=[image], return_tensors="pt")["pixel_values"].numpy()

    def dino(_width, _height):
        torch.manual_seed(3)
        config = hf.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=56,
                                 patch_size=14)
        return Field(widen(hf.Dinov2Model(config)), ["pixel_values"], lambda out: out.pooler_output)

    jobs = {
        "clip_image": lambda: write(
            "clip_image", [(32, 32), (48, 48), (64, 64)], clip_image, from_picture(clip_pixels),
            (["pixel_values"], "image_embeds"), ["batch", "dimension"],
            {"reference": dict(reference, what="CLIPVisionModelWithProjection; CLIPImageProcessor"), "input": image_input,
             "recipe": {"channels": "rgb", "resize": CROP.format("the side of the input"), "rounding": "floor",
                        "interpolation": CUBIC, "pad": None,
                        "mean": [255 * m for m in (0.48145466, 0.4578275, 0.40821073)],
                        "scale": [1 / (255 * s) for s in (0.26862954, 0.26130258, 0.27577711)]}},
            packages, clip_pixels),
        "clip_text": lambda: write(
            "clip_text", [(8, 1), (12, 1), (16, 1)], clip_text, tokens, (["input_ids", "attention_mask"], "text_embeds"),
            ["batch", "dimension"],
            {"reference": dict(reference, what="CLIPTextModelWithProjection"), "input":
             {"name": "input_ids", "layout": "tokens", "dtype": "int64", "batch_open": True},
             "other_inputs": [{"name": "attention_mask", "dims": ["batch", "tokens"], "dtype": "int64"}],
             "input_rule": "input_wh is [tokens, 1]; ids begin with bos (here 198), end with eos (here 199), which also "
                           "fills the rest; attention_mask is 1 up to the first eos", "recipe": None}, packages),
        "dinov2": lambda: write(
            "dinov2", [(56, 56), (84, 56), (56, 112)], dino, from_picture(dino_pixels),
            (["pixel_values"], "pooler_output"), ["batch", "dimension"],
            {"reference": dict(reference, what="Dinov2Model: class token after the last norm; BitImageProcessor"),
             "input": image_input,
             "recipe": dict({"channels": "rgb", "resize": CROP.format("round(longest side of the input * 256 / 224)"),
                             "rounding": "floor", "interpolation": CUBIC, "pad": None}, **IMAGENET)}, packages,
            dino_pixels),
    }

    if given.torchreid_path:
        spec = importlib.util.spec_from_file_location("osnet", Path(given.torchreid_path) / "torchreid/models/osnet.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        def person_pixels(width, height, image):
            chain = transforms.Compose([transforms.Resize((height, width)), transforms.ToTensor(), transforms.Normalize(
                [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
            return chain(Image.fromarray(image))[None].numpy()

        def osnet(width, height):
            torch.manual_seed(4)
            network = module.osnet_x0_25(num_classes=10, pretrained=False).eval()
            warm = np.concatenate([person_pixels(width, height, fw.picture(900 + i, 60, 90)) for i in range(8)])
            return fw.calibrate(network, torch.from_numpy(warm))

        jobs["osnet"] = lambda: write(
            "osnet", [(32, 64), (48, 96), (64, 64)], osnet, from_picture(person_pixels), (["input"], "output"),
            ["batch", "dimension"],
            {"family": "reid", "reference": {"package": "KaiyangZhou/deep-person-reid",
                                             "version": commit_of(given.torchreid_path),
                                             "what": "osnet_x0_25 in eval mode; transforms of its FeatureExtractor"},
             "input": dict(image_input, name="input"),
             "recipe": dict({"channels": "rgb", "resize": "stretch", "rounding": "nearest",
                             "interpolation": "bilinear with antialias, on 8-bit pixels (Pillow)", "pad": None},
                            **IMAGENET)},
            ["torchvision", "pillow", "onnx", "onnxruntime"], person_pixels)
    for name, job in jobs.items():
        if given.only in (None, name):
            job()


main()
