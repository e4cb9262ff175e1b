"""Bodies are cut where their records end, whatever stands inside; what is cut short or goes on is told."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import UserError
from headwater.formats.splitting import csv_rows, json_lines, json_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=4)
SPACES = st.sampled_from([None, 0, 1, "\t"])
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")])


@given(st.lists(JSON, max_size=8), SPACES, SEPARATORS, st.booleans(), st.sampled_from(["", " ", "\r\n\t"]))
@settings(max_examples=300, deadline=None)
def test_an_array_is_cut_into_its_elements(values, indent, separators, ascii_only, around) -> None:  # type: ignore[no-untyped-def]
    text = json.dumps(values, indent=indent, separators=separators, ensure_ascii=ascii_only)
    body = (around + text + around).encode("utf-8", "surrogatepass")
    assert [json.loads(value.decode("utf-8", "surrogatepass")) for value in json_values(body).to_pylist()] == values


@given(OBJECTS, SPACES)
@settings(deadline=None)
def test_an_object_is_one_record(value, indent) -> None:  # type: ignore[no-untyped-def]
    body = json.dumps(value, indent=indent).encode()
    assert [json.loads(found) for found in json_values(b" \n" + body + b" \n").to_pylist()] == [value]


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.data())
@settings(max_examples=300, deadline=None)
def test_an_array_that_is_cut_short_or_goes_on_is_told(values, data) -> None:  # type: ignore[no-untyped-def]
    body = json.dumps(values).encode()
    with pytest.raises(UserError):
        json_values(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(UserError, match="byte"):
        json_values(body + data.draw(st.sampled_from([b"x", b"]", b"{}", b",", b"\0"])))


@given(st.binary(max_size=60))
@settings(max_examples=1000, deadline=None)
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    for cut in (json_values, json_lines, csv_rows):
        try:
            pieces = cut(body)
        except UserError:
            continue
        pieces.validate(full=True)
        assert sum(map(len, pieces.to_pylist())) <= len(body)


@pytest.mark.parametrize("body", [b"", b" ", b"1", b'"a"', b"null", b"}", b"\xef\xbb\xbf"])
def test_what_is_neither_object_nor_array_is_refused(body: bytes) -> None:
    with pytest.raises(UserError, match="object or an array"):
        json_values(body)


def test_missing_elements_are_records_that_are_wrong_not_records_that_vanish() -> None:
    assert [value.strip() for value in json_values(b"[1,,2,]").to_pylist()] == [b"1", b"", b"2", b""]
    assert json_values(b"[ ]").to_pylist() == []


@given(st.lists(OBJECTS | st.just(None), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(deadline=None)
def test_ndjson_is_cut_into_its_lines_and_blank_ones_are_none(values, end, last) -> None:  # type: ignore[no-untyped-def]
    lines = ["" if value is None else json.dumps(value) for value in values]
    body = (end.join(lines) + (end if last else "")).encode()
    found = [json.loads(line) for line in json_lines(body).to_pylist()]
    assert found == [value for value in values if value is not None]


def test_lines_of_space_alone_are_no_records() -> None:
    assert [line.strip() for line in json_lines(b'\n  \t\n{"a":1}\n \r\n\n{"a":2}').to_pylist()] == [
        b'{"a":1}',
        b'{"a":2}',
    ]


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.lists(FIELDS, min_size=2, max_size=2), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
@settings(deadline=None)
def test_csv_is_cut_where_records_end_not_where_lines_do(rows, end) -> None:  # type: ignore[no-untyped-def]
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found = csv_rows(written.getvalue().encode()).to_pylist()
    assert [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in found] == rows


def test_a_quote_that_stays_open_is_told() -> None:
    with pytest.raises(UserError, match="quote"):
        csv_rows(b'a,b\n1,"2\n3,4\n')
