"""What no schema can say: queries, moments and ids that mean something, and lines of an answer."""

import json
import random

import jsonschema_rs
import schemathesis
from schemathesis import GenerationMode

TERMS = [
    "error", "disk", "10.0.0.1", '"disk full"', "d*", "=Disk", "/di[s]k/", "absent", "level:error", "status>=450",
    "status:(410 OR 420)", "took_ms<1s", "user.name:al*", "-user.name:*", "host:web1",
]  # fmt: skip
PIPES = [
    "stats count() as n by level", "stats p99(took_ms), count_distinct(status) by bin(timestamp, 1h)",
    "where status > 420", "sort status desc", "limit 3", "fields timestamp, message", "eval double = status * 2",
    "top 3 status", "dedup status", "sample 2", "patterns", "timechart count()", 'extract "disk <n> full"',
]  # fmt: skip
STATEMENTS = [
    "SELECT count(*) FROM logs",
    "SELECT level, count(*) AS n FROM logs WHERE matches('disk') GROUP BY level ORDER BY n",
    "SELECT message FROM logs ORDER BY timestamp DESC LIMIT 2",
]
SETTINGS = ["", '[[files]]\npaths = ["/var/log/*.log"]\n', 'index = "shop"\n']
# Every one of these is before every one of those, so that no range ends before it begins.
FROM = ["-1h", "-30d", "2026-01-31", "2026-01-31T12:00:00Z", "1767225600", 1767225600, 1767225600.5]
TO = ["now", None]


def search(chance):
    return chance.choice([" ", " OR ", " AND NOT "]).join(chance.sample(TERMS, chance.randint(1, 3)))


def query(chance):
    return search(chance) + chance.choice(["", " | " + chance.choice(PIPES)])


def meant(path, name, chance):
    """A value that this member of a request can have."""
    match name:
        case "query":
            return search(chance) if path.endswith(("/deletions", "/tail")) else query(chance)
        case "sql":
            return chance.choice(STATEMENTS)
        case "from":
            return chance.choice(FROM)
        case "to":
            return chance.choice(TO)
        case "settings":
            return chance.choice(SETTINGS)
        case "cursor":
            return chance.choice(["0.0.0", "1886f2d5a5a00000.0.31"])


@schemathesis.hook
def map_case(context, case):
    """Puts meaning into what is to be taken; what is to be refused stays as it is."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return case
    for said in (case.body, case.query):
        if not isinstance(said, dict):
            continue
        for name in ("query", "sql", "from", "to", "cursor", "settings"):
            if said.get(name) is None or (name == "cursor" and case.path.endswith("/parse")):
                continue
            value = meant(case.path, name, random.Random(repr(sorted(said.items(), key=repr))))
            if said is case.query and value is None:
                del said[name]
            else:
                said[name] = value if said is case.body else str(value)
    return case


def written_whole(said):
    """Whether whole numbers are written so: 3.0 is an integer of JSON Schema, and none of ours."""
    if isinstance(said, dict):
        return all(written_whole(value) for value in said.values())
    return not (isinstance(said, float) and said.is_integer())


@schemathesis.hook
def filter_case(context, case):
    return written_whole(case.body)


@schemathesis.serializer("application/x-ndjson", "application/x-sawlog-batch")
def as_it_is(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.deserializer("application/x-ndjson")
def first_line(context, response):
    return json.loads(response.content.decode("utf-8").split("\n", 1)[0] or "{}")


@schemathesis.check
def lines_are_as_described(context, response, case):
    """Every line of a streamed answer has the shape that the document gives it."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code != 200 or kind != "application/x-ndjson":
        return
    document = case.operation.schema.raw_schema
    name = "Row" if case.path.endswith("/export") else "QueryLine"
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    # Only \n ends a line; Python's splitlines would also cut at U+2028 within a text.
    for line in filter(None, response.content.decode("utf-8").split("\n")):
        error = next(validator.iter_errors(json.loads(line)), None)
        assert error is None, f"{line}: {error}"
