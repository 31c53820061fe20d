"""Writes pandas.parquet: python write_parquet.py (pandas 3.1.1, pyarrow 26.0.1)."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

frame = pd.DataFrame(
    {
        "arm": pd.Categorical(["dpo", "dpo", None, "all data"]),
        "seed": pd.array([1, 2, None, 4], dtype="Int64"),
        "fid": [1.5, None, float("nan"), -2e-300],
        "small": pd.array([0.5, 1, 2, 3], dtype="float32"),
        "aligned": pd.array([True, None, False, True], dtype="boolean"),
        "index": pd.array([1, 2, 3, 3_000_000_000], dtype="uint32"),
        "large": pd.array([1, 2, 3, 1 << 40], dtype="uint64"),
        "prompt": ["a red circle", "zwei grüne Kreise", "a red circle", ""],
        "empty": [None, None, None, None],
        "start": pd.to_datetime(["2026-01-02 03:04:05.000006"] * 4).astype("datetime64[us]"),
        "day": pd.to_datetime(["2026-01-02"] * 4).date,
        "tags": [["x"], [], ["y", "z"], None],
        "of": [{"clip": 0.25}, {"clip": None}, None, {"clip": 1.0}],
    },
    index=[10, 11, 12, 13],
)
# Not from_pandas: a missing value stays apart from a value that is not a number.
table = pa.Table.from_pandas(frame).set_column(
    2, "fid", pa.array([1.5, None, float("nan"), -2e-300], from_pandas=False)
)
pq.write_table(table, "pandas.parquet", row_group_size=3, compression="snappy")
