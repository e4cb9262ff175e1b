"""grok, log_time and geoip in models."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from mmdb import database
from oracle import multiset

import headwater
from headwater.engine.view import View
from headwater.errors import ProjectError, UserError
from headwater.project.folder import load
from headwater.sql.log_functions import functions_in
from headwater.sql.prelude import connect

LINES = pa.schema([("id", pa.int64()), ("line", pa.string())])
PORTO = {
    "continent": {"code": "EU"},
    "country": {"iso_code": "PT", "names": {"en": "Portugal", "de": "Portugal"}},
    "subdivisions": [{"names": {"en": "Porto District"}}],
    "city": {"names": {"en": "Porto", "de": "Hafen"}},
    "location": {"latitude": 41.1496, "longitude": -8.611, "time_zone": "Europe/Lisbon"},
    "autonomous_system_number": 64512,
}


def lines(*texts: str | None) -> pa.Table:
    return pa.table([list(range(len(texts))), list(texts)], schema=LINES)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, grok(line, '%{IP:ip} %{INT:n} %{GREEDYDATA:rest}') AS g FROM t",
        "SELECT grok(line, '%{IP:ip} (?:%{INT:n}|-)')['ip'] AS ip, count(*) AS c,"
        " sum(grok(line, '%{IP} %{INT:n}')['n']::INT) AS n FROM t GROUP BY 1",
        "SELECT id, log_time(grok(line, '@(?<at>.*)$')['at'], 'dd/MMM/yyyy:HH:mm:ss Z') AS at FROM t",
        "SELECT id, log_time_in(line, 'yyyy-MM-dd HH:mm', CASE WHEN id % 2 = 0 THEN 'Asia/Tokyo' END) AS a FROM t",
        "SELECT id, grok(line, CASE id % 3 WHEN 0 THEN '%{IP:a}' WHEN 1 THEN '%{INT:b}' END) AS g FROM t",
    ],
)
def test_views_that_call_them_equal_duckdb(sql: str) -> None:
    given = lines(
        "10.0.0.1 7 at @10/Oct/2000:13:55:36 -0700",
        "10.0.0.2 - x",
        None,
        "",
        "2026-07-01 10:00",
        "2026-07-01 10:00",
        "x",
    )
    functions = functions_in(sql)
    view = View(sql, {"t": LINES}, functions=functions)
    view.apply({"t": given.slice(0, 3)})
    view.apply({"t": given.slice(3)})
    with connect() as oracle:
        for function in functions:
            function.register(oracle)
        oracle.register("t", given)
        expected = oracle.sql(sql).to_arrow_table()
    assert multiset(view.result()) == multiset(expected)
    assert view.result().num_rows > 0
    view.close()


def test_what_grok_and_log_time_answer() -> None:
    sql = (
        "SELECT id, grok(line, '%{IP:ip} (?:-|%{INT:n})')['n'] AS n, "
        "epoch(log_time_in(line, 'yyyy-MM-dd HH:mm', 'Europe/Berlin')) AS at, grok(line, 'x') IS NULL AS no FROM t"
    )
    view = View(sql, {"t": LINES}, functions=functions_in(sql))
    view.apply({"t": lines("10.0.0.1 7", "10.0.0.1 -", "2026-07-01 10:00", "x")})
    rows = {row["id"]: row for row in view.result().to_pylist()}
    assert [rows[i]["n"] for i in range(4)] == ["7", None, None, None]
    assert rows[2]["at"] == 1782892800.0
    assert [rows[i]["no"] for i in range(4)] == [True, True, True, False]
    view.close()


def test_a_model_of_a_project_may_call_them(tmp_path: Path) -> None:
    (tmp_path / "headwater.yml").write_text(
        "name: p\nsources: {s: {type: postgres, url: postgresql://x/y}}\n", encoding="utf-8"
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.sql").write_text("SELECT GROK(line, '%{INT:x}') AS g FROM t", encoding="utf-8")
    (tmp_path / "models/b.sql").write_text("SELECT line FROM t", encoding="utf-8")
    by_name = {model.name: model for model in load(tmp_path, environment={}).models}
    assert [one.name for one in by_name["a"].functions] == ["grok"]
    assert by_name["b"].functions == ()


def test_addresses_are_looked_up_in_the_users_database(tmp_path: Path) -> None:
    path = tmp_path / "places.mmdb"
    path.write_bytes(database({"10.1.0.0/16": PORTO, "192.0.2.0/24": {"country": {"iso_code": "NO"}}}))
    sql = "SELECT id, line, geoip(line) AS at FROM t"
    view = View(sql, {"t": LINES}, functions=[headwater.geoip(path)])
    view.apply({"t": lines("10.1.2.3", "192.0.2.9", "8.8.8.8", "not one", None, "10.1.255.255")})
    rows = {row["line"]: row["at"] for row in view.result().to_pylist()}
    assert rows["10.1.2.3"] == rows["10.1.255.255"] == {
        "continent": "EU", "country_code": "PT", "country": "Portugal", "region": "Porto District", "city": "Porto",
        "postal_code": None, "latitude": 41.1496, "longitude": -8.611, "time_zone": "Europe/Lisbon", "asn": 64512,
        "organisation": None,
    }  # fmt: skip
    assert rows["192.0.2.9"]["country_code"] == "NO"
    assert [rows[one] for one in ("8.8.8.8", "not one", None)] == [None] * 3
    view.close()


def test_another_database_or_language_is_another_function(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(database({"10.1.0.0/16": PORTO}))
    (tmp_path / "b").write_bytes(database({"10.2.0.0/16": PORTO}))
    first = headwater.geoip(tmp_path / "a")
    assert headwater.geoip(tmp_path / "a").fingerprint == first.fingerprint
    assert headwater.geoip(tmp_path / "b").fingerprint != first.fingerprint
    german = headwater.geoip(tmp_path / "a", language="de")
    assert german.fingerprint != first.fingerprint
    assert german(pa.array(["10.1.0.1"]))[0].as_py()["city"] == "Hafen"


def test_a_file_that_is_no_database_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no geographic database") as raised:
        headwater.geoip(tmp_path / "none.mmdb")
    assert raised.value.place is not None and raised.value.place.file == __file__
    (tmp_path / "functions").mkdir()
    (tmp_path / "headwater.yml").write_text("name: p\n", encoding="utf-8")
    (tmp_path / "functions/geo.py").write_text(
        "import headwater\n\ngeoip = headwater.geoip('x.mmdb')\n", encoding="utf-8"
    )
    with pytest.raises(ProjectError) as mistakes:
        load(tmp_path, environment={})
    assert str(mistakes.value.mistakes[0].place).endswith("geo.py:3:1")
