"""Writes one table by pyarrow as Parquet in several ways, and as the Arrow IPC file
types.arrow, which is what a reader of any of them must give."""
import datetime as dt
import decimal
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
day = dt.date(2021, 3, 4)
noon = dt.datetime(2021, 3, 4, 12, 0, 0, 123456)
dec = decimal.Decimal


def rows(*values):  # seven rows, in row groups of 3, 3 and 1
    return list(values) + [None] * (7 - len(values))


def column(type_, *values):
    return pa.array(rows(*values), type_)


item = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
columns = {
    "bool": column(pa.bool_(), True, None, False, True),
    "int8": column(pa.int8(), -128, None, 127, 1),
    "int16": column(pa.int16(), -32768, None, 32767, 1),
    "int32": column(pa.int32(), -(2**31), None, 2**31 - 1, 1),
    "int64": column(pa.int64(), -(2**63), None, 2**63 - 1, 1),
    "uint8": column(pa.uint8(), 0, None, 255, 1),
    "uint16": column(pa.uint16(), 0, None, 65535, 1),
    "uint32": column(pa.uint32(), 0, None, 2**32 - 1, 1),
    "uint64": column(pa.uint64(), 0, None, 2**64 - 1, 1),
    "float16": pa.array(rows(1.5, None, -2.0, 0.0), pa.float32()).cast(pa.float16()),
    "float32": column(pa.float32(), 1.5, None, -2.0, 0.1),
    "float64": column(pa.float64(), 1.5, None, -2.0, 0.1),
    "string": column(pa.string(), "a", None, "", "ü"),
    "large_string": column(pa.large_string(), "a", None, "", "ü"),
    "binary": column(pa.binary(), b"a", None, b"", b"\x00\xff"),
    "large_binary": column(pa.large_binary(), b"a", None, b"", b"\x00\xff"),
    "fixed": column(pa.binary(3), b"abc", None, b"xyz", b"\x00\x01\x02"),
    "date": column(pa.date32(), day, None, dt.date(1969, 1, 1)),
    "time32": column(pa.time32("ms"), dt.time(1, 2, 3), None),
    "time64": column(pa.time64("us"), dt.time(1, 2, 3, 4), None),
    "stamp": column(pa.timestamp("us"), noon, None, noon),
    "stamp_zone": column(pa.timestamp("ns", "Europe/Berlin"), noon, None, noon),
    "decimal": column(pa.decimal128(10, 2), dec("-1.23"), None, dec("99999999.99")),
    "decimal_wide": column(pa.decimal256(60, 5), dec("-1.23"), None, dec(10) ** 50),
    "null": pa.nulls(7),
    "category": pa.array(rows("cat", None, "dog", "cat", "dog", "cat", "cow")).dictionary_encode(),
    "image": column(pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"bytes": b"1", "path": "x"}, None, {"bytes": None, "path": "y"}, {"bytes": b"22", "path": None}),
    "list": column(pa.list_(pa.float32()), [1, 2], None, [], [3, None], [4, 5, 6]),
    "vector": column(pa.list_(pa.float32(), 2), [1, 2], None, [3, None], [4, 5], [6, 7], [8, 9], [0, 1]),
    "lists": column(pa.list_(pa.list_(pa.int32())), [[1, 2], [], None, [3]], None, [], [[]], [[4], [5, 6]]),
    "structs": column(pa.list_(item), [{"a": 1, "b": ["x", "y"]}, None, {"a": None, "b": []}], None, [], [{"a": 2, "b": None}], [{"a": 3, "b": ["z"]}]),
    "struct": column(pa.struct([("in", item), ("v", pa.list_(pa.float32(), 1))]), {"in": {"a": 1, "b": ["x", None]}, "v": [1]}, None, {"in": None, "v": [2]}, {"in": {"a": 2, "b": []}, "v": [3]}),
    "map": column(pa.map_(pa.string(), pa.int32()), [("a", 1), ("b", None)], None, [], [("c", 3)]),
    "id": pa.array(range(7), pa.int64()),
    "vec": pa.array([[i, i + 1] for i in range(7)], pa.list_(pa.float32(), 2)),
}
required = ("id", "vec")  # not nullable
schema = pa.schema([pa.field(n, c.type, n not in required, {"about": n} if n == "int8" else None) for n, c in columns.items()], {"huggingface": '{"info": 1}'})
table = pa.table(list(columns.values()), schema)

plain = table.set_column(table.schema.get_field_index("category"), "category", table["category"].cast(pa.string()))
with pa.OSFile(os.path.join(here, "types.arrow"), "wb") as f, pa.ipc.new_file(f, plain.schema) as w:
    for batch in plain.combine_chunks().to_batches(max_chunksize=3):
        w.write_batch(batch)


def write(name, t=table, **options):
    pq.write_table(t, os.path.join(here, name + ".parquet"), row_group_size=3, **options)


write("default")
write("plain", use_dictionary=False, compression="none", data_page_version="2.0", data_page_size=1, write_batch_size=1, store_decimal_as_integer=True)
write("zstd", compression="zstd", data_page_size=1, write_batch_size=2, use_compliant_nested_type=False)
delta = {"int32": "DELTA_BINARY_PACKED", "int64": "DELTA_BINARY_PACKED", "string": "DELTA_BYTE_ARRAY", "binary": "DELTA_LENGTH_BYTE_ARRAY"}
write("delta", use_dictionary=False, compression="brotli", column_encoding=delta)
write("bare", store_schema=False, compression="gzip")
write("lz4", compression="lz4", data_page_size=1, write_batch_size=2)
write("lz4_v2", use_dictionary=False, compression="lz4", data_page_version="2.0")
write("int96", table.select(["stamp"]), use_deprecated_int96_timestamps=True, store_schema=False)

# Numbers in encodings of their own, each beside a column of the same values in PLAIN: without nulls, with some, and lists.
random.seed(3)
types = {"int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(), "float64": pa.float64(), "fixed": pa.binary(5)}
encoded, encodings = {}, {}
for name, type_ in types.items():
    low, high = (-(2**31), 2**31 - 1) if name == "int32" else (-(2**63), 2**63 - 1)
    for span in (0, 3, 1000, high):
        value = {
            "int32": lambda: random.randint(-span - (span == high), span), "int64": lambda: random.randint(-span - (span == high), span),
            "float32": lambda: random.gauss(0, 1), "float64": lambda: random.gauss(0, 1), "fixed": lambda: random.randbytes(5),
        }[name]
        for kind in ("all", "some", "lists"):
            values = [value() if kind == "all" or random.random() < 0.7 else None for _ in range(300)]
            if kind == "lists":
                values = [[value() for _ in range(random.randint(0, 3))] if v is not None else None for v in values]
            for encoding in ("PLAIN", "BYTE_STREAM_SPLIT") + (("DELTA_BINARY_PACKED",) if name.startswith("int") else ()):
                column = f"{name}_{span}_{kind}_{encoding}"
                encoded[column] = pa.array(values, pa.list_(type_) if kind == "lists" else type_)
                encodings[column + (".list.element" if kind == "lists" else "")] = encoding
        if not name.startswith("int"):
            break
for version in ("1.0", "2.0"):
    name = os.path.join(here, f"encoded_v{version[0]}.parquet")
    pq.write_table(pa.table(encoded), name, use_dictionary=False, compression="zstd", column_encoding=encodings,
                   data_page_version=version, row_group_size=200, data_page_size=600, write_batch_size=50)
