#!/usr/bin/env python3
"""Perceptual hashes a second of the Python packages imagehash and pdqhash, of decoded RGB pictures, one core, by CPU time.

The peer of benchmarks/hash_bench.cc: run both one after the other. Needs imagehash, pdqhash, Pillow, numpy.
"""

import os
import time

import imagehash
import numpy
import pdqhash
from PIL import Image

SECONDS = 2.0


def rate(call):
    call()
    begin = time.process_time()
    count = 0
    while (spent := time.process_time() - begin) < SECONDS:
        call()
        count += 1
    return count / spent


def main():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    random = numpy.random.default_rng(1)
    for width, height in [(512, 512), (768, 576), (1920, 1080)]:
        y, x = numpy.mgrid[0:height, 0:width]
        pixels = ((x + 2 * y) // 8 % 200)[:, :, None] + random.integers(0, 16, (height, width, 3))
        pixels = pixels.astype(numpy.uint8)
        image = Image.fromarray(pixels, "RGB")
        for name, call in [
            ("pdqhash.compute", lambda: pdqhash.compute(pixels)),
            ("imagehash.phash", lambda: imagehash.phash(image)),
            ("imagehash.average_hash", lambda: imagehash.average_hash(image)),
            ("imagehash.dhash", lambda: imagehash.dhash(image)),
        ]:
            print(f"{name:24s} {width}x{height} {rate(call):10.1f}/s")


if __name__ == "__main__":
    main()
