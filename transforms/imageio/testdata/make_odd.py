"""Writes odd.json: files of unusual and damaged kinds, and what Pillow makes of them.

{"files": name -> {data, width, height, sha256}, "damaged": [{name, at, to, width, height, sha256}]}: data and to in base64,
the pixels as their SHA-256, "" where Pillow refuses the file; damaged has files with other bytes from some index on.
Not in it is what this package reads differently on purpose (see Decode). Run: python make_odd.py
"""
import base64
import hashlib
import io
import json
import random
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

warnings.simplefilter("ignore")
rng = np.random.default_rng(11)
pick = random.Random(11)
files = {}
W, H = 13, 9
R = rng.bytes


def read(data):
    try:
        im = Image.open(io.BytesIO(data))
        if im.width * im.height > 1 << 16:
            return None
        im = ImageOps.exif_transpose(im).convert("RGB")
        return {"width": im.width, "height": im.height, "sha256": hashlib.sha256(im.tobytes()).hexdigest()}
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, struct.error, Image.DecompressionBombError):
        return {"width": 0, "height": 0, "sha256": ""}


def add(name, data, refused=False):
    assert name not in files
    got = read(data)
    assert (got["sha256"] == "") == refused, (name, got)
    files[name] = {"data": data, **got}
    return data


def save(im, fmt, **kw):
    b = io.BytesIO()
    im.save(b, fmt, **kw)
    return b.getvalue()


def smooth(h, w, c=3):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([127.5 + 120 * np.sin(x * (0.3 + 0.2 * k) + k) * np.cos(y * (0.5 - 0.1 * k)) for k in range(c)], -1).astype(np.uint8)


# ---- Orientation: where it can stand, and of which type.
def exif(kind="H", values=(6,), order="<", number=3, count=None, tail=b"\0\0\0\0"):
    packed = struct.pack(order + str(len(values)) + kind, *values)
    entry = struct.pack(order + "HHI", 0x112, number, count or len(values))
    entry += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", 26)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", 1) + entry + tail + (packed if len(packed) > 4 else b"")


jpeg = save(Image.fromarray(smooth(9, 12)), "JPEG", quality=90)
segment = lambda marker, data: b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data
E, X = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
xmp = lambda text: b"<x:xmpmeta><rdf:Description " + text + b"/></x:xmpmeta>"
SIX = b'tiff:Orientation="6"'
for name, parts in {
    "short": [E + exif()], "big endian": [E + exif(order=">")], "long": [E + exif("I", number=4)], "byte": [E + exif("B", number=1)],
    "signed": [E + exif("h", number=8)], "signed byte": [E + exif("b", number=6)], "text": [E + exif("B", (54, 0), number=2)], "undefined": [E + exif("B", number=7)],
    "two": [E + exif(values=(6, 1))], "three": [E + exif(values=(6, 1, 1))], "rational": [E + exif("I", (6, 1), number=5)], "half": [E + exif("I", (13, 2), number=5)],
    "float": [E + exif("f", (6,), number=11)], "double": [E + exif("d", (6,), number=12)], "doubled prefix": [E + E + exif()], "no next": [E + exif(tail=b"")],
    "cut": [E + exif()[:20]], "bad offset": [E + b"II*\0\xff\0\0\0"], "swapped magic": [E + b"II\0*" + exif()[4:]], "in two parts": [E + exif()[:13], E + exif()[13:]],
    "zero": [E + exif(values=(0,)), X + xmp(SIX)], "nine": [E + exif(values=(9,))], "xmp": [X + xmp(SIX)], "xmp element": [X + xmp(b"/><tiff:Orientation>6</tiff:Orientation><x")],
    "xmp before": [X + xmp(SIX), E + exif(values=(3,))], "two xmps": [X + xmp(SIX), X + xmp(SIX.replace(b"6", b"3"))], "empty xmp": [X + xmp(b"")],
    "word elsewhere": [b"Exif of something"], "fill": [b"x\xff\xff\xff"],
}.items():
    add(f"orientation {name}.jpg", jpeg[:2] + b"".join(segment(0xE1, p) for p in parts) + jpeg[2:])
add("orientation behind tables.jpg", jpeg[:20] + segment(0xE1, E + exif()) + jpeg[20:])
add("orientation after stray bytes.jpg", jpeg[:20] + b"stray\xff" + segment(0xE1, E + exif()) + jpeg[20:])
add("orientation in comment.jpg", jpeg[:2] + segment(0xFE, E + exif()) + jpeg[2:])


def chunk(kind, data, crc=0):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ crc)


def png(depth, color, bits, before=b"", behind=b"", w=W, h=H, interlace=0, body=None, idat=None, end=None):
    head = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlace)
    raw = b"".join(b"\0" + R((w * bits + 7) // 8) for _ in range(h)) if body is None else body
    idat = chunk(b"IDAT", zlib.compress(raw)) if idat is None else idat
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + idat + behind + (chunk(b"IEND", b"") if end is None else end)


hexed = lambda e: b"\nexif\n%8d\n" % len(e) + e.hex().encode() + b"\n"
raw = b"Raw profile type exif\0"
for name, c in {
    "eXIf": chunk(b"eXIf", exif()), "eXIf with prefix": chunk(b"eXIf", E + exif()), "tEXt": chunk(b"tEXt", raw + hexed(E + exif())),
    "zTXt": chunk(b"zTXt", raw + b"\0" + zlib.compress(hexed(E + exif()))), "broken zTXt": chunk(b"zTXt", raw + b"\0" + zlib.compress(hexed(exif()))[:-2] + b"xx"),
    "iTXt": chunk(b"iTXt", raw + b"\0\0\0\0" + hexed(E + exif())), "zipped iTXt": chunk(b"iTXt", raw + b"\1\0\0\0" + zlib.compress(hexed(exif()))),
    "iTXt in no language": chunk(b"iTXt", raw + b"\0\0\xe0\0\0" + hexed(exif())), "broken iTXt": chunk(b"iTXt", raw + b"\1\0\0\0" + zlib.compress(hexed(exif()))[:-2] + b"xx"),
    "broken zTXt behind text": chunk(b"tEXt", raw + hexed(exif())) + chunk(b"zTXt", raw + b"\0x"), "XMP in no language": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\xe0\0\0" + xmp(SIX)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(SIX)), "key exif": chunk(b"tEXt", b"exif\0" + exif()), "other text": chunk(b"tEXt", b"Comment\0" + SIX),
}.items():
    add(f"orientation {name}.png", png(8, 2, 24, before=c))
    add(f"orientation {name} behind.png", png(8, 2, 24, behind=c))
still = save(Image.fromarray(smooth(9, 12)), "WEBP", quality=80)
lossy = still[12:]
riff = lambda body: b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
wchunk = lambda kind, data: kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
vp8x = lambda flags, w=12, h=9: wchunk(b"VP8X", bytes([flags, 0, 0, 0]) + (w - 1).to_bytes(3, "little") + (h - 1).to_bytes(3, "little"))
add("orientation Exif.webp", riff(vp8x(8) + lossy + wchunk(b"EXIF", exif())))
add("orientation Exif with prefix.webp", riff(vp8x(8) + lossy + wchunk(b"EXIF", E + exif())))
add("orientation Exif without flag.webp", riff(vp8x(0) + lossy + wchunk(b"EXIF", exif())))
add("orientation XMP.webp", riff(vp8x(4) + lossy + wchunk(b"ICCP", b"odd") + wchunk(b"XMP ", xmp(SIX))))

# ---- PNG: what strict readers refuse.
good = b"".join(b"\0" + R(39) for _ in range(H))
z = zlib.compress(good)
palette = chunk(b"PLTE", R(48))
text = chunk(b"tEXt", b"Comment\0hello")
idat = lambda data, **kw: chunk(b"IDAT", data, **kw)
for name, data in {
    "no end": png(8, 2, 24, end=b""), "end cut": png(8, 2, 24, end=chunk(b"IEND", b"")[:6]), "wrong IDAT sum": png(8, 2, 24, idat=idat(z, crc=1)),
    "wrong text sum behind": png(8, 2, 24, behind=chunk(b"tEXt", b"a\0b", crc=1)), "no Adler": png(8, 2, 24, idat=idat(z[:-4])),
    "bytes after the stream": png(8, 2, 24, idat=idat(z + b"more")), "empty IDATs": png(8, 2, 24, idat=idat(b"") + idat(z[:50]) + idat(b"") + idat(z[50:]) + idat(b"")),
    "too many pixels": png(8, 2, 24, body=good + b"\0" + R(39)), "too few rows": png(8, 2, 24, body=good[: 40 * 5]), "wrong Adler behind too many": png(8, 2, 24, idat=idat(zlib.compress(good + b"\0")[:-4] + b"none")),
    "PLTE in gray": png(8, 0, 8, before=palette), "PLTE twice": png(4, 3, 4, before=chunk(b"PLTE", R(48)) + palette), "PLTE not by 3": png(4, 3, 4, before=chunk(b"PLTE", R(20))),
    "PLTE too long": png(2, 3, 2, before=palette), "PLTE too short": png(4, 3, 4, before=chunk(b"PLTE", R(12))), "no PLTE": png(4, 3, 4),
    "tRNS before PLTE": png(4, 3, 4, before=chunk(b"tRNS", b"\0\5") + palette), "tRNS twice": png(4, 3, 4, before=palette + 2 * chunk(b"tRNS", b"\0\5")), "tRNS too long": png(2, 3, 2, before=palette + chunk(b"tRNS", R(20))),
    "tRNS in RGBA": png(8, 6, 32, before=chunk(b"tRNS", bytes(6))), "few rows of a palette": png(4, 3, 4, before=palette, body=b"\0" * 8 * 3), "text twice": png(8, 2, 24, before=text + text, behind=text),
}.items():
    add(f"{name}.png", data)
for name, data in {
    "wrong Adler": png(8, 2, 24, idat=idat(z[:-4] + b"none")), "wrong text sum": png(8, 2, 24, before=chunk(b"tEXt", b"a\0b", crc=1)), "text between pixels": png(8, 2, 24, idat=idat(z[:50]) + text + idat(z[50:])),
    "tRNS too short": png(8, 0, 8, before=chunk(b"tRNS", b"\0")), "part of a row": png(8, 2, 24, body=good[:-3]), "filter 5": png(8, 2, 24, body=b"\5" + good[1:]),
}.items():
    add(f"{name}.png", data, refused=True)
for depth, color, bits in ((1, 0, 1), (2, 0, 2), (4, 0, 4), (8, 0, 8), (16, 0, 16), (8, 2, 24), (16, 2, 48), (1, 3, 1), (4, 3, 4), (8, 3, 8), (8, 4, 16), (16, 4, 32), (8, 6, 32), (16, 6, 64)):
    for w, h in ((13, 9), (3, 2), (1, 5)):
        rows = b""
        for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
            n = (w - x0 + dx - 1) // dx
            rows += b"".join(bytes([pick.randrange(5)]) + R((n * bits + 7) // 8) for _ in range(y0, h, dy) if n > 0)
        p = chunk(b"PLTE", R(768 if depth == 8 else 3 << depth)) if color == 3 else b""
        add(f"interlaced {color} {depth} {w}x{h}.png", png(depth, color, bits, before=p, w=w, h=h, interlace=1, body=rows))
        add(f"interlaced {color} {depth} {w}x{h} without end.png", png(depth, color, bits, before=p, w=w, h=h, interlace=1, body=rows, end=b""))

for depth, color, bits in ((1, 0, 1), (2, 0, 2), (4, 0, 4), (8, 0, 8), (16, 0, 16), (8, 2, 24), (16, 2, 48), (1, 3, 1), (2, 3, 2), (4, 3, 4), (8, 3, 8)):
    p = chunk(b"PLTE", R(3 << depth)) + chunk(b"tRNS", R(1 << depth)) if color == 3 else chunk(b"tRNS", b"\0\1" if color == 0 else b"\0\1\0\2\0\3")
    add(f"transparent {color} {depth}.png", png(depth, color, bits, before=p))
control = lambda i, w=W, h=H: chunk(b"fcTL", struct.pack(">IIIIIHHBB", i, w, h, 0, 0, 1, 10, 0, 0))
frame = lambda i: control(i) + chunk(b"fdAT", struct.pack(">I", i + 1) + zlib.compress(good[::-1]))
add("animated.png", png(8, 2, 24, before=chunk(b"acTL", struct.pack(">II", 2, 0)) + control(0), behind=frame(1)))
add("animated, another picture first.png", png(8, 2, 24, before=chunk(b"acTL", struct.pack(">II", 2, 0)), behind=frame(0) + frame(2)))

# ---- GIF.
gif = save(Image.fromarray(smooth(H, W)).quantize(16), "GIF")
at = gif.index(b",\0\0\0\0")
screen = lambda w, h, x=0, y=0, d=gif: d[:6] + struct.pack("<HH", w, h) + d[10 : at + 1] + struct.pack("<HH", x, y) + d[at + 5 :]
bare = gif[:10] + bytes([gif[10] & 0x7F]) + gif[11:13] + gif[13 + 48 :]
for name, data in {
    "frame beyond screen": screen(W, H, 3, 2), "screen smaller": screen(5, 4), "screen larger": screen(W + 5, H + 4, 2, 1), "screen 0": screen(0, 0), "no table": bare,
    "no trailer": gif[:-1], "short table": gif[:10] + bytes([gif[10] - 1]) + gif[11 : 13 + 24] + gif[13 + 48 :], "junk between": gif[:at] + b"\0junk" + gif[at:],
    "87a": b"GIF87a" + gif[6:], "comment": gif[:at] + b"!\xfe\3abc\0" + gif[at:], "frame cut short": gif[:-1] + b",",
}.items():
    add(f"{name}.gif", data)
height = at + 7
add("too much data.gif", gif[:height] + struct.pack("<H", H - 3) + gif[height + 2 :])
add("too little data.gif", gif[:height] + struct.pack("<H", H + 3) + gif[height + 2 :], refused=True)
add("no frame.gif", gif[:at] + b";", refused=True)


# ---- PNM: other values of white.
for top in (1, 15, 100, 254, 256, 1023, 65535):
    values = rng.integers(0, top + top // 3 + 1, W * H * 3).clip(0, 255 if top < 256 else 65535).astype(np.uint8 if top < 256 else ">u2")
    add(f"white is {top}.pgm", b"P5 %d %d %d\n" % (W, H, top) + values[: W * H].tobytes())
    add(f"white is {top}.ppm", b"P6 %d %d %d\n" % (W, H, top) + values.tobytes())
    add(f"dark, white is {top}.pgm", b"P5 %d %d %d\n" % (W, H, top) + (values[: W * H] // max(top // 16, 1)).tobytes())

wide = rng.integers(0, 1000, W * H)
for name, data in {
    "bits.pbm": b"P4 %d %d\n" % (W, H) + R(2 * H), "bits as text.pbm": b"P1\n%d %d\n" % (W, H) + b"1 0#no pixel\n1\n0" + b"01" * 60,
    "text.pgm": b"P2\n# by hand\n%d %d 31\n" % (W, H) + b" ".join(b"%d" % (v % 32) for v in wide), "wide text.pgm": b"P2 %d %d 999 " % (W, H) + b"\n".join(b"%d" % v for v in wide),
    "text.ppm": b"P3 %d %d 255\r" % (W, H) + b"".join(b"%d \t# %d\r\n" % (v % 256, v) for v in list(wide) * 3) + b"more",
    "floats.pfm": b"Pf\n%d %d\n-1.0\n" % (W, H) + wide.astype("<f4").tobytes(), "big-endian floats.pfm": b"Pf %d %d 2e1 " % (W, H) + (wide / 3 - 20).astype(">f4").tobytes(),
    "comments.pgm": b"P5 # one\n1#two\r3\x0b%d#\n\n#three\n255\n" % H + R(W * H), "white behind a comment.ppm": b"P6\n%d\n%d\n#25\n25#6\n5\n" % (W, H) + R(3 * W * H),
}.items():
    add(name, data)
for name, data in {
    "arbitrary.pam": b"P7\nWIDTH 13\nHEIGHT 9\nDEPTH 1\nMAXVAL 255\nENDHDR\n" + R(W * H), "comment in the magic.pgm": b"P5#x\n13 9 255\n" + R(W * H),
    "RGB floats.pfm": b"PF 13 9 -1 " + R(12 * W * H), "no scale.pfm": b"Pf 13 9 0 " + R(4 * W * H), "text beyond white.pgm": b"P2 2 2 7 1 8 1 1", "no digits.pgm": b"P2 2 2 7 1 x 1 1",
    "digit 2.pbm": b"P1 2 2 1 2 0 0", "text cut.ppm": b"P3 13 9 255 " + b"1 " * (3 * W * H - 1), "bits cut.pbm": b"P4 13 9 " + R(2 * H - 1), "long number.pgm": b"P5 00000000013 9 255 " + R(W * H),
}.items():
    add(name, data, refused=True)

# ---- BMP.
def bmp(name, bits, pix, pal=b"", comp=0, size=40, masks=b"", colors=0, gap=0, flip=False, **kw):
    if size == 12:
        head = struct.pack("<IHHHH", 12, W, H, 1, bits)
    else:
        head = struct.pack("<IIIHHIIIIII", size, W, 2**32 - H if flip else H, 1, bits, comp, len(pix), 0, 0, colors, 0)
    if size > 40:
        head, masks = (head + masks).ljust(size, b"\0"), b""
    off = 14 + len(head) + len(masks) + len(pal) + gap
    add(name + ".bmp", b"BM" + struct.pack("<IHHI", off + len(pix), 0, 0, off) + head + masks + pal + b"\0" * gap + pix, **kw)


stride = lambda bits: ((W * bits + 31) >> 3) & ~3
colors = lambda n, e=4: b"".join(R(3) + b"\0" * (e - 3) for _ in range(n))
gray = lambda n, step: b"".join(bytes([i * step] * 3 + [0]) for i in range(n))
for bits in (1, 4, 8):
    for size in (12, 40, 64, 108, 124):
        bmp(f"{bits} bits header {size}", bits, R(stride(bits) * H), colors(1 << bits, 3 if size == 12 else 4), size=size)
    bmp(f"{bits} bits upside down, gap", bits, R(stride(bits) * H), colors(1 << bits), flip=True, gap=5)
    bmp(f"{bits} bits black and white", bits, R(stride(bits) * H), gray(2, 255), colors=2)
    bmp(f"{bits} bits two colors", bits, R(stride(bits) * H), colors(2), colors=2)
bmp("gray", 8, R(stride(8) * H), gray(256, 1))
bmp("few grays", 8, R(stride(8) * H), gray(64, 1), colors=64)
for bits in (16, 24, 32):
    for size in (12, 40, 108):
        bmp(f"{bits} bits header {size}", bits, R(stride(bits) * H), size=size)
    bmp(f"{bits} bits upside down, gap", bits, R(stride(bits) * H), flip=True, gap=7)
M = lambda *m: struct.pack(f"<{len(m)}I", *m)
for i, m in enumerate(((0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0))):
    bmp(f"masks {i}", 32, R(stride(32) * H), comp=3, size=108, masks=M(*m))
for name, m, refused in (("565", (0xF800, 0x7E0, 0x1F), False), ("555", (0x7C00, 0x3E0, 0x1F), False), ("444", (0xF00, 0xF0, 0xF), True)):
    for size in (40, 52, 108):
        bmp(f"masks {name} header {size}", 16, R(stride(16) * H), comp=3, size=size, masks=M(*m), refused=refused)
bmp("masks of red and blue", 32, R(stride(32) * H), comp=3, masks=M(0xFF, 0xFF00, 0xFF0000), refused=True)


def lengths(four, kind):
    out = b""
    for y in range(H):
        x = 0
        while x < W:
            n = pick.randrange(1, min(8, W - x) + 1)
            if kind and n > 2 and pick.random() < 0.5:
                size = (n + 1) // 2 if four else n
                out += bytes([0, n]) + R(size) + b"\0" * (size % 2)
            else:
                out += bytes([n, pick.randrange(256)])
            x += n
        out += b"\0\0"
        if kind == 2 and y == 4:
            out += bytes([0, 2, 3, 1])
    return out + b"\0\1"


for kind, name in enumerate(("runs", "runs and literals", "skips")):
    bmp(f"RLE8 {name}", 8, lengths(False, kind), colors(256), comp=1)
    bmp(f"RLE4 {name}", 4, lengths(True, kind), colors(16), comp=2)
bmp("RLE8 runs at odd place", 8, lengths(False, 0), colors(256), comp=1, gap=1)
bmp("RLE8 cut", 8, lengths(False, 1)[:60], colors(256), comp=1, refused=True)

# ---- WebP: animations.
frame = lambda body, x=0, y=0, w=12, h=9: wchunk(b"ANMF", b"".join(v.to_bytes(3, "little") for v in (x // 2, y // 2, w - 1, h - 1, 50)) + b"\0" + body)
anim = wchunk(b"ANIM", bytes(6))
rgba = Image.fromarray(smooth(9, 12, 4), "RGBA")
alpha = save(rgba, "WEBP", quality=80)[12:]
alpha = alpha[alpha.index(b"ALPH") :]
lossless = save(rgba, "WEBP", lossless=True, exact=True)[12:]
lossless = lossless[lossless.index(b"VP8L") :]
for name, body in (("lossy", lossy), ("alpha", alpha), ("lossless", lossless)):
    add(f"animated {name}.webp", riff(vp8x(18) + anim + frame(body) + frame(lossy)))
    add(f"animated {name}, on a larger canvas.webp", riff(vp8x(18, 20, 15) + anim + frame(body, 4, 2) + frame(lossy)))
    add(f"still {name}.webp", riff(vp8x(16) + body))
add("one frame.webp", riff(vp8x(2) + anim + frame(lossy)))
add("zeros behind.webp", still + bytes(20))
for name, data in {
    "cut": still[:-4], "frame beyond canvas": riff(vp8x(2) + anim + frame(lossy, 2, 0)), "no ANIM": riff(vp8x(2) + frame(lossy)),
    "second frame cut": riff(vp8x(2) + anim + frame(lossy) + frame(lossy))[:-9], "other size": riff(vp8x(0, 13, 9) + lossy),
}.items():
    add(f"{name}.webp", data, refused=True)


# ---- TIFF.
def tif(name, photo, bits, data, comp=1, fmt=None, extra=None, order="<", fill=None, planar=None, predictor=None, rows=None, tile=None, cmap=None, counts=True, w=W, h=H, tags=(), big=False, refused=False):
    entries = []
    if fill == 2 and comp not in (1, 7):
        data = [bytes(int(f"{b:08b}"[::-1], 2) for b in d) for d in data]

    def tag(number, kind, values):
        entries.append((number, kind, len(values) // (2 if kind == 5 else 1), struct.pack(f"{order}{len(values)}{' BsHII'[kind]}", *values)))

    tag(256, 4, [w]), tag(257, 4, [h]), tag(258, 3, bits), tag(259, 3, [comp]), tag(262, 3, [photo]), tag(277, 3, [len(bits)])
    for number, value in ((266, fill), (284, planar), (317, predictor), (339, [fmt] * len(bits) if fmt else None), (338, extra), (320, cmap)):
        if value is not None:
            tag(number, 3, value if isinstance(value, list) else [value])
    for t in tags:
        tag(*t)
    offsets, body = [], bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HHH", 43, 8, 0) + bytes(8) if big else (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0))
    for d in data:
        offsets.append(len(body))
        body += d + b"\0" * (len(d) % 2)
    if tile:
        tag(322, 3, [tile]), tag(323, 3, [tile]), tag(324, 4, offsets), tag(325, 4, [len(d) for d in data])
    else:
        tag(273, 4, offsets), tag(278, 4, [rows or h])
        if counts:
            tag(279, 4, [len(d) for d in data])
    start, tail, room = len(body), b"", (8, "Q", 20) if big else (4, "I", 12)
    far = start + (8 if big else 2) + room[2] * len(entries) + room[0]
    table = struct.pack(order + ("Q" if big else "H"), len(entries))
    for number, kind, n, value in sorted(entries):
        table += struct.pack(order + "HH" + room[1], number, kind, n)
        if len(value) <= room[0]:
            table += value.ljust(room[0], b"\0")
        else:
            table += struct.pack(order + room[1], far + len(tail))
            tail += value + b"\0" * (len(value) % 2)
    body[(8 if big else 4) : (16 if big else 8)] = struct.pack(order + room[1], start)
    add(name + ".tif", bytes(body) + table + bytes(room[0]) + tail, refused=refused)


def numbers(kind, low, high, n=W * H):
    return rng.integers(low, high, n).astype(kind).tobytes()


plain = lambda d: d
random_map = lambda n: [int(v) for v in rng.integers(0, 65536, 3 * n)]
for order, label, comp, pack in (("<", "little-endian", 1, plain), (">", "big-endian", 1, plain), ("<", "little-endian, deflate", 8, zlib.compress), (">", "big-endian, deflate", 32946, zlib.compress)):
    kw = {"order": order, "comp": comp}
    for bits in (1, 2, 4, 8):
        row = (W * bits + 7) // 8
        for photo in (0, 1):
            for fill in (None, 2):
                if (photo, bits, fill, comp) != (0, 8, 2, 1):  # Pillow means to read it, and fails
                    tif(f"gray {bits}, {photo}, {fill}, {label}", photo, [bits], [pack(R(row * 5)), pack(R(row * 4))], fill=fill, rows=5, **kw)
        tif(f"indexed {bits}, {label}", 3, [bits], [pack(R(row * H))], cmap=random_map(1 << bits), **kw)
    little, unsigned = order == "<", comp == 1 or order == "<"
    tif(f"gray 12, {label}", 1, [12], [pack(R((W * 12 + 7) // 8 * H))], refused=not little, **kw)
    for fill in (None, 2):
        tif(f"gray 16, {fill}, {label}", 1, [16], [pack(numbers(order + "u2", 0, 400))], fill=fill, refused=fill == 2 and not little, **kw)
    tif(f"white is 0, 16, {label}", 0, [16], [pack(numbers(order + "u2", 0, 400))], refused=not little, **kw)
    tif(f"signed 8, {label}", 1, [8], [pack(R(W * H))], fmt=2, **kw)
    tif(f"unsigned 32, {label}", 1, [32], [pack(numbers(order + "u4", 0, 400))], refused=not little, **kw)
    if comp == 1 or little:  # Pillow forgets that libtiff has put the bytes in the machine's order
        tif(f"signed 16, {label}", 1, [16], [pack(numbers(order + "i2", -100, 400))], fmt=2, **kw)
        tif(f"signed 32, {label}", 1, [32], [pack(numbers(order + "i4", -100, 400))], fmt=2, **kw)
        for photo in (0, 1):
            tif(f"float, {photo}, {label}", photo, [32], [pack(rng.normal(100, 100, W * H).astype(order + "f4").tobytes())], fmt=3, **kw)
    for extra in ([0], [1], [2], [0, 0], [1, 0], [2, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0], [999], None):
        n = 3 + len(extra or [0])
        tif(f"RGB, extra {extra}, {label}", 2, [8] * n, [pack(R(W * n * H))], extra=extra, **kw)
    tif(f"RGB, extra [0, 2], {label}", 2, [8] * 5, [pack(R(W * 5 * H))], extra=[0, 2], refused=True, **kw)
    for extra in ([], [0], [1], [2], None):
        n = 4 if extra is None else 3 + len(extra)
        tif(f"RGB 16, extra {extra}, {label}", 2, [16] * n, [pack(R(2 * W * n * H))], extra=extra or None, **kw)
    for extra in (0, 1, 2):
        tif(f"gray, extra {extra}, {label}", 1, [8, 8], [pack(R(2 * W * H))], extra=[extra], refused=extra == 1, **kw)
    for extra in (0, 2):
        tif(f"indexed, extra {extra}, {label}", 3, [8, 8], [pack(R(2 * W * H))], extra=[extra], cmap=random_map(256), **kw)
    for extra in ([], [0], [0, 0]):
        tif(f"CMYK, extra {extra}, {label}", 5, [8] * (4 + len(extra)), [pack(R((4 + len(extra)) * W * H))], extra=extra or None, **kw)
    tif(f"CMYK 16, {label}", 5, [16] * 4, [pack(R(8 * W * H))], **kw)
    tif(f"luma, {label}", 6, [8], [pack(R(W * H))], refused=comp != 1, **kw)
    tif(f"RGB, bits reversed, {label}", 2, [8] * 3, [pack(R(3 * W * H))], fill=2, **kw)
    tif(f"RGB planes, {label}", 2, [8] * 3, [pack(R(W * r)) for _ in range(3) for r in (4, 4, 1)], planar=2, rows=4, **kw)
    tif(f"CMYK planes, {label}", 5, [8] * 4, [pack(R(W * H)) for _ in range(4)], planar=2, **kw)
    for n in (1, 3):
        photo = 2 if n == 3 else 1
        tif(f"{n} tiled, {label}", photo, [8] * n, [pack(R(256 * n)) for _ in range(6)], tile=16, w=40, h=30, **kw)
        tif(f"{n} tiled planes, {label}", photo, [8] * n, [pack(R(256)) for _ in range(6 * n)], tile=16, w=40, h=30, planar=2, **kw)
    tif(f"bilevel tiled, {label}", 1, [1], [pack(R(32)) for _ in range(6)], tile=16, w=40, h=30, **kw)
    tif(f"no sizes, {label}", 1, [8], [pack(R(W * H))], counts=False, **kw)
    tif(f"few strips, {label}", 1, [8], [pack(R(W * 3)), pack(R(W * 3))], rows=3, refused=comp != 1, **kw)
    tif(f"many strips, {label}", 1, [8], [pack(R(W * 3)) for _ in range(5)], rows=3, **kw)
    if comp != 1:
        for bits in (8, 16) + (32,) * little:
            tif(f"predictor 2, {bits}, {label}", 1, [bits], [pack(R(W * H * bits // 8))], predictor=2, fmt=2 if bits == 32 else None, **kw)
        tif(f"predictor 2, RGB, {label}", 2, [8] * 3, [pack(R(W * H * 3))], predictor=2, **kw)
        tif(f"predictor 2, RGB 16, {label}", 2, [16] * 3, [pack(R(W * H * 6))], predictor=2, **kw)
        tif(f"predictor 2, planes, {label}", 2, [8] * 3, [pack(R(W * H)) for _ in range(3)], predictor=2, planar=2, **kw)
        tif(f"wrong Adler, {label}", 1, [8], [pack(R(W * H))[:-4] + b"none"], refused=True, **kw)
        tif(f"more than the strip, {label}", 1, [8], [pack(R(W * H + 9))], **kw)
        tif(f"less than the strip, {label}", 1, [8], [pack(R(W * H - 9))], refused=True, **kw)
tif("YCbCr", 6, [8] * 3, [R(3 * W * H)], tags=[(530, 3, [1, 1])])
tif("BigTIFF", 2, [8] * 3, [R(3 * W * H)], big=True)
rows = b""
for r in rng.normal(100, 100, (H, W)).astype(">f4"):
    b = np.frombuffer(r.tobytes(), np.uint8).reshape(W, 4).T.reshape(-1)
    rows += np.diff(b, prepend=np.uint8(0)).astype(np.uint8).tobytes()
tif("predictor 3", 1, [32], [zlib.compress(rows)], comp=8, fmt=3, predictor=3)
tif("cut", 2, [8] * 3, [R(3 * W * H - 300)], counts=False, refused=True)
picture = Image.fromarray(smooth(30, 41, 3))
for comp in ("jpeg", "tiff_lzw", "packbits", "zstd"):
    for mode in ("RGB", "L", "CMYK"):
        add(f"{comp} {mode}.tif", save(picture.convert(mode) if mode != "CMYK" else Image.fromarray(smooth(30, 41, 4), "CMYK"), "TIFF", compression=comp))
for name, sampling, factors in (("4:2:0", "4:2:0", [2, 2]), ("4:4:4", "4:4:4", [1, 1])):
    strips = [save(picture.crop((0, y, 41, min(y + 16, 30))), "JPEG", quality=90, subsampling=sampling) for y in (0, 16)]
    tif(f"jpeg YCbCr {name}", 6, [8] * 3, strips, comp=7, rows=16, w=41, h=30, tags=[(530, 3, factors)])
for info in ({}, {262: 0}, {266: 2}):
    for comp in ("group3", "group4"):
        add(f"{comp} {info}.tif", save(picture.convert("1"), "TIFF", compression=comp, tiffinfo=info))
several = lambda number, data: data.replace(struct.pack("<HHI", number, 3, 1), struct.pack("<HHI", number, 3, 2))
for number, info in ((292, {292: 1}), (262, {262: 0})):  # the second value is 0
    add(f"group3, two values of {number}.tif", several(number, save(picture.convert("1"), "TIFF", compression="group3", tiffinfo=info)))
add("two values of 262.tif", several(262, save(picture.convert("L"), "TIFF")))
# 292 are the options of group 3: 1 is of two dimensions, 4 fills up to whole bytes.
photo = Image.fromarray(smooth(11, 3000)[:, :, 0]).convert("1", dither=Image.Dither.NONE)
for info in ({}, {292: 1}, {292: 4}, {292: 5}, {292: 1, 266: 2}):
    for comp in ("tiff_ccitt", "group3", "group4"):
        for of, im in ("small", picture.convert("1")), ("wide", photo):
            if info or comp == "tiff_ccitt" or of == "wide":
                add(f"{comp} {of} {info}.tif", save(im, "TIFF", compression=comp, tiffinfo=info))

# YCbCr that is not a JPEG: groups of pixels with their colors in common.
def packed(data, comp):
    """What libtiff makes of bytes, as the pixels of a gray image."""
    if comp == "raw":
        return data
    im = Image.open(io.BytesIO(save(Image.frombytes("L", (len(data), 1), data), "TIFF", compression=comp)))
    at, size = im.tag_v2[273][0], im.tag_v2[279][0]
    return im.fp.getvalue()[at : at + size]


def grouped(name, comp, across, down, w=13, h=9, rows=None, tile=None, tags=(), written=True, **kw):
    tags = [*tags, *([(530, 3, [across, down])] if written else [])]
    ceil = lambda a, b: -(-a // b)
    size = lambda w, h: ceil(w, across) * ceil(h, down) * (across * down + 2)
    if tile:
        data = [R(size(tile, tile)) for _ in range(ceil(w, tile) * ceil(h, tile))]
    else:
        data = [R(size(w, min(rows or h, h - y))) for y in range(0, h, rows or h)]
    tif(f"YCbCr {across}x{down}, {name}", 6, [8] * 3, [packed(d, comp) for d in data], comp=codes[comp], rows=rows, tile=tile, w=w, h=h, tags=tags, **kw)


codes = {"raw": 1, "tiff_lzw": 5, "jpeg": 7, "tiff_adobe_deflate": 8, "packbits": 32773, "zstd": 50000}
for comp in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"):
    for factors in ((1, 1), (2, 1), (2, 2)):
        grouped(comp, comp, *factors)
for factors in ((1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2)):
    grouped("strips, deflate", "tiff_adobe_deflate", *factors, rows=5)
    grouped("tiled, deflate, big-endian", "tiff_adobe_deflate", *factors, tile=16, w=41, h=30, order=">")
grouped("not said, lzw", "tiff_lzw", 2, 2, written=False)
grouped("predictor, deflate", "tiff_adobe_deflate", 1, 1, predictor=2)
grouped("one pixel, packbits", "packbits", 2, 2, w=1, h=1, refused=True)
grouped("one column, packbits", "packbits", 1, 2, w=1)
grouped("three values, deflate", "tiff_adobe_deflate", 2, 2, written=False, tags=[(530, 3, [1, 1, 1])])
for factors in ((3, 1), (2, 4), (0, 0)):
    tif(f"YCbCr {factors}, deflate", 6, [8] * 3, [zlib.compress(R(4 * W * H))], comp=8, tags=[(530, 3, factors)], refused=True)
for turn in (3, 6):
    grouped(f"orientation {turn}, deflate", "tiff_adobe_deflate", 2, 2, tags=[(274, 3, [turn])])
ratios = lambda *v: [int(x) for f in v for x in (f * 10000, 10000)]
bt709, studio = ratios(0.2126, 0.7152, 0.0722), ratios(16, 235, 128, 240, 128, 240)
for name, tags in {
    "factors": [(529, 5, bt709)], "ranges": [(532, 5, studio)], "both": [(529, 5, bt709), (532, 5, studio)],
    "few factors": [(529, 5, bt709[:4])], "ranges of nothing": [(532, 5, ratios(9, 9, 9, 9, 9, 9))], "ranges by 0": [(532, 5, [255, 0] * 6)],
    "wild": [(529, 5, ratios(2.5, 0.01, 0.3)), (532, 5, ratios(235, 16, 0, 1, 255, 254))],
}.items():
    grouped(f"{name}, deflate", "tiff_adobe_deflate", 2, 1, tags=tags)
grouped("no green, deflate", "tiff_adobe_deflate", 2, 1, tags=[(529, 5, ratios(0.3, 0, 0.1))], refused=True)
for factors in ((1, 1), (2, 2)):
    planes = [packed(R(W * H), "tiff_adobe_deflate") for _ in range(3)]
    tif(f"YCbCr {factors} planes, deflate", 6, [8] * 3, planes, comp=8, planar=2, tags=[(530, 3, factors)], refused=factors == (2, 2))
planes = [save(picture.getchannel(c), "JPEG") for c in range(3)]
tif("YCbCr planes, jpeg", 6, [8] * 3, planes, comp=7, planar=2, w=41, h=30, tags=[(530, 3, [1, 1])])

# ---- Damage, but not of compressed pixels in TIFFs: what happens there depends on the library of the compression.
def in_pixels(name, data, at):
    if any(c in name for c in ("jpeg", "zstd", "lzw", "group3", "ccitt")):
        return True
    order = "<" if data[:1] == b"I" else ">"
    return "deflate" in name and at < struct.unpack(order + "I", data[4:8])[0]


damaged = []
while len(damaged) < 600:
    name = pick.choice(list(files))
    data = files[name]["data"]
    at = pick.randrange(8, len(data)) if pick.random() < 0.6 else pick.randrange(8, min(len(data), 60))
    to = pick.choice((b"\0", b"\xff", R(1), R(1), R(2)))
    changed = data[:at] + to + data[at + len(to) :]
    got = read(changed)
    if got and got["sha256"] and files[name]["sha256"] and not (name.endswith(".tif") and in_pixels(name, data, at)):
        damaged.append({"name": name, "at": at, "to": base64.b64encode(to).decode(), **got})
# Options of group 3 of other types, which libtiff ignores unless they are integers.
name = "group3 small {292: 5}.tif"
data = files[name]["data"]
at = data.index(struct.pack("<H", 292), struct.unpack("<I", data[4:8])[0]) + 2
for kind in (1, 3, 5, 6, 8, 9, 10, 11, 12):
    to = struct.pack("<H", kind)
    damaged.append({"name": name, "at": at, "to": base64.b64encode(to).decode(), **read(data[:at] + to + data[at + 2 :])})

# Strips of JPEG with other numbers of rows than they should have.
part = lambda h: save(picture.crop((0, 0, 41, h)), "JPEG", subsampling=0)
for name, heights, refused in (
    ("last of the height of the others", (8, 8, 8, 8), False), ("last much taller", (8, 8, 8, 30), False), ("short", (8, 5, 8, 2), False), ("last short", (8, 8, 8, 4), False), ("first taller", (9, 8, 8, 6), True),
):
    tif(f"jpeg strips, {name}", 6, [8] * 3, [part(h) for h in heights], comp=7, rows=8, w=41, h=30, tags=[(530, 3, [1, 1])], refused=refused)
tif("jpeg, short", 6, [8] * 3, [part(22)], comp=7, w=41, h=30, tags=[(530, 3, [1, 1])])
tif("jpeg, taller", 6, [8] * 3, [part(30)], comp=7, w=41, h=21, tags=[(530, 3, [1, 1])])

# The checksum of a PNG's pixels in a chunk of its own, or in two, which Pillow does not come to.
pieces = lambda *parts: png(8, 2, 24, idat=b"".join(map(idat, parts)))
z, wrong, flush = zlib.compress(good), b"none", zlib.compressobj()
flushed, rest = flush.compress(good) + flush.flush(zlib.Z_SYNC_FLUSH), flush.flush()
for name, data, refused in (
    ("wrong Adler alone", pieces(z[:-4], wrong), False), ("Adler alone", pieces(z[:-4], z[-4:]), False), ("part of Adler alone", pieces(z[:-4], z[-4:-2]), False),
    ("wrong Adler in two chunks", pieces(z[:-4] + wrong[:2], wrong[2:]), False), ("wrong Adler behind nothing", pieces(z[:-4], b"", wrong), False),
    ("wrong Adler in the last chunk", pieces(z[:50], z[50:-4] + wrong), True), ("wrong Adler behind a byte", pieces(z[:-5], z[-5:-4] + wrong), True),
    ("wrong Adler behind a flush", pieces(flushed, rest[:-4] + wrong), False), ("wrong Adler with a flush", pieces(flushed + rest[:-4] + wrong), True),
):
    add(f"{name}.png", data, refused=refused)

# Strips of JPEG whose markers tell other colors than the TIFF, which libtiff goes by.
def strip(im, markers=b"", **kw):
    data = save(im, "JPEG", quality=85, **kw)
    return data[:2] + markers + data[4 + int.from_bytes(data[4:6], "big") :]  # without the first segment, of JFIF or Adobe


jfif, adobe = jpeg[2:20], lambda transform: segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
small = picture.crop((0, 0, 19, 17))
inks = Image.fromarray(smooth(17, 19, 4), "CMYK")
for name, im, photo, kw, sampling in (
    ("RGB", small, 2, {"keep_rgb": True}, None), ("YCbCr", small, 6, {"subsampling": 0}, [1, 1]), ("YCbCr 4:2:0", small, 6, {}, [2, 2]),
    ("YCbCr as RGB", small, 2, {"subsampling": 0}, None), ("CMYK", inks, 5, {}, None), ("gray", small.convert("L"), 1, {}, None),
):
    for of, markers in {"JFIF": jfif, "Adobe 0": adobe(0), "Adobe 1": adobe(1), "Adobe 2": adobe(2)}.items():
        tif(f"jpeg {name}, {of}", photo, [8] * len(im.mode if photo != 6 else "RGB"), [strip(im, markers, **kw)], comp=7, w=19, h=17, tags=[(530, 3, sampling)] if sampling else [])

# Deflated strips without their last bytes: libtiff does without the checksum.
for name, data, kw in (("noise", R(W * H), {}), ("zeros", bytes(W * H), {}), ("big-endian", R(W * H), {"order": ">"}), ("predictor", smooth(H, W, 1).tobytes(), {"predictor": 2})):
    for missing in (1, 3, 4, 6):
        tif(f"deflate without {missing}, {name}", 1, [8], [zlib.compress(data)[:-missing]], comp=8, refused=missing == 6, **kw)
planes = [zlib.compress(R(W * H))[:-2] for _ in range(3)]
tif("deflate without 2, planes", 2, [8] * 3, planes, comp=8, planar=2)
tif("deflate without 2, tiled", 1, [8], [zlib.compress(R(256))[:-2] for _ in range(6)], comp=32946, tile=16, w=40, h=30)

# Strips of JPEG without their end, and those whose bits libtiff does not turn.
halves = [strip(picture.crop((0, y, 41, y + 15))) for y in (0, 15)]
for name, data in (
    ("no end", [h[:-2] for h in halves]), ("half an end", [h[:-1] for h in halves]), ("cut short", [halves[0][: len(halves[0]) * 4 // 5], halves[1][:-9]]),
    ("progressive, cut short", [strip(picture.crop((0, 0, 41, 15)), progressive=True)[:-99], halves[1]]), ("no pixels", [halves[0][: halves[0].index(b"\xff\xda") + 14], halves[1]]),
):
    tif(f"jpeg strips, {name}", 6, [8] * 3, data, comp=7, rows=15, w=41, h=30, tags=[(530, 3, [2, 2])])
for fill in (1, 2):
    tif(f"jpeg gray, {fill}", 1, [8], [strip(small.convert("L"))], comp=7, w=19, h=17, fill=fill)

# JPEGs smaller than their tiles, of which those at the edges may end with the image, or their strips.
for mode, photo in (("RGB", 6), ("L", 1)):
    im, kw = picture.convert(mode), {"comp": 7, "w": 41, "h": 30, "tags": [(530, 3, [1, 1])] if photo == 6 else []}
    cut = lambda w, h: [strip(im.crop((x, y, min(x + w, 41), min(y + h, 30))), subsampling=0) for y in (0, 16) for x in (0, 16, 32)]
    tif(f"jpeg tiles {mode} that end with the image", photo, [8] * len(mode), cut(16, 16), tile=16, **kw)
    tif(f"jpeg tiles {mode}, small", photo, [8] * len(mode), cut(14, 11), tile=16, **kw)
    tif(f"jpeg strips {mode}, narrow", photo, [8] * len(mode), [strip(im.crop((0, y, 33, y + 10)), subsampling=0) for y in (0, 10, 20)], rows=10, **kw)
    tif(f"jpeg strips {mode}, narrow and tall", photo, [8] * len(mode), [strip(im.crop((0, 0, 33, 30)), subsampling=0)], **kw | {"h": 29}, refused=True)

# Images of satellites: bands in planes of their own, of which Pillow passes over the unspecified ones.
for photo, colors in ((1, 1), (2, 3), (5, 4)):
    for n in (colors + 1, 7, 13):
        for bits in (8, 16):
            data = [zlib.compress(R(W * H) if bits == 8 else numbers("<u2", 0, 400)) for _ in range(n)]
            tif(f"{n} bands, {photo}, {bits}", photo, [bits] * n, data, comp=8, planar=2, extra=[0] * (n - colors))
tif("7 bands, the bits of one", 2, [8], [zlib.compress(R(W * H)) for _ in range(7)], comp=8, planar=2, extra=[0] * 4, refused=True)
tif("7 bands, not in planes", 2, [8] * 7, [zlib.compress(R(7 * W * H))], comp=8, extra=[0] * 4, refused=True)
tif("7 bands with alpha", 2, [8] * 7, [zlib.compress(R(W * H)) for _ in range(7)], comp=8, planar=2, extra=[2, 0, 0, 0], refused=True)

# GIFs with indices beyond a table that is all gray.
ramp = bytes(i // 3 for i in range(24))
add("gray, beyond the table.gif", gif[:10] + bytes([gif[10] - 1]) + gif[11:13] + ramp + gif[13 + 48 :])
at = bare.index(b",\0\0\0\0") + 9
add("gray, beyond the frame's table.gif", bare[:at] + bytes([0x82]) + ramp + bare[at + 1 :])
at = gif.index(b",\0\0\0\0")
add("opaque in three bytes.gif", gif[:at] + b"!\xf9\3\0\0\0\0" + gif[at:])
add("transparent in three bytes.gif", gif[:at] + b"!\xf9\3\1\0\0\0" + gif[at:], refused=True)
add("opaque in two bytes.gif", gif[:at] + b"!\xf9\2\0\0\0" + gif[at:], refused=True)
add("nearly gray, beyond the table.gif", gif[:10] + bytes([gif[10] - 1]) + gif[11:13] + ramp[:-1] + b"\x08" + gif[13 + 48 :])

# A PNG with a palette of more than 256 colors, which it does not need, or needs.
for depth, color, bits in ((8, 2, 24), (8, 0, 8), (16, 6, 64), (8, 3, 8)):
    add(f"PLTE of 257 in {color} {depth}.png", png(depth, color, bits, before=chunk(b"PLTE", R(3 * 257))), refused=color == 3)

for f in files.values():
    f["data"] = base64.b64encode(f["data"]).decode()
with open("odd.json", "w") as f:
    json.dump({"files": files, "damaged": damaged}, f, indent=0)
print(len(files), "files", sum(f["sha256"] == "" for f in files.values()), "refused")
