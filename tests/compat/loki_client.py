"""python-logging-loki and loki-logger-handler."""

import logging
import time

import logging_loki
from loki_logger_handler.loki_logger_handler import LokiLoggerHandler

from store import TOKEN


def test_python_logging_loki(node):
    handler = logging_loki.LokiHandler(
        url=f"{node.url}/loki/api/v1/push", tags={"app": "shop"}, auth=("any", TOKEN), version="1"
    )
    logger = logging.getLogger("python-logging-loki")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    failures = []
    handler.handleError = failures.append
    for number in range(50):
        logger.error("order %s failed", number, extra={"tags": {"region": "eu"}})
    assert not failures
    rows = node.rows("app:shop region:eu level:error order")
    assert sorted(row["message"] for row in rows) == sorted(f"order {n} failed" for n in range(50)), rows[:3]


def test_loki_logger_handler(node):
    handler = LokiLoggerHandler(
        url=f"{node.url}/loki/api/v1/push",
        labels={"application": "Test", "environment": "Develop"},
        auth=("any", TOKEN),
        additional_headers={"X-Scope-OrgID": "team-a"},
        timeout=1,
        enable_structured_loki_metadata=True,
        loki_metadata={"build": "77"},
    )
    logger = logging.getLogger("loki-logger-handler")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    for number in range(40):
        logger.warning("step %s", number)
    until = time.monotonic() + 20
    rows = []
    while len(rows) < 40 and time.monotonic() < until:
        rows = node.rows("application:Test tenant:team-a step")
        time.sleep(0.1)
    assert len(rows) == 40, len(rows)
    assert {row["level"] for row in rows} == {"warn"}, rows[0]
    assert {row["fields"]["build"] for row in rows} == {"77"}, rows[0]
    assert {row["labels"]["environment"] for row in rows} == {"Develop"}, rows[0]
