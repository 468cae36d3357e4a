"""The bodies of splits, read by DuckDB as docs/parquet.md says."""

import glob
import pathlib
import re
import time

import duckdb

from loki_read_client import filled

SETTINGS = "[index]\nfresh_age_max_s = 1\n"
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "parquet.md"


def test_the_example_for_duckdb(node):
    filled(node)
    bodies = f"{node.folder.name}/data/objects/splits/*/body.parquet"
    until = time.monotonic() + 60
    while not glob.glob(bodies):
        assert time.monotonic() < until, "no split was published"
        time.sleep(0.05)
    (example,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S)
    example = example.replace("data/objects/splits/*/body.parquet", bodies).replace("%done%", "%took=%")
    example = example.strip().removesuffix(";")
    rows = duckdb.sql(f"SELECT service, level, records, epoch_ns(last) - epoch_ns(first) FROM ({example})").fetchall()
    assert rows == [("shop", "info", 300, 299_000_000_000)], rows
