#!/usr/bin/env python3
"""Golden perceptual hashes: those of the packages imagehash (average, difference, DCT) and pdqhash (PDQ), on pictures
that are made here from a seed, so that a test can make them again; or of real pictures (--media).

Needs imagehash, pdqhash, Pillow, numpy, scipy. No picture loses more than twice as many rows as columns: there
Pillow 13 resizes down before across, Pillow up to 12 across before down.
pdqhash makes its luma in double and rounds it, ThreatExchange's program in float; where a bit of PDQ depends on that
the hash of the same picture in grey (R = G = B) would tell, so both are written.
"""

import argparse
from pathlib import Path

import imagehash
import numpy
import pdqhash
from PIL import Image, ImageOps

import golden_files as gf

SIZES = [
    (64, 64), (512, 512), (8, 8), (9, 8), (33, 32), (5, 5), (37, 29), (100, 75), (128, 128), (129, 131), (640, 480),
    (480, 320), (300, 301), (777, 333), (1000, 1000), (256, 256),
]


def made_picture(width, height, seed):
    """Soft waves with hard patches and some noise, R, G, B: all in whole numbers, so that any language makes the same."""
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.int64)
    pixels = numpy.zeros((height, width, 3), dtype=numpy.int64)
    for c in range(3):
        # Triangles across and down, of periods that grow with the picture.
        px = max(2, width * (2 + (seed * 7 + c * 3) % 5) // 8)
        py = max(2, height * (2 + (seed * 5 + c * 2) % 7) // 8)
        wave = numpy.abs((x * 2) % (2 * px) - px) * 120 // px + numpy.abs((y * 2 + seed * 3) % (2 * py) - py) * 120 // py
        noise = (x * 73856093 ^ y * 19349663 ^ (c + seed) * 83492791) % 16
        patch = ((x * 5 // width + 2 * (y * 4 // height) + seed + c) % 5 == 0) * 60
        pixels[:, :, c] = numpy.minimum(wave + noise + patch, 255)
    return pixels.astype(numpy.uint8)


def pdq(pixels):
    bits, quality = pdqhash.compute(numpy.ascontiguousarray(pixels))
    return f"{int(''.join(str(b) for b in bits), 2):064x}", int(quality)


def write_media(args):
    """JPEG and PNG files of the near-duplicate sets; the one that is damaged on purpose is left out."""
    files = []
    for path in sorted((args.media / "neardup").rglob("*")):
        if path.suffix not in (".jpg", ".jpeg", ".png") or "corrupt" in path.name:
            continue
        image = ImageOps.exif_transpose(Image.open(path))  # upright, as they are decoded here
        if image.mode != "RGB":  # grey and alpha are turned into colours in other ways by other programs
            continue
        if image.height - 8 > 2 * max(image.width - 9, 0):
            continue
        hash_256, quality = pdq(numpy.asarray(image))
        files.append(
            {
                "file": str(path.relative_to(args.media)),
                "ahash": str(imagehash.average_hash(image)),
                "dhash": str(imagehash.dhash(image)),
                "phash": str(imagehash.phash(image)),
                "pdq": hash_256,
                "pdq_quality": quality,
            }
        )
    if len(files) < 20:
        gf.refuse(f"{args.media}: only {len(files)} pictures")
    gf.write_json(
        args.out / "perceptual_hashes_media.json",
        {"versions": gf.versions("imagehash", "pdqhash", "pillow", "scipy"), "files": files},
        depth=2,
        limit_bytes=30_000,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/vision"))
    parser.add_argument("--media", type=Path, help="a folder with neardup/: the hashes of its pictures, instead")
    args = parser.parse_args()
    if args.media:
        return write_media(args)
    cases = []
    for seed, (width, height) in enumerate([size for size in SIZES for _ in range(3)], start=1):
        if height - 8 > 2 * max(width - 9, 0):
            gf.refuse(f"{width}x{height}: Pillow's versions differ on tall pictures")
        pixels = made_picture(width, height, seed)
        image = Image.fromarray(pixels, "RGB")
        hash_256, quality = pdq(pixels)
        grey = numpy.asarray(image.convert("L"))
        grey_256, _ = pdq(numpy.stack([grey] * 3, axis=2))
        cases.append(
            {
                "wh": [width, height],
                "seed": seed,
                "ahash": str(imagehash.average_hash(image)),
                "dhash": str(imagehash.dhash(image)),
                "phash": str(imagehash.phash(image)),
                "pdq": hash_256,
                "pdq_quality": quality,
                "pdq_grey": grey_256,
            }
        )
    if len({case["phash"] for case in cases}) < len(cases) - 8:
        gf.refuse("pictures that should differ have the same hash")
    gf.write_json(
        args.out / "perceptual_hashes.json",
        {"versions": gf.versions("imagehash", "pdqhash", "pillow", "scipy"), "cases": cases},
        depth=2,
        limit_bytes=60_000,
    )


if __name__ == "__main__":
    main()
