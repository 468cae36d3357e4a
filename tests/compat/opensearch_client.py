"""opensearch-py."""

from opensearchpy import OpenSearch, helpers

from store import TOKEN


def test_bulk(node):
    client = OpenSearch(f"{node.url}/es", http_auth=("any", TOKEN), http_compress=True)
    assert client.info()["version"]["number"]
    actions = ({"_index": "shop", "message": f"sold {n}", "price": n / 4} for n in range(300))
    assert helpers.bulk(client, actions) == (300, [])
    rows = node.rows("index:shop sold")
    assert sorted(row["fields"]["price"] for row in rows) == [n / 4 for n in range(300)]
    client.indices.put_index_template(name="t", body={"index_patterns": ["shop"]})
    assert client.indices.exists_index_template(name="t")
