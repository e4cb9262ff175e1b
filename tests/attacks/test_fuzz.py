"""Requests made by the API's own document, right and wrong: none is answered with a fault of ours."""

import hypothesis.strategies as st
import pytest
from attacked import CANARY
from hypothesis import HealthCheck, given, settings

pytestmark = pytest.mark.xdist_group("attacks")

WORDS = ["orders", "totals", "SELECT * FROM orders", "epoch 1", "2 hours ago", "../x", "-1"]
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=30) | st.sampled_from(WORDS)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
FAULTS_OF_OTHERS = {501, 503, 504}


def requests(document):
    """A strategy of (method, path, query, body) over every operation that does not stream or change the project."""
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation["responses"]["200"]["content"]
            if "text/event-stream" in content or (method != "get" and not path.startswith(("/v1/sql", "/v1/models"))):
                continue
            names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            fields = (
                document["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
            )
            found.append((method, path, names, list(fields)))
    return st.sampled_from(sorted(found)).flatmap(_request)


def _request(operation):
    method, path, names, fields = operation
    segments = st.sampled_from(["orders", "totals", "web", "1", "table", "model", "nope", "..", "%00", "a b", "é"])
    texts = LEAVES.map(str)
    known = (st.sampled_from(names) if names else st.nothing()) | st.text(max_size=5)
    members = (st.sampled_from(fields) if fields else st.nothing()) | st.text(max_size=5)
    return st.tuples(
        st.just(method),
        st.lists(segments, min_size=2, max_size=2).map(lambda given: _filled(path, given)),
        st.dictionaries(known, texts, max_size=3),
        st.dictionaries(members, VALUES, max_size=3) if fields else st.none(),
    )


def _filled(path, given):
    parts, left = [], list(given)
    for part in path.split("/"):
        parts.append(left.pop(0) if part.startswith("{") and left else part)
    return "/".join(parts)


def test_no_request_finds_a_fault(attacked):
    document = attacked.http.get("/v1/openapi.json").json()

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(requests(document))
    def each(request):
        method, path, query, body = request
        answer = attacked.http.request(method, path, params=query, json=body)
        assert answer.status_code < 500 or answer.status_code in FAULTS_OF_OTHERS, (request, answer.text)
        assert CANARY not in answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"].startswith("application/problem+json"), (request, answer.text)

    each()
