"""Writes zips.json and lists.json: small archives and lists of files, and what Python's zipfile and csv read from them.

zips.json: name -> {archive, images}, images a list of {name, class, data, damage} in the archive's order, archive and
data in base64; where damage is not empty, that word is to be in the reason why the image cannot be read.
lists.json: a list of {name, text, images}, images a list of {path, label} in the list's order; no label where the list
has no such column. The texts of .txt files have no reader in Python, so what they hold is written here.
Run: python make_collections.py (no packages needed)
"""
import base64
import csv
import io
import json
import pathlib
import stat
import struct
import zipfile
import zlib
from unittest import mock

DATE = (2022, 5, 20, 0, 0, 0)
MEMBERS = [("cat/1.jpg", b"one" * 40), ("dog/2.PNG", b"two"), ("notes.txt", b"no image"), ("3.gif", bytes(range(256)))]
zips = {}


def encode(data):
    return base64.b64encode(data).decode()


class Unseekable(io.RawIOBase):
    """A pipe: its sizes and checksums come behind each member."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, b):
        self.data += bytes(b)
        return len(b)


def pack(members=MEMBERS, method=zipfile.ZIP_DEFLATED, to=None, comment=b""):
    f = to or io.BytesIO()
    with zipfile.ZipFile(f, "w", method) as z:
        z.comment = comment
        for name, data in members:
            info = zipfile.ZipInfo(name, DATE)
            info.compress_type = method
            info.external_attr = (stat.S_IFDIR | 0o755 if name.endswith("/") else stat.S_IFREG | 0o644) << 16
            if data is None:  # a link
                info.external_attr, data = (stat.S_IFLNK | 0o777) << 16, b"cat/1.jpg"
            z.writestr(info, data)
    return f.data if to else f.getvalue()


def patch(archive, name, field, value, size):
    """Changes a field, at an offset in the local header and one in the central directory, of a member's headers."""
    archive = bytearray(archive)
    with zipfile.ZipFile(io.BytesIO(archive)) as z:
        local = z.getinfo(name).header_offset
        central = z.start_dir
    while archive[central + 46 :][: len(name)] != name.encode():
        central += 46 + sum(struct.unpack_from("<HHH", archive, central + 28))
    for at in (local + field[0], central + field[1]):
        archive[at : at + size] = value.to_bytes(size, "little")
    return bytes(archive)


def encrypt(data, password, crc):
    """PKWARE's traditional encryption (APPNOTE 6.1), of a stored member."""
    keys = [0x12345678, 0x23456789, 0x34567890]
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0xEDB88320 if i & 1 else 0)
        table.append(i)

    def update(c):
        keys[0] = keys[0] >> 8 ^ table[(keys[0] ^ c) & 255]
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = keys[2] >> 8 ^ table[(keys[2] ^ keys[1] >> 24) & 255]

    for c in password:
        update(c)
    out = bytearray()
    for c in bytes(range(11)) + bytes([crc >> 24]) + data:
        k = keys[2] | 2
        out.append(c ^ (k * (k ^ 1) >> 8 & 255))
        update(c)
    return bytes(out)


def add(name, archive, damage={}, passed=("notes.txt",)):
    images = []
    with zipfile.ZipFile(io.BytesIO(archive)) as z:
        for info in z.infolist():
            if info.is_dir() or info.filename in passed:
                continue
            image = {"name": info.filename, "class": pathlib.PurePosixPath(info.filename).parent.name.replace("..", "")}
            if word := damage.get(info.filename):
                image["damage"] = word
            else:
                image["data"] = encode(z.read(info))
            images.append(image)
    zips[name] = {"archive": encode(archive), "images": images}


add("deflated", pack())
add("stored", pack(method=zipfile.ZIP_STORED))
add("streamed", pack(to=Unseekable()))
add("comment", pack(comment=b"made by hand"))
add("self-extracting", b"#!/bin/sh\nexit 1\n" + pack())
add("empty", pack([]))
with mock.patch.object(zipfile, "ZIP64_LIMIT", 16), mock.patch.object(zipfile, "ZIP_FILECOUNT_LIMIT", 1):
    zip64 = pack()
    assert b"PK\x06\x06" in zip64 and b"PK\x06\x07" in zip64
    add("zip64", zip64)
    add("zip64 streamed", pack(to=Unseekable()))
add("twice", pack([("a.jpg", b"first"), ("a.jpg", b"second")]))
add("folders", pack([("cat/", b""), ("looks.jpg/", b""), ("cat/1.jpg", b"x"), ("train/dog/été/2.jpg", b"y"), ("./3.jpg", b"z"), ("../4.jpg", b"u"), ("5.jpg", b"")]))
hidden = ["__MACOSX/cat/._1.jpg", "__MACOSX/1.jpg", "cat/._1.jpg", ".git/1.jpg", "cat/.cache/1.jpg", ".jpg"]
add("hidden", pack([("cat/1.jpg", b"x")] + [(name, b"junk") for name in hidden]), passed=hidden)
add("DOS names", pack([("k?tze/?.jpg", b"x"), ("hund/1.jpg", b"y")]).replace(b"k?tze/?", b"k\x84tze/\x99"))
assert zips["DOS names"]["images"][0]["name"] == "kätze/Ö.jpg"
add("link", pack([("cat/1.jpg", b"x"), ("dog/1.jpg", None)]), {"dog/1.jpg": "link"})
for method, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")):
    add(name, pack(method=method), {n: f"compressed by method {method}" for n, _ in MEMBERS})

plain = b"a secret image"
crc = zlib.crc32(plain)
secret = pack([("cat/1.jpg", encrypt(plain, b"password", crc)), ("cat/2.jpg", b"open")], zipfile.ZIP_STORED)
secret = patch(secret, "cat/1.jpg", (6, 8), 1, 2)
secret = patch(secret, "cat/1.jpg", (14, 16), crc, 4)
secret = patch(secret, "cat/1.jpg", (22, 24), len(plain), 4)
with zipfile.ZipFile(io.BytesIO(secret)) as z:
    assert z.read("cat/1.jpg", b"password") == plain
add("encrypted", secret, {"cat/1.jpg": "encrypted"})

sound = pack()
add("checksum", patch(sound, "cat/1.jpg", (14, 16), 7, 4), {"cat/1.jpg": "checksum"})
add("bomb", patch(sound, "cat/1.jpg", (22, 24), 1 << 30, 4), {"cat/1.jpg": "larger than 536870912 bytes"})
add("more than it says", patch(sound, "cat/1.jpg", (22, 24), 50, 4), {"cat/1.jpg": "not a valid zip"})
add("less than it says", patch(sound, "cat/1.jpg", (22, 24), 500, 4), {"cat/1.jpg": "truncated"})
broken = bytearray(sound)
at = sound.index(b"cat/1.jpg") + len("cat/1.jpg")
broken[at : at + 4] = b"\xff" * 4
add("deflate", bytes(broken), {"cat/1.jpg": "flate: corrupt input"})
nowhere = patch(sound, "dog/2.PNG", (0, 42), 0x04034B50, 4)  # its place is behind the end
add("nowhere", nowhere, {"dog/2.PNG": "truncated"})
at = zip64.rindex(b"3.gif") + len("3.gif") + struct.calcsize("<HHQQ")
assert struct.unpack_from("<Q", zip64, at)[0] == zip64.index(b"3.gif") - 30
add("negative", zip64[:at] + struct.pack("<q", -9) + zip64[at + 8 :], {"3.gif": "negative"})

with open("zips.json", "w") as f:
    json.dump(zips, f, indent=0)

lists = []
PATHS = "path file filename file_name filepath filepaths image_path img_path image image_name img image_id id".split()
LABELS = "label class target class_name label_name category".split()


def table(name, text, header, encoding="utf-8", delimiter=None):
    """A .csv or .tsv file, which has a header or not."""
    data = text.encode(encoding)
    rows = [line for line in data.decode("utf-8-sig").splitlines(keepends=True) if line.strip() and line[0] != "#"]
    delimiter = delimiter or ("\t" if name.endswith(".tsv") else ",")
    rows = csv.reader(rows, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    rows = [[f.strip() for f in r] for r in rows]
    at, label = 0, 1
    if header:
        names = [f.lower() for f in rows.pop(0)]
        at = next(names.index(p) for p in PATHS if p in names)
        label = next((names.index(n) for n in LABELS if n in names), len(names))
    images = [{"path": r[at]} | ({"label": r[label]} if label < len(r) else {}) for r in rows]
    lists.append({"name": name, "text": encode(data), "images": images})


def plain(name, text, *images):
    lists.append({"name": name, "text": encode(text.encode()), "images": [dict(zip(("path", "label"), i)) for i in images]})


table("plain.csv", "cat/1.jpg,cat\ndog/2.jpg,dog\n", False)
table("numbers.csv", "cat/1.jpg,0\ndog/2.jpg,12\n3.jpg,-1\n4.jpg,\n", False)
table("paths.csv", "cat/1.jpg\ndog/2.jpg", False)
table("no extension.csv", "cat/1,3\n", False)
table("header.csv", "id,Label,Split,PATH\n1,cat,train,x/1.jpg\n2,dog,test,x/2.jpg\n", True)
table("no label.csv", "file,width\nx/1.jpg,3\nx/2.jpg,4\n", True)
table("huggingface.csv", "file_name,text\n1.png,a dog\n", True)
table("index.csv", ",image,target\n0,a.png,3\n1,b.png,4\n", True)
table("quotes.csv", 'path,class\n"a, b.jpg","hot ""dog"""\n"c d.jpg",\'plain\'\n', True)
table("spaces.csv", ' path , class \n a b.jpg , hot dog \n "c.jpg", "x" \n'.replace('" \n', '"\n'), True)
table("windows.csv", "path,label\r\na.jpg,1\r\n\r\nb.jpg,2\r\n", True, "utf-8-sig")
table("comments.csv", "# made by hand\n\npath,label\n#a.jpg,1\nb.jpg,2\n\n# end", True)
table("umlaut.csv", "été/à.jpg,naïve\n", False)
table("class named image.csv", "a.jpg,image\nb.jpg,label\n", False)
table("names.tsv", "a, b.jpg\thot dog\nc.jpg\tx\n", False)
table("empty.tsv", "id\tlabel\tfilename\n\t\ta.jpg\n1\tcat\tb.jpg\n", True)
table("quotes.tsv", 'path\ttarget\n"a\tb.jpg"\t"1"\n', True)
table("only header.csv", "path,label\n", True)

plain("paths.txt", "cat/1.jpg\ndog/2.jpg\n", ["cat/1.jpg"], ["dog/2.jpg"])
plain("windows.txt", "\ufeff  cat/1.jpg\t\r\n\r\n# no\r\n#2.jpg\r\ndog/a b #2.jpg", ["cat/1.jpg"], ["dog/a b #2.jpg"])
plain("caffe.txt", "n01/x.JPEG 0\nn01/y z.JPEG   12\nn02/u.jpg\t7\n", ["n01/x.JPEG", "0"], ["n01/y z.JPEG", "12"], ["n02/u.jpg", "7"])
plain("classes.txt", "a b.jpg hot dog\nmy.jpg folder/x.png \tcat\n", ["a b.jpg", "hot dog"], ["my.jpg folder/x.png", "cat"])
plain("odd names.txt", "no-extension\nhas a space\n.hidden.jpg\na,b.jpg\n\"c.jpg\"\n", ["no-extension"], ["has a space"], [".hidden.jpg"], ["a,b.jpg"], ['"c.jpg"'])
plain("empty.txt", "\n# nothing\n")

table("semicolons.csv", "id;path;label\n1;a, b.jpg;cat\n2;\"c;d.jpg\";hot, dog\n", True, "utf-8-sig", ";")
table("comma in a header.csv", '"id, number"; "path";label\n1; a.jpg;1,5\n', True, delimiter=";")
table("no header.csv", "cat/1.jpg;cat\ndog/2.jpg;dog\n", False, delimiter=";")
table("tabs.csv", "# tabs\n\nlabel\tpath\n\ta b.jpg\ncat\tc.jpg\n", True, delimiter="\t")
table("semicolons in names.csv", "a;b.jpg,1\nc.jpg,2\n", False)
table("ids.csv", "id,image_path,class_id,class_name\n1,x/1.jpg,0,cat\n2,x/2.jpg,1,dog\n", True)
table("id.csv", "id,category\nx/1.jpg,cat\nx/2,dog\n", True)
table("no header, but names of columns.csv", "img/id.jpg,category\n", False)
table("comma in a header of ids.csv", "id, of the photo;path;label\n1;a.jpg;cat\n", True, delimiter=";")

with open("lists.json", "w") as f:
    json.dump(lists, f, indent=0)
