"""Writes golden.json and damaged.json: small JPEGs and what Pillow (libjpeg-turbo) makes of them.

golden.json: a list of {name, data, mode, scaled}: data is the file in base64,
mode is L, RGB or CMYK, and scaled has {scale, width, height, sha256} for 1 and
for each scale that Image.draft grants; sha256 is that of the pixels.
damaged.json: a list of {name, at, to, sha256}: that file with other bytes from
some index on, and the pixels that Pillow reads, "" if it refuses the file.
Run: python make_golden.py
"""
import base64
import hashlib
import io
import json
import random

import numpy as np
from PIL import Image

rng = np.random.default_rng(3)
out = []
files = {}


def picture(w, h, c=3):
    """A smooth picture with noise in its middle and saturated corners."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [127.5 + 150 * np.sin(x * (0.13 + 0.1 * k) + k) * np.cos(y * (0.21 - 0.05 * k)) for k in range(c)]
    im = np.stack(planes, -1)
    im[h // 3 : 2 * h // 3, w // 3 : 2 * w // 3] += rng.normal(0, 50, im[h // 3 : 2 * h // 3, w // 3 : 2 * w // 3].shape)
    return im.clip(0, 255).astype(np.uint8)


def save(im, **kw):
    b = io.BytesIO()
    Image.fromarray(im[..., 0] if im.shape[2] == 1 else im, "CMYK" if im.shape[2] == 4 else None).save(b, "JPEG", **kw)
    return b.getvalue()


def patch(data, sampling, w, h):
    """Gives the first component other sampling factors and the frame other sides."""
    data = bytearray(data)
    at = next(i for m in (b"\xff\xc0", b"\xff\xc2") if (i := data.find(m)) >= 0)
    data[at + 5 : at + 9] = h.to_bytes(2, "big") + w.to_bytes(2, "big")
    data[at + 11] = sampling
    return bytes(data)


def letters(data):
    """Takes the JFIF marker away and calls the components R, G and B: it is RGB then."""
    data = bytearray(data[:2] + data[20:])
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for i, letter in enumerate(b"RGB"):
        data[frame + 10 + 3 * i] = data[scan + 5 + 2 * i] = letter
    return bytes(data)


def read(data):
    """The SHA-256 of the pixels, "" if Pillow refuses the file."""
    try:
        im = Image.open(io.BytesIO(data))
        return "" if im.width * im.height > 1 << 16 else hashlib.sha256(im.tobytes()).hexdigest()
    except (OSError, SyntaxError):
        return ""


def add(name, data):
    scaled = []
    for scale in (1, 2, 4, 8):
        im = Image.open(io.BytesIO(data))
        w, h = im.size
        if scale > 1:
            im.draft(im.mode, (max(1, w // scale), max(1, h // scale)))
        if im.size == (-(-w // scale), -(-h // scale)):  # else it is too small for this scale
            digest = hashlib.sha256(im.tobytes()).hexdigest()
            scaled.append({"scale": scale, "width": im.width, "height": im.height, "sha256": digest})
    files[name] = data
    out.append({"name": name, "data": base64.b64encode(data).decode(), "mode": im.mode, "scaled": scaled})


for sub in ("4:4:4", "4:2:2", "4:2:0"):
    for w, h in ((67, 45), (48, 32), (17, 16), (33, 70), (5, 3), (2, 9), (1, 1), (3, 2), (8, 8), (4, 5), (9, 8)):
        add(f"{sub} {w}x{h}", save(picture(w, h), quality=90, subsampling=sub))
    for quality in (1, 10, 50, 75, 100):
        add(f"{sub} quality {quality}", save(picture(26, 23), quality=quality, subsampling=sub))
    add(f"{sub} noise", save(rng.integers(0, 256, (25, 21, 3), dtype=np.uint8), quality=85, subsampling=sub))
    add(f"{sub} extremes", save(rng.integers(0, 2, (25, 21, 3), dtype=np.uint8) * 255, quality=95, subsampling=sub))
    add(f"{sub} progressive", save(picture(51, 35), quality=90, subsampling=sub, progressive=True))
    add(f"{sub} progressive, quality 30", save(picture(37, 41), quality=30, subsampling=sub, progressive=True))
    add(f"{sub} restart", save(picture(51, 35), quality=90, subsampling=sub, restart_marker_blocks=3))
    add(f"{sub} progressive, restart", save(picture(51, 35), quality=90, subsampling=sub, restart_marker_rows=1, progressive=True))
    add(f"{sub} optimized", save(picture(51, 35), quality=40, subsampling=sub, optimize=True))
    add(f"{sub} rgb", letters(save(picture(35, 29), quality=90, subsampling=sub)))
add("adobe rgb", save(picture(35, 29), quality=90, keep_rgb=True))
for progressive in (False, True):
    text = ", progressive" if progressive else ""
    add("grey" + text, save(picture(67, 45, 1), quality=90, progressive=progressive))
    cmyk = save(picture(43, 37, 4), quality=90, progressive=progressive)
    add("cmyk" + text, cmyk)
    adobe = cmyk.index(b"\xff\xee")
    add("ycck" + text, cmyk[: adobe + 15] + b"\x02" + cmyk[adobe + 16 :])
    add("cmyk without adobe" + text, cmyk[:adobe] + cmyk[adobe + 16 :])
    ycc = save(picture(33, 31), quality=90, progressive=progressive)
    add("without jfif" + text, ycc[:2] + ycc[20:])
    add("restart at every block of grey" + text, save(picture(33, 31, 1), quality=90, restart_marker_blocks=1, progressive=progressive))
# Other sampling factors, by patching frame headers so that the MCUs stay as many.
two, four = save(picture(64, 64), quality=70, subsampling="4:2:2"), save(picture(64, 64), quality=70, subsampling="4:2:0")
for w, h in ((64, 64), (60, 62), (58, 57)):
    add(f"4:4:0 {w}x{h}", patch(two, 0x12, w, h))
for w, h in ((128, 32), (103, 30), (128, 27)):
    add(f"4:1:1 {w}x{h}", patch(four, 0x41, w, h))
for w, h in ((32, 128), (29, 120)):
    add(f"four rows a chroma row {w}x{h}", patch(four, 0x14, w, h))

# Damage, mostly in the scans. The first scans of a progressive file are a file with missing scans.
damaged = []
pick = random.Random(5)
while len(damaged) < 800:
    name, data = pick.choice(list(files.items()))
    scan = data.index(b"\xff\xda")
    at = pick.randrange(scan + 14, len(data) - 1) if pick.random() < 0.8 else pick.randrange(2, scan + 14)
    to = pick.choice((b"\xff\xd9", b"\0", b"\xff", b"\xff\xd1", b"\xff\xd4", pick.randbytes(1), pick.randbytes(1), pick.randbytes(2), pick.randbytes(4)))
    scans = [i for i in range(scan + 1, len(data)) if data[i : i + 2] == b"\xff\xda"]
    if scans and pick.random() < 0.2:
        at, to = pick.choice(scans), b"\xff\xd9"
    if at + len(to) > len(data) - 2:  # without an end, it depends on how libjpeg fills its buffers
        continue
    sha256 = read(data[:at] + to + data[at + len(to) :])
    if sha256 or pick.random() < 0.2:
        damaged.append({"name": name, "at": at, "to": base64.b64encode(to).decode(), "sha256": sha256})
with open("damaged.json", "w") as f:
    json.dump(damaged, f)

# Coefficients that overflow, by patching the first factors of the quantization tables.
for progressive in (False, True):
    for name, channels, kw in (("grey", 1, {}), ("4:2:0", 3, {"subsampling": "4:2:0"}), ("4:4:4", 3, {"subsampling": "4:4:4"})):
        data = bytearray(save(picture(67, 45, channels), quality=90, progressive=progressive, **kw))
        for at in range(2, data.index(b"\xff\xda")):
            if data[at : at + 2] == b"\xff\xdb":
                data[at + 5] = 255
        add(f"{name} overflowing" + ", progressive" * progressive, bytes(data))
with open("golden.json", "w") as f:
    json.dump(out, f, indent=0)
print(len(out), "images")
