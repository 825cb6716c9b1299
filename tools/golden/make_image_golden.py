#!/usr/bin/env python3
"""Makes tests/golden/images: small pictures in every format and what OpenCV's imread makes of them.

    python3 tools/golden/make_image_golden.py OUT_FOLDER

Needs opencv-python-headless, numpy and Pillow. Expected: one line a picture in expected.txt with its
name, width, height and the SHA-256 of imread(IMREAD_COLOR)'s bytes. TIFF and GIF are left out of the
comparison of bytes (libtiff and libav round differently) and stand with "-" for the hash.
"""
import hashlib
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image


def picture(width=37, height=29):
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(3)
    channels = [127 + 120 * np.sin(x / 5), 127 + 120 * np.cos(y / 4), (x * y) % 256]
    pixels = np.stack(channels, -1) + rng.normal(0, 12, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rgb = picture()
    image = Image.fromarray(rgb)
    rng = np.random.default_rng(4)

    def exif(orientation):
        block = Image.Exif()
        block[0x112] = orientation
        return block.tobytes()

    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        image.save(out / f"{name}.jpg", subsampling=subsampling, quality=80)
    image.save(out / "progressive.jpg", progressive=True)
    image.convert("L").save(out / "gray.jpg")
    image.convert("CMYK").save(out / "cmyk.jpg")
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
    cv2.imwrite(str(out / "440.jpg"), rgb, [factor, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440])
    cv2.imwrite(str(out / "411.jpg"), rgb, [factor, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411])
    for orientation in range(1, 9):
        image.save(out / f"turn{orientation}.jpg", exif=exif(orientation), quality=60)
    image.save(out / "turn6.png", exif=exif(6))
    image.save(out / "turn8.webp", exif=exif(8), quality=60)

    image.save(out / "rgb.png")
    image.convert("L").save(out / "gray.png")
    image.convert("1").save(out / "bits.png")
    image.convert("P").save(out / "palette.png")
    image.convert("P").save(out / "palette_transparent.png", transparency=3)
    image.convert("LA").save(out / "gray_alpha.png")
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, rgb.shape[:2], dtype=np.uint8)))
    alpha.save(out / "alpha.png")
    small = rng.integers(0, 65536, (11, 7, 4), dtype=np.uint16)
    cv2.imwrite(str(out / "gray16.png"), small[:, :, 0])
    cv2.imwrite(str(out / "color16.png"), np.ascontiguousarray(small[:, :, :3]))
    cv2.imwrite(str(out / "alpha16.png"), small)

    image.save(out / "lossy.webp", quality=70)
    alpha.save(out / "alpha.webp", lossless=True)
    image.save(out / "color.bmp")
    image.convert("L").save(out / "gray.bmp")
    image.convert("P").save(out / "palette.bmp")
    image.save(out / "color.ppm")
    image.convert("L").save(out / "gray.pgm")
    image.save(out / "lzw.tif", compression="tiff_lzw")
    image.save(out / "moving.gif")

    with open(out / "expected.txt", "w", encoding="ascii") as expected:
        for path in sorted(out.iterdir()):
            if path.name == "expected.txt":
                continue
            pixels = cv2.imread(str(path))
            same = path.suffix not in (".tif", ".gif")
            digest = hashlib.sha256(pixels.tobytes()).hexdigest() if same else "-"
            print(path.name, pixels.shape[1], pixels.shape[0], digest, file=expected)


if __name__ == "__main__":
    main()
