"""Cuts an Avro container file that came as a body into messages that name their schema, as a registry's clients write
them. The schema is kept by the project's registry, so that a message that is rejected can be replayed."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import UserError
from headwater.formats.avro.container import AvroContainer, Block, DamagedContainer, TooMuch, cut
from headwater.formats.confluent_frame import SIZE
from headwater.formats.schema_source import SchemaText
from headwater.registry.registration import MAX_CHARACTERS
from headwater.registry.store import SchemaStore

MOST_BLOCKS = 20_000
"""Blocks of a body; writers make them of some ten thousand bytes."""
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Containers:
    """What bodies that are containers may be.

    Attributes:
        schemas: the registry; None where there is none.
        most_bytes: of all records together, unpacked.
        most_records: in a body.
    """

    schemas: SchemaStore | None
    most_bytes: int
    most_records: int

    def cut(self, body: bytes) -> pa.BinaryArray:
        """The records, each with its frame. One that cannot be read is a message with all that is left of its block:
        it will be rejected for the same reason.

        Raises:
            TooMuch: there are too many records, or bytes.
            UserError: the file as a whole is damaged, or its schema is none.
        """
        if self.schemas is None:
            raise UserError("there is no registry that could keep the schema of a container")
        file = AvroContainer(io.BytesIO(body))
        if len(file.schema) > MAX_CHARACTERS:
            raise TooMuch(f"a schema may have {MAX_CHARACTERS:,} characters")
        left, blocks = min(self.most_bytes, MOST_BYTES), self._blocks(file)
        found, program = [], file.program
        for block in blocks:
            data = file.unpacked(block, left)
            left -= len(data) + SIZE * block.count
            if left < 0:
                raise TooMuch(f"unpacked, the records have more than {self.most_bytes:,} bytes")
            found.append(_values(data, cut(program, data, block.count).offsets))
        if not found:
            return pa.array([], pa.binary())
        frame = b"\0" + self.schemas.hold(SchemaText(0, "AVRO", file.schema)).to_bytes(SIZE - 1, "big")
        return pc.binary_join_element_wise(pa.scalar(frame), pa.concat_arrays(found), pa.scalar(b""))

    def _blocks(self, file: AvroContainer) -> list[Block]:
        """The blocks, all of them looked at before the first is unpacked."""
        blocks, records = [], 0
        for block in file.blocks():
            blocks.append(block)
            records += block.count
            if records > self.most_records:
                raise TooMuch(f"a request may have {self.most_records:,} records")
            if len(blocks) > MOST_BLOCKS:
                raise DamagedContainer(f"more than {MOST_BLOCKS:,} blocks: write larger ones")
        return blocks


NO_CONTAINERS = Containers(None, 0, 0)
"""Where none are taken."""


def _values(data: bytes, offsets: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.BinaryArray:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
