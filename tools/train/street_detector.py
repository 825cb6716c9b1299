#!/usr/bin/env python3
"""Trains the detector of simulated streets that models/street holds, and writes the package.

    python3 -m venv VENV && VENV/bin/pip install -r tools/train/requirements.txt
    VENV/bin/python tools/train/street_detector.py --sightline build/bin/sightline --work WORK --out models

Pictures and truth come from the program itself (street_frames.py: seeds, what counts as to be found); nothing is
downloaded, nobody else's pictures or weights are used, and the weights fall under this project's licence. About
2.5 GB of pictures are kept under WORK, with a checkpoint every 50 steps from which an interrupted training goes on. One
thread of two virtual cores needs about 40 ms a picture. Seeds are fixed; the same machine and versions give
the same weights.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

import cv2
import numpy as np
import torch

import street_frames as sf
import street_net as sn
import street_score

SCENES = {"train": (200, 36), "val": (16, 15)}  # scenes, pictures of each
BATCH = 16
PEAK_RATE, WEIGHT_DECAY = 4e-3, 5e-4
WARM_UP = 100  # steps
VEHICLE_WEIGHT = 3  # pictures with a bicycle or a car are drawn so much more often
AVERAGING = 0.998  # of the weights that are kept (exponential moving average)
CONFIDENCE, NMS_IOU = 0.35, 0.6  # of the package; chosen on the validation scenes


def varied(image, labels, rng):
    """Another picture of the same: mirrored, nearer or farther, in another light, through a codec."""
    image, labels = np.array(image), labels.copy()
    if rng.random() < 0.5:
        image = image[:, ::-1]
        labels[:, [0, 2]] = sf.WIDTH - labels[:, [2, 0]]
    if rng.random() < 0.3:
        zoom = rng.uniform(0.8, 1.25)
        dx = rng.uniform(-0.1, 0.1) * sf.WIDTH + (1 - zoom) * sf.WIDTH / 2
        dy = rng.uniform(-0.1, 0.1) * sf.HEIGHT + (1 - zoom) * sf.HEIGHT / 2
        image = cv2.warpAffine(np.ascontiguousarray(image), np.float32([[zoom, 0, dx], [0, zoom, dy]]),
                               (sf.WIDTH, sf.HEIGHT), borderValue=(sf.PAD,) * 3)
        labels[:, [0, 2]] = (labels[:, [0, 2]] * zoom + dx).clip(0, sf.WIDTH)
        labels[:, [1, 3]] = (labels[:, [1, 3]] * zoom + dy).clip(0, sf.HEIGHT)
        size = labels[:, 2:4] - labels[:, :2]
        labels[:, 6] *= (size[:, 0] >= sf.LEAST_WIDTH) & (size[:, 1] >= sf.LEAST_HEIGHT)
        labels = labels[(size > 0).all(1)]
    if rng.random() < 0.2:
        quality = int(rng.integers(35, 90))
        coded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    if rng.random() < 0.5:
        pixels = (pixels * rng.uniform(0.75, 1.25) + rng.uniform(-12, 12)).clamp(0, 255)
    return pixels, labels


def collate(items):
    """Pixels [B, 3, H, W], boxes [B, G, 4], classes [B, G], counts [B, G]."""
    most = max(1, max(len(labels) for _, labels in items))
    truth = torch.zeros(len(items), most, 7)
    for i, (_, labels) in enumerate(items):
        truth[i, :len(labels)] = torch.from_numpy(labels)
    pixels = torch.stack([p for p, _ in items]).contiguous(memory_format=torch.channels_last)
    return pixels, truth[..., :4].contiguous(), truth[..., 4].long(), truth[..., 6].contiguous()


@torch.no_grad()
def find(net, images, grid, confidence=0.05, nms_iou=NMS_IOU):
    net.eval()
    found = []
    for start in range(0, len(images), BATCH):
        pixels = torch.from_numpy(np.array(images[start:start + BATCH])).permute(0, 3, 1, 2).float()
        rows = net(pixels.contiguous(memory_format=torch.channels_last))
        boxes = sn.decode(rows, grid)
        scores, kinds = (rows[..., 5:].sigmoid() * rows[..., 4:5].sigmoid()).max(-1)
        for b, s, k in zip(boxes, scores, kinds):
            good = s > confidence
            rows_of = torch.cat((b[good], s[good, None], k[good, None].float()), 1).numpy()
            found.append(street_score.suppress(rows_of, nms_iou))
    return found


def validate(net, images, labels, grid):
    found = find(net, images, grid)
    scores = [street_score.average_precision(found, labels, k) for k in range(len(sf.CLASSES))]
    text = ", ".join(f"{name} {ap:.3f} (recall {recall:.3f})" for name, (ap, recall) in zip(sf.CLASSES, scores))
    return float(np.nanmean([ap for ap, _ in scores])), text


def rate_at(step, steps):
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    return float(PEAK_RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * (step - WARM_UP) / (steps - WARM_UP)))))


def train(arguments, images, labels, val_images, val_labels):
    torch.manual_seed(1)
    net = sn.StreetNet(len(sf.CLASSES)).to(memory_format=torch.channels_last)
    kept = sn.StreetNet(len(sf.CLASSES)).to(memory_format=torch.channels_last)  # the averaged weights
    kept.load_state_dict(net.state_dict())
    print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": WEIGHT_DECAY},
                                   {"params": others, "weight_decay": 0}], PEAK_RATE)
    grid = sn.cells(sf.WIDTH, sf.HEIGHT)
    checkpoint = pathlib.Path(arguments.work) / "checkpoint.pt"
    first, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        net.load_state_dict(state["net"])
        kept.load_state_dict(state["kept"])
        optimiser.load_state_dict(state["optimiser"])
        first, seconds = state["step"], state["seconds"]
    # Vehicles pass in one of six pictures only.
    shares = np.array([VEHICLE_WEIGHT if (rows[:, 4] > 0).any() else 1 for rows in labels], np.float64)
    shares /= shares.sum()
    parts = np.zeros(3)
    began = time.time() - seconds
    for step in range(first, arguments.steps):
        rng = np.random.default_rng([2, step])
        order = rng.choice(len(images), BATCH, replace=False, p=shares)
        pixels, truth, kinds, counts = collate([varied(images[i], labels[i], rng) for i in order])
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, arguments.steps)
        net.train()
        loss, terms = sn.loss_of(net(pixels), grid, truth, kinds, counts)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimiser.step()
        share = min(AVERAGING, (step + 1) / (step + 10))
        with torch.no_grad():
            for mine, new in zip(kept.state_dict().values(), net.state_dict().values()):
                if mine.dtype.is_floating_point:
                    mine.lerp_(new, 1 - share)
                else:
                    mine.copy_(new)
        parts += terms
        done = step + 1
        if done % 50 == 0:
            print(f"step {done} of {arguments.steps}: box {parts[0] / 50:.3f}, objectness {parts[1] / 50:.3f}, "
                  f"class {parts[2] / 50:.3f}; {time.time() - began:.0f} s", flush=True)
            parts[:] = 0
        if done % 50 == 0 or done == arguments.steps:
            torch.save({"net": net.state_dict(), "kept": kept.state_dict(), "optimiser": optimiser.state_dict(),
                        "step": done, "seconds": time.time() - began}, checkpoint)
        if done % 400 == 0 or done == arguments.steps:
            score, text = validate(kept, val_images, val_labels, grid)
            print(f"step {done}: validation mAP@0.5 {score:.3f}: {text}", flush=True)
    return kept


def write_package(net, arguments):
    """The ONNX file goes through the program's own recognition: nothing of the package is written by hand."""
    file = pathlib.Path(arguments.work) / "street.onnx"
    names = ", ".join(f"{i}: '{name}'" for i, name in enumerate(sf.CLASSES))
    sn.save_onnx(net, str(file), sf.WIDTH, sf.HEIGHT, {
        "names": f"{{{names}}}",
        "description": "objects of Sightline's simulated streets (sim://street)",
        "license": "that of the Sightline project; trained on pictures that it rendered itself",
        "script": "tools/train/street_detector.py"})
    subprocess.run([arguments.sightline, "models", "add", str(file), "--name", "street", "--replace",
                    "--set", f"confidence={CONFIDENCE}", "--set", f"nms.iou={NMS_IOU}"],
                   env=dict(os.environ, SIGHTLINE_MODELS=str(pathlib.Path(arguments.out).absolute())), check=True)
    print(f"{file.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sightline", required=True, help="the built program")
    parser.add_argument("--work", required=True, help="folder for pictures and checkpoints")
    parser.add_argument("--out", required=True, help="folder of packages; the model goes to OUT/street")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    images, labels = sf.load(arguments.sightline, "train", *SCENES["train"], arguments.work)
    val_images, val_labels = sf.load(arguments.sightline, "val", *SCENES["val"], arguments.work)
    objects = sum(int(rows[:, 6].sum()) for rows in labels)
    print(f"{len(images)} pictures with {objects} objects to be found, {len(val_images)} to validate", flush=True)
    write_package(train(arguments, images, labels, val_images, val_labels), arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
