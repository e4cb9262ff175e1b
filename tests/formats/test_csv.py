"""Lines as columns of text."""

import pyarrow as pa
import pytest

from headwater.formats.decoder import make_decoder
from headwater.formats.settings import CsvFormat


def decoded(*messages, declared=(), **settings):
    return make_decoder(CsvFormat(**settings), None, declared).decode(pa.array(messages, pa.binary()))


def test_fields_take_the_names_of_the_header_or_of_the_declared_columns_or_numbers():
    assert decoded(b"1,x\r\n", header=["a", "b"], declared=["q"]).rows.to_pylist() == [{"a": "1", "b": "x"}]
    assert decoded(b"1,x", declared=["p", "q"]).rows.to_pylist() == [{"p": "1", "q": "x"}]
    found = decoded(b"1,x", None, b"2,y,z\n").rows.to_pylist()
    assert found == [{"c1": "1", "c2": "x", "c3": None}, {"c1": "2", "c2": "y", "c3": "z"}]


def test_quotation_marks_and_null():
    found = decoded(b'"a,""b""\n",,"",\\N', b"\xef\xbb\xbf;,x,,", header=["a", "b", "c", "d"], null="\\N")
    assert [list(row.values()) for row in found.rows.to_pylist()] == [['a,"b"\n', "", "", None], [";", "x", "", ""]]
    assert decoded(b',""', header=["a", "b"]).rows.to_pylist() == [{"a": None, "b": ""}]
    assert decoded(b"'a;b';c", delimiter=";", quote="'").rows.to_pylist() == [{"c1": "a;b", "c2": "c"}]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "empty"),
        (b'"a,b', "open_quote"),
        (b'"a"b,c', "after_quote"),
        (b"a,b\nc,d", "second_line"),
        (b"a,b,c", "too_many_fields"),
        (b"a", "too_few_fields"),
        (b"a,\xff", "bad_utf8"),
    ],
)
def test_a_bad_line_is_found_among_good_ones(message, reason):
    found = decoded(b"1,2", message, b"3,4", message, header=["a", "b"])
    assert [(bad.message, bad.reason) for bad in found.bad] == [(1, reason), (3, reason)]
    assert found.rows.to_pylist() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert found.message.tolist() == [0, 2]
