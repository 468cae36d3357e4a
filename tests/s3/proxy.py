"""Stands between a client and an S3 server, and makes the faults that such servers have."""

import http.client
import http.server
import random
import re
import threading
import time
import urllib.parse

LATER = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


class Proxy:
    """Faults: share_put_off (that part of the requests is answered 503), is_denied (all are
    answered 403), parts_max (after so many parts of uploads all connections are cut), is_down
(all connections are cut), is_hung (requests are taken and nobody answers, until it ends: then they are cut).
    uploads_per_page is no fault: the server behind us does not cut its list of half uploads
    into pages, as large ones do."""

    def __init__(self, server, port=0, share_put_off=0.0, is_denied=False, parts_max=None, uploads_per_page=None):
        self.server, self.uploads_per_page, self.pages = server, uploads_per_page, 0
        self.share_put_off, self.is_denied, self.parts_max = share_put_off, is_denied, parts_max
        self.is_down = self.is_hung = False
        # The same requests meet the same faults in every run.
        self.chance = random.Random(1)
        self.lock = threading.Lock()
        self.requests = self.put_off = self.parts = self.cut = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                proxy.answer(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.listener.daemon_threads = True
        self.port = self.listener.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.listener.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, client):
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        if self.is_hung:
            while self.is_hung:
                time.sleep(0.02)
            client.close_connection = True
            return
        with self.lock:
            self.requests += 1
            is_part = client.command == "PUT" and "partNumber=" in client.path
            self.parts += is_part
            is_cut = self.is_down or (self.parts_max is not None and self.parts > self.parts_max)
            is_put_off = self.chance.random() < self.share_put_off
            self.put_off += is_put_off
            self.cut += is_cut
        if is_cut:
            client.close_connection = True
            return
        if is_put_off:
            return self.say(client, 503, {"Content-Type": "application/xml"}, LATER)
        if self.is_denied:
            return self.say(client, 403, {"Content-Type": "application/xml"}, DENIED)
        connection = http.client.HTTPConnection(self.server, timeout=60)
        connection.request(client.command, client.path, body, dict(client.headers.items()))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(client.path).query, keep_blank_values=True)
        if self.uploads_per_page and client.command == "GET" and "uploads" in query:
            content = self.page(content.decode(), query)
        self.say(client, answer.status, dict(answer.getheaders()), content)

    def page(self, content, query):
        """The part of a list of half uploads that comes behind the markers."""
        self.pages += 1
        marker = tuple(query.get(name, [""])[0] for name in ("key-marker", "upload-id-marker"))
        found = {}
        for upload in re.findall(r"<Upload>.*?</Upload>", content, re.S):
            key = tuple(re.search(f"<{name}>(.*?)</{name}>", upload).group(1) for name in ("Key", "UploadId"))
            found[key] = upload
        left = [key for key in sorted(found) if key > marker]
        page = left[: self.uploads_per_page]
        is_cut = len(left) > len(page)
        words = [found[key] for key in page] + [f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>"]
        if is_cut:
            key, upload = page[-1]
            words.append(f"<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{upload}</NextUploadIdMarker>")
        return f"<ListMultipartUploadsResult>{''.join(words)}</ListMultipartUploadsResult>".encode()

    @staticmethod
    def say(client, status, headers, content):
        length = headers.get("Content-Length") if client.command == "HEAD" else None
        client.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                client.send_header(name, value)
        client.send_header("Content-Length", length or str(len(content)))
        client.end_headers()
        if client.command != "HEAD":
            client.wfile.write(content)

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()
