"""Makes the images under testdata/ from a folder of licence-clear image sources.

    python make_testdata.py --data DATA [--out testdata]

DATA holds `pool/NAME-train.parquet`, `tasks/NAME-train.parquet` and `tasks/NAME-test.parquet` in the HuggingFace image
layout (`image: struct<bytes, path>`, `label: int64`, class names in the `huggingface` schema metadata) and
`det/bccd.tar` in the Pascal VOC layout. NOTICE.md says where each source comes from.

The output is a function of DATA and SEED. The script stops if an image, by file bytes or by decoded pixels, is found
in two of: the pool, a train split, a test split. Needs numpy, pillow and pyarrow.
"""

import argparse
import gzip
import hashlib
import io
import json
import pathlib
import re
import shutil
import struct
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SEED = 20220520
SIZE = 32


class Item(NamedTuple):
    data: bytes  # the encoded image
    path: str  # its name in the source
    label: int


class Split(NamedTuple):
    pool: list[Item]
    train: list[Item]
    test: list[Item]
    classes: list[str]


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def read(file: pathlib.Path) -> tuple[list[Item], list[str]]:
    """The rows of a labelled Parquet file, in an order that depends on their names only, and its class names."""
    table = pq.read_table(file)
    info = json.loads(table.schema.metadata[b"huggingface"])["info"]
    items = [Item(r["image"]["bytes"], r["image"]["path"], r["label"]) for r in table.to_pylist()]
    return sorted(items, key=lambda i: i.path), info["features"]["label"]["names"]


def distinct(items: list[Item]) -> list[Item]:
    """Keeps the first image of those with the same pixels."""
    first = {}
    for item in items:
        first.setdefault(decode(item.data).tobytes(), item)
    return list(first.values())


def shuffled(items: list, purpose: str) -> list:
    digest = hashlib.sha256(f"{SEED}/{purpose}".encode()).digest()
    order = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little"))).permutation(len(items))
    return [items[i] for i in order]


def by_label(items: list[Item]) -> list[list[Item]]:
    groups = defaultdict(list)
    for item in items:
        groups[item.label].append(item)
    return [groups[label] for label in sorted(groups)]


def split_classes(items: list[Item], train: int, test: int, name: str, keep_order: bool = False):
    """Per class: `train` images, `test` images and the rest; with keep_order the first, the last and the middle ones."""
    parts = ([], [], [])
    for group in by_label(items):
        if not keep_order:
            group = shuffled(group, f"{name}/{group[0].label}")
        middle = max(train, len(group) - test)
        for part, images in zip(parts, (group[:train], group[middle:], group[train:middle])):
            part.extend(images)
    return parts


def fashion_mnist(data: pathlib.Path) -> Split:
    """The official split; pool and train share the official train file."""
    items, classes = read(data / "tasks/fashion_mnist-train.parquet")
    train, _, rest = split_classes(distinct(items), 60, 0, "fashion_mnist")
    test, _ = read(data / "tasks/fashion_mnist-test.parquet")
    test = split_classes(distinct(test), 0, 100, "fashion_mnist/test")[1]
    return Split(shuffled(rest, "fashion_mnist/pool")[:1600], train, test, classes)


def omniglot(data: pathlib.Path) -> Split:
    """The task's 75 characters are not in the pool: of each, half of its drawings train and half test."""
    items, classes = read(data / "pool/omniglot_small-train.parquet")
    items = distinct(items)
    held = sorted(shuffled(list(range(len(classes))), "omniglot/characters")[:75])
    task = [i._replace(label=held.index(i.label)) for i in items if i.label in held]
    pool = [i for i in items if i.label not in held]
    train, test, _ = split_classes(task, 8, 8, "omniglot")
    return Split(shuffled(pool, "omniglot/pool")[:1600], train, test, [classes[c] for c in held])


def emoji(data: pathlib.Path) -> Split:
    """Skin tones and genders of one emoji are near copies, so all of them go to the same part."""
    items, classes = read(data / "pool/emoji-train.parquet")
    variants = defaultdict(list)
    for item in distinct(items):
        codes = pathlib.PurePosixPath(item.path).stem.split("-")
        modifiers = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff", "2640", "2642", "fe0f", "200d"}
        base = "-".join(c for c in codes if c not in modifiers)
        variants[item.label, re.sub("1f468|1f469|1f9d1", "person", base)].append(item)
    pool, train, test = [], [], []
    for label in range(len(classes)):
        bases = shuffled([v for k, v in sorted(variants.items()) if k[0] == label], f"emoji/{label}")
        # One variant of each base in the task; at least a quarter of the bases stay in the pool.
        n = min(50, len(bases) * 3 // 8)
        train += [shuffled(v, v[0].path)[0] for v in bases[:n]]
        test += [shuffled(v, v[0].path)[0] for v in bases[n : 2 * n]]
        pool += [i for v in bases[2 * n :] for i in v]
    return Split(shuffled(pool, "emoji/pool")[:1400], train, test, classes)


def grocery(data: pathlib.Path) -> Split:
    """Numbered photos of one product were taken in a row: train the first ones, test the last, pool those between."""
    items, classes = read(data / "pool/grocery81-train.parquet")
    train, test, rest = split_classes(distinct(items), 6, 8, "grocery", keep_order=True)
    return Split(shuffled(rest, "grocery/pool")[:1300], train, test, classes)


def quickdraw(data: pathlib.Path) -> Split:
    items, classes = read(data / "pool/quickdraw3-train.parquet")
    train, test, rest = split_classes(distinct(items), 160, 240, "quickdraw")
    return Split(shuffled(rest, "quickdraw/pool")[:1000], train, test, classes)


def blood_cells(data: pathlib.Path) -> Split:
    """Boxes of a detection set, each cut out as a square; no source photo gives images to two parts."""
    with tarfile.open(data / "det/bccd.tar") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    classes = files["bccd/classes.txt"].decode().split()
    official = {s: files[f"bccd/ImageSets/Main/{s}.txt"].decode().split() for s in ("trainval", "test")}
    photos = shuffled(sorted(official["trainval"]), "blood_cells/photos")

    def cut(names: list[str]) -> list[Item]:
        items = []
        for name in sorted(names):
            photo = decode(files[f"bccd/JPEGImages/{name}.jpg"])
            objects = ElementTree.fromstring(files[f"bccd/Annotations/{name}.xml"]).iter("object")
            for n, element in enumerate(objects):
                x0, y0, x1, y1 = (int(element.find("bndbox").find(k).text) for k in ("xmin", "ymin", "xmax", "ymax"))
                side = min(max(x1 - x0, y1 - y0, 16) * 1.2, *photo.size)
                left = min(max((x0 + x1 - side) / 2, 0), photo.width - side)
                top = min(max((y0 + y1 - side) / 2, 0), photo.height - side)
                box = (left, top, left + side, top + side)
                image = photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
                out = io.BytesIO()
                image.save(out, "JPEG", quality=92)
                items.append(Item(out.getvalue(), f"{name}/{n:02}.jpg", classes.index(element.find("name").text)))
        return distinct(items)

    def cap(items: list[Item], most: int, name: str) -> list[Item]:
        return split_classes(items, most, 0, name)[0]

    return Split(
        cap(cut(photos[110:]), 900, "blood_cells/pool"),
        cap(cut(photos[:110]), 160, "blood_cells/train"),
        cap(cut(official["test"]), 260, "blood_cells/test"),
        classes,
    )


SOURCES = [fashion_mnist, omniglot, emoji, grocery, quickdraw, blood_cells]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(file: pathlib.Path, items: list[Item], classes: list[str] | None) -> None:
    """A HuggingFace image Parquet file; without classes it has no label column."""
    features = {"image": {"_type": "Image"}}
    columns = {"image": pa.array([{"bytes": i.data, "path": i.path} for i in items], IMAGE)}
    if classes is not None:
        features["label"] = {"names": classes, "_type": "ClassLabel"}
        columns["label"] = pa.array([i.label for i in items], pa.int64())
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    # JPEG files of this size are two thirds tables that all of them share, hence the strong compression.
    pq.write_table(table, file, row_group_size=1000, compression="zstd", compression_level=19)


def check_disjoint(parts: dict[str, list[Item]]) -> None:
    owner = {}
    for part, items in parts.items():
        for item in items:
            for key in (hashlib.sha256(item.data).digest(), decode(item.data).tobytes()):
                other = owner.setdefault(key, part)
                if other != part:
                    raise SystemExit(f"{item.path} is in {part} and in {other}")


def write_fixtures(root: pathlib.Path, groceries: Split) -> None:
    """Small files of every kind that the image readers meet, sound and broken."""
    shutil.rmtree(root, ignore_errors=True)
    chosen = [groceries.classes.index(c) for c in ("Banana", "Carrots", "Lime")]
    for split, items in (("train", groceries.train), ("test", groceries.test)):
        for label in chosen:
            folder = root / "folder" / split / groceries.classes[label]
            folder.mkdir(parents=True)
            for item in [i for i in items if i.label == label][:6]:
                (folder / pathlib.PurePosixPath(item.path).name).write_bytes(item.data)

    items = [i._replace(label=chosen.index(i.label)) for i in groceries.train if i.label in chosen]
    names = [groceries.classes[c] for c in chosen]
    write(root / "tiny.parquet", items, names)

    with tarfile.open(root / "webdataset.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for n, item in enumerate(items):
            for suffix, data in (("jpg", item.data), ("cls", str(item.label).encode())):
                member = tarfile.TarInfo(f"{n:06}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    grey = np.stack([np.asarray(decode(i.data).convert("L")) for i in items])
    labels = np.array([i.label for i in items], np.uint8)
    for name, head, array in (
        ("train-images-idx3-ubyte.gz", struct.pack(">4i", 0x803, *grey.shape), grey),
        ("train-labels-idx1-ubyte.gz", struct.pack(">2i", 0x801, len(labels)), labels),
    ):
        (root / "idx").mkdir(exist_ok=True)
        (root / "idx" / name).write_bytes(gzip.compress(head + array.tobytes(), mtime=0))

    odd = root / "odd"
    odd.mkdir()
    image = decode(items[0].data)
    image.save(odd / "upright.png")
    image.convert("CMYK").save(odd / "cmyk.jpg", quality=92)
    orientation = Image.Exif()
    orientation[0x112] = 6  # stored turned; a reader turns it by 90 degrees clockwise to see upright.png
    image.transpose(Image.Transpose.ROTATE_90).save(odd / "exif_rotated.jpg", quality=92, exif=orientation)
    png = (odd / "upright.png").read_bytes()
    (odd / "truncated.png").write_bytes(png[: len(png) // 2])
    (odd / "corrupt.jpg").write_bytes(items[0].data[:40] + bytes(200))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder with pool/, tasks/ and det/")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent, help="folder to write to")
    args = parser.parse_args()

    parts = {}
    for source in SOURCES:
        name, split = source.__name__, source(args.data)
        parts |= {f"pool {name}": split.pool, f"{name}-train": split.train, f"{name}-test": split.test}
        write(args.out / "pool" / f"{name}.parquet", shuffled(split.pool, f"{name}/pool/rows"), None)
        for part in ("train", "test"):
            items = shuffled(getattr(split, part), f"{name}/{part}/rows")
            write(args.out / "tasks" / f"{name}-{part}.parquet", items, split.classes)
        print(f"{name}: {len(split.pool)} pool, {len(split.train)} train, {len(split.test)} test, "
              f"{len(split.classes)} classes")
        if source is grocery:
            write_fixtures(args.out / "fixtures", split)
    check_disjoint(parts)
    size = sum(f.stat().st_size for f in args.out.rglob("*") if f.is_file())
    print(f"{sum(len(v) for k, v in parts.items() if k.startswith('pool '))} pool images, {size / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
