"""Writes golden.arrow and golden.parquet with pyarrow: the same three rows in
two record batches (row groups), one column of every kind batch.Rows reads."""
import os
import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
schema = pa.schema([
    ("name", pa.string()), ("dead", pa.bool_()), ("small", pa.int32()), ("big", pa.int64()),
    ("single", pa.float32()), ("double", pa.float64()), ("image", pa.binary()),
    ("feature", pa.list_(pa.float32(), 2)),
])
table = pa.table({
    "name": ["a", "", "ü"], "dead": [True, False, True], "small": [-1, 2, 3], "big": [1 << 40, -5, 6],
    "single": [0.5, -1.25, 3.0], "double": [1e300, 0.1, -2.0], "image": [b"", b"\x00\xff", b"xyz"],
    "feature": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
}, schema=schema)
with pa.OSFile(os.path.join(here, "golden.arrow"), "wb") as f, pa.ipc.new_file(f, schema) as w:
    for batch in table.to_batches(max_chunksize=2):
        w.write_batch(batch)
pq.write_table(table, os.path.join(here, "golden.parquet"), row_group_size=2, store_schema=False)
