"""The OpenTelemetry SDK of Python with its exporters."""

import logging

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as OTLPGrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from store import TOKEN


def speak(node, exporter, count):
    """Logs through an exporter; gives the trace that was active."""
    resource = Resource.create({"service.name": "checkout", "host.name": "web1", "service.version": "1.2"})
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_export_batch_size=100))
    logger = logging.getLogger(f"otlp-{id(exporter)}")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(LoggingHandler(logger_provider=provider))
    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("buy") as span:
        for number in range(count):
            logger.error("payment %s refused", number, extra={"cart": number, "nested": {"a": [1, 2]}})
        context = span.get_span_context()
    assert provider.force_flush(20_000)
    provider.shutdown()
    check(node, count, context)


def check(node, count, context):
    rows = node.rows("service:checkout payment")
    assert len(rows) == count, len(rows)
    for number, row in enumerate(sorted(rows, key=lambda row: row["fields"]["cart"])):
        assert row["message"] == f"payment {number} refused", row
        assert row["level"] == "error", row
        assert row["labels"]["host"] == "web1", row
        fields = row["fields"]
        assert fields["cart"] == number, row
        assert fields["nested.a"] == [1, 2], row
        assert fields["trace_id"] == trace.format_trace_id(context.trace_id), row
        assert fields["span_id"] == trace.format_span_id(context.span_id), row
        assert fields["resource.service.version"] == "1.2", row
        assert fields["severity_number"] == 17, row


def test_http(node):
    headers = {"authorization": f"Bearer {TOKEN}"}
    exporter = OTLPLogExporter(f"{node.url}/v1/logs", headers=headers, compression=Compression.Gzip)
    speak(node, exporter, 250)


def test_http_on_its_own_port(node):
    exporter = OTLPLogExporter(f"http://127.0.0.1:{node.ports['otlp']}/v1/logs", headers={"authorization": f"Bearer {TOKEN}"})
    speak(node, exporter, 10)


def test_grpc(node):
    for compression, count in ((grpc.Compression.NoCompression, 10), (grpc.Compression.Gzip, 250)):
        exporter = OTLPGrpcExporter(
            endpoint=f"http://127.0.0.1:{node.ports['otlp-grpc']}",
            insecure=True,
            headers=(("authorization", f"Bearer {TOKEN}"),),
            compression=compression,
        )
        provider = LoggerProvider(resource=Resource.create({"service.name": f"grpc-{count}"}))
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_export_batch_size=100))
        logger = logging.getLogger(f"grpc-{count}")
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        logger.addHandler(LoggingHandler(logger_provider=provider))
        for number in range(count):
            logger.warning("parcel %s late", number, extra={"parcel": number})
        assert provider.force_flush(20_000)
        provider.shutdown()
        rows = node.rows(f"service:grpc-{count} late")
        assert sorted(row["fields"]["parcel"] for row in rows) == list(range(count)), len(rows)
        assert {row["level"] for row in rows} == {"warn"}
