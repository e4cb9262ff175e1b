"""SQL that never ends, eats memory, or comes many at once: each is ended by its own limits, and others are answered."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from attacked import DEADLINE_S, refused, wait_until

pytestmark = pytest.mark.xdist_group("attacks")

ENDLESS = [
    "SELECT count(*) FROM range(1000000000000) a",
    "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
]
GREEDY = [
    "SELECT length(repeat('x', 1500000000))",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)",
    "SELECT * FROM range(1000000000) ORDER BY hash(range)",
    "SELECT list_transform(range(300000000), lambda x: repeat('z', 1000))",
]
DEEP = [
    "SELECT " + "(" * 500 + "1" + ")" * 500,
    "SELECT " + "+".join(["1"] * 20_000),
    "SELECT " + "NOT " * 20_000 + "true",
    "SELECT * FROM " + "(SELECT * FROM " * 300 + "orders" + ")" * 300,
    "SELECT " + "[" * 10_000 + "]" * 10_000,
    "SELECT CASE " + "WHEN true THEN 1 " * 5000 + "END",
]


def test_what_never_ends_is_ended(attacked):
    for sql in ENDLESS:
        problem = refused(attacked.sql(sql), 422)
        assert "ended after 2 s" in problem["detail"] or "memory" in problem["detail"], (sql, problem)


def test_what_eats_memory_is_ended(attacked):
    before = attacked.rss()
    for sql in GREEDY:
        problem = refused(attacked.sql(sql), 422)
        assert "memory" in problem["detail"] or "ended after 2 s" in problem["detail"], (sql, problem)
    assert attacked.rss() < before + (64 << 20)
    assert attacked.sql("SELECT 1").status_code == 200


@pytest.mark.parametrize("path", ["/v1/sql", "/v1/models/preview"])
def test_what_is_nested_without_end_is_refused(attacked, path):
    for sql in DEEP:
        answer = attacked.sql(sql, path)
        assert answer.status_code in (200, 400, 422), (sql[:50], answer.text)


def test_many_at_once_wait_or_are_told_to(attacked):
    def one(number):
        sql = ENDLESS[0] if number == 0 else "SELECT count(*) FROM orders"
        with httpx.Client(base_url=attacked.url, timeout=DEADLINE_S, trust_env=False) as http:
            return http.post("/v1/sql", json={"sql": sql})

    with ThreadPoolExecutor(45) as pool:
        answers = list(pool.map(one, range(45)))
    assert {answer.status_code for answer in answers} <= {200, 422, 503}
    assert sum(answer.status_code == 200 for answer in answers) > 10
    assert any(answer.status_code == 503 for answer in answers)
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    assert attacked.http.get("/v1/overview").status_code == 200


def test_who_goes_away_takes_the_query_along(attacked):
    attacked.sql("SELECT 1")
    idle = attacked.children()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{attacked.url}/v1/sql", json={"sql": ENDLESS[0]}, timeout=0.3, trust_env=False)
    wait_until(lambda: attacked.children() <= idle, "the query's process to end")


def test_a_killed_keeper_is_replaced(attacked):
    assert attacked.sql("SELECT 1").status_code == 200
    for pid in attacked.children():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: attacked.sql("SELECT 1").status_code == 200, "a new one")
