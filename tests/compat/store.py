"""A node for the clients to talk to, and what it has stored."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port

TOKEN = "a-token-for-the-clients"
# What senders of the forward protocol share.
KEY = "a-key-for-the-forwarders"


class Node:
    def __init__(self, sawlog, settings=""):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        (folder / "token").write_text(TOKEN)
        (folder / "key").write_text(KEY)
        (folder / "node.toml").write_text(settings.format(folder=folder))
        self.words = folder / "words"
        self.ports = {name: free_port() for name in LISTENERS}
        listeners = [word for name, port in self.ports.items() for word in (f"--{name}-listen", f"127.0.0.1:{port}")]
        command = [sawlog, "node", "--config", folder / "node.toml"]
        command += ["--data-dir", folder / "data", "--listen", "127.0.0.1:0"]
        command += ["--token-file", folder / "token", *listeners]
        self.process = subprocess.Popen(command, stderr=self.words.open("wb"))
        found = None
        while found is None:
            if self.process.poll() is not None:
                sys.exit("the node ended: " + self.words.read_text())
            found = re.search(r"open (http://\S+)", self.words.read_text())
            time.sleep(0.02)
        self.url = found.group(1)

    def rows(self, query):
        """Every record that a query finds, oldest first."""
        body = json.dumps({"query": query, "limit": 10_000}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1/query", data=body, headers=headers)
        # A proxy meant for the web has no business between us and a node.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            lines = [json.loads(line) for line in answer]
        return [line["row"] for line in reversed(lines) if "row" in line]

    def wait(self, query, count):
        """The same as soon as there are that many: some clients are not answered."""
        deadline = time.monotonic() + 30
        while len(rows := self.rows(query)) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(rows)} of {count} records came: {rows[:3]}")
            time.sleep(0.05)
        return rows

    def stop(self):
        self.process.terminate()
        code = self.process.wait(30)
        words = self.words.read_text()
        assert "panicked" not in words, words
        assert code == 0, words
        self.folder.cleanup()


# Listeners that the node opens beside its own, by the names of their settings.
LISTENERS = ["es", "otlp", "otlp-grpc", "syslog", "fluent", "gelf"]
