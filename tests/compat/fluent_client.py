"""fluent-logger-python, its sender and its logging handler."""

import logging

from fluent import handler, sender


def test_sender(node):
    for nanosecond in (False, True):
        name = f"app.{nanosecond}".lower()
        client = sender.FluentSender(
            name, host="127.0.0.1", port=node.ports["fluent"], nanosecond_precision=nanosecond
        )
        for number in range(100):
            record = {"message": f"cup {number} broke", "number": number, "level": "warn", "k": {"pod": "p1"}}
            assert client.emit("shop", record), client.last_error
        client.close()
        rows = node.wait(f"tag:{name}.shop broke", 100)
        assert sorted(row["fields"]["number"] for row in rows) == list(range(100))
        assert all(row["level"] == "warn" and row["fields"]["k.pod"] == "p1" for row in rows), rows[0]


def test_handler(node):
    target = handler.FluentHandler("py.log", host="127.0.0.1", port=node.ports["fluent"])
    target.setFormatter(handler.FluentRecordFormatter({"where": "%(module)s", "level": "%(levelname)s"}))
    logger = logging.getLogger("fluent")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(target)
    for number in range(50):
        logger.error({"message": f"glass {number} broke", "number": number})
    target.close()
    rows = node.wait("tag:py.log level:error glass", 50)
    assert sorted(row["fields"]["number"] for row in rows) == list(range(50))
    assert {row["fields"]["where"] for row in rows} == {"fluent_client"}
