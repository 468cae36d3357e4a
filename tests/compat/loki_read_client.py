"""Loki's reading side, asked as Grafana's stock source asks (recorded exchanges of our own)."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

from websockets.sync.client import connect

from store import TOKEN


def call(node, path, body=None, tenant=None, **parameters):
    url = f"{node.url}/loki/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    if tenant:
        headers["X-Scope-OrgID"] = tenant
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode(), headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def filled(node):
    begin = (time.time_ns() // 1_000_000_000 - 600) * 1_000_000_000
    values = [[str(begin + n * 1_000_000_000), f'level=info path="/p{n % 3}" took={n}ms', {"trace": f"t{n}"}] for n in range(300)]
    streams = [{"stream": {"service": "shop", "host": "h1"}, "values": values}]
    streams.append({"stream": {"service": "mail", "host": "h2"}, "values": [[str(begin), "sent 1 letter"]]})
    assert call(node, "push", {"streams": streams}) is None
    return {"start": begin - 1_000_000_000, "end": begin + 400_000_000_000}


def test_the_source_is_healthy(node):
    answer = call(node, "query", query="vector(1)+vector(1)", time=4_000_000_000, direction="backward")
    assert answer["status"] == "success" and answer["data"]["resultType"] == "vector", answer
    assert answer["data"]["result"][0]["value"][1] == "2", answer


def test_lines_labels_and_series(node):
    span = filled(node)
    answer = call(node, "query_range", query='{service="shop"} |= "/p1" | logfmt | took="7ms" or took="1ms"', limit=100, **span)
    lines = [line for stream in answer["data"]["result"] for _, line in stream["values"]]
    assert sorted(lines) == ['level=info path="/p1" took=1ms', 'level=info path="/p1" took=7ms'], lines
    assert {"service", "host"} <= set(call(node, "labels", **span)["data"])
    assert call(node, "label/service/values", **span)["data"] == ["mail", "shop"]
    series = call(node, "series", **{"match[]": '{service=~"shop|mail"}'}, **span)["data"]
    assert sorted(one["service"] for one in series) == ["mail", "shop"], series


def test_figures_over_time(node):
    span = filled(node)
    query = 'sum by (service) (count_over_time({service=~".+"}[1m]))'
    answer = call(node, "query_range", query=query, step="60", **span)["data"]
    assert answer["resultType"] == "matrix", answer
    services = {one["metric"]["service"] for one in answer["result"]}
    assert services == {"shop", "mail"}, services
    most = max(float(number) for one in answer["result"] for _, number in one["values"])
    assert most == 60, most


def test_fields_and_patterns(node):
    span = filled(node)
    for more, expected in (({}, 300), ({"line_limit": 10}, 10)):
        fields = call(node, "detected_fields", query='{service="shop"}', **more, **span)["fields"]
        (trace,) = [field for field in fields if field["label"] == "trace"]
        assert (trace["type"], trace["cardinality"]) == ("string", expected), trace
    query = '{service=~"shop|mail"} |> "level=info path=<_> took=7ms" or "sent <_> letter"'
    answer = call(node, "query_range", query=query, limit=100, **span)
    lines = [line for stream in answer["data"]["result"] for _, line in stream["values"]]
    assert sorted(lines) == ['level=info path="/p1" took=7ms', "sent 1 letter"], lines


def test_what_is_absent_and_named_anew(node):
    answer = call(node, "query", query='absent_over_time({service="nobody"}[1h])')
    (series,) = answer["data"]["result"]
    assert (series["metric"], series["value"][1]) == ({"service": "nobody"}, "1"), series
    query = 'label_replace(absent_over_time({service="nobody"}[1h]), "short", "$1", "service", "(no).*")'
    (series,) = call(node, "query", query=query)["data"]["result"]
    assert series["metric"] == {"service": "nobody", "short": "no"}, series


def test_what_is_wrong_is_said_in_words(node):
    for query in ("{service=", '{service="a"} | nonsense', 'rate({service="a"})'):
        try:
            call(node, "query_range", query=query, start=0, end=1)
            raise AssertionError(f"{query} was taken")
        except urllib.error.HTTPError as error:
            assert error.code == 400 and error.read().strip(), query


def test_lines_come_as_they_are_stored(node):
    span = filled(node)
    query = urllib.parse.urlencode({"query": '{service="shop"} | logfmt | took!="1ms"', "start": span["start"], "limit": 3})
    url = f"{node.url.replace('http', 'ws')}/loki/api/v1/tail?{query}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with connect(url, additional_headers=headers, proxy=None) as tail:
        lines = received(tail, 3)
        assert [line.split("took=")[1] for line in lines] == ["297ms", "298ms", "299ms"], lines
        now = time.time_ns()
        for number in range(50):
            values = [[str(now + number), f"took={number}ms"], [str(now + number), "took=1ms"]]
            other = {"stream": {"service": "mail"}, "values": [[str(now), "took=5ms"]]}
            call(node, "push", {"streams": [{"stream": {"service": "shop"}, "values": values}, other]})
        lines = received(tail, 49)
        assert lines == [f"took={number}ms" for number in range(50) if number != 1], lines
    try:
        call(node, "tail", query='{service="shop"}')
        raise AssertionError("a tail without a WebSocket was answered")
    except urllib.error.HTTPError as error:
        assert error.code == 400 and b"WebSocket" in error.read()


def received(tail, count):
    lines = []
    while len(lines) < count:
        streams = json.loads(tail.recv(timeout=30))["streams"]
        # What was taken out of a line makes a stream of its own: their order in a message is nobody's promise.
        values = sorted((value for stream in streams for value in stream["values"]), key=lambda value: int(value[0]))
        lines += [value[1] for value in values]
    return lines


def test_tenants_see_their_own(node):
    now = time.time_ns()
    span = {"start": now - 3_600_000_000_000, "end": now + 3_600_000_000_000}
    for tenant in ("red", "blue"):
        # Whose a line is, its sender says in the header alone.
        stream = {"stream": {"service": "till", "tenant": "red"}, "values": [[str(now), f"of {tenant}"]]}
        assert call(node, "push", {"streams": [stream]}, tenant=tenant) is None
    for tenant, expected in (("red", ["of red"]), ("blue", ["of blue"]), ("red|blue", ["of blue", "of red"]), ("green", [])):
        answer = call(node, "query_range", query='{service="till"}', tenant=tenant, **span)
        lines = sorted(line for stream in answer["data"]["result"] for _, line in stream["values"])
        assert lines == expected, (tenant, answer)
    query = urllib.parse.urlencode({"query": '{service="till"}', "start": span["start"]})
    url = f"{node.url.replace('http', 'ws')}/loki/api/v1/tail?{query}"
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Scope-OrgID": "blue"}
    with connect(url, additional_headers=headers, proxy=None) as tail:
        assert received(tail, 1) == ["of blue"]
        for tenant in ("red", "blue"):
            stream = {"stream": {"service": "till"}, "values": [[str(now + 1), f"later of {tenant}"]]}
            call(node, "push", {"streams": [stream]}, tenant=tenant)
        assert received(tail, 1) == ["later of blue"]
    try:
        call(node, "push", {"streams": [stream]}, tenant="red|blue")
        raise AssertionError("a push of two tenants was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 400 and b"X-Scope-OrgID" in error.read()
