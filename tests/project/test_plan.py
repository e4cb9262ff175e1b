"""What a plan says about each kind of change, and what is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.errors import UserError
from headwater.project import Project, load
from headwater.project.discovery import load_streams, save_streams
from headwater.project.lake_settings import LakeSettings
from headwater.project.plan import Plan, plan
from headwater.project.recorded import Recorded, load_recorded, record, save_recorded, settings_fingerprints
from headwater.schema import StreamSchema

PROJECT = """\
name: shop
sources:
  shop:
    type: postgres
    url: {url}
    streams:
      audit: {{mirror: false}}
"""
MODELS = {
    "lines": "/*\nkey: [id]\n*/\nSELECT * FROM orders",
    "per_day": "SELECT day, count(*) AS n FROM lines GROUP BY day",
    "people": "SELECT * FROM customers",
}


def stream(name: str, /, **columns: pa.DataType) -> StreamSchema:
    fields = {"id": pa.int64(), **columns}
    return StreamSchema(name, pa.schema(list(fields.items())), ("id",), "full")


STREAMS = (stream("orders", day=pa.date32()), stream("customers", name=pa.string()), stream("audit"))


def project(folder: Path, models: dict[str, str] | None = None, url: str = "postgresql://a:secret-1@h/d") -> Project:
    (folder / "models").mkdir(exist_ok=True)
    for old in (folder / "models").iterdir():
        old.unlink()
    (folder / "headwater.yml").write_text(PROJECT.format(url="${URL}"))
    for name, sql in (MODELS if models is None else models).items():
        (folder / "models" / f"{name}.sql").write_text(sql)
    return load(folder, environment={"URL": url})


def ran(folder: Path) -> Recorded:
    save_recorded(folder / ".headwater", record(project(folder), STREAMS))
    recorded = load_recorded(folder / ".headwater")
    assert recorded is not None
    return recorded


def happenings(made: Plan) -> dict[str, str]:
    return {f"{item.kind} {item.name}": f"{item.state} {item.consequence}" for item in made.changes}


def test_at_first_everything_is_new(tmp_path: Path) -> None:
    made = plan(project(tmp_path), None, STREAMS)
    assert happenings(made) == {
        "source shop": "new open",
        "stream orders": "new snapshot",
        "stream customers": "new snapshot",
        "stream audit": "new snapshot",
        "model lines": "new build",
        "model people": "new build",
        "model per_day": "new build",
        "table orders": "new create",
        "table customers": "new create",
        "table lines": "new create",
        "table people": "new create",
        "table per_day": "new create",
    }


def test_nothing_changed_nothing_happens(tmp_path: Path) -> None:
    made = plan(project(tmp_path), ran(tmp_path), STREAMS)
    assert happenings(made) == {}
    assert len(made.items) == 12


def test_a_changed_model_rebuilds_those_that_read_it(tmp_path: Path) -> None:
    before = ran(tmp_path)
    made = plan(project(tmp_path, MODELS | {"lines": MODELS["lines"] + " WHERE id > 3"}), before, STREAMS)
    assert happenings(made) == {
        "model lines": "changed rebuild",
        "model per_day": "exists rebuild",
        "table lines": "exists replace",
        "table per_day": "exists replace",
    }
    assert "it reads 'lines'" in next(item.reason for item in made.items if item.name == "per_day")


@pytest.mark.parametrize("prose", ["description: other\nkey: [id]", "key: id\nowner: me"])
def test_prose_about_a_model_changes_nothing(tmp_path: Path, prose: str) -> None:
    before = ran(tmp_path)
    models = MODELS | {"lines": f"/*\n{prose}\n*/\nSELECT * FROM orders;\n"}
    assert happenings(plan(project(tmp_path, models), before, STREAMS)) == {}


def test_a_setting_of_a_model_changes_it(tmp_path: Path) -> None:
    before = ran(tmp_path)
    made = plan(project(tmp_path, MODELS | {"people": "/*\nkey: [name]\n*/\n" + MODELS["people"]}), before, STREAMS)
    assert happenings(made) == {"model people": "changed rebuild", "table people": "changed replace"}


def test_models_come_and_go(tmp_path: Path) -> None:
    before = ran(tmp_path)
    models = {name: sql for name, sql in MODELS.items() if name != "people"} | {"x": "SELECT * FROM per_day"}
    assert happenings(plan(project(tmp_path, models), before, STREAMS)) == {
        "model x": "new build",
        "model people": "removed leave",
        "table x": "new create",
        "table people": "removed leave",
    }


def test_streams_come_go_and_change(tmp_path: Path) -> None:
    before = ran(tmp_path)
    now = (stream("orders", day=pa.date32(), note=pa.string()), stream("customers", name=pa.int64()), stream("extra"))
    made = plan(project(tmp_path), before, now)
    assert happenings(made) == {
        "stream orders": "changed evolve",
        "stream customers": "changed refuse",
        "stream extra": "new snapshot",
        "stream audit": "removed leave",
        "model lines": "exists rebuild",
        "model people": "exists rebuild",
        "model per_day": "exists rebuild",
        "table lines": "exists replace",
        "table people": "exists replace",
        "table per_day": "exists replace",
    }
    reasons = {item.name: item.reason for item in made.items if item.kind == "stream"}
    assert reasons["orders"] == "new columns: note"
    assert reasons["customers"].startswith("its column name was string and is now int64")


def test_another_password_changes_nothing_another_table_does(tmp_path: Path) -> None:
    before = ran(tmp_path)
    assert happenings(plan(project(tmp_path, url="postgresql://a:secret-2@h/d"), before, STREAMS)) == {}
    text = (tmp_path / "headwater.yml").read_text()
    (tmp_path / "headwater.yml").write_text(text.replace("    streams", "    tables: [a]\n    streams"))
    made = plan(load(tmp_path, environment={"URL": "x"}), before, STREAMS)
    assert happenings(made) == {"source shop": "changed open"}


def test_while_the_sources_are_unknown_their_last_streams_are_taken(tmp_path: Path) -> None:
    assert happenings(plan(project(tmp_path), ran(tmp_path), ())) == {}
    unknown = plan(project(tmp_path), None, ())
    assert not unknown.streams_known
    assert {item.kind for item in unknown.items} == {"source", "model", "table"}


def test_no_secret_is_recorded(tmp_path: Path) -> None:
    ran(tmp_path)
    assert "secret-1" not in (tmp_path / ".headwater" / "project.json").read_text()


def test_settings_that_only_a_start_takes_over_are_told(tmp_path: Path) -> None:
    recorded = ran(tmp_path)
    before = project(tmp_path)
    more = PROJECT.format(url="${URL}") + "run: {epoch_interval: 3 s}\nrejects: {max_bytes: 1 GiB}\n"
    (tmp_path / "headwater.yml").write_text(more)
    made = plan(load(tmp_path, environment={"URL": "postgresql://a@h/d"}), recorded, STREAMS)
    assert happenings(made) == {"settings run": "changed restart", "settings rejects": "changed restart"}
    older = recorded.model_copy(update={"settings": {}})
    assert happenings(plan(load(tmp_path, environment={"URL": "postgresql://a@h/d"}), older, STREAMS)) == {}
    moved = replace(before, folder=tmp_path / "x", lake=_moved(before.lake, tmp_path, tmp_path / "x"))
    assert settings_fingerprints(moved) == settings_fingerprints(before)


def test_the_settings_are_the_same_from_whichever_folder_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headwater.yml").write_text(PROJECT.format(url="${URL}") + "run: {epoch_interval: 1.5 s}\n")
    environment = {"URL": "postgresql://a@h/d"}
    whole = settings_fingerprints(load(tmp_path, environment=environment))
    monkeypatch.chdir(tmp_path)
    assert settings_fingerprints(load(Path(), environment=environment)) == whole
    monkeypatch.chdir(tmp_path.parent)
    assert settings_fingerprints(load(Path(tmp_path.name), environment=environment)) == whole


def _moved(lake: LakeSettings, before: Path, now: Path) -> LakeSettings:
    return lake.model_copy(update={"warehouse": lake.warehouse.replace(str(before), str(now))})


def test_the_plan_as_json(tmp_path: Path) -> None:
    made = json.loads(json.dumps(plan(project(tmp_path), None, STREAMS).to_json()))
    assert made["v"] == 1
    assert made["items"][0] == {
        "kind": "source", "name": "shop", "state": "new", "consequence": "open", "reason": "it never ran",
    }  # fmt: skip


def test_streams_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    columns = pa.schema(
        [
            pa.field("id", pa.decimal128(30, 4), nullable=False, metadata={b"headwater.source_type": b"numeric(30,4)"}),
            pa.field("at", pa.timestamp("us", tz="UTC")),
            pa.field("tags", pa.list_(pa.string())),
        ]
    )
    streams = (StreamSchema("é", columns, ("id",), "full"), StreamSchema("b", columns))
    assert load_streams(tmp_path / "state") == ()
    save_streams(tmp_path / "state", list(streams))
    found = load_streams(tmp_path / "state")
    assert found == streams
    assert found[0].columns.equals(columns, check_metadata=True)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["streams.json"]


@pytest.mark.parametrize("text", ["", "{", '{"v": 1}', '{"v": 1, "streams": [{"name": "a", "key": [], '
    '"changelog": "append", "columns": "AAAA"}]}'])  # fmt: skip
def test_a_damaged_file_is_said_to_be_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "streams.json").write_text(text)
    with pytest.raises(UserError, match=r"streams\.json cannot be understood"):
        load_streams(tmp_path)


def test_a_damaged_record_is_said_to_be_so(tmp_path: Path) -> None:
    assert load_recorded(tmp_path) is None
    (tmp_path / "project.json").write_text('{"v": 1, "newer": true}')
    with pytest.raises(UserError, match=r"project\.json cannot be understood"):
        load_recorded(tmp_path)
