"""`headwater rejects` over a ledger that a run has left."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.change import REJECT_SCHEMA
from headwater.cli.app import main
from headwater.runtime.state_store import StateStore


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "headwater.yml").write_text("name: shop\nsources: {}\n")
    entry = {
        "stream": "orders",
        "stage": "gap",
        "reason": "bad_value",
        "message": "x" * 300,
        "position": "7:1",
        "key": "",
        "record": json.dumps({"since": "a"}).encode(),
        "weight": 1,
    }
    store = StateStore(tmp_path / ".headwater")
    rows = [entry, {**entry, "stream": "value/orders"}, {**entry, "reason": "truncated"}]
    with store.transaction():
        batch = pa.RecordBatch.from_pylist(rows, schema=REJECT_SCHEMA)
        store.ledger.record(batch, epoch=1, first=0, project="shop", now_us=5)
    store.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    code = main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_long_messages_are_cut_short_in_lists_only(folder, capsys):
    code, out, _ = run(capsys, "rejects", "ls")
    assert code == 0
    assert "x" * 119 + "…" in out
    assert "x" * 121 not in out
    assert "x" * 300 in run(capsys, "rejects", "show", "1")[1]


def test_a_cut_list_says_how_many_there_are(folder, capsys):
    _, out, err = run(capsys, "rejects", "ls", "--limit", "1")
    assert len(out.splitlines()) == 2
    assert "1 of 3" in err
    assert "--by-cause" in err


def test_causes_are_counted(folder, capsys):
    _, out, _ = run(capsys, "rejects", "ls", "--by-cause", "--json", "--stage", "gap")
    causes = json.loads(out)["causes"]
    assert [(cause["stream"], cause["reason"], cause["count"]) for cause in causes] == [
        ("orders", "bad_value", 1),
        ("value/orders", "bad_value", 1),
        ("orders", "truncated", 1),
    ]


def test_discarding_by_reason_moves_those_alone(folder, capsys):
    code, _, err = run(capsys, "rejects", "discard", "--reason", "truncated")
    assert (code, "1 discarded" in err) == (0, True)
    _, out, _ = run(capsys, "rejects", "ls", "--json")
    assert [entry["id"] for entry in json.loads(out)["rejects"]] == [1, 2]


def test_nothing_named_is_nothing_decided(folder, capsys):
    code, _, err = run(capsys, "rejects", "discard")
    assert code != 0
    assert "--every" in err


def test_an_unknown_number_is_told(folder, capsys):
    code, _, err = run(capsys, "rejects", "replay", "12")
    assert code != 0
    assert "no reject number 12" in err


@pytest.mark.parametrize("ending", ["ndjson", "csv", "parquet"])
def test_an_export_holds_the_records_whole(folder, capsys, ending):
    code, _, err = run(capsys, "rejects", "export", f"out.{ending}")
    assert code == 0, err
    assert "3 rejects" in err
    file = folder / f"out.{ending}"
    if ending == "parquet":
        rows = pq.read_table(file).to_pylist()
    elif ending == "csv":
        import csv

        rows = list(csv.DictReader(file.open()))
    else:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
    records = [row["record"] if ending == "parquet" else base64.b64decode(row["record"]) for row in rows]
    assert records == [b'{"since": "a"}'] * 3
    assert json.loads(rows[0]["rows"]) == [{"since": "a"}]
    assert not list(folder.glob("*.partly"))


def test_an_unknown_ending_is_told(folder, capsys):
    code, _, err = run(capsys, "rejects", "export", "out.xlsx")
    assert code != 0
    assert ".parquet" in err
