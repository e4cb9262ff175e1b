"""Values as tests write them, in the types of streams and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from headwater.errors import Place, UserError
from headwater.project.mistakes import did_you_mean
from headwater.project.model_tests import Texts
from headwater.sql.bind import quote
from headwater.sql.prelude import connect


class Typed:
    """Casts texts as DuckDB does. One connection; one thread."""

    def __init__(self) -> None:
        self._connection = connect()
        self._schemas: dict[tuple[tuple[str, str], ...], pa.Schema] = {}

    def close(self) -> None:
        """Gives up the connection."""
        self._connection.close()

    def schema(self, columns: Mapping[str, str], place: Place) -> pa.Schema:
        """The Arrow types of declared columns.

        Raises:
            UserError: DuckDB knows no such type.
        """
        given = tuple(columns.items())
        if given not in self._schemas:
            fields: list[pa.Field] = []
            for name, kind in given:
                try:
                    found = self._connection.sql(f"SELECT CAST(NULL AS {kind}) AS value").to_arrow_table()
                except duckdb.Error as error:
                    hint = "DuckDB's types: BIGINT, DECIMAL(10,2), VARCHAR, TIMESTAMPTZ, ..."
                    message = f"column {name!r}: {kind!r} is no type"
                    raise UserError(message, place=place, hint=hint) from error
                fields.append(pa.field(name, found.schema.field(0).type))
            self._schemas[given] = pa.schema(fields)
        return self._schemas[given]

    def microseconds(self, text: str, place: Place) -> int:
        """A time in microseconds since 1970; UTC if it has no zone."""
        try:
            found = self._connection.execute("SELECT epoch_us(CAST(? AS TIMESTAMPTZ))", [text]).fetchall()
        except duckdb.Error as error:
            raise UserError(f"{text!r} is no time", place=place, hint="2026-01-01 00:05:00") from error
        return int(found[0][0])

    def table(self, texts: Texts, columns: pa.Schema, *, whole: bool = False) -> pa.Table:
        """Rows in the types of `columns`: those that any row names, or with `whole` all, null where nothing is said.

        Raises:
            UserError: a column is unknown, or a value is none of its type.
        """
        named = list(dict.fromkeys(name for row in texts.rows for name in row))
        for name in named:
            if name not in columns.names:
                at = next(number for number, row in enumerate(texts.rows) if name in row)
                hint = did_you_mean(name, columns.names)
                raise UserError(f"there is no column {name!r}", place=texts.places[at], hint=hint)
        names = columns.names if whole else named
        wanted = pa.schema([columns.field(name).with_nullable(True) for name in names])
        if not names:
            return wanted.empty_table()
        given = pa.table({name: pa.array([row.get(name) for row in texts.rows], pa.string()) for name in names})
        return self._cast(given, wanted, texts)

    def _cast(self, given: pa.Table, wanted: pa.Schema, texts: Texts) -> pa.Table:
        types = self._types(wanted)
        casts = [
            f"CAST({quote(name)}{'::JSON' if name in texts.nested else ''} AS {kind}) AS {quote(name)}"
            for name, kind in zip(wanted.names, types, strict=True)
        ]
        self._connection.register("given", given)
        try:
            return self._connection.sql(f"SELECT {', '.join(casts)} FROM given").to_arrow_table().cast(wanted)  # noqa: S608
        except (duckdb.Error, pa.ArrowInvalid) as error:
            raise self._explained(given, casts, types, texts, error) from error
        finally:
            self._connection.unregister("given")

    def _types(self, columns: pa.Schema) -> Sequence[str]:
        """DuckDB's names of the types."""
        self._connection.register("typed", columns.empty_table())
        found = self._connection.execute("DESCRIBE SELECT * FROM typed").fetchall()
        self._connection.unregister("typed")
        return [row[1] for row in found]

    def _explained(
        self, given: pa.Table, casts: Sequence[str], types: Sequence[str], texts: Texts, error: Exception
    ) -> UserError:
        """Which value it is."""
        for number in range(given.num_rows):
            self._connection.register("given", given.slice(number, 1))
            for name, cast, kind in zip(given.column_names, casts, types, strict=True):
                try:
                    self._connection.execute(f"SELECT {cast} FROM given").fetchall()  # noqa: S608
                except duckdb.Error:
                    value = given.column(name)[number].as_py()
                    return UserError(f"{value!r} is no {kind}, as {name!r} is", place=texts.places[number])
        return UserError(str(error).splitlines()[0], place=texts.places[0] if texts.places else None)
