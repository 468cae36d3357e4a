"""Real clients, as people install them, against a real node: what they send is found, once, with its fields."""

import importlib
import os
import pathlib
import sys

from store import Node

sys.dont_write_bytecode = True
# Neither the web's proxies nor anybody's settings belong between the clients and the node.
for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]


def main(sawlog, wanted):
    cases = 0
    for name in wanted:
        module = importlib.import_module(name)
        for case in sorted(name for name in dir(module) if name.startswith("test_")):
            node = Node(sawlog, getattr(module, "SETTINGS", ""))
            try:
                getattr(module, case)(node)
            except BaseException:
                print(f"{name}.{case} FAILED; the node said:\n{node.words.read_text()}", file=sys.stderr)
                node.process.kill()
                raise
            node.stop()
            cases += 1
            print(f"{name}.{case} ok", flush=True)
    print(f"{cases} cases of {', '.join(wanted)} passed")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main(sys.argv[1], sys.argv[2:])
