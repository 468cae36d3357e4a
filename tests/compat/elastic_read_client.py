"""elasticsearch-py asking: searches, counts, scans, points in time, aggregations."""

import elasticsearch
from elasticsearch import helpers

from elastic_client import client, documents

COUNT = 700


def filled(node):
    es = client(f"{node.url}/es")
    stored, errors = helpers.bulk(es, documents(COUNT), chunk_size=350)
    assert (stored, errors) == (COUNT, []), errors[:2]
    return es


def test_searches_and_counts(node):
    es = filled(node)
    assert es.count(index="logs-app-prod")["count"] == COUNT
    assert es.count(index="logs-*", query={"range": {"http.status": {"gte": 200, "lt": 210}}})["count"] == 10
    answer = es.search(
        index="logs-app-prod",
        query={"bool": {"filter": [{"match_phrase": {"message": "request 77 done"}}, {"term": {"tags": "x"}}]}},
    )
    assert answer["hits"]["total"] == {"value": 1, "relation": "eq"}, answer
    source = answer["hits"]["hits"][0]["_source"]
    assert source["message"] == "request 77 done", source
    answer = es.search(index="logs-app-prod", sort=[{"@timestamp": "desc"}], size=3)
    times = [hit["_source"]["@timestamp"] for hit in answer["hits"]["hits"]]
    assert len(times) == 3 and times == sorted(times, reverse=True), times
    # The root of the listener for these clients reads as well as it writes.
    root = client(f"http://127.0.0.1:{node.ports['es']}")
    assert root.count(index="logs-app-prod")["count"] == COUNT


def test_everything_is_scanned_once(node):
    es = filled(node)
    found = helpers.scan(es, index="logs-app-prod", query={"query": {"match_all": {}}}, size=128)
    messages = [hit["_source"]["message"] for hit in found]
    assert sorted(messages) == sorted(f"request {number} done" for number in range(COUNT))


def test_a_point_in_time_stays(node):
    es = filled(node)
    point = es.open_point_in_time(index="logs-app-prod", keep_alive="1m")["id"]
    es.index(index="logs-app-prod", document={"message": "later"}, refresh=True)
    seen, after = [], None
    while True:
        page = es.search(
            pit={"id": point, "keep_alive": "1m"}, size=150, sort=[{"@timestamp": "asc"}], search_after=after
        )["hits"]["hits"]
        if not page:
            break
        seen += [hit["_source"]["message"] for hit in page]
        after = page[-1]["sort"]
    assert sorted(seen) == sorted(f"request {number} done" for number in range(COUNT)), len(seen)
    es.close_point_in_time(id=point)


def test_aggregations(node):
    es = filled(node)
    answer = es.search(
        index="logs-app-prod",
        size=0,
        aggs={
            "by_minute": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m"}},
            "levels": {"terms": {"field": "log.level"}, "aggs": {"mean": {"avg": {"field": "http.status"}}}},
            "status": {"stats": {"field": "http.status"}},
        },
    )["aggregations"]
    assert sum(bucket["doc_count"] for bucket in answer["by_minute"]["buckets"]) == COUNT
    (level,) = answer["levels"]["buckets"]
    assert (level["doc_count"], level["mean"]["value"]) == (COUNT, 200 + (COUNT - 1) / 2), level
    status = answer["status"]
    assert (status["count"], status["min"], status["max"]) == (COUNT, 200, 200 + COUNT - 1), status


def test_what_is_not_there_or_not_supported_is_named(node):
    es = filled(node)
    try:
        es.search(index="nobody")
        raise AssertionError("there is no such index")
    except elasticsearch.NotFoundError as error:
        assert error.body["error"]["type"] == "index_not_found_exception", error.body
    try:
        es.search(index="logs-app-prod", query={"more_like_this": {"like": "request"}})
        raise AssertionError("it is not supported")
    except elasticsearch.BadRequestError as error:
        assert "more_like_this" in str(error.body), error.body
    names = es.field_caps(index="logs-app-prod", fields="*")["fields"]
    assert "date" in names["@timestamp"] and "http.status" in names, sorted(names)
    assert "logs-app-prod" in es.indices.get_mapping(index="logs-*"), "the mapping names the index"


def test_names_tell_dates_and_what_is_missing_comes_first(node):
    es = filled(node)
    assert es.count(index="<logs-app-*>,<none-{now/d}*>")["count"] >= COUNT
    try:
        es.search(index="<none-{now/d{yyyy}}>")
        raise AssertionError("there is no such index")
    except elasticsearch.NotFoundError as error:
        assert "[none-20" in error.body["error"]["reason"], error.body
    for number in range(3):
        document = {"message": f"n{number}", "size": number} if number else {"message": "n0"}
        es.create(index="unsized", id=f"u{number}", document=document)
    for order, expected in (("asc", ["n0", "n1", "n2"]), ("desc", ["n0", "n2", "n1"])):
        answer = es.search(index="unsized", sort=[{"size": {"order": order, "missing": "_first"}}])
        found = [hit["_source"]["message"] for hit in answer["hits"]["hits"]]
        assert found == expected, (order, found)


def test_figures_of_figures(node):
    es = filled(node)
    aggs = {
        "all": {"cumulative_sum": {"buckets_path": "_count"}},
        "rate": {"derivative": {"buckets_path": "all", "unit": "1s"}},
        "mean": {"moving_fn": {"buckets_path": "_count", "window": 3, "script": "MovingFunctions.unweightedAvg(values)"}},
        "half": {"bucket_script": {"buckets_path": {"n": "_count"}, "script": "params.n / 2"}},
    }
    histogram = {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m"}, "aggs": aggs}
    answer = es.search(index="logs-app-prod", size=0, aggs={"m": histogram})
    buckets = answer["aggregations"]["m"]["buckets"]
    assert buckets[-1]["all"]["value"] == COUNT, buckets[-1]
    assert "rate" not in buckets[0] and all("normalized_value" in bucket["rate"] for bucket in buckets[1:])
    assert all(bucket["half"]["value"] == bucket["doc_count"] / 2 for bucket in buckets)


def test_rates_bounds_and_first_records(node):
    es = filled(node)
    rate = {"rate": {"unit": "second"}}
    summed = {"rate": {"field": "http.status", "unit": "hour", "mode": "sum"}}
    top = {"top_metrics": {"metrics": [{"field": "http.status"}], "sort": {"http.status": "desc"}, "size": 2}}
    dates = {"field": "@timestamp", "fixed_interval": "1m", "min_doc_count": 1}
    histogram = {"date_histogram": dates, "aggs": {"rate": rate, "sum": summed, "all": {"sum": {"field": "http.status"}}}}
    steps = {"field": "http.status", "interval": 100, "hard_bounds": {"min": 300, "max": 599}}
    aggs = {"m": histogram, "top": top, "steps": {"histogram": steps}}
    answer = es.search(index="logs-app-prod", size=0, aggs=aggs)["aggregations"]
    for bucket in answer["m"]["buckets"]:
        assert bucket["rate"]["value"] == bucket["doc_count"] / 60, bucket
        assert abs(bucket["sum"]["value"] - bucket["all"]["value"] * 60) < 1e-6, bucket
    last = 200 + COUNT - 1
    found = [(one["sort"], one["metrics"]["http.status"]) for one in answer["top"]["top"]]
    assert found == [([last], last), ([last - 1], last - 1)], answer["top"]
    assert [(one["key"], one["doc_count"]) for one in answer["steps"]["buckets"]] == [(300, 100), (400, 100), (500, 100)]
    # Outside of buckets of time there is no rate.
    try:
        es.search(index="logs-app-prod", size=0, aggs={"r": rate})
        raise AssertionError("it has no length")
    except elasticsearch.BadRequestError as error:
        assert "date histogram" in str(error.body), error.body


def test_documents_have_names_of_their_own(node):
    es = client(f"{node.url}/es")
    for number, own in enumerate(["a", 7]):
        es.create(index="named", id=f"given-{number}", document={"id": own, "index": "left", "message": f"n{number}"})
    answer = es.search(index="named", query={"term": {"id": 7}}, sort=[{"index": "asc"}])
    (hit,) = answer["hits"]["hits"]
    assert (hit["_id"], hit["_index"]) == ("given-1", "named"), hit
    assert (hit["_source"]["id"], hit["_source"]["index"]) == (7, "left"), hit
