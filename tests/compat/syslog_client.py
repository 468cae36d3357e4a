"""logger(1) of util-linux, and Debian's rsyslog with omfwd and omelasticsearch."""

import pathlib
import subprocess
import tempfile
import time

from store import TOKEN


def logger(*words):
    subprocess.run(["logger", *words], check=True, timeout=30)


def test_logger(node):
    to = ["--server", "127.0.0.1", "--port", str(node.ports["syslog"]), "--tag", "shop", "--priority", "local3.warning"]
    ways = {
        "udp": ["--udp"],
        "counted": ["--tcp", "--octet-count"],
        "lines": ["--tcp"],
        "oldtcp": ["--tcp", "--rfc3164"],
        "oldudp": ["--udp", "--rfc3164"],
    }
    for way, words in ways.items():
        for number in range(10):
            logger(*to, *words, "--id=77", f"{way} order {number} <lost> [ä]")
    more = ["--tcp", "--msgid", "M7", "--sd-id", "shop@1", "--sd-param", 'cart="a \\"b\\""']
    logger(*to, *more, "structured order 0 <lost> [ä]")
    rows = node.wait("service:shop order", 51)
    for way in ways:
        found = [row for row in rows if row["message"].startswith(f"{way} ")]
        expected = sorted(f"{way} order {number} <lost> [ä]" for number in range(10))
        assert sorted(row["message"] for row in found) == expected, found[:2]
        for row in found:
            assert (row["level"], row["fields"]["facility"], row["fields"]["pid"]) == ("warn", "local3", 77), row
            assert row["labels"]["host"] and "_poison" not in row["fields"], row
    (structured,) = [row for row in rows if row["message"].startswith("structured")]
    assert structured["fields"]["msgid"] == "M7", structured
    assert structured["fields"]["shop@1.cart"] == 'a "b"', structured


CONF = """
module(load="imuxsock" SysSock.Use="off")
module(load="omelasticsearch")
input(type="imuxsock" Socket="{folder}/log")
template(name="json" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="message" name="msg" position.from="2" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="program" name="programname" format="jsonf")
}}
if $programname == "new" then {{
  action(type="omfwd" target="127.0.0.1" port="{syslog}" protocol="tcp" TCP_Framing="octet-counted"
    template="RSYSLOG_SyslogProtocol23Format")
}}
if $programname == "old" then {{
  action(type="omfwd" target="127.0.0.1" port="{syslog}" protocol="tcp" template="RSYSLOG_TraditionalForwardFormat")
}}
if $programname == "udp" then {{
  action(type="omfwd" target="127.0.0.1" port="{syslog}" protocol="udp" template="RSYSLOG_ForwardFormat")
}}
if $programname == "es" then {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{es}" searchIndex="logs-rsyslog" searchType=""
    bulkmode="on" uid="any" pwd="{token}" template="json" queue.type="LinkedList" queue.dequeueBatchSize="50")
}}
"""


def test_rsyslog(node):
    with tempfile.TemporaryDirectory() as folder:
        conf = pathlib.Path(folder) / "rsyslog.conf"
        conf.write_text(CONF.format(folder=folder, syslog=node.ports["syslog"], es=node.ports["es"], token=TOKEN))
        command = ["/usr/sbin/rsyslogd", "-n", "-f", conf, "-i", f"{folder}/pid"]
        # A plugin that is not there would only be passed over.
        checked = subprocess.run([*command, "-N1"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        words = (pathlib.Path(folder) / "words").open("wb")
        process = subprocess.Popen(command, stdout=words, stderr=words)
        try:
            while not (pathlib.Path(folder) / "log").exists():
                assert process.poll() is None, (pathlib.Path(folder) / "words").read_text()
                time.sleep(0.05)
            for program in ("new", "old", "udp", "es"):
                for number in range(100):
                    text = f"{program} parcel {number} lost"
                    logger("--socket", f"{folder}/log", "--tag", program, "-p", "user.err", text)
            for program in ("new", "old", "udp"):
                rows = node.wait(f"service:{program} parcel", 100)
                expected = sorted(f"{program} parcel {number} lost" for number in range(100))
                assert sorted(row["message"].strip() for row in rows) == expected, rows[:2]
                for row in rows:
                    assert (row["level"], row["fields"]["facility"]) == ("error", "user"), row
                    assert "_poison" not in row["fields"], row
            rows = node.wait("index:logs-rsyslog parcel", 100)
            expected = sorted(f"es parcel {number} lost" for number in range(100))
            assert sorted(row["message"] for row in rows) == expected, rows[:2]
            assert all(row["level"] == "error" and row["fields"]["program"] == "es" for row in rows), rows[0]
        finally:
            process.terminate()
            process.wait(30)
