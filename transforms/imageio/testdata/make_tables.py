"""Writes tables.json: small Parquet files as pyarrow writes them, and the images and labels in them.

name -> {file, rows} or {file, error}: file in base64, with the path where it is not x.parquet; rows a list of {data, label, class, labels, damage, label_error} in
the order of the file, where label is -1 if there is none, and of damage and label_error a part that is to be in the message;
error is a part of the message where the file cannot be used.
Run: python make_tables.py (needs pyarrow)
"""
import base64
import datetime as dt
import decimal
import io
import json
import pathlib
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PNG = b"\x89PNG\r\n\x1a\n"
tables = {}


def images(n):
    return [b"image %d" % i for i in range(n)]


def column(n=3):
    return pa.array([{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(images(n))], IMAGE)


def add(name, columns, rows=None, error=None, features=None, **options):
    table = pa.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    f = io.BytesIO()
    pq.write_table(table, f, **options)
    case = {"file": base64.b64encode(f.getvalue()).decode()}
    if error:
        case["error"] = error
    else:
        case["rows"] = [{"label": -1} | r | {"data": base64.b64encode(r.get("data", b"")).decode()} for r in rows]
    tables[name] = case


def labels(name, values, want, error="", column_name="label", features=None):
    """A file whose labels are read as want, a number, a name, both, a list of both or None."""
    rows = []
    for data, w in zip(images(len(want)), want):
        row = {"data": data}
        if isinstance(w, list):
            row["labels"] = [{"number": n, "name": name} for n, name in w]
            row["class"] = ", ".join(name or str(n) for n, name in w)
        elif isinstance(w, tuple):
            row |= {"label": w[0], "class": w[1]}
        elif isinstance(w, str):
            row["class"] = w
        elif w is not None:
            row["label"] = w
        elif error:
            row["label_error"] = error
        rows.append(row)
    add("label " + name, {"image": column(len(want)), column_name: values}, rows, features=features)


# Labels of every type.
for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
    labels(str(t), pa.array([0, None, 100], t), [0, None, 100])
labels("-1", pa.array([0, -1, -7], pa.int16()), [0, None, None])
labels("bool", pa.array([True, None, False]), [1, None, 0])
for t in (pa.float32(), pa.float64()):
    labels(str(t), pa.array([0, None, 12, float("nan")], t), [0, None, 12, None])
labels("fraction", pa.array([0.5, float("inf"), 1e300]), [None] * 3, "column label holds ")
labels("huge", pa.array([2**64 - 1], pa.uint64()), [None], "column label holds 18446744073709551615")
for t in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())):
    labels(str(t), pa.array(["ant", None, "737"], pa.string()).cast(t), ["ant", None, "737"])
labels("dictionary of numbers", pa.array([7, None, 9], pa.int16()).dictionary_encode(), [7, None, 9])
labels("binary", pa.array([b"ant", None]), ["ant", None])
for name, values, text in (
    ("list of floats", pa.array([[0.5], [1.0]]), "column label holds label.list.element: list of float64"),
    ("struct", pa.array([{"a": 1}, {"a": 2}]), "label.a: int64"),
    ("date", pa.array([dt.date(2020, 1, 1)]), "date32"),
    ("decimal", pa.array([decimal.Decimal("1.0")]), "decimal"),
):
    labels(name, values, [None] * len(values), text)

# Lists of labels.
labels("list", pa.array([[0], [2, 1], [], None]), [[(0, "")], [(2, ""), (1, "")], [], []])
labels("list of names", pa.array([["bee", "ant"], []]), [[(-1, "bee"), (-1, "ant")], []], column_name="labels")
labels("fixed list", pa.array([[0, 1], [1, 2]], pa.list_(pa.int8(), 2)), [[(0, ""), (1, "")], [(1, ""), (2, "")]])
labels("vector of zeros and ones", pa.array([[0, 1, 0], [1, 0, 0]]), [None] * 2, "column label holds the class 0 twice")
labels("nested list", pa.array([[[0]]]), [None], "list of int64")
for one in ({"feature": {"names": ["ant", "bee"], "_type": "ClassLabel"}, "_type": "Sequence"}, [{"names": ["ant", "bee"], "_type": "ClassLabel"}]):
    labels(f"list with names in a {type(one).__name__}", pa.array([[1, 0], [1]]), [[(1, "bee"), (0, "ant")], [(1, "bee")]], features={"label": one})

# The names of classes in the metadata of the HuggingFace library.
names = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
labels("class names", pa.array([1, 0, 2, None]), [(1, "bee"), (0, "ant"), 2, None], features=names)
labels("int8 with names", pa.array([1, 0], pa.int8()), [(1, "bee"), (0, "ant")], features=names)
breed = {"breed": {"num_classes": 2, "names": ["ant", "bee"], "id": None, "_type": "ClassLabel"}, "boxes": [{"_type": "Value"}]}
labels("by metadata", pa.array([1, 0]), [(1, "bee"), (0, "ant")], column_name="breed", features=breed)
for other in ("labels", "Label", "cls", "class", "target"):
    labels("column " + other, pa.array([1, 0]), [1, 0], column_name=other)
labels("CIFAR-100", pa.array([1, 0]), [(1, "bee"), (0, "ant")], column_name="fine_label", features={n: names["label"] for n in ("fine_label", "coarse_label")})
labels("map", pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), [None], "label.key_value.key: list of utf8")
labels("none of two", pa.array([1, 0]), [None, None], column_name="shape", features={n: names["label"] for n in ("shape", "color")})

# Images in columns of all kinds.
plain = [{"data": b} for b in images(3)]
for name in ("image", "Image", "img", "jpg", "png", "jpeg", "webp", "IMG"):
    add("struct " + name, {"id": pa.array([1, 2, 3]), name: column(), "mask": column()}, plain)
    add("binary " + name, {"mask": pa.array([b"no"] * 3), name: pa.array(images(3))}, plain)
add("large binary", {"image": pa.array(images(3), pa.large_binary())}, plain)
add("the only one", {"photo": column(), "caption": pa.array(["x"] * 3)}, plain)
add("by its type", {"photo": column(), "thumb": pa.array([b"no"] * 3)}, plain, features={"photo": {"_type": "Image"}})
add("path first", {"image": pa.array([{"path": None, "bytes": b} for b in images(3)], pa.struct([("path", pa.string()), ("bytes", pa.binary())]))}, plain)
add("nested", {"sample": pa.array([{"image": {"bytes": b, "path": None}} for b in images(3)], pa.struct([("image", IMAGE)]))}, plain)
inside = pa.array([{"image": {"bytes": b, "path": None}, "label": i} for i, b in enumerate(images(2))], pa.struct([("image", IMAGE), ("label", pa.int64())]))
add("nested with labels", {"sample": inside}, [r | {"label": i} for i, r in enumerate(plain[:2])])
add("nested with names", {"sample": inside}, [r | {"label": i, "class": ["ant", "bee"][i]} for i, r in enumerate(plain[:2])], features={"sample": names})
several = [[{"bytes": b"first", "path": None}, {"bytes": b"second", "path": None}], [], None, [{"bytes": None, "path": "x.png"}]]
of_several = [{"data": b"first"}, {"damage": "the row has no image"}, {"damage": "the row has no image"}, {"damage": '"x.png": no such file'}]
add("lists", {"images": pa.array(several, pa.list_(IMAGE)), "label": pa.array([4, 5, 6, 7])}, [r | {"label": 4 + i} for i, r in enumerate(of_several)])
add("lists of binary", {"images": pa.array([[b"first", b"second"], [b"third"]])}, [{"data": b"first"}, {"data": b"third"}])
beside = [{"bytes": b"image", "path": "beside.png"}, {"bytes": None, "path": "beside.png"}, {"bytes": b"", "path": "sub/beside.png"}, {"bytes": None, "path": "/nowhere/x.png"}, {"bytes": None, "path": None}, None]
add("beside", {"image": pa.array(beside, IMAGE)}, [
    {"data": b"image"}, {"data": b"beside.png"}, {"data": b"sub/beside.png"},
    {"damage": 'the row has no image, but the path of one, "/nowhere/x.png": no such file or directory'},
    {"damage": "the row has no image"}, {"damage": "the row has no image"},
])
text = [base64.b64encode(PNG).decode(), "beside.png", None, "neither"]
add("text", {"image": pa.array(text)}, [{"data": PNG}, {"data": b"beside.png"}, {"damage": "the row has no image"}, {"damage": '"neither": no such file'}])
add("pointer", {"image": pa.array([b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"])}, [{"damage": "git-lfs pointer"}])
for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
    add("codec " + codec, {"image": column()}, plain, compression=codec, row_group_size=2)
for encoding in ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"):
    add("encoding " + encoding, {"image": column(), "label": pa.array([3, None, 2])},
        [{"data": b, "label": l} for b, l in zip(images(3), (3, -1, 2))], use_dictionary=False, column_encoding={"label": encoding})

# Files without images.
add("no images", {"text": pa.array(["a"]), "label": pa.array([1]), "boxes": pa.array([[1.5]])}, error="no column image: struct<bytes: binary, path: string>, as HuggingFace's image datasets have it, nor another of images; its columns are text: utf8, label: int64, boxes.list.element: list of float64")
add("two columns", {"left": column(1), "right": column(1)}, error="its columns are left.bytes: binary, left.path: utf8, right.bytes: binary, right.path: utf8")
add("numbers", {"image": pa.array([1, 2])}, error="its columns are image: int64")
add("many columns", {f"c{i}": pa.array([1]) for i in range(30)}, error="c19: int64, and 10 more")

# Images as text in other ways.
odd = PNG + b"\0\xfb\xef\xbe\xff\xff\xff\0"
assert len(odd) % 3 and b"-" in base64.urlsafe_b64encode(odd) and b"_" in base64.urlsafe_b64encode(odd)
ways = [base64.b64encode(odd), base64.urlsafe_b64encode(odd), base64.b64encode(odd).rstrip(b"="), base64.urlsafe_b64encode(odd).rstrip(b"="), base64.encodebytes(odd * 9)]
ways = [w.decode() for w in ways] + ["data:image/png;base64," + ways[0].decode(), "data:;base64," + ways[3].decode()]
add("text of many kinds", {"image": pa.array(ways + ["data:image/png,%89PNG"])}, [{"data": odd * (9 if i == 4 else 1)} for i in range(len(ways))] + [{"damage": "no such file"}])


# Tables that are partitioned by a column, which is then in none of the files.
def partition(name, values, want, by=("label",), columns={}):
    with tempfile.TemporaryDirectory() as root:
        table = pa.table({"image": column(1), **{b: pa.array([v]) for b, v in zip(by, values)}, **columns})
        pq.write_to_dataset(table, root, partition_cols=list(by), basename_template="{i}.parquet")
        (path,) = pathlib.Path(root).rglob("*.parquet")
        case = {"file": base64.b64encode(path.read_bytes()).decode(), "path": str(path.relative_to(root))}
    case["rows"] = [{"label": -1} | want | {"data": base64.b64encode(images(1)[0]).decode()}]
    tables["partition " + name] = case


partition("name", ["ant"], {"class": "ant"})
partition("number", [7], {"label": 7})
partition("escaped", ["a/b = 50 % ü"], {"class": "a/b = 50 % ü"})
partition("null", [pa.scalar(None, pa.string())], {})
partition("several", ["train", "bee", "2022"], {"class": "bee"}, by=("split", "class", "year"))
partition("other", ["train", 2022], {}, by=("split", "year"))
partition("column", ["sunny"], {"class": "bee"}, by=("target",), columns={"label": pa.array(["bee"])})

with open("tables.json", "w") as f:
    json.dump(tables, f, indent=0)
