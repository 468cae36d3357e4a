"""NATS JetStream with three replicas and a sync before every acknowledgement, as a reference:
publishes the payloads of a file (each behind its length, four bytes little endian) over so many
publishers, and prints one JSON object: seconds, bytes, CPU seconds of the three servers.

  jetstream.py PAYLOADS FOLDER PUBLISHERS
"""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import time

import nats
from nats.js.api import StorageType, StreamConfig

SERVERS = 3
TICKS = os.sysconf("SC_CLK_TCK")


def payloads(path):
    found = []
    with open(path, "rb") as file:
        while head := file.read(4):
            found.append(file.read(struct.unpack("<I", head)[0]))
    return found


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(folder):
    ports = free_ports(SERVERS * 2)
    clients, routes = ports[:SERVERS], ports[SERVERS:]
    program = os.path.join(os.path.dirname(sys.executable), "nats-server")
    servers = []
    for at in range(SERVERS):
        own = os.path.join(folder, f"nats{at}")
        os.makedirs(own)
        others = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        with open(os.path.join(own, "nats.conf"), "w", encoding="utf-8") as file:
            file.write(
                f"listen: 127.0.0.1:{clients[at]}\nserver_name: n{at}\n"
                f"jetstream {{ store_dir: {own}, sync_interval: always, max_file_store: 20G }}\n"
                f"cluster {{ name: bench, listen: 127.0.0.1:{routes[at]}, routes: [{others}] }}\n"
            )
        log = open(os.path.join(own, "words"), "wb")
        servers.append(
            subprocess.Popen([program, "-c", os.path.join(own, "nats.conf")], stdout=log, stderr=log)
        )
    return servers, [f"nats://127.0.0.1:{port}" for port in clients]


def cpu_s(process):
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def connect(url):
    for _ in range(100):
        try:
            return await nats.connect(url)
        except Exception:
            await asyncio.sleep(0.2)
    raise SystemExit("nats-server does not answer")


async def publish(stream, queue):
    while queue:
        payload = queue.pop()
        while True:
            try:
                await stream.publish("lines.all", payload, timeout=30)
                break
            except Exception:
                await asyncio.sleep(0.05)


async def bench(urls, servers, all_payloads, publishers):
    connections = [await connect(url) for url in urls]
    streams = [connection.jetstream(timeout=30) for connection in connections]
    config = StreamConfig(
        name="lines", subjects=["lines.*"], num_replicas=SERVERS, storage=StorageType.FILE
    )
    for _ in range(100):
        try:
            await streams[0].add_stream(config)
            break
        except Exception:
            await asyncio.sleep(0.2)
    size = sum(map(len, all_payloads))
    queue = list(all_payloads)
    cpu = sum(cpu_s(one.pid) for one in servers)
    begin = time.monotonic()
    senders = (publish(streams[at % SERVERS], queue) for at in range(publishers))
    await asyncio.gather(*senders)
    seconds = time.monotonic() - begin
    cpu = sum(cpu_s(one.pid) for one in servers) - cpu
    stored = (await streams[0].stream_info("lines")).state.messages
    for connection in connections:
        await connection.close()
    return {"seconds": seconds, "bytes": size, "cpu_s": cpu, "messages": stored}


def main():
    servers, urls = start(sys.argv[2])
    try:
        result = asyncio.run(bench(urls, servers, payloads(sys.argv[1]), int(sys.argv[3])))
        print(json.dumps(result))
    finally:
        for one in servers:
            one.kill()
            one.wait()


main()
