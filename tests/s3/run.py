"""A real S3 server, faults in front of it, and our store of objects as its client."""

import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
# Neither the web's proxies nor anybody's credentials belong between the client and the server.
for name in list(os.environ):
    if name.lower().endswith("_proxy") or name.startswith("AWS_"):
        del os.environ[name]
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import boto3
from moto.server import ThreadedMotoServer
from proxy import Proxy

BUCKET = "logs"
SECRET = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
# A request that fails is tried again for so long, in the cases that it is to fail in.
RETRY_FOR_S = 2
# A call that is to fail does so within that time and what one more request and taking the upload
# back may last; a call on a slow machine is given more.
FAILS_WITHIN_S = 30


class Cases:
    def __init__(self, program, server):
        self.program, self.server = program, server
        self.folder = tempfile.TemporaryDirectory()
        self.direct = f"http://{server}"
        self.store = boto3.client(
            "s3",
            endpoint_url=self.direct,
            aws_access_key_id="id",
            aws_secret_access_key="secret",
            region_name="eu-central-1",
        )
        self.store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def start(self, case, endpoint, prefix, variables=SECRET, retry_for_s=RETRY_FOR_S):
        folder = pathlib.Path(self.folder.name) / prefix
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "HOME": str(folder), "AWS_ENDPOINT_URL": endpoint, **variables}
        command = [self.program, case, f"s3://{BUCKET}/{prefix}", folder, str(retry_for_s)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def run(self, case, endpoint, prefix, **more):
        process = self.start(case, endpoint, prefix, **more)
        return self.end(case, process)

    @staticmethod
    def end(case, process):
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, f"{case} ended with {process.returncode}: {said}"
        return said

    def names(self, prefix):
        pages = self.store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        return sorted(found["Key"].removeprefix(f"{prefix}/") for page in pages for found in page.get("Contents", []))

    def half(self, prefix):
        return self.store.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{prefix}/").get("Uploads", [])

    def test_objects_are_put_read_listed_and_deleted(self):
        self.run("whole", self.direct, "whole")
        assert self.names("whole") == ["cluster"], self.names("whole")
        assert not self.half("whole")

    def test_thousands_of_objects_are_listed(self):
        for number in range(2_500):
            self.store.put_object(Bucket=BUCKET, Key=f"many/splits/{number}", Body=b"x" * (number % 10))
        self.store.put_object(Bucket=BUCKET, Key="many-others/splits/1", Body=b"x")
        self.run("many", self.direct, "many")

    def test_who_we_are_may_stand_in_a_file(self):
        folder = pathlib.Path(self.folder.name) / "profile"
        (folder / ".aws").mkdir(parents=True)
        text = "[default]\naws_access_key_id = id\naws_secret_access_key = secret\nregion = eu-central-1\n"
        (folder / ".aws/credentials").write_text(text)
        self.run("whole", self.direct, "profile", variables={})

    def test_a_third_of_the_requests_is_put_off(self):
        proxy = Proxy(self.server, share_put_off=1 / 3)
        said = self.run("whole", proxy.url, "third", retry_for_s=30)
        counted = dict(word.split("=") for word in said.split() if "=" in word)
        assert proxy.put_off > proxy.requests / 6, (proxy.put_off, proxy.requests)
        assert int(counted["requests_failed"]) == proxy.put_off, (said, proxy.put_off)
        assert int(counted["requests"]) == proxy.requests, (said, proxy.requests)
        assert self.names("third") == ["cluster"], self.names("third")
        assert not self.half("third")
        proxy.close()

    def test_a_store_that_is_down_is_an_error_in_time_and_is_outlasted(self):
        proxy = Proxy(self.server)
        port = proxy.port
        proxy.close()
        endpoint = f"http://127.0.0.1:{port}"
        process = self.start("outlast", endpoint, "down")
        guard = threading.Timer(FAILS_WITHIN_S, process.kill)
        guard.start()
        line = process.stdout.readline()
        guard.cancel()
        assert line.startswith("later"), f"it ended, or took over {FAILS_WITHIN_S} s: {line!r}"
        assert self.names("down") == []
        proxy = Proxy(self.server, port=port)
        self.end("outlast", process)
        assert self.names("down") == ["splits/1/body"], self.names("down")
        assert not self.half("down")
        proxy.close()

    def test_an_upload_that_breaks_off_leaves_nothing_after_the_sweep(self):
        proxy = Proxy(self.server, parts_max=2)
        process = self.start("breaks", proxy.url, "breaks")
        guard = threading.Timer(FAILS_WITHIN_S, process.kill)
        guard.start()
        self.end("breaks", process)
        guard.cancel()
        assert proxy.cut > 0
        proxy.close()
        # Taking it back was cut off as well: only the sweep can.
        assert len(self.half("breaks")) == 1, self.half("breaks")
        assert self.names("breaks") == []
        # Another cluster's upload in the same bucket is not ours to take back.
        self.store.create_multipart_upload(Bucket=BUCKET, Key="breaks-others/a")
        self.run("sweep", self.direct, "breaks")
        assert not self.half("breaks")
        assert len(self.half("breaks-others")) == 1
        self.run("outlast", self.direct, "breaks")
        assert self.names("breaks") == ["splits/1/body"]

    def test_the_sweep_looks_at_every_page(self):
        for number in range(25):
            self.store.create_multipart_upload(Bucket=BUCKET, Key=f"pages/splits/{number % 7}")
        proxy = Proxy(self.server, uploads_per_page=10, share_put_off=1 / 3)
        self.run("sweep-25", proxy.url, "pages", retry_for_s=30)
        assert not self.half("pages")
        assert proxy.pages == 3, proxy.pages
        proxy.close()

    def test_who_is_not_let_in_is_told_what_to_check(self):
        proxy = Proxy(self.server, is_denied=True)
        self.run("denied", proxy.url, "denied")
        proxy.close()


def main(program, wanted):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    cases = Cases(program, f"{host}:{port}")
    names = wanted or [name for name in dir(Cases) if name.startswith("test_")]
    for name in names:
        getattr(cases, name)()
        print(f"{name} ok", flush=True)
    server.stop()
    print(f"{len(names)} cases passed")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
