"""elasticsearch-py, of whatever version is installed."""

import elasticsearch
from elasticsearch import Elasticsearch, helpers

from store import TOKEN


def client(url, **more):
    return Elasticsearch(url, **{"api_key": TOKEN, **more})


def documents(count):
    for number in range(count):
        yield {
            "_index": "logs-app-prod",
            "_op_type": "create",
            "_id": f"id-{number}",
            "@timestamp": f"2026-11-20T10:00:{number % 60:02}.{number:03}Z",
            "message": f"request {number} done",
            "log": {"level": "warn"},
            "http": {"status": 200 + number, "path": "/a b/ü"},
            "tags": ["x", "y"],
        }


def check_documents(node, count):
    rows = node.rows("index:logs-app-prod request")
    assert len(rows) == count, len(rows)
    by_id = {row["fields"]["_id"]: row for row in rows}
    assert len(by_id) == count
    for number in range(count):
        row = by_id[f"id-{number}"]
        assert row["message"] == f"request {number} done", row
        assert row["timestamp"].startswith(f"2026-11-20T10:00:{number % 60:02}.{number:03}"), row
        assert row["level"] == "warn", row
        assert row["fields"]["http.status"] == 200 + number, row
        assert row["fields"]["http.path"] == "/a b/ü", row


def test_bulk_stores_once_also_when_sent_again(node):
    for url in (f"{node.url}/es", f"http://127.0.0.1:{node.ports['es']}"):
        es = client(url, http_compress=True)
        assert es.ping()
        assert es.info()["version"]["number"].startswith("8.")
        stored, errors = helpers.bulk(es, documents(700), chunk_size=100, raise_on_error=False)
        # The second client says the same again: every document is there already.
        expected = (700, 0) if url.endswith("/es") else (0, 700)
        assert (stored, len(errors)) == expected, (stored, errors[:2])
        assert all(error["create"]["status"] == 409 for error in errors)
    check_documents(node, 700)


def test_single_documents(node):
    es = client(f"{node.url}/es")
    answer = es.index(index="single", document={"msg": "by chance", "level": 50})
    assert answer["result"] == "created" and answer["_id"], answer
    assert es.index(index="single", id="a/b", document={"msg": "by name"})["_id"] == "a/b"
    es.create(index="single", id="c", document={"msg": "once"})
    try:
        es.create(index="single", id="c", document={"msg": "twice"})
        raise AssertionError("a conflict was expected")
    except elasticsearch.ConflictError as error:
        assert error.body["error"]["type"] == "version_conflict_engine_exception", error.body
    rows = node.rows("index:single")
    assert sorted(row["message"] for row in rows) == ["by chance", "by name", "once"], rows
    assert [row["level"] for row in rows if row["message"] == "by chance"] == ["error"]
    assert es.get(index="single", id="a/b")["_source"]["message"] == "by name"
    assert es.get_source(index="single", id="c")["message"] == "once"
    assert es.exists(index="single", id="c") and not es.exists_source(index="single", id="d")
    found = es.mget(index="single", ids=["c", "d", answer["_id"]])["docs"]
    assert [one["found"] for one in found] == [True, False, True], found


def test_what_cannot_be_stored_is_said_item_by_item(node):
    es = client(f"{node.url}/es")
    actions = [
        {"index": {"_index": "fine"}}, {"message": "one"},
        {"index": {"_index": "NOT/fine"}}, {"message": "two"},
        {"delete": {"_index": "fine", "_id": "1"}},
        {"update": {"_index": "fine", "_id": "1"}}, {"doc": {"a": 1}},
        {"create": {"_index": "fine", "_id": "2", "pipeline": None}, "attempts": 0}, {"message": "three"},
    ]
    answer = es.bulk(operations=actions)
    statuses = [next(iter(item.values()))["status"] for item in answer["items"]]
    assert answer["errors"] and statuses == [201, 400, 400, 400, 201], answer
    assert [next(iter(item)) for item in answer["items"]] == ["index", "index", "delete", "update", "create"]
    assert sorted(row["message"] for row in node.rows("index:fine")) == ["one", "three"]


def test_templates_policies_and_pipelines_are_given_back(node):
    es = client(f"{node.url}/es")
    assert not es.indices.exists_index_template(name="logs")
    es.indices.put_index_template(name="logs", index_patterns=["logs-*"], template={"settings": {"number_of_shards": 1}})
    assert es.indices.exists_index_template(name="logs")
    found = es.indices.get_index_template(name="lo*")["index_templates"]
    assert [entry["name"] for entry in found] == ["logs"], found
    assert found[0]["index_template"]["index_patterns"] == ["logs-*"]
    es.ilm.put_lifecycle(name="week", policy={"phases": {"delete": {"min_age": "7d", "actions": {"delete": {}}}}})
    assert es.ilm.get_lifecycle(name="week")["week"]["policy"]["phases"]["delete"]["min_age"] == "7d"
    es.ingest.put_pipeline(id="p", processors=[])
    assert es.ingest.get_pipeline(id="p")["p"] == {"processors": []}
    es.ingest.delete_pipeline(id="p")
    try:
        es.ingest.get_pipeline(id="p")
        raise AssertionError("it was deleted")
    except elasticsearch.NotFoundError as error:
        assert error.body["error"]["type"] == "resource_not_found_exception"
    assert not es.indices.exists(index="nobody")
    es.indices.create(index="somebody")
    assert es.indices.exists(index="somebody")
    assert es.cluster.health()["status"] == "green"
    assert es.license.get()["license"]["status"] == "active"


def test_a_wrong_token_is_refused_in_words_the_client_knows(node):
    for wrong in ({"api_key": "nonsense"}, {"api_key": None, "basic_auth": ("x", "wrong")}):
        try:
            client(f"{node.url}/es", **wrong).info()
            raise AssertionError("a wrong token came in")
        except elasticsearch.AuthenticationException as error:
            assert error.body["error"]["type"] == "security_exception", error.body
            assert error.meta.headers["x-elastic-product"] == "Elasticsearch"
    assert client(f"{node.url}/es", api_key=None, basic_auth=("anybody", TOKEN)).info()
    assert client(f"{node.url}/es", api_key=None, bearer_auth=TOKEN).info()
    assert client(f"{node.url}/es", api_key=("id", TOKEN)).info()
