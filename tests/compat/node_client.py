"""Clients of Node.js: @elastic/elasticsearch, and @fluent-org/logger with shared key and acknowledgement."""

import os
import pathlib
import subprocess

from store import KEY, TOKEN

SETTINGS = 'fluent_key_file = "{folder}/key"'


def speak(node, what):
    script = pathlib.Path(__file__).parent / "clients.mjs"
    settings = {"URL": node.url, "TOKEN": TOKEN, "KEY": KEY, "FLUENT_PORT": str(node.ports["fluent"])}
    subprocess.run(["node", script, what], check=True, timeout=60, env={**os.environ, **settings})


def test_elasticsearch(node):
    speak(node, "elasticsearch")
    rows = node.rows("index:logs-node order")
    assert sorted(row["fields"]["number"] for row in rows) == list(range(250)), len(rows)
    assert all(row["level"] == "warn" and row["fields"]["shop.name"] == "ä" for row in rows), rows[0]


def test_fluent(node):
    speak(node, "fluent")
    rows = node.rows("tag:node.shop order")
    assert sorted(row["fields"]["number"] for row in rows) == list(range(250)), len(rows)
    assert all(row["level"] == "warn" and row["fields"]["shop.name"] == "ä" for row in rows), rows[0]
