"""Writes decode.json, resize.json and square.json: tiny images and what Pillow makes of them.

decode.json: name -> {data, width, height, pix}, data and pix in base64, for
every format, mode and orientation; no pix where Pillow raises an error.
resize.json: for several shapes the RGB pixels of torchvision's
Resize(size, BICUBIC) and CenterCrop(size).
square.json: the same from files, after Image.draft with twice the size and of its box.
Run: python make_golden.py
"""
import base64
import io
import json
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

warnings.simplefilter("ignore")
rng = np.random.default_rng(7)
out = {}


def noise(h, w, c):
    return rng.integers(0, 256, (h, w, c), dtype=np.uint8)


def smooth(h, w, c=3):
    y, x = np.mgrid[0:h, 0:w]
    planes = [127.5 + 120 * np.sin(x * (0.3 + 0.2 * k) + k) * np.cos(y * (0.5 - 0.1 * k)) for k in range(c)]
    return np.stack(planes, -1).astype(np.uint8)


def add(name, data):
    im = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert name not in out
    encode = lambda b: base64.b64encode(b).decode()
    out[name] = {"data": encode(data), "width": im.width, "height": im.height, "pix": encode(im.tobytes())}
    return data


def save(im, fmt, **kw):
    b = io.BytesIO()
    im.save(b, fmt, **kw)
    return b.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w, h, depth, color, row_bytes, extra=b"", rows=None):
    rows = rows or [rng.bytes(row_bytes) for _ in range(h)]
    head = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + r for r in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


# JPEG: every subsampling at even, odd and tiny sizes, smooth and noisy.
for w, h in ((16, 16), (9, 7), (17, 13), (34, 18), (3, 3), (2, 5), (1, 1)):
    for sub in ("4:4:4", "4:2:2", "4:2:0"):
        add(f"jpeg_{sub}_{w}x{h}.jpg", save(Image.fromarray(smooth(h, w)), "JPEG", quality=90, subsampling=sub))
add("jpeg_noise.jpg", save(Image.fromarray(noise(24, 24, 3)), "JPEG", quality=75))
add("jpeg_saturated.jpg", save(Image.fromarray((noise(16, 16, 3) > 127).astype(np.uint8) * 255), "JPEG", quality=95, subsampling="4:2:0"))
add("jpeg_progressive.jpg", save(Image.fromarray(smooth(13, 17)), "JPEG", quality=90, progressive=True))
add("jpeg_progressive_444.jpg", save(Image.fromarray(smooth(13, 17)), "JPEG", quality=90, progressive=True, subsampling="4:4:4"))
add("jpeg_restart.jpg", save(Image.fromarray(smooth(33, 35)), "JPEG", quality=90, restart_marker_blocks=1))
add("jpeg_grey.jpg", save(Image.fromarray(smooth(9, 11)[..., 0]), "JPEG", quality=90))
add("jpeg_rgb.jpg", save(Image.fromarray(smooth(9, 11)), "JPEG", quality=90, keep_rgb=True))
cmyk = add("jpeg_cmyk.jpg", save(Image.fromarray(smooth(9, 11, 4), "CMYK"), "JPEG", quality=90))
adobe = cmyk.index(b"\xff\xee")
add("jpeg_ycck.jpg", cmyk[: adobe + 15] + b"\x02" + cmyk[adobe + 16 :])
add("jpeg_cmyk_without_adobe.jpg", cmyk[:adobe] + cmyk[adobe + 16 :])
# Repeating chroma sampling factors: 4:4:0 by patching the frame header of a 4:2:2 file of square blocks.
data = bytearray(save(Image.fromarray(smooth(16, 16)), "JPEG", quality=90, subsampling="4:2:2"))
sof = data.index(b"\xff\xc0")
assert data[sof + 11] == 0x21
data[sof + 11] = 0x12
add("jpeg_4:4:0.jpg", bytes(data))

# EXIF orientation.
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    im = Image.fromarray(noise(5, 7, 3))
    add(f"orient{o}.png", save(im, "PNG", exif=exif))
    add(f"orient{o}.tif", save(im, "TIFF", exif=exif))
    add(f"orient{o}.webp", save(im, "WEBP", lossless=True, exif=exif))
    add(f"orient{o}.jpg", save(Image.fromarray(smooth(10, 6)), "JPEG", quality=90, subsampling="4:4:4", exif=exif))
exif = Image.Exif()
exif[0x0112] = 9
add("orient_invalid.jpg", save(Image.fromarray(smooth(5, 7)), "JPEG", exif=exif))
add("exif_damaged.jpg", save(Image.fromarray(smooth(5, 7)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"))
add("orient_xmp.jpg", save(Image.fromarray(smooth(5, 7)), "JPEG", xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'))

# PNG: every colour type and depth.
for depth in (1, 2, 4, 8, 16):
    add(f"png_grey{depth}.png", png(9, 7, depth, 0, (9 * depth + 7) // 8))
for depth in (8, 16):
    n = depth // 8
    add(f"png_rgb{depth}.png", png(9, 7, depth, 2, 27 * n))
    add(f"png_greyalpha{depth}.png", png(9, 7, depth, 4, 18 * n))
    add(f"png_rgba{depth}.png", png(9, 7, depth, 6, 36 * n))
    add(f"png_rgb{depth}_transparent.png", png(9, 7, depth, 2, 27 * n, chunk(b"tRNS", bytes(6))))
small = b"".join(struct.pack(">9H", *rng.integers(0, 400, 9)) for _ in range(7))
add("png_grey16_dark.png", png(9, 7, 16, 0, 18, rows=[small[i * 18 : i * 18 + 18] for i in range(7)]))
add("png_grey16_transparent.png", png(9, 7, 16, 0, 18, chunk(b"tRNS", small[:2]), rows=[small[i * 18 : i * 18 + 18] for i in range(7)]))
add("png_grey8_transparent.png", png(9, 7, 8, 0, 9, chunk(b"tRNS", b"\0\5")))
for depth in (1, 2, 4, 8):
    palette = rng.bytes(3 << depth)
    add(f"png_palette{depth}.png", png(9, 7, depth, 3, (9 * depth + 7) // 8, chunk(b"PLTE", palette)))
    add(f"png_palette{depth}_transparent.png", png(9, 7, depth, 3, (9 * depth + 7) // 8, chunk(b"PLTE", palette) + chunk(b"tRNS", rng.bytes(2))))
add("png_filtered.png", save(Image.fromarray(smooth(20, 20)), "PNG"))

# GIF, BMP.
pal = Image.fromarray(noise(7, 9, 3)).quantize(16)
add("gif.gif", save(pal, "GIF"))
add("gif_transparent.gif", save(pal, "GIF", transparency=3))
add("gif_interlaced.gif", save(Image.fromarray(noise(21, 9, 3)).quantize(32), "GIF", interlace=1))
add("gif_grey.gif", save(Image.fromarray(noise(7, 9, 1)[..., 0]), "GIF"))
add("gif_animated.gif", save(pal, "GIF", save_all=True, append_images=[Image.fromarray(noise(7, 9, 3)).quantize(16)], duration=10))
for name, kw in (("", {}), ("_transparent", {"transparency": 5})):
    data = bytearray(save(pal, "GIF", **kw))
    data[6:10] = struct.pack("<HH", 12, 11)  # a canvas larger than the frame
    at = data.index(b",\0\0\0\0")
    data[at + 1 : at + 5] = struct.pack("<HH", 2, 3)
    add(f"gif_part{name}.gif", bytes(data))
for mode in ("1", "L", "P", "RGB", "RGBA"):
    im = Image.fromarray(noise(7, 9, 4), "RGBA")
    im = im.convert("RGB").quantize(16) if mode == "P" else im.convert(mode)
    add(f"bmp_{mode}.bmp", save(im, "BMP"))

# WebP.
for w, h in ((16, 16), (9, 7), (10, 8), (1, 1), (33, 18)):
    add(f"webp_{w}x{h}.webp", save(Image.fromarray(smooth(h, w)), "WEBP", quality=80))
add("webp_noise.webp", save(Image.fromarray(noise(19, 23, 3)), "WEBP", quality=60))
add("webp_alpha.webp", save(Image.fromarray(np.dstack([smooth(9, 11), noise(9, 11, 1)]), "RGBA"), "WEBP", quality=80))
add("webp_lossless.webp", save(Image.fromarray(noise(9, 11, 3)), "WEBP", lossless=True))
add("webp_lossless_alpha.webp", save(Image.fromarray(noise(9, 11, 4), "RGBA"), "WEBP", lossless=True, exact=True))

# TIFF.
for comp in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    add(f"tiff_{comp}.tif", save(Image.fromarray(smooth(7, 9)), "TIFF", compression=comp))
add("tiff_grey.tif", save(Image.fromarray(noise(7, 9, 1)[..., 0]), "TIFF"))
add("tiff_bilevel.tif", save(Image.fromarray(noise(7, 9, 1)[..., 0]).convert("1"), "TIFF"))
add("tiff_grey16.tif", save(Image.fromarray(rng.integers(0, 500, (7, 9)).astype(np.uint16)), "TIFF"))
add("tiff_palette.tif", save(Image.fromarray(noise(7, 9, 3)).quantize(16), "TIFF"))
rgba = add("tiff_rgba.tif", save(Image.fromarray(noise(7, 9, 4), "RGBA"), "TIFF"))
at = rgba.index(struct.pack("<HHIHH", 338, 3, 1, 2, 0))
add("tiff_premultiplied.tif", rgba[: at + 8] + b"\x01" + rgba[at + 9 :])

# PNM.
add("grey.pgm", save(Image.fromarray(noise(7, 9, 1)[..., 0]), "PPM"))
add("rgb.ppm", save(Image.fromarray(noise(7, 9, 3)), "PPM"))
add("comment.pgm", b"P5 # a comment\n#another\n 3\t2\r255\n" + bytes(range(6)))

with open("decode.json", "w") as f:
    json.dump(out, f, indent=0)

resize = []
for w, h, size in ((9, 7, 4), (7, 9, 4), (20, 31, 8), (31, 20, 9), (8, 8, 8), (8, 8, 5), (5, 6, 12), (40, 3, 6), (33, 32, 32), (13, 8, 8)):
    im = Image.fromarray(noise(h, w, 3))
    got = F.center_crop(F.resize(im, size, InterpolationMode.BICUBIC), size)
    resize.append({"width": w, "height": h, "size": size, "src": base64.b64encode(im.tobytes()).decode(), "pix": base64.b64encode(got.tobytes()).decode()})
with open("resize.json", "w") as f:
    json.dump(resize, f, indent=0)

square = []
turned = Image.Exif()
turned[0x0112] = 6
for name, data in (
    ("4:2:0", save(Image.fromarray(smooth(70, 97)), "JPEG", quality=80, subsampling="4:2:0")),
    ("4:4:4 progressive", save(Image.fromarray(smooth(97, 64)), "JPEG", quality=80, subsampling="4:4:4", progressive=True)),
    ("grey", save(Image.fromarray(smooth(80, 80)[..., 0]), "JPEG", quality=80)),
    ("CMYK", save(Image.fromarray(smooth(65, 66, 4), "CMYK"), "JPEG", quality=80)),
    ("turned", save(Image.fromarray(smooth(70, 97)), "JPEG", quality=80, exif=turned)),
    ("PNG", save(Image.fromarray(smooth(70, 97)), "PNG")),
):
    sizes = {}
    for size in (4, 8, 9, 18):
        im = Image.open(io.BytesIO(data))
        w, h = im.size
        drafted = im.draft(None, (2 * size, 2 * size))
        box = drafted[1] if drafted else (0, 0, w, h)
        if "turned" in name:  # right by a quarter, so that the bottom comes to the left
            box, w, h = (im.height - box[3], 0, im.height, box[2]), h, w
        im = ImageOps.exif_transpose(im).convert("RGB")
        scaled = (size, size * h // w) if w < h else (size * w // h, size)
        got = F.center_crop(im.resize(scaled, Image.Resampling.BICUBIC, box), size)
        sizes[size] = base64.b64encode(got.tobytes()).decode()
    square.append({"name": name, "data": base64.b64encode(data).decode(), "sizes": sizes})
with open("square.json", "w") as f:
    json.dump(square, f, indent=0)
