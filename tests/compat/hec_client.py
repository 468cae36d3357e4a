"""splunk-hec-handler, and curl as people script it."""

import json
import logging
import subprocess

from splunk_hec_handler import SplunkHecHandler

from store import TOKEN


def test_splunk_hec_handler(node):
    host, port = node.url.removeprefix("http://").split(":")
    handler = SplunkHecHandler(host, TOKEN, port=int(port), proto="http", source="shop", index="hec", hostname="web9")
    logger = logging.getLogger("hec")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    for number in range(30):
        logger.error({"message": f"payment {number} failed", "amount": number})
    rows = node.rows("index:hec payment")
    assert len(rows) == 30, rows
    assert {row["labels"]["host"] for row in rows} == {"web9"}, rows[0]


def curl(node, path, body, *more):
    command = ["curl", "-sS", f"{node.url}/services/collector{path}", "-d", body, *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def test_tokens_in_the_ways_of_curl(node):
    event = '{"event":"hello"}'
    assert curl(node, "", event) == {"text": "Token is required", "code": 2}
    assert curl(node, "", event, "-H", "Authorization: Splunk wrong") == {"text": "Invalid token", "code": 4}
    success = {"text": "Success", "code": 0}
    assert curl(node, "", event, "-H", f"Authorization: Splunk {TOKEN}") == success
    assert curl(node, "", event, "-u", f"x:{TOKEN}") == success
    assert curl(node, f"?token={TOKEN}", event) == success
    acknowledged = curl(node, f"/raw?token={TOKEN}&channel=7", "a line")
    asked = json.dumps({"acks": [acknowledged["ackId"]]})
    assert curl(node, f"/ack?token={TOKEN}&channel=7", asked) == {"acks": {str(acknowledged["ackId"]): True}}
    assert len(node.rows("hello")) == 3 and len(node.rows("line")) == 1


def test_a_body_of_a_channel_comes_again(node):
    body = "".join(json.dumps({"event": f"repeated {n}", "time": 1_700_000_000.25 + n, "host": f"r{n}"}) for n in range(3))
    ids = set()
    for _ in range(3):
        # The first two answers were lost.
        ids.add(curl(node, f"?token={TOKEN}", body, "-H", "X-Splunk-Request-Channel: 11")["ackId"])
    assert len(ids) == 3, ids
    asked = json.dumps({"acks": sorted(ids)})
    known = curl(node, f"/ack?token={TOKEN}&channel=11", asked)["acks"]
    assert all(known[str(one)] for one in ids), known
    assert len(node.rows("repeated")) == 3
    for _ in range(2):
        curl(node, f"?token={TOKEN}&channel=11", '{"event":"ordinary"}')
    assert len(node.rows("ordinary")) == 2
