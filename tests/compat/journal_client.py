"""systemd-journal-upload, with a journal that systemd-journal-remote wrote."""

import pathlib
import subprocess
import tempfile
import time

from store import TOKEN

SYSTEMD = "/usr/lib/systemd/systemd-journal-"


def write(journal, numbers):
    """Adds entries to a journal, one of them with bytes that are no text."""
    entries = b""
    for number in numbers:
        message = f"entry {number}\nof web1".encode()
        head = f"__REALTIME_TIMESTAMP={1_790_000_000_000_000 + number}\n__MONOTONIC_TIMESTAMP={number + 5}\n"
        head += f"_BOOT_ID={'1' * 32}\n_HOSTNAME=web1\n_PID=7\nPRIORITY=4\n_SYSTEMD_UNIT=shop.service\nNUMBER={number}\n"
        entries += head.encode() + b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n\n"
    subprocess.run([f"{SYSTEMD}remote", "-o", journal, "-"], input=entries, check=True, timeout=30)


def upload(node, journal, state):
    url = node.url.replace("http://", f"http://any:{TOKEN}@")
    command = [f"{SYSTEMD}upload", f"--url={url}", f"--file={journal}", f"--save-state={state}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        # It keeps the place when it was told that all is stored.
        deadline = time.monotonic() + 30
        while not state.exists():
            assert time.monotonic() < deadline, "nothing was acknowledged"
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(30)


def check(node, count):
    rows = node.rows("source:journal unit:shop.service entry")
    assert len(rows) == count, len(rows)
    assert sorted(int(row["fields"]["number"]) for row in rows) == list(range(count))
    for row in rows:
        assert row["message"] == f"entry {row['fields']['number']}\nof web1", row
        assert (row["level"], row["labels"]["host"], row["fields"]["pid"]) == ("warn", "web1", 7), row


def test_upload(node):
    with tempfile.TemporaryDirectory() as folder:
        journal = pathlib.Path(folder) / "web1.journal"
        write(journal, range(100))
        upload(node, journal, pathlib.Path(folder) / "state")
        check(node, 100)
        write(journal, range(100, 150))
        # Its state is lost: it sends all of it again.
        upload(node, journal, pathlib.Path(folder) / "another-state")
        check(node, 150)
