"""`headwater init`: what is written, what never is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from headwater.project import load
from headwater.project.check import check
from headwater.project.connectors import CONNECTORS
from headwater.project.starter import files, name_from
from headwater.schema import StreamSchema


def test_an_empty_project(tmp_path: Path, run: Callable[..., object]) -> None:
    folder = tmp_path / "My Shop"
    done = run("init", folder)
    assert done.code == 0
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert written == [".gitignore", "README.md", "headwater.yml", "models/example.sql.sample"]
    assert "export MY_SHOP_URL=" in done.err
    project = load(folder, environment={"MY_SHOP_URL": "postgresql://h/d"})
    assert (project.name, [source.name for source in project.sources]) == ("my_shop", ["my_shop"])


def test_the_sample_is_a_model_once_renamed(tmp_path: Path, run: Callable[..., object]) -> None:
    run("init", tmp_path / "shop")
    sample = tmp_path / "shop/models/example.sql.sample"
    sample.rename(sample.parent / "orders_by_status.sql")
    project = load(tmp_path / "shop", environment={"SHOP_URL": "postgresql://h/d"})
    assert [model.inputs for model in project.models] == [("orders",)]
    assert project.models[0].settings.key == ("status",)


def test_nothing_is_overwritten(tmp_path: Path, run: Callable[..., object]) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / ".gitignore").write_text("lake/\n*.log")
    done = run("init", tmp_path)
    assert "README.md is there already" in done.err
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / ".gitignore").read_text() == "lake/\n*.log\n.headwater/\n.env\n"
    before = (tmp_path / "headwater.yml").read_text()
    again = run("init", tmp_path)
    assert again.code == 1
    assert "there is a project here already" in again.err
    assert (tmp_path / "headwater.yml").read_text() == before


@pytest.mark.postgres
def test_from_a_database(tmp_path: Path, shop: str, run: Callable[..., object]) -> None:
    url = shop.replace("postgres@", "postgres:hunter2@")
    done = run("init", tmp_path / "p", "--from", url)
    assert done.code == 0, done.err
    assert "export TEST_FROM_A_DATABASE_URL=" in done.err
    everything = done.out + done.err + "".join(p.read_text() for p in (tmp_path / "p").rglob("*") if p.is_file())
    assert "hunter2" not in everything
    project = load(tmp_path / "p", environment={"TEST_FROM_A_DATABASE_URL": url})
    assert set(project.sources[0].streams) == {"customers", "payments"}
    assert [model.name for model in project.models] == ["customers_by_country"]
    assert run("check", tmp_path / "p", "--no-connect").code == 3, "the variable is not set"


@pytest.mark.postgres
def test_the_starter_model_works(
    tmp_path: Path, shop: str, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init", tmp_path / "p", "--from", shop)
    monkeypatch.setenv("TEST_THE_STARTER_MODEL_WORKS_URL", shop)
    done = run("check", tmp_path / "p")
    assert done.code == 0, done.err


@pytest.mark.postgres
def test_a_database_that_cannot_be_used_leaves_no_file(tmp_path: Path, shop: str, run: Callable[..., object]) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("DROP TABLE customers, payments")
    done = run("init", tmp_path / "p", "--from", shop)
    assert done.code == 4
    assert not (tmp_path / "p").exists()


def test_what_is_no_database(tmp_path: Path, run: Callable[..., object]) -> None:
    done = run("init", tmp_path / "p", "--from", "oracle://u:hunter2@h/d")
    assert done.code == 1
    assert "that is not a connection URL" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    ("text", "name"),
    [("My Shop", "my_shop"), ("2024-sales", "sales"), ("", "other"), ("é", "other"), ("x" * 80, "x" * 63)],
)
def test_names(text: str, name: str) -> None:
    assert name_from(text, "other") == name


STREAMS = [
    [StreamSchema("order", pa.schema([pa.field("group", pa.string(), nullable=False)]))],
    [
        StreamSchema(
            "a*/b\n", pa.schema([pa.field('x"', pa.int64(), nullable=False), pa.field("y", pa.float64())]), ('x"',)
        )
    ],
    [StreamSchema("t", pa.schema([pa.field("rows", pa.bool_(), nullable=False)]))],
    [
        StreamSchema("t", pa.schema([pa.field("v", pa.float64())])),
        StreamSchema("t_now", pa.schema([("v", pa.float64())])),
    ],
    [StreamSchema("null", pa.schema([pa.field("null", pa.string(), nullable=False)]))],
]


@pytest.mark.parametrize("streams", STREAMS, ids=[streams[0].name for streams in STREAMS])
def test_the_starter_works_whatever_the_names_are(tmp_path: Path, streams: list[StreamSchema]) -> None:
    for path, text in files("shop", "shop", CONNECTORS[0], streams).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    project = load(tmp_path, environment={"SHOP_URL": "postgresql://h/d"})
    assert set(project.sources[0].streams) == {stream.name for stream in streams}
    assert len(check(project, streams)) == 1


@pytest.mark.parametrize("counted", [("status", pa.string()), ("paid", pa.bool_()), ("at", pa.timestamp("us"))])
def test_the_starter_has_a_test_that_passes(
    tmp_path: Path, run: Callable[..., object], counted: tuple[str, pa.DataType]
) -> None:
    columns = pa.schema([pa.field("id", pa.int64(), nullable=False), counted])
    for path, text in files("shop", "shop", CONNECTORS[0], [StreamSchema("t", columns, ("id",), "upsert")]).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    done = run("test", "--project", tmp_path)
    assert done.code == 0 and "1 passed" in done.err, done.err + done.out
