"""decode(encode(rows)) == rows, for every format that can say what the rows say."""

import json
import math
from decimal import Decimal

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.capture.messages.message import messages_of
from headwater.capture.messages.settings import MessageStreamSettings
from headwater.capture.messages.shaping import StreamShaper
from headwater.formats.encoder import EnvelopeEncoder, make_encoder
from headwater.formats.settings import CsvFormat, JsonFormat, RawFormat
from headwater.position import Position

TYPES = {
    "i": ("BIGINT", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "f": ("DOUBLE", pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "s": ("VARCHAR", pa.string(), st.text(st.characters(codec="utf-8", exclude_characters="\0"))),
    "b": ("BOOLEAN", pa.bool_(), st.booleans()),
    "d": ("DECIMAL(20,3)", pa.decimal128(20, 3), st.decimals(-(10**9), 10**9, places=3)),
    "t": ("TIMESTAMP", pa.timestamp("us"), st.datetimes()),
}
ROWS = st.lists(st.fixed_dictionaries({n: st.none() | values for n, (_, _, values) in TYPES.items()}), min_size=1)
SCHEMA = pa.schema([(name, kind) for name, (_, kind, _) in TYPES.items()])


def read_again(messages, form):
    """The rows of messages in a stream with all columns declared."""
    columns = {name: declared for name, (declared, _, _) in TYPES.items()}
    given = {"format": form, "columns": columns, "metadata": []}
    shaped = StreamShaper("x", MessageStreamSettings.model_validate(given)).shape(messages_of(messages), Position(1))
    assert shaped.rejects is None
    return pa.table(shaped.batches[0].rows).select(list(columns))


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_what_json_was_written_is_read(rows):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert read_again(make_encoder(JsonFormat()).encode(table), "json").equals(table)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.sampled_from(",;|\t"), st.sampled_from(["", "\\N", "NULL"]))
def test_what_csv_was_written_is_read(rows, delimiter, null):
    form = {"type": "csv", "delimiter": delimiter, "null": null}
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert read_again(make_encoder(CsvFormat(**form)).encode(table), form).equals(table)


def test_json_keeps_every_digit_and_says_what_it_has_no_number_for():
    table = pa.table(
        {
            "n": pa.array([2**70 + 1], pa.decimal128(38, 0)),
            "p": pa.array([Decimal("1.10")]),
            "f": [math.nan],
            "x": [b"\xff\x00"],
            "l": [[{"at": 1.5, "q": None}]],
            "when": pa.array([0], pa.timestamp("us", "UTC")),
        }
    )
    (made,) = make_encoder(JsonFormat()).encode(table).to_pylist()
    assert made.decode() == (
        '{"n":1180591620717411303425,"p":1.10,"f":"nan","x":"/wA=","l":[{"at":1.5,"q":null}],'
        '"when":"1970-01-01T00:00:00.000000Z"}'
    )


def test_raw_writes_the_one_column():
    assert make_encoder(RawFormat()).encode(pa.table({"value": [b"\xff", None]})).to_pylist() == [b"\xff", None]


def test_an_envelope_says_what_was_and_what_is():
    rows = pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"]})
    before = pa.array([None, {"id": 2, "name": "B"}, None], pa.struct([("id", pa.int64()), ("name", pa.string())]))
    source = pa.array([{"model": "m"}] * 3)
    made = EnvelopeEncoder().encode_changes(rows, pa.array(["c", "u", "d"]), before, source, pa.array([5, 6, 7]))
    assert [json.loads(value) for value in made.to_pylist()] == [
        {"before": None, "after": {"id": 1, "name": "a"}, "source": {"model": "m"}, "op": "c", "ts_ms": 5},
        {
            "before": {"id": 2, "name": "B"},
            "after": {"id": 2, "name": "b"},
            "source": {"model": "m"},
            "op": "u",
            "ts_ms": 6,
        },
        {"before": {"id": 3, "name": "c"}, "after": None, "source": {"model": "m"}, "op": "d", "ts_ms": 7},
    ]
