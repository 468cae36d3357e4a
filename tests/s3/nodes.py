"""Three nodes that keep their splits in a real S3 server, which fails, comes back and is slow."""

import json
import logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
# Neither the web's proxies nor anybody's credentials belong between the client and the server.
for name in list(os.environ):
    if name.lower().endswith("_proxy") or name.startswith("AWS_"):
        del os.environ[name]
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import boto3
from moto.server import ThreadedMotoServer
from proxy import Proxy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port

BUCKET = "logs"
PREFIX = "shop"
SECRET = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
# Bytes of a partition's queue at which records are refused, and how far one group may go beyond.
QUEUE_BYTES = 1 << 20
GROUP_BYTES = 1 << 19
SETTINGS = f"""partitions = 3
[queue]
bytes_max = {QUEUE_BYTES}
segment_bytes_max = {QUEUE_BYTES // 8}
[index]
fresh_rows_max = 1000
fresh_age_max_s = 1
merge_fan_in = 3
removed_kept_s = 2
"""
# How long a question may last when the store hangs, on a slow machine.
HANGS_WITHIN_S = 40
WRITERS = 3
REQUEST_RECORDS = 5
# How long anything may take to come true on a slow machine.
WAIT_S = 120


def until(what, is_so, within_s=WAIT_S):
    """Asks again until it is so."""
    end, last = time.monotonic() + within_s, None
    while time.monotonic() < end:
        try:
            last = is_so()
        except (OSError, ValueError) as error:
            last = error
        if last and not isinstance(last, Exception):
            return last
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what}; last seen: {last!r}")


class Node:
    def __init__(self, program, folder, number, ports, endpoint):
        self.program, self.folder, self.number = program, folder / f"n{number}", number
        self.ports, self.endpoint, self.process = ports, endpoint, None
        self.url = f"http://127.0.0.1:{ports[number][0]}"
        self.folder.mkdir()
        (self.folder / "node.toml").write_text(SETTINGS)

    def begin(self, bucket=BUCKET):
        others = ",".join(f"127.0.0.1:{peer}" for _, peer in self.ports)
        is_new = self.number == 0 and not (self.folder / "data/catalog.redb").exists()
        http, peer = self.ports[self.number]
        command = [self.program, "node", "--config", self.folder / "node.toml", "--data-dir", self.folder / "data"]
        command += ["--listen", f"127.0.0.1:{http}", "--peer-listen", f"127.0.0.1:{peer}"]
        command += ["--store", f"s3://{bucket}/{PREFIX}"]
        command += ["--bootstrap"] if is_new else ["--join", others]
        environment = {**os.environ, "HOME": str(self.folder), "AWS_ENDPOINT_URL": self.endpoint, **SECRET}
        words = (self.folder / "words").open("ab")
        self.process = subprocess.Popen(command, env=environment, stdout=words, stderr=words)

    def start(self):
        self.begin()
        until(f"node {self.number} is ready", lambda: self.get("/readyz") is not None)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, (self.folder / "words").read_text()[-3000:]
        self.process = None

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, path, body, headers=()):
        request = urllib.request.Request(self.url + path, body, dict(headers), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def cluster(self):
        return json.loads(self.get("/api/v1/cluster"))

    def queue_bytes(self):
        """Of the replica that takes most."""
        replicas = (self.folder / "data/replicas").iterdir()
        return max(sum(segment.stat().st_size for segment in replica.glob("*.seg")) for replica in replicas)

    def count(self):
        """Records, distinct records, and what the answer lacks."""
        body = json.dumps({"query": "order | stats count() as n, count_distinct(seq) as d"}).encode()
        lines = self.post("/api/v1/query", body, {"content-type": "application/json"}.items()).splitlines()
        rows = [json.loads(line)["row"] for line in lines if '"row"' in line]
        return rows[0]["n"], rows[0]["d"], json.loads(lines[-1])["end"]["partial"]


class Load:
    """Writers that send small requests to any node, and each again until it is acknowledged."""

    def __init__(self, nodes, name, filler_bytes=0):
        self.nodes, self.name, self.acknowledged, self.stopped = nodes, name, 0, False
        # Of what no compression makes less; status and Retry-After of the answers that refused it.
        self.filler_bytes, self.refusals = filler_bytes, []
        self.lock = threading.Lock()
        self.writers = [threading.Thread(target=self.write, args=(number,)) for number in range(WRITERS)]
        for writer in self.writers:
            writer.start()

    def write(self, writer):
        number = 0
        while not self.stopped:
            key = f"{self.name}{writer}-{number}"
            records = [
                {"message": f"order {key} of {at} {os.urandom(self.filler_bytes).hex()}", "seq": f"{key}-{at}"}
                for at in range(REQUEST_RECORDS)
            ]
            body = "\n".join(map(json.dumps, records)).encode()
            tries = 0
            while True:
                node = self.nodes[(number + tries) % len(self.nodes)]
                tries += 1
                try:
                    node.post(f"/api/v1/ingest?service=w{writer}-{number % 4}", body, {"idempotency-key": key}.items())
                    break
                except OSError as error:
                    if isinstance(error, urllib.error.HTTPError):
                        self.refusals.append((error.code, error.headers.get("retry-after")))
                    time.sleep(0.03)
            with self.lock:
                self.acknowledged += REQUEST_RECORDS
            number += 1

    def more(self, records):
        wanted = self.acknowledged + records
        until(f"{records} more records are acknowledged", lambda: self.acknowledged >= wanted)

    def end(self):
        self.stopped = True
        for writer in self.writers:
            writer.join()
        return self.acknowledged


class Cases:
    def __init__(self, program, server, folder):
        self.store = boto3.client("s3", endpoint_url=f"http://{server}", aws_access_key_id="id",
                                  aws_secret_access_key="secret", region_name="eu-central-1")
        self.store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.proxy = Proxy(server)
        ports = [(free_port(), free_port()) for _ in range(3)]
        self.nodes = [Node(program, folder, number, ports, self.proxy.url) for number in range(3)]
        for node in self.nodes:
            node.start()
        until("three nodes are up", lambda: self.up() == 3)
        until("every partition has three replicas", self.is_replicated)
        # What is built while work moves to a node that came stays until it is old.
        until("the work is shared", lambda: len(self.indexers()) > 1)
        self.load, self.acknowledged = Load(self.nodes, "a"), 0

    def up(self):
        return sum(node["health"] == "up" for node in self.nodes[0].cluster()["nodes"])

    def is_replicated(self):
        partitions = self.nodes[0].cluster()["partitions"]
        return all(len(one["replicas"]) == 3 and one["leader"] and one["indexer"] for one in partitions)

    def indexers(self):
        return {one["indexer"] for one in self.nodes[0].cluster()["partitions"]}

    def objects(self):
        pages = self.store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{PREFIX}/splits/")
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    def published(self):
        return sum(one["published"] for one in self.nodes[0].cluster()["partitions"])

    def case_splits_are_published_into_the_store_by_all(self):
        self.load.more(2_000)
        until("splits of every partition are in the store",
              lambda: all(one["published"] for one in self.nodes[0].cluster()["partitions"]))
        assert len(self.objects()) >= 6, self.objects()

    def case_a_store_that_is_down_stops_no_acknowledgement(self):
        self.proxy.is_down = True
        self.load.more(500)
        # By now what was on its way has arrived.
        objects = self.objects()
        self.load.more(2_500)
        assert self.objects() == objects
        assert self.proxy.cut > 0
        assert not self.load.refusals, self.load.refusals

    def case_a_store_that_is_down_for_long_fills_the_queue_and_is_caught_up_with(self):
        """It is still down. Producers are told to come later; then everything is taken again."""
        before, load = self.published(), Load(self.nodes, "f", filler_bytes=10_000)
        until("the queue is full", lambda: len(load.refusals) >= 50)
        for status, later in load.refusals + self.load.refusals:
            assert status in (429, 503) and int(later or 0) >= 1, (status, later)
        assert any(status == 429 for status, _ in load.refusals), load.refusals
        fill = [node.queue_bytes() for node in self.nodes]
        assert QUEUE_BYTES < max(fill) < QUEUE_BYTES + GROUP_BYTES, fill
        assert self.published() == before
        self.proxy.is_down = False
        load.more(200)
        taken = load.end()
        self.acknowledged += taken
        until("what waited is published", lambda: self.published() >= before + 3_000 + taken)
        until("the queue is cut", lambda: max(node.queue_bytes() for node in self.nodes) < QUEUE_BYTES / 2)

    def case_a_store_that_puts_a_third_off_is_good_enough(self):
        self.proxy.share_put_off = 1 / 3
        before = self.published()
        self.load.more(2_000)
        until("splits are published", lambda: self.published() >= before + 2_000)
        assert self.proxy.put_off > 0
        self.proxy.share_put_off = 0.0

    def case_nothing_but_the_splits_of_the_catalog_stays(self):
        """Splits that merges replaced go; nobody leaves half an upload."""
        self.all_found()
        def is_clean():
            # What was built when the work moved to another node goes when it is an hour old.
            words = "".join((node.folder / "words").read_text() for node in self.nodes)
            in_vain = set(re.findall(r"built and not published split=(\S+)", words))
            known = {name for name in self.objects() if name.split("/")[-2] not in in_vain}
            return len(known) <= 2 * self.nodes[0].cluster()["splits"] <= len(self.objects())
        until("every split of the catalog has its two objects and nothing else is there", is_clean)
        assert "Uploads" not in self.store.list_multipart_uploads(Bucket=BUCKET, Prefix=PREFIX)

    def case_a_store_that_hangs_costs_one_question_seconds_and_the_next_nothing(self):
        """What is only there is missing in answers, and the node says so; nothing else waits for it."""
        for node in self.nodes:
            node.stop()
            shutil.rmtree(node.folder / "data/store-cache")
            node.start()
        until("every partition is indexed", self.is_replicated)
        node = self.nodes[0]
        self.proxy.is_hung = True
        begun = time.monotonic()
        _, _, lacks = node.count()
        took = time.monotonic() - begun
        assert took < HANGS_WITHIN_S, f"{took:.1f} s"
        # Where all was kept again already, nobody has asked the store.
        silent = [one for one in self.nodes if "store of splits has not answered" in one.get("/readyz")]
        for one in silent:
            assert one.cluster()["store_silent_s"] is not None
            assert "objects_store_silent 1" in one.get("/metrics")
        if lacks and silent:
            begun = time.monotonic()
            assert node.count()[2], "the store is still away"
            assert time.monotonic() - begun < took, "the second question waited as long"
        self.proxy.is_hung = False
        for node in self.nodes:
            until("the store is found again", lambda node=node: node.get("/readyz") == "ready\n")
            until("all is found again", lambda node=node: node.count() == (self.acknowledged, self.acknowledged, []))
        assert node.cluster()["store"] == f"s3://{BUCKET}/{PREFIX}"

    def case_a_bucket_that_is_not_there_is_refused_at_the_start(self):
        with tempfile.TemporaryDirectory() as folder:
            ports = [(free_port(), free_port())]
            node = Node(self.nodes[0].program, pathlib.Path(folder), 0, ports, self.proxy.url)
            node.begin(bucket="nobodys")
            assert node.process.wait(60) != 0
            words = (node.folder / "words").read_text()
            assert "there is no such bucket" in words and "nobodys" in words, words
            assert "Sawlog is ready" not in words, words

    def case_a_killed_node_comes_back_without_its_cache(self):
        self.load = Load(self.nodes, "b")
        node = self.nodes[2]
        node.kill()
        self.load.more(500)
        assert (node.folder / "data/store-cache").is_dir(), sorted(one.name for one in (node.folder / "data").iterdir())
        shutil.rmtree(node.folder / "data/store-cache")
        node.start()
        self.load.more(500)
        self.all_found()

    def all_found(self):
        self.acknowledged += self.load.end()
        acknowledged = self.acknowledged
        for node in self.nodes:
            until(f"node {node.number} finds {acknowledged}, each once",
                  lambda node=node: node.count() == (acknowledged, acknowledged, []))
        print(f"{acknowledged} acknowledged, found everywhere and distinct", flush=True)

    def end(self):
        self.load.stopped = True
        for node in self.nodes:
            if node.process is not None:
                node.stop()


def main(program):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(os.path.abspath(program), f"{host}:{port}", pathlib.Path(folder))
        try:
            # In the order in which they are written: each goes on where the one before ended.
            for name in [name for name in vars(Cases) if name.startswith("case_")]:
                begun = time.monotonic()
                getattr(cases, name)()
                print(f"{name} ok, {time.monotonic() - begun:.1f} s", flush=True)
        except BaseException:
            for node in cases.nodes:
                print(f"--- node {node.number}\n{(node.folder / 'words').read_text()[-4000:]}", file=sys.stderr)
            raise
        finally:
            cases.end()
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1])
