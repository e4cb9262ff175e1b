"""What is written of rows: the very bytes of Arrow's own message, copied or not."""

import numpy as np
import pyarrow as pa
import pytest

from headwater.log import payload

ROWS = 3000


def rows():
    texts = pa.array([None if at % 7 == 0 else f"text {at}" for at in range(ROWS)])
    lists = pa.array([[at] * (at % 4) for at in range(ROWS)])
    numbers = pa.array(np.arange(ROWS))
    flags = pa.array([at % 3 == 0 for at in range(ROWS)])
    return pa.RecordBatch.from_pydict({"n": numbers, "b": flags, "t": texts, "l": lists, "nothing": pa.nulls(ROWS)})


@pytest.mark.parametrize("part", [slice(0, ROWS), slice(0, 0), slice(5, 2001), slice(ROWS - 1, ROWS)])
def test_rows_are_written_as_arrow_writes_them_whether_they_are_copied_or_not(part, monkeypatch):
    batch = rows().slice(part.start, part.stop - part.start)
    copied = payload.encode_rows(batch)
    monkeypatch.setattr(payload, "COPIED_BYTES", 0)
    in_place = payload.encode_rows(batch)
    assert in_place[0] == copied[0] and b"".join(in_place[1]) == b"".join(copied[1])
    message = memoryview(bytes(in_place[0]) + b"".join(in_place[1]))
    assert payload.decode_rows(message[in_place[0] :], batch.schema).equals(batch)


def test_large_rows_are_not_copied():
    values = pa.array(np.arange(payload.COPIED_BYTES))
    _, parts = payload.encode_rows(pa.RecordBatch.from_arrays([values], ["n"]))
    address = values.buffers()[1].address
    assert any(np.frombuffer(part, np.uint8).ctypes.data == address for part in parts if len(part) > 1000)
