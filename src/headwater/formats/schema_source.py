"""Where a decoder gets the schema that a message names: our own registry, or a foreign one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

SchemaType = Literal["AVRO", "JSON", "PROTOBUF"]


@dataclass(frozen=True)
class Reference:
    """One schema named by another: `name` as the text has it (a file name, a type), and where it is registered."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True)
class SchemaText:
    """A schema as it is registered.

    Attributes:
        id: unique in its registry, for ever.
        type: what language the text is in.
        text: the schema; of Protobuf also a `FileDescriptorProto` in base64.
        references: the schemas that the text names.
    """

    id: int
    type: SchemaType
    text: str
    references: tuple[Reference, ...] = ()


class SchemaSource(Protocol):
    """A registry, as decoders and encoders see it. Answers are kept by whoever gives them: a schema never changes."""

    def schema(self, identifier: int) -> SchemaText | None:
        """The schema of this id; None if there is none.

        Raises:
            SourceUnavailable: the registry does not answer.
        """

    def version(self, subject: str, version: int) -> SchemaText | None:
        """A version of a subject, the latest for -1; None if there is none.

        Raises:
            SourceUnavailable: the registry does not answer.
        """

    def register(self, subject: str, schema: SchemaText) -> int:
        """Registers a schema (its `id` is not looked at) and returns its id, the same each time.

        Raises:
            UserError: the registry refuses it: it is not valid, or not compatible with the versions before it.
            SourceUnavailable: the registry does not answer.
        """
