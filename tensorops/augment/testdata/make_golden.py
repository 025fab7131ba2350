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
    "solarize": (F.solarize, [0, 1, 77, 128, 255]),
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


def decide(name, image):
    """What an operation's Draw might return for an image."""
    if name == "random_resized_crop":
        height, width = random.randint(1, image.height), random.randint(1, image.width)
        return {"Top": random.randint(0, image.height - height), "Left": random.randint(0, image.width - width), "Height": height, "Width": width}
    if name == "color_jitter":
        factors = {k: random.uniform(0.6, 1.4) for k in ("Brightness", "Contrast", "Saturation")}
        return {"On": random.random() < 0.8, "Order": random.sample(range(4), 4), **factors, "Hue": random.uniform(-0.1, 0.1)}
    if name == "gaussian_blur":
        return random.choice([0, random.uniform(0.1, 2)])
    return random.random() < 0.5


def transform(name, image, d, size):
    """What an operation's Apply makes of an image."""
    if name == "random_resized_crop":
        return F.resized_crop(image, d["Top"], d["Left"], d["Height"], d["Width"], [size, size])
    if name == "color_jitter":
        factors = [d["Brightness"], d["Contrast"], d["Saturation"], d["Hue"]]
        for op in d["Order"] if d["On"] else []:
            image = JITTER[op](image, factors[op])
        return image
    if name == "gaussian_blur":
        return blur(image, d)
    if name == "solarize":
        return F.solarize(image, THRESHOLD) if d else image
    return OPS[{"horizontal_flip": "flip", "grayscale": "gray"}[name]][0](image, 0) if d else image


THRESHOLD = 100
USUAL = ["random_resized_crop", "horizontal_flip", "color_jitter", "grayscale", "gaussian_blur", "solarize"]
for number in range(40):
    source = number % len(sources)
    size = 20 if number < 32 else [24, 32, 64, 64][number % 4]
    image, steps = Image.fromarray(sources[source]), []
    order = USUAL if number % 2 == 0 else random.sample(USUAL + random.sample(USUAL, 2), len(USUAL) + 2)
    for name in order:
        d = decide(name, image)
        image = transform(name, image, d, size)
        steps.append({"op": name, "decision": d} | ({"settings": {"Threshold": THRESHOLD}} if name == "solarize" else {}))
    view = F.normalize(F.to_tensor(image), MEAN, STD).permute(1, 2, 0).numpy()
    case = {"source": source, "size": size, "steps": steps, "view_sha256": sha(view.astype("<f4"))}
    if size == 20:
        case["want"] = text(image)
    chains.append(case)


def described(arrays):
    return [{"height": a.shape[0], "width": a.shape[1], "pixels": text(a)} for a in arrays]


golden = {"images": described(images), "ops": ops, "cubes": cubes, "sources": described(sources), "chains": chains}
rows = ",\n".join(f'"{k}": [\n' + ",\n".join(json.dumps(v) for v in vs) + "\n]" for k, vs in golden.items())
pathlib.Path(__file__).with_name("golden.json").write_text("{\n" + rows + "\n}\n")
