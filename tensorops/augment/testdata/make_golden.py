"""Writes golden.json: what torchvision and Pillow make of small images.

Made with torchvision 0.29 and Pillow 13 on x86-64:
    python make_golden.py
"""

import base64
import hashlib
import json
import pathlib
import random

import numpy as np
from PIL import Image, ImageFilter
import torchvision.transforms.functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
rng = np.random.default_rng(1)
random.seed(1)


def text(pixels):
    return base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()


def sha(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def noise(h, w):
    return rng.integers(0, 256, (h, w, 3), dtype=np.uint8)


def flat(h, w):
    return np.full((h, w, 3), (90, 200, 31), np.uint8)


def saturated(h, w):
    return np.where(rng.random((h, w, 3)) < 0.5, 0, 255).astype(np.uint8)


def photo(h, w):
    """Smooth shapes with a little noise."""
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-9, 9, (3, 3))]
    return (127.5 + 110 * np.stack(waves, -1) + rng.normal(0, 6, (h, w, 3))).clip(0, 255).astype(np.uint8)


def blur(image, sigma):
    return image.filter(ImageFilter.GaussianBlur(sigma))


JITTER = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
OPS = {
    "brightness": (F.adjust_brightness, [0, 0.6, 0.93, 1, 1.4, 3]),
    "contrast": (F.adjust_contrast, [0, 0.6, 0.93, 1, 1.4, 3]),
    "saturation": (F.adjust_saturation, [0, 0.6, 0.93, 1, 1.4, 3]),
    "hue": (F.adjust_hue, [-0.5, -0.1, -0.031, 0.003, 0.06, 0.1, 0.5]),
    "gray": (lambda image, _: F.to_grayscale(image, 3), [0]),
    "blur": (blur, [0, 0.1, 0.5, 1.1, 1.41, 1.42, 2, 4.5, 30]),
    "flip": (lambda image, _: F.hflip(image), [0]),
}

images = [make(h, w) for make, h, w in [(noise, 9, 10), (flat, 4, 5), (saturated, 9, 7), (photo, 10, 9), (noise, 1, 6), (noise, 7, 1)]]
ops = []
for number, image in enumerate(images):
    for name, (op, values) in OPS.items():
        for value in values:
            ops.append({"op": name, "image": number, "value": value, "want": text(op(Image.fromarray(image), value))})

# Every colour there is, as one image whose pixel i is the colour 0xRRGGBB = i.
index = np.arange(1 << 24, dtype=np.uint32).reshape(4096, 4096)
cube = Image.fromarray(np.stack([index >> 16, index >> 8 & 255, index & 255], -1).astype(np.uint8))
cubes = []
for name, values in {"hue": [0.0, 0.1, -0.1, 0.31], "saturation": [0.6, 1.37], "gray": [0]}.items():
    for value in values:
        cubes.append({"op": name, "value": value, "sha256": sha(OPS[name][0](cube, value))})

sources = [make(h, w) for make, h, w in [(photo, 32, 32), (photo, 29, 41), (noise, 40, 24), (photo, 32, 32)]]
chains = []
for number in range(28):
    source = number % len(sources)
    height, width, _ = sources[source].shape
    box_h, box_w = random.randint(1, height), random.randint(1, width)
    if number == 0:
        box_h, box_w = height, width
    size = 20 if number < 20 else [24, 32, 64, 64][number % 4]
    p = {
        "Box": {"Top": random.randint(0, height - box_h), "Left": random.randint(0, width - box_w), "Height": box_h, "Width": box_w},
        "Flip": random.random() < 0.5,
        "Jitter": random.random() < 0.8,
        "Order": random.sample(range(4), 4),
        "Brightness": random.uniform(0.6, 1.4),
        "Contrast": random.uniform(0.6, 1.4),
        "Saturation": random.uniform(0.6, 1.4),
        "Hue": random.uniform(-0.1, 0.1),
        "Gray": random.random() < 0.2,
        "Blur": random.random() < 0.5,
        "Sigma": random.uniform(0.1, 2),
    }
    image = F.resized_crop(Image.fromarray(sources[source]), *p["Box"].values(), [size, size])
    if p["Jitter"]:
        factors = [p["Brightness"], p["Contrast"], p["Saturation"], p["Hue"]]
        for op in p["Order"]:
            image = JITTER[op](image, factors[op])
    if p["Gray"]:
        image = F.to_grayscale(image, 3)
    if p["Blur"]:
        image = blur(image, p["Sigma"])
    if p["Flip"]:
        image = F.hflip(image)
    view = F.normalize(F.to_tensor(image), MEAN, STD).permute(1, 2, 0).numpy()
    case = {"source": source, "size": size, "params": p, "view_sha256": sha(view.astype("<f4"))}
    if size == 20:
        case["want"] = text(image)
    chains.append(case)


def described(arrays):
    return [{"height": a.shape[0], "width": a.shape[1], "pixels": text(a)} for a in arrays]


golden = {"images": described(images), "ops": ops, "cubes": cubes, "sources": described(sources), "chains": chains}
rows = ",\n".join(f'"{k}": [\n' + ",\n".join(json.dumps(v) for v in vs) + "\n]" for k, vs in golden.items())
pathlib.Path(__file__).with_name("golden.json").write_text("{\n" + rows + "\n}\n")
