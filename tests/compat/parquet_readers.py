"""The bodies of splits, read by DuckDB and pyarrow as docs/parquet.md says."""

import datetime
import decimal
import glob
import json
import pathlib
import re
import time
import urllib.request

import duckdb
import pyarrow.parquet

from loki_read_client import filled
from store import TOKEN

SETTINGS = "[index]\nfresh_age_max_s = 1\n"
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "parquet.md"


def published(node):
    bodies = f"{node.folder.name}/data/objects/splits/*/body.parquet"
    until = time.monotonic() + 60
    while not glob.glob(bodies):
        assert time.monotonic() < until, "no split was published"
        time.sleep(0.05)
    return bodies


def test_the_example_for_duckdb(node):
    filled(node)
    bodies = published(node)
    (example,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S)
    example = example.replace("data/objects/splits/*/body.parquet", bodies).replace("%done%", "%took=%")
    example = example.strip().removesuffix(";")
    rows = duckdb.sql(f"SELECT service, level, records, epoch_ns(last) - epoch_ns(first) FROM ({example})").fetchall()
    assert rows == [("shop", "info", 300, 299_000_000_000)], rows


def test_fields_have_the_types_that_their_values_have(node):
    record = lambda n: {
        "message": f"paid {n}",
        "cost": n / 8 - 4,
        "large": n * 1e9 + 0.25,
        "odd": 1 / 3 if n == 7 else 0.5,
        "started": f"2026-11-23T15:{n:02}:00.250+02:00",
        "ended": f"2026-11-23T15:{n:02}:00Z" if n else "never",
        "client": f"10.0.0.{n}",
    }
    body = "\n".join(json.dumps(record(n)) for n in range(60)).encode()
    url = f"{node.url}/api/v1/ingest?service=shop"
    request = urllib.request.Request(url, data=body, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status == 200
    (name,) = glob.glob(published(node))
    described = duckdb.sql(f"DESCRIBE SELECT cost, large, odd, started, ended, client FROM '{name}'").fetchall()
    types = ["DECIMAL(4,3)", "DECIMAL(13,2)", "DOUBLE", "TIMESTAMP WITH TIME ZONE", "VARCHAR", "VARCHAR"]
    assert [one[1] for one in described] == types, described
    query = f"SELECT sum(cost), max(large), epoch_ms(min(started)), max(client) FROM '{name}'"
    first = datetime.datetime(2026, 11, 23, 13, 0, 0, 250_000, datetime.timezone.utc)
    sums = (decimal.Decimal("-18.750"), decimal.Decimal("59000000000.25"), int(first.timestamp() * 1_000), "10.0.0.9")
    (found,) = duckdb.sql(query).fetchall()
    assert found == sums, found
    table = pyarrow.parquet.read_table(name, columns=["cost", "large", "odd", "started"])
    found = [str(table.schema.field(name).type) for name in ("cost", "large", "odd", "started")]
    assert found == ["decimal128(4, 3)", "decimal128(13, 2)", "double", "timestamp[ms, tz=UTC]"], found
    assert min(table["started"].to_pylist()) == first
    assert sorted(map(float, table["cost"].to_pylist())) == [n / 8 - 4 for n in range(60)]
