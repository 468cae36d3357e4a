"""pygelf over HTTP, TCP and UDP, in one datagram and in several."""

import http.client
import logging

from pygelf import GelfHttpHandler, GelfTcpHandler, GelfUdpHandler

from store import TOKEN


def speak(node, name, handler, count, size=0):
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    failures = []
    handler.handleError = failures.append
    logger.addHandler(handler)
    for number in range(count):
        logger.error("%s says %s%s", name, number, " x" * size, extra={"number": number, "by": "pygelf"})
    handler.close()
    assert not failures, failures
    rows = node.wait(f"by:pygelf {name}", count)
    assert sorted(row["fields"]["number"] for row in rows) == list(range(count)), rows[:3]
    assert all(row["level"] == "error" and row["labels"]["host"] for row in rows), rows[0]
    assert all("_poison" not in row["fields"] for row in rows), rows[0]


def test_tcp(node):
    speak(node, "overtcp", GelfTcpHandler(host="127.0.0.1", port=node.ports["gelf"], include_extra_fields=True), 200)


def test_udp(node):
    port = node.ports["gelf"]
    speak(node, "overudp", GelfUdpHandler(host="127.0.0.1", port=port, compress=True, include_extra_fields=True), 50)
    handler = GelfUdpHandler(host="127.0.0.1", port=port, compress=False, chunk_size=300, include_extra_fields=True)
    speak(node, "inchunks", handler, 20, size=1_000)


class Answered(GelfHttpHandler):
    """Waits for the answer. pygelf's own handler closes the connection without reading it, which HTTP
    servers take for a request taken back (docs/doors.md)."""

    def emit(self, record):
        data = self.convert_record_to_gelf(record)
        connection = http.client.HTTPConnection(host=self.host, port=self.port, timeout=self.timeout)
        connection.request("POST", self.path, data, self.headers)
        assert connection.getresponse().status == 202
        connection.close()


def test_http(node):
    port = int(node.url.rsplit(":", 1)[1])
    for compress, name in ((False, "plainhttp"), (True, "packedhttp")):
        handler = Answered(
            host="127.0.0.1", port=port, compress=compress, include_extra_fields=True
        )
        handler.headers["Authorization"] = f"Bearer {TOKEN}"
        speak(node, name, handler, 20)
