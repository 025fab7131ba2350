"""Changes the files of decode.json and odd.json at random and prints what Pillow makes of each, one JSON object a line:
{name, data, width, height, sha256}; sha256 is "" where Pillow refuses the file. Run: python mutate.py NUMBER SEED

TestMutations compares them with imageio.Decode; `make mutate` runs it with Pillow beside.
"""
import base64
import hashlib
import io
import json
import os
import random
import struct
import sys
import warnings

from PIL import Image, ImageOps

warnings.simplefilter("ignore")
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff's remarks
number, pick = int(sys.argv[1]), random.Random(int(sys.argv[2]))
MOST = 1 << 20  # pixels


def wrong(im):
    """Whether Pillow gets a file wrong, so that imageio reads it otherwise on purpose: see package tiff."""
    if im.format != "TIFF":
        return False
    tag = lambda number, default: im.tag_v2.get(number, default)
    if im.tile and im.tile[0][0] == "raw":
        return tag(284, 1) == 2 and (tag(262, 0) == 0 or 16 in tag(258, (1,)))
    return im.tag_v2.prefix == b"MM" and set(tag(339, (1,))) != {1}


def read(data):
    try:
        im = Image.open(io.BytesIO(data))
        if im.width * im.height > MOST or wrong(im):
            return None
        im = ImageOps.exif_transpose(im).convert("RGB")
        return {"width": im.width, "height": im.height, "sha256": hashlib.sha256(im.tobytes()).hexdigest()}
    except MemoryError:
        return None
    except Exception:  # of many kinds
        return {"width": 0, "height": 0, "sha256": ""}


def mutate(data, other):
    data = bytearray(data)
    for _ in range(pick.choice((1, 1, 1, 1, 2, 3))):
        at = pick.randrange(len(data)) if pick.random() < 0.7 else pick.randrange(min(len(data), 80))
        kind = pick.randrange(12)
        if kind < 7:
            data[at] = pick.choice((0, 255, pick.randrange(256), data[at] ^ 1 << pick.randrange(8)))
        elif kind == 7:  # a number
            order, size = pick.choice("<>"), pick.choice("HI")
            packed = struct.pack(order + size, pick.choice((0, 1, 2, 255, 256, 65535, pick.randrange(65536))))
            data[at : at + len(packed)] = packed
        elif kind == 8:  # less
            del data[at : at + pick.randrange(1, 9)]
        elif kind == 9:  # more
            data[at:at] = pick.randbytes(pick.randrange(1, 9))
        elif kind == 10:  # a piece of another file, or of this one
            start = pick.randrange(len(other))
            data[at:at] = other[start : start + pick.randrange(1, 40)]
        else:  # an end
            del data[max(at, 1) :]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


here = os.path.dirname(os.path.abspath(__file__))
with open(here + "/odd.json") as odd, open(here + "/decode.json") as decode:
    files = {n: base64.b64decode(f["data"]) for n, f in {**json.load(odd)["files"], **json.load(decode)}.items()}
names = list(files)
while number:
    name = pick.choice(names)
    data = mutate(files[name], files[pick.choice(names)])
    got = read(data)
    if got:
        number -= 1
        print(json.dumps({"name": name, "data": base64.b64encode(data).decode(), **got}), flush=True)
