#!/usr/bin/env python3
"""Golden results of Pillow's resize with antialias, and of the centre crop that torchvision makes of it.

The pictures are made from a seed, so that a test can make them again. Stretched: Image.resize(). Centre crop: as
torchvision's Resize(crop_from) and CenterCrop((height, width)) do it on a picture of Pillow's, which is written again
here, with `pad` instead of black around a picture that is smaller than the crop.

Always across first, then down, each a call of its own: so does every Pillow up to 12 in one call. Pillow 13 goes down
first where the height loses more than twice the pixels that the width loses; `one_call` says where it agrees.
"""

import argparse
from pathlib import Path

from PIL import Image

import golden_files as gf

FILTERS = {"bilinear_antialias": Image.Resampling.BILINEAR, "cubic_antialias": Image.Resampling.BICUBIC}
PAD = (7, 130, 255)  # R, G, B
KEPT = 1_500  # bytes of a result, at most

# (width, height) of the picture and of the result
STRETCHED = [
    ((37, 29), (16, 12)),
    ((37, 29), (64, 48)),
    ((37, 29), (37, 13)),
    ((37, 29), (11, 29)),
    ((37, 29), (37, 29)),
    ((50, 20), (20, 50)),
    ((1, 1), (3, 2)),
    ((1, 40), (8, 8)),
    ((40, 1), (8, 8)),
    ((200, 3), (7, 9)),
    ((333, 217), (61, 45)),
    ((640, 360), (224, 224)),
]
# ... and the shorter side in between
CROPPED = [
    ((37, 29), (96, 64), 110),
    ((37, 29), (96, 64), 96),
    ((90, 33), (24, 20), 27),
    ((33, 90), (24, 20), 26),
    ((3, 200), (16, 16), 16),
    ((200, 3), (16, 16), 18),
    ((51, 33), (20, 20), 33),
    ((8, 9), (11, 14), 9),
    ((60, 40), (31, 40), 21),
    ((1, 1), (5, 4), 3),
    ((640, 480), (224, 224), 256),
    ((333, 500), (224, 224), 232),
]


def made_picture(width, height, seed):
    """Noise between black and white patches, so that a cubic overshoots; R, G, B interleaved."""
    state = seed
    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            patch = (x // 6 + y // 5) % 3
            for _ in range(3):
                state = (state * 1664525 + 1013904223) % 2**32
                pixels.append((state >> 24, 0, 255)[patch])
    return Image.frombytes("RGB", (width, height), bytes(pixels))


def resize(image, wanted_wh, resample):
    """-> the resized picture, and whether this Pillow makes the same of it in one call"""
    result = image.resize((wanted_wh[0], image.height), resample).resize(wanted_wh, resample)
    return result, result.tobytes() == image.resize(wanted_wh, resample).tobytes()


def center_crop(image, wanted_wh, crop_from, resample):
    width, height = image.size
    short, long = sorted(image.size)
    resized_long = int(crop_from * long / short)
    resized = (crop_from, resized_long) if width <= height else (resized_long, crop_from)
    image, one_call = resize(image, resized, resample)
    padded_wh = [max(wanted, side) for wanted, side in zip(wanted_wh, resized)]
    padded = Image.new("RGB", padded_wh, PAD)
    padded.paste(image, [(p - side) // 2 for p, side in zip(padded_wh, resized)])
    left, top = (int(round((p - wanted) / 2.0)) for p, wanted in zip(padded_wh, wanted_wh))
    return padded.crop((left, top, left + wanted_wh[0], top + wanted_wh[1])), one_call


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/vision"))
    args = parser.parse_args()

    cases = []
    wanted = [(*case, None) for case in STRETCHED] + CROPPED
    for seed, (source_wh, input_wh, crop_from) in enumerate(wanted, start=1):
        image = made_picture(*source_wh, seed)
        for name, resample in FILTERS.items():
            case = {"source_wh": source_wh, "seed": seed, "input_wh": input_wh, "interpolation": name}
            if crop_from is None:
                result, one_call = resize(image, input_wh, resample)
            else:
                case["crop_from"] = crop_from
                result, one_call = center_crop(image, input_wh, crop_from, resample)
            pixels = result.tobytes()
            step = len(pixels) // KEPT + 1
            while step % 3 == 0:  # or one colour alone would be kept
                step += 1
            cases.append(case | {"one_call": one_call, "step": step, "hex": pixels[::step].hex()})
    if len({case["hex"] for case in cases}) < len(cases) - 8:
        gf.refuse("cases that should differ are the same")
    if sum(case["one_call"] for case in cases) < 40:
        gf.refuse("this Pillow goes down first where it went across first before")
    gf.write_json(
        args.out / "pillow_resize.json",
        {"versions": gf.versions("pillow"), "pad_rgb": PAD, "cases": cases},
        depth=2,
        limit_bytes=150_000,
    )


if __name__ == "__main__":
    main()
