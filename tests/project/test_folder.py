"""`headwater.yml` and models: what is read, and every mistake with its exact place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from headwater.errors import ProjectError
from headwater.project import Project, load

SOURCE = """\
name: shop
sources:
  shop:
    type: postgres
    url: ${SHOP_URL}
"""
ENVIRONMENT = {"SHOP_URL": "postgresql://app:s3cr3t-word@db/shop"}


def write(folder: Path, text: str, models: dict[str, str] | None = None) -> Path:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "headwater.yml").write_text(text, encoding="utf-8")
    for name, sql in (models or {}).items():
        (folder / "models" / f"{name}.sql").write_text(sql, encoding="utf-8")
    return folder


def read(folder: Path, text: str, models: dict[str, str] | None = None, **environment: str) -> Project:
    return load(write(folder, text, models), environment={**ENVIRONMENT, **environment})


def mistakes(folder: Path, text: str, models: dict[str, str] | None = None, **environment: str) -> list[str]:
    """Every mistake as `file:line:column: message | hint`, files counted from the folder."""
    with pytest.raises(ProjectError) as raised:
        read(folder, text, models, **environment)
    return [f"{m} | {m.hint}".removeprefix(f"{folder}/") for m in raised.value.mistakes]


def test_a_whole_project_is_read(tmp_path: Path) -> None:
    text = """\
name: shop
state: work/state
sources:
  shop:
    type: postgres
    url: ${SHOP_URL}
    tables: [public.orders, "sales.*"]
    mirror: false
    streams:
      payments: {watermark: {column: paid_at, delay: 5 seconds}, mirror: true}
lake: {warehouse: tables}
run: {epoch_interval: 250 ms, epoch_max_records: 5000, log_retention: {max_age: 7 days, max_bytes: 1 GiB}}
"""
    project = read(tmp_path, text, {"unpaid": "SELECT * FROM payments"})
    source = project.sources[0]
    assert (project.name, project.state) == ("shop", tmp_path / "work/state")
    assert (project.lake.warehouse, project.lake.namespace) == (str(tmp_path / "tables"), "shop")
    assert project.run.epoch_interval == timedelta(milliseconds=250)
    assert project.run.epoch_max_records == 5000
    assert project.run.checkpoint_interval == timedelta(seconds=2)
    assert project.run.log_retention.max_bytes == 2**30
    assert source.settings.model_dump()["tables"] == ("public.orders", "sales.*")
    assert source.streams["payments"].watermark is not None
    assert source.streams["payments"].watermark.delay == timedelta(seconds=5)
    assert (source.mirrors("payments"), source.mirrors("orders")) == (True, False)
    assert [(model.name, model.inputs) for model in project.models] == [("unpaid", ("payments",))]


def test_values_are_filled_in_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from-file/x\n", encoding="utf-8")
    text = SOURCE.replace("${SHOP_URL}", "${file:url}") + "    slot: ${SLOT:-spare}_$${x}\n"
    assert mistakes(tmp_path, text)[0].startswith("headwater.yml:6:11: slot: the text should match pattern")
    source = read(tmp_path, text.replace("_$${x}", "_${N}"), N="7").sources[0]
    assert source.settings.model_dump()["slot"] == "spare_7"
    assert source.settings.model_dump()["url"].get_secret_value() == "postgresql://from-file/x"


TABLE = [
    ("name: Shop\n", "headwater.yml:1:7", "lower-case letters", "but this is 'Shop'"),
    ("{}\n", "headwater.yml:1:1", "'name' is missing", "name: shop"),
    ("", "headwater.yml", "'name' is missing", ""),
    ("- a\n", "headwater.yml:1:1", "expected `key: value` lines", ""),
    ("name: shop\nstat: x\n", "headwater.yml:2:1", "unknown key 'stat'", "did you mean 'state'?"),
    ("name: shop\nname: other\n", "headwater.yml:2:1", "'name' is given twice", "line 1"),
    ("name: shop\nlake:\n", "headwater.yml:2:1", "lake: expected `key: value` lines", ""),
    ("name: shop\nsources: [a]\n", "headwater.yml:2:1", "sources: expected `key: value` lines", ""),
    ("name: shop\nsources: {a: postgres}\n", "headwater.yml:2:14", "a: expected `key: value` lines", ""),
    ("name: shop\nsources: {A-b: {type: postgres, url: x}}\n", "headwater.yml:2:11", "lower-case letters", ""),
    ("name: [shop\n", "headwater.yml:2:1", "this is not YAML", ""),
    ("name: a: b\n", "headwater.yml:1:8", "this is not YAML: mapping values are not allowed here", ""),
    ("name: shop\n\tx: 1\n", "headwater.yml:2:1", "this is not YAML", ""),
    ("name: sh\x01op\n", "headwater.yml:1:9", "the character #x0001", ""),
    ("name: &n shop\nstate: *n\n", "headwater.yml:1:7", "anchors and aliases", "write the value out"),
    ("name: *n\n", "headwater.yml:1:7", "undefined alias", ""),
    ("name: !str shop\n", "headwater.yml:1:7", "tags such as !str", ""),
    ("name: shop\n? [a]\n: 1\n", "headwater.yml:2:3", "a key must be plain text", ""),
    ("name: shop\n---\nname: b\n", "headwater.yml:2:1", "expected a single document", ""),
    ("name: shop\nrun: {epoch_interval: 500}\n", "headwater.yml:2:23", "expected a duration such as 500 ms", "'500'"),
    ("name: shop\nrun: {epoch_interval: 5 lightyears}\n", "headwater.yml:2:23", "expected a duration", "lightyears"),
    ("name: shop\nrun: {epoch_interval: 0 s}\n", "headwater.yml:2:23", "above zero", ""),
    ("name: shop\nrun: {epoch_max_records: some}\n", "headwater.yml:2:26", "expected a whole number", "'some'"),
    ("name: shop\nrun: {log_retention: {max_bytes: big}}\n", "headwater.yml:2:34", "expected a size", "'big'"),
    ("name: shop\nrun: {log_retention: {max_byte: 1}}\n", "headwater.yml:2:23", "unknown key", "'max_bytes'"),
    ("name: shop\nlake: {type: icberg}\n", "headwater.yml:2:14", "expected 'iceberg'", "did you mean 'iceberg'?"),
    ("name: shop\nsources: {a: {}}\n", "headwater.yml:2:11", "'type' is missing", "type: postgres"),
    (
        "name: shop\nsources: {a: {type: postgre}}\n",
        "headwater.yml:2:21",
        "unknown type of source 'postgre'",
        "postgres",
    ),
    ("name: shop\nsources: {a: {type: postgres}}\n", "headwater.yml:2:11", "'url' is missing", "url: postgresql://"),
    (SOURCE + "    tabels: [x]\n", "headwater.yml:6:5", "unknown key 'tabels'", "did you mean 'tables'?"),
    (SOURCE + "    mirorr: no\n", "headwater.yml:6:5", "unknown key 'mirorr'", "did you mean 'mirror'?"),
    (SOURCE + "    mirror: maybe\n", "headwater.yml:6:13", "mirror: expected true or false", "'maybe'"),
    (SOURCE + "    tables: public.*\n", "headwater.yml:6:13", "tables: expected a list", "'public.*'"),
    (SOURCE + "    tables: [a, 7]\n", "headwater.yml:6:17", "tables: expected text", "'7'"),
    (
        SOURCE + "    snapshot: inital\n",
        "headwater.yml:6:15",
        "expected 'initial', 'when_needed'",
        "did you mean 'initial'?",
    ),
    (
        SOURCE + "    streams: {p: {watermark: {delay: 1 s}}}\n",
        "headwater.yml:6:19",
        "'column' is missing",
        "event-time",
    ),
    (
        SOURCE + "    streams: {p: {watermark: {column: t, delay: 1}}}\n",
        "headwater.yml:6:49",
        "delay: expected a dura",
        "'1'",
    ),
    (
        SOURCE + "    streams: {p: {mirrored: no}}\n",
        "headwater.yml:6:19",
        "unknown key 'mirrored'",
        "did you mean 'mirror'?",
    ),
    (SOURCE.replace("SHOP_URL", "SHOP_ULR"), "headwater.yml:5:10", "variable SHOP_ULR is not set", "'SHOP_URL'"),
    (SOURCE.replace("SHOP_URL", "EMPTY"), "headwater.yml:5:10", "variable EMPTY is empty", "export EMPTY="),
    (SOURCE.replace("${SHOP_URL}", "${SHOP_URL"), "headwater.yml:5:10", "this `${` has no `}`", "$${"),
    (SOURCE.replace("${SHOP_URL}", "a${1}b"), "headwater.yml:5:11", "this is not a reference", "${NAME}"),
    (SOURCE.replace("${SHOP_URL}", "${SHOP_URL:-}${NO:-}"), "", "", ""),
    (SOURCE.replace("${SHOP_URL}", "${NO:-}"), "headwater.yml:5:10", "'url' is empty", "give it a value"),
    (SOURCE.replace("${SHOP_URL}", "''"), "headwater.yml:5:10", "'url' is empty", ""),
    (SOURCE.replace("${SHOP_URL}", "${file:gone}"), "headwater.yml:5:10", "gone: No such file", "make the file"),
    (SOURCE.replace("${SHOP_URL}", "${file:headwater.yml/x}"), "headwater.yml:5:10", "Not a directory", ""),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), TABLE, ids=[row[0][:60] for row in TABLE])
def test_a_mistake_has_its_place(tmp_path: Path, text: str, place: str, message: str, hint: str) -> None:
    if not place:
        assert read(tmp_path, text, EMPTY="")
        return
    found = mistakes(tmp_path, text, EMPTY="")
    assert len(found) == 1, found
    assert found[0].startswith(f"{place}: ")
    assert message in found[0]
    assert hint in found[0]


MODELS = [
    ({"a": "/*\nemit: finl\n*/\nSELECT * FROM t"}, "models/a.sql:2:7", "'changes' or 'final'", "did you mean 'final'?"),
    ({"a": "/*\nkeys: [x]\n*/\nSELECT * FROM t"}, "models/a.sql:2:1", "unknown key 'keys'", "did you mean 'key'?"),
    ({"a": "\n/* lateness: 5 */\nSELECT * FROM t"}, "models/a.sql:2:14", "expected a duration", "'5'"),
    ({"a": "/*\nkey: [x\n*/\nSELECT * FROM t"}, "models/a.sql:3", "this is not YAML", ""),
    ({"a": "/*\nkey: x\n*/\n"}, "models/a.sql:", "the model has no SELECT", "write one SELECT"),
    ({"a": ""}, "models/a.sql:1:1", "the model has no SELECT", ""),
    ({"a": "/*\nkey: x\n*/\nSELECT *\nFROM t WHERE"}, "models/a.sql:5:8", "syntax error at 'WHERE'", ""),
    ({"a": "-- note\nDELETE FROM t"}, "models/a.sql:1:1", "not DELETE", ""),
    ({"A-b": "SELECT * FROM t"}, "models/A-b.sql", "cannot be a model's name", "rename the file"),
    ({"a": "SELECT * FROM t\nJOIN a USING (x)"}, "models/a.sql:2:6", "'a' reads itself", ""),
    ({"payments": "SELECT * FROM t"}, "models/payments.sql", "the name of a stream of 'shop'", "rename"),
]


@pytest.mark.parametrize(("models", "place", "message", "hint"), MODELS, ids=[next(iter(row[0])) for row in MODELS])
def test_a_mistake_in_a_model_has_its_place(
    tmp_path: Path, models: dict[str, str], place: str, message: str, hint: str
) -> None:
    found = mistakes(tmp_path, SOURCE + "    streams: {payments: {}}\n", models)
    assert len(found) == 1, found
    assert found[0].startswith(place)
    assert message in found[0]
    assert hint in found[0]


def test_all_mistakes_are_reported_at_once_in_order(tmp_path: Path) -> None:
    text = "name: Shop\nsources:\n  s: {type: postgres, url: '${NO}', slott: x}\nrun: {epoch_interval: 1}\n"
    found = mistakes(tmp_path, text, {"b": "DROP TABLE t", "a": "/*\nemit: x\n*/ SELECT * FROM t WHERE"})
    assert [line.split(": ")[0] for line in found] == [
        "headwater.yml:1:7",
        "headwater.yml:3:28",
        "headwater.yml:3:37",
        "headwater.yml:4:23",
        "models/a.sql:2:7",
        "models/a.sql:3:20",
        "models/b.sql:1:1",
    ]


def test_cycles_are_named_whole(tmp_path: Path) -> None:
    models = {"a": "SELECT 'c' AS x -- c\nFROM c", "b": "SELECT * FROM a", "c": "SELECT * FROM b"}
    models |= {"d": "SELECT * FROM e", "e": "SELECT * FROM d"}
    found = mistakes(tmp_path, SOURCE, models)
    assert [line.split(" | ")[0] for line in found] == [
        "models/a.sql:2:6: models read each other in a circle: a -> c -> b -> a",
        "models/d.sql:1:15: models read each other in a circle: d -> e -> d",
    ]


def test_models_come_after_those_they_read(tmp_path: Path) -> None:
    models = {
        "a": "SELECT * FROM b JOIN d USING (x)",
        "b": "SELECT * FROM c",
        "c": "SELECT * FROM t",
        "d": "SELECT 1 FROM b",
    }
    assert [model.name for model in read(tmp_path, SOURCE, models).models] == ["c", "b", "d", "a"]


def test_one_name_twice(tmp_path: Path) -> None:
    folder = write(tmp_path, SOURCE, {"a": "SELECT * FROM t"})
    (folder / "models" / "more").mkdir()
    (folder / "models" / "more" / "a.sql").write_text("SELECT * FROM t", encoding="utf-8")
    assert "there are two models 'a'" in mistakes(folder, SOURCE)[0]
    text = SOURCE + "    streams: {t: {}}\n  other: {type: postgres, url: x, streams: {T: {}}}\n"
    (folder / "models" / "more" / "a.sql").unlink()
    assert mistakes(folder, text)[0].startswith("headwater.yml:7:45: the stream 'T' is also a stream of 'shop'")


def test_without_sources_every_name_must_be_a_models(tmp_path: Path) -> None:
    models = {"orders": "SELECT 1 AS x FROM ordrs", "ordrs2": "SELECT broken FROM", "b": "SELECT * FROM ordrs2"}
    found = mistakes(tmp_path, "name: shop\n", models)
    assert [line.split(":")[0] for line in found] == ["models/orders.sql", "models/ordrs2.sql"]
    assert found[0].startswith("models/orders.sql:1:20: nothing is called 'ordrs'")


def test_a_missing_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as raised:
        load(tmp_path, environment={})
    assert raised.value.mistakes[0].hint == f"headwater init {tmp_path}"
    (tmp_path / "headwater.yaml").write_text("name: x")
    with pytest.raises(ProjectError) as raised:
        load(tmp_path, environment={})
    assert raised.value.mistakes[0].hint.startswith("rename")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    folder = write(tmp_path, SOURCE)
    (folder / "models" / "a.sql").write_bytes(b"SELECT '\xff' FROM t")
    assert "not UTF-8" in mistakes(folder, SOURCE)[0]
    (folder / "headwater.yml").write_bytes(b"name: \xff")
    with pytest.raises(ProjectError, match="2 mistakes"):
        load(folder, environment={})


@pytest.mark.parametrize("key", ["mirror", "slot", "connect_timeout_s", "snapshot", "tables", "streams", "unknown"])
def test_no_mistake_shows_a_secret(tmp_path: Path, key: str) -> None:
    """Whatever key the secret is put at, no error holds it."""
    assert "s3cr3t" not in " ".join(mistakes(tmp_path, SOURCE + f"    {key}: ${{SHOP_URL}}\n"))


@pytest.mark.parametrize("key", ["name: shop", "type: postgres"])
def test_no_mistake_shows_a_secret_in_place_of_another_word(tmp_path: Path, key: str) -> None:
    text = SOURCE.replace(key, f"{key.split(':')[0]}: ${{SHOP_URL}}")
    assert "s3cr3t" not in " ".join(mistakes(tmp_path, text))


def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    found = mistakes(tmp_path, SOURCE.replace("${SHOP_URL}", "[s3cr3t-word]"))
    assert "s3cr3t" not in " ".join(found)
    assert found[0].startswith("headwater.yml:5:5: url: expected text")
    found = mistakes(tmp_path, SOURCE.replace("${SHOP_URL}", "77553311"))
    assert "77553311" not in " ".join(found)


def test_repr_of_a_project_shows_no_secret(tmp_path: Path) -> None:
    assert "s3cr3t" not in repr(read(tmp_path, SOURCE))
