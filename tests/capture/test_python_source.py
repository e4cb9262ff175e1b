"""Generators as sources: resumed from what is durable, mistakes told by their line, rows that do not fit kept whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from following import Hand

from headwater.capture.python.settings import PythonSettings
from headwater.capture.python.source import PythonReader, PythonSource
from headwater.capture.request import Request
from headwater.change import Group, Op
from headwater.errors import HeadwaterError, SourceStopped, SourceUnavailable
from headwater.position import Resume

NUMBERS = """
import headwater
import pyarrow as pa


@headwater.source
def numbers(position, upto=10):
    for start in range(position or 0, upto, 3):
        end = min(start + 3, upto)
        forms = [pa.table({"n": list(range(start, end))}), [{"n": n} for n in range(start, end)]]
        yield forms[start % 2], end
"""


def made(folder: Path, text: str, **settings: object) -> PythonSource:
    (folder / "sources").mkdir(exist_ok=True)
    (folder / "sources/api.py").write_text(text, encoding="utf-8")
    given = PythonSettings.model_validate({"file": "sources/api.py", **settings})
    source = PythonSource("api", given, project="p", clock=Hand())
    source.folder = folder
    return source


def next_group(reader: PythonReader) -> Group:
    """The next group; the generator's thread is given ten seconds."""
    for _ in range(1000):
        group = reader.poll(0.01)
        if group is not None:
            return group
    raise AssertionError("nothing came")


def taken(group: Group) -> list[dict[str, object]]:
    return [row for batch in group.batches for row in batch.rows.to_pylist()]


def test_it_goes_on_behind_what_is_durable_at_every_cut(tmp_path: Path) -> None:
    source = made(tmp_path, NUMBERS)
    for lost in range(5):
        kept: list[object] = []
        resume: Resume | None = None
        for attempt in range(6):
            reader = source.open(resume)
            polls = 0
            while polls < 3 and len(kept) < 10:
                group = next_group(reader)
                polls += 1
                if polls == 3 and attempt == lost:
                    break  # not durable: it is asked for again
                kept += [row["n"] for row in taken(group)]
                resume = group.boundary.resume
            reader.close()
        assert kept == list(range(10))


def test_when_it_has_ended_it_is_called_again_with_the_position(tmp_path: Path) -> None:
    text = (
        "import headwater\n\n@headwater.source\ndef f(position):\n    n = position or 0\n    yield {'call': n}, n + 1\n"
    )
    source = made(tmp_path, text)
    reader = source.open(None)
    groups = [next_group(reader) for _ in range(4)]
    assert [row["call"] for group in groups for row in taken(group)] == [0, 1, 2]
    assert groups[-1].boundary.resume["position"] == "3"
    reader.close()


def test_a_key_makes_later_rows_replace_earlier_ones(tmp_path: Path) -> None:
    source = made(tmp_path, NUMBERS, key=["n"], columns={"n": "BIGINT"}, arguments={"upto": 3}, stream="nums")
    (stream,) = source.discover()
    assert (stream.name, stream.key, stream.changelog) == ("nums", ("n",), "upsert")


@pytest.mark.parametrize(
    ("body", "said", "line", "kind"),
    [
        ("    yield {'a': 1}, 1\n    raise KeyError('x')\n", "KeyError: 'x'", 6, SourceStopped),
        ("    raise ConnectionError('away')\n    yield\n", "ConnectionError: away", 5, SourceUnavailable),
        ("    yield 5, 1\n", "int is yielded as rows", 4, SourceStopped),
        ("    yield {'a': 1}\n", "not a pair", 4, SourceStopped),
        ("    yield [{'a': 1}, {'a': 'x'}], 1\n", "cannot be made columns", 4, SourceStopped),
        ("    yield {'a': 1}, object()\n", "the position cannot be kept", 4, SourceStopped),
    ],
)
def test_mistakes_are_told_by_their_line(
    tmp_path: Path, body: str, said: str, line: int, kind: type[HeadwaterError]
) -> None:
    reader = made(tmp_path, f"import headwater\n\n@headwater.source\ndef f(position):\n{body}").open(None)
    with pytest.raises(kind) as raised:
        for _ in range(3):
            next_group(reader)
    place = raised.value.place
    assert said in raised.value.message
    assert place is not None and place.file.endswith("sources/api.py") and place.line in (line, line - 1)
    reader.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "not Python"),
        ("import nosuchmodule\n", "nosuchmodule"),
        ("x = 1\n", "no"),
        ("1 / 0\n", "ZeroDivision"),
    ],
)
def test_files_that_cannot_be_loaded(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SourceStopped) as raised:
        made(tmp_path, text).check()
    assert said in raised.value.message and raised.value.place is not None


def test_a_row_that_does_not_fit_is_kept_whole_and_replayed(tmp_path: Path) -> None:
    text = "import headwater\n\n@headwater.source\ndef f(position):\n    yield [{'n': '1'}, {'n': 'x'}], 1\n"
    reader = made(tmp_path, text, columns={"n": "BIGINT"}).open(None)
    next_group(reader)
    group = next_group(reader)
    assert [row["n"] for row in taken(group)] == [1] and group.rejects is not None
    loose = made(tmp_path, text)
    record = group.rejects.column("record")[0].as_py()
    assert [row["n"] for row in loose.decode(record).rows.to_pylist()] == ["x"]
    reader.close()


def test_a_resnapshot_calls_it_from_its_beginning(tmp_path: Path) -> None:
    source = made(tmp_path, NUMBERS, columns={"n": "BIGINT"})
    reader = source.open({"commit": 7, "position": "9"}, Request("r", "resnapshot"))
    first, second = next_group(reader), next_group(reader)
    assert [row["_op"] for row in taken(first)] == [Op.TRUNCATE]
    assert [row["n"] for row in taken(second)] == [0, 1, 2] and second.boundary.resume["decided"] == "r"
    reader.close()
