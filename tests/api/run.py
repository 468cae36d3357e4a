"""Starts a node, gives it records, and tries what its document allows and what it does not."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
RECORDS = 50


def ask(url, body=None):
    # A proxy meant for the web has no business between us and a node.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/x-ndjson"})
    with opener.open(request, timeout=30) as answer:
        return answer.read()


def main(sawlog, examples):
    with tempfile.TemporaryDirectory() as folder:
        words = open(f"{folder}/words", "w+b")
        node = subprocess.Popen(
            [sawlog, "node", "--data-dir", f"{folder}/data", "--listen", "127.0.0.1:0"], stderr=words
        )
        try:
            address = None
            while address is None:
                if node.poll() is not None:
                    sys.exit("the node ended: " + open(words.name).read())
                address = re.search(r"ready: open (http://\S+)", open(words.name).read())
            url = address.group(1)
            lines = (
                f'{{"level":"error","msg":"disk {n} full","status":{400 + n},"took_ms":{n}.5}}\n' for n in range(RECORDS)
            )
            ask(f"{url}/api/v1/ingest?host=web1", "".join(lines).encode())
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"), "PYTHONDONTWRITEBYTECODE": "1"}
            program = pathlib.Path(sys.executable).parent / "st"
            document = ROOT / "query-ui/src/api/openapi.json"
            settings = HERE / "schemathesis.toml"
            command = [program, "--config-file", settings, "run", document, "--url", url, "-n", examples, "--no-color"]
            code = subprocess.run(command, env=environment, cwd=folder).returncode
            # Whatever was sent: the node must still be there and say no word of a panic.
            ask(f"{url}/readyz")
        finally:
            node.terminate()
            node.wait()
        said = open(words.name).read()
        if "panicked" in said:
            print(said[-4000:], file=sys.stderr)
            code = 1
        sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
