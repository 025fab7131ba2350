"""Writes golden.txt: the 64-bit FNV-1a hashes of a noise image resized by Pillow 13.

One line per case: filter source-width source-height width height box(4) hash.
The source's bytes are the high bytes of the linear congruential sequence in
noise(), which the test computes as well. Run: python make_golden.py
"""
import random

import numpy as np
from PIL import Image

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def noise(w, h):
    out, x = bytearray(), 1
    for _ in range(w * h * 3):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        v = x >> 24
        out.append(0 if v < 40 else 255 if v > 215 else v)  # extremes overshoot
    return np.frombuffer(bytes(out), np.uint8).reshape(h, w, 3)


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return h


random.seed(1)
cases = [
    (32, 32, 20, 20, (0, 0, 32, 32)),
    (32, 32, 32, 32, (0, 0, 32, 32)),
    (32, 32, 32, 20, (0, 0, 32, 32)),
    (32, 32, 20, 32, (0, 0, 32, 32)),
    (32, 32, 8, 8, (3, 5, 11, 13)),
    (32, 32, 64, 64, (0, 0, 32, 32)),
    (1, 1, 5, 3, (0, 0, 1, 1)),
    (9, 7, 1, 1, (0, 0, 9, 7)),
    (64, 3, 20, 20, (0, 0, 64, 3)),
    (500, 375, 32, 24, (0, 0, 500, 375)),
    (20, 30, 18, 26, (0, 0, 20, 30)),  # just before the order of the passes changes
    (20, 30, 18, 25, (0, 0, 20, 30)),
    (20, 30, 22, 29, (2, 3, 9, 20)),
]
for _ in range(40):
    w, h = random.randint(1, 70), random.randint(1, 70)
    if random.random() < 0.5:
        l, t = random.randrange(w), random.randrange(h)
        box = (l, t, random.randint(l + 1, w), random.randint(t + 1, h))
    else:
        l, t = random.uniform(0, w * 0.8), random.uniform(0, h * 0.8)
        box = (l, t, random.uniform(l + 0.1, w), random.uniform(t + 0.1, h))
    cases.append((w, h, random.randint(1, 50), random.randint(1, 50), box))
with open("golden.txt", "w") as f:
    for sw, sh, w, h, box in cases:
        im = Image.fromarray(noise(sw, sh))
        for name, kind in FILTERS.items():
            out = im.resize((w, h), kind, box)
            print(name, sw, sh, w, h, *(repr(float(v)) for v in box), f"{fnv(out.tobytes()):016x}", file=f)
