"""`headwater check`, without and with a source that answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.project.discovery import save_streams
from headwater.schema import StreamSchema

PROJECT = """\
name: shop
sources:
  shop:
    type: postgres
    url: ${SHOP_URL}
    connect_timeout_s: 2
    streams:
      payments: {watermark: {column: paid_at, delay: 5 s}}
"""
NOWHERE = "postgresql://u:hunter2@127.0.0.1:1/shop"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound project of which the source does not answer."""
    monkeypatch.setenv("SHOP_URL", NOWHERE)
    (tmp_path / "models").mkdir()
    (tmp_path / "headwater.yml").write_text(PROJECT)
    (tmp_path / "models" / "total.sql").write_text(
        "SELECT paid_at, sum(amount) AS total FROM payments GROUP BY paid_at"
    )
    return tmp_path


def test_where_types_are_not_known_that_is_said(folder: Path, run: Callable[..., object]) -> None:
    (folder / "models" / "x.sql").write_text("SELECT * FROM orders JOIN total USING (paid_at)")
    done = run("check", folder, "--no-connect")
    assert (done.code, done.out) == (0, "")
    assert "no mistakes found in 1 source, 2 models" in done.err
    assert "columns and types were not checked" in done.err
    assert "taken to be tables of the sources: orders\n" in done.err


def test_a_source_that_does_not_answer(folder: Path, run: Callable[..., object]) -> None:
    done = run("check", folder)
    assert done.code == 4
    assert "the source 'shop' did not answer" in done.err
    assert "hunter2" not in done.err
    asked = json.loads(run("check", folder, "--json").out)
    assert (asked["v"], asked["ok"], asked["depth"], list(asked["unreachable"])) == (1, False, "syntax", ["shop"])


def test_mistakes_of_every_kind_are_reported_at_once(folder: Path, run: Callable[..., object]) -> None:
    columns = pa.schema([("id", pa.int64()), ("amount", pa.float64()), ("paid_at", pa.timestamp("us", tz="UTC"))])
    save_streams(folder / ".headwater", [StreamSchema("payments", columns, ("id",), "full")])
    models = folder / "models"
    (models / "setting.sql").write_text("/*\nemitt: final\n*/\nSELECT id FROM payments")
    (models / "column.sql").write_text("SELECT amout FROM payments")
    (models / "above.sql").write_text("/*\nemit: final\n*/\nSELECT * FROM setting")
    done = run("check", folder, "--no-connect")
    assert done.code == 3
    assert "unknown key 'emitt'" in done.err and "amout" in done.err
    assert "2 mistakes in the project" in done.err
    (folder / "headwater.yml").write_text(PROJECT.replace("streams:", "streems:"))
    assert "streems" in (alone := run("check", folder, "--no-connect")).err and "amout" not in alone.err


def test_types_are_checked_against_what_was_discovered_last(folder: Path, run: Callable[..., object]) -> None:
    columns = pa.schema([("id", pa.int64()), ("amount", pa.float64()), ("paid_at", pa.timestamp("us", tz="UTC"))])
    save_streams(folder / ".headwater", [StreamSchema("payments", columns, ("id",), "full")])
    assert json.loads(run("check", folder, "--no-connect", "--json").out) == {
        "v": 1, "ok": True, "depth": "types", "mistakes": [], "unreachable": {},
    }  # fmt: skip
    (folder / "models" / "x.sql").write_text("/*\nkey: [id]\n*/\nSELECT id,\n  amunt FROM payments")
    (folder / "models" / "y.sql").write_text("SELECT * FROM x")
    (folder / "headwater.yml").write_text(PROJECT.replace("column: paid_at", "column: amount"))
    done = run("check", folder, "--no-connect", "--json")
    assert done.code == 3
    found = json.loads(done.out)["mistakes"]
    assert [(Path(m["file"]).name, m["line"]) for m in found] == [("headwater.yml", 8), ("x.sql", 5)]
    assert "not a time" in found[0]["message"]
    assert "amunt" in found[1]["message"]


def test_settings_of_a_model_are_checked_against_its_columns(folder: Path, run: Callable[..., object]) -> None:
    columns = pa.schema([("id", pa.int64()), ("amount", pa.float64()), ("paid_at", pa.timestamp("us", tz="UTC"))])
    save_streams(folder / ".headwater", [StreamSchema("payments", columns, ("id",), "full")])
    window = (
        "SELECT window_start, count(*) AS n FROM TUMBLE(payments, paid_at, INTERVAL 1 MINUTE) GROUP BY window_start"
    )
    (folder / "models" / "x.sql").write_text(f"/*\nkey: [window_start, windw_end]\nemit: final\n*/\n{window}")
    (folder / "models" / "total.sql").write_text("/*\nkey: nope\n*/\nSELECT amount FROM payments")
    done = run("check", folder, "--no-connect", "--json")
    found = [(Path(m["file"]).name, m["line"], m["column"]) for m in json.loads(done.out)["mistakes"]]
    assert found == [("total.sql", 2, 6), ("x.sql", 2, 21)]
    (folder / "models" / "total.sql").unlink()
    (folder / "models" / "x.sql").write_text(f"/*\nkey: window_start\nemit: final\n*/\n{window}")
    assert run("check", folder, "--no-connect").code == 0
    (folder / "headwater.yml").write_text(PROJECT.split("    streams:", maxsplit=1)[0])
    done = run("check", folder, "--no-connect")
    assert done.code == 3
    assert "x.sql:3:7" in done.err
    assert "has a watermark" in done.err


def test_without_a_project(tmp_path: Path, run: Callable[..., object]) -> None:
    done = run("check", tmp_path)
    assert done.code == 3
    assert f"hint: headwater init {tmp_path}" in done.err


@pytest.mark.postgres
def test_a_source_that_answers(
    folder: Path, shop: str, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", shop)
    done = run("check", folder)
    assert done.code == 0, done.err
    assert "shop: captures 2 tables" in done.err
    (folder / "models" / "x.sql").write_text("SELECT * FROM custmers")
    (folder / "headwater.yml").write_text(PROJECT + "      paymints: {}\n      customers: {watermark: {column: nme}}\n")
    found = json.loads(run("check", folder, "--json").out)["mistakes"]
    assert [(m["line"], m["column"], m["hint"]) for m in found] == [
        (9, 7, "did you mean 'payments'?"),
        (10, 39, "did you mean 'name'?"),
        (1, 15, "did you mean 'customers'?"),
    ]


@pytest.mark.postgres
def test_a_model_with_the_name_of_a_table(
    folder: Path, shop: str, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", shop)
    (folder / "models" / "customers.sql").write_text("SELECT * FROM payments")
    done = run("check", folder)
    assert done.code == 3
    assert "the model 'customers' has the name of a stream" in done.err


@pytest.mark.postgres
def test_a_wrong_password_is_said_to_be_the_sources(
    folder: Path, shop: str, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", shop.rsplit("/", 1)[0] + "/no_such_database")
    done = run("check", folder)
    assert done.code == 4
    assert "no_such_database" in done.err


def test_a_query_computed_again_at_every_change_must_be_allowed(folder: Path, run: Callable[..., object]) -> None:
    columns = pa.schema([("id", pa.int64()), ("amount", pa.float64()), ("paid_at", pa.timestamp("us", tz="UTC"))])
    save_streams(folder / ".headwater", [StreamSchema("payments", columns, ("id",), "full")])
    model = folder / "models" / "counted.sql"
    sql = "WITH RECURSIVE r(n) AS (SELECT min(id) FROM payments UNION ALL SELECT n + 1 FROM r WHERE n < 9)\nFROM r"
    model.write_text(sql)
    refused = run("check", folder, "--no-connect")
    assert refused.code == 3
    assert f"{model}:1:1" in refused.err and "over all rows of payments" in refused.err
    assert "recompute: allowed" in refused.err
    model.write_text(f"/*\nrecompute: allowed\n*/\n{sql}")
    allowed = run("check", folder, "--no-connect")
    assert "counted: WITH RECURSIVE: each change computes it again over all rows" in allowed.err
