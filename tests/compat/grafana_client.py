"""The dashboard that is shipped for Grafana: each of its questions, as its sources send them, has an answer."""

import json
import pathlib
import time

from elastic_client import client
from loki_read_client import call, filled

GRAFANA = pathlib.Path(__file__).parents[2] / "deploy" / "grafana"


def dashboard():
    return json.loads((GRAFANA / "dashboards" / "sawlog.json").read_text())


def targets(kind):
    panels = dashboard()["panels"]
    return [(panel["title"], target) for panel in panels for target in panel["targets"] if panel["datasource"]["type"] == kind]


def test_questions_of_the_loki_source(node):
    span = filled(node)
    for title, target in targets("loki"):
        expr = target["expr"]
        for name, value in {"$service": ".*", "$__auto": "60s", "$__range": "1h"}.items():
            expr = expr.replace(name, value)
        assert "$" not in expr, expr
        if target["queryType"] == "instant":
            answer = call(node, "query", query=expr, time=time.time_ns())
        else:
            answer = call(node, "query_range", query=expr, step="60s", limit=1000, direction="backward", **span)
        assert answer["status"] == "success", (title, answer)
        # The service logs no error: only of that panel nothing is expected.
        assert bool(answer["data"]["result"]) == ("Errors" not in title), (title, answer)


def test_questions_of_the_elasticsearch_source(node):
    filled(node)
    es = client(f"{node.url}/es")
    for title, target in targets("elasticsearch"):
        outer, inner = target["bucketAggs"]
        settings = outer["settings"]
        dates = {"field": inner["field"], "fixed_interval": "30s", "min_doc_count": 0, "format": "epoch_millis"}
        terms = {"field": outer["field"], "size": int(settings["size"]), "order": {"_count": "desc"}, "min_doc_count": 1}
        inside = {inner["id"]: {"date_histogram": dates}}
        answer = es.msearch(
            searches=[
                {"ignore_unavailable": True, "index": "*"},
                {
                    "size": 0,
                    "query": {"bool": {"filter": [{"query_string": {"analyze_wildcard": True, "query": target["query"]}}]}},
                    "aggs": {outer["id"]: {"terms": terms, "aggs": inside}},
                },
            ]
        )["responses"][0]
        (bucket,) = answer["aggregations"][outer["id"]]["buckets"]
        assert (bucket["key"], bucket["doc_count"]) == ("main", 301), (title, answer)
        assert sum(one["doc_count"] for one in bucket[inner["id"]]["buckets"]) == 301, (title, answer)


def test_its_sources_are_the_ones_that_are_provisioned(node):
    provisioned = (GRAFANA / "datasources.yaml").read_text()
    wanted = {panel["datasource"]["uid"] for panel in dashboard()["panels"]}
    wanted |= {variable["datasource"]["uid"] for variable in dashboard()["templating"]["list"]}
    for uid in wanted:
        assert f"uid: {uid}\n" in provisioned, uid
