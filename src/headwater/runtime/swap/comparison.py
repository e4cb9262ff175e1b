"""What differs between a model's content and that of its new version, as of the same epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import duckdb
import pyarrow as pa

from headwater.sql.bind import quote

MOST_SHOWN = 20


@dataclass(frozen=True)
class Comparison:
    """Two versions of a model.

    Attributes:
        model: its name.
        before, after: numbers of rows.
        gone, came, changed: rows only the former version has, only the new one has, and (with a key) that differ in the
            columns that both have.
        columns_gone, columns_came: names of columns that only one has.
        sample: some of them: what, and the row's columns as text, `before` and `after` for those that differ.
    """

    model: str
    before: int
    after: int
    gone: int = 0
    came: int = 0
    changed: int = 0
    columns_gone: tuple[str, ...] = ()
    columns_came: tuple[str, ...] = ()
    sample: tuple[dict[str, object], ...] = ()

    @property
    def share(self) -> float:
        """Differing rows by rows of the larger version; 0 to 1, or more where rows without a key changed."""
        return (self.gone + self.came + self.changed) / max(self.before, self.after, 1)

    def as_dict(self) -> dict[str, object]:
        """As the status says it."""
        return {**asdict(self), "share": self.share}


def compare_rows(model: str, before: pa.Table, after: pa.Table, key: Sequence[str]) -> Comparison:
    """Compares two tables of rows.

    Args:
        model: its name.
        before, after: the rows, without weights.
        key: columns that identify a row, if there are any; those that only one version has do not count.
    """
    both = [name for name in after.column_names if name in before.column_names]
    counted = Comparison(
        model,
        before.num_rows,
        after.num_rows,
        columns_gone=tuple(name for name in before.column_names if name not in both),
        columns_came=tuple(name for name in after.column_names if name not in both),
    )
    keyed = bool(key) and set(key) <= set(both)
    with duckdb.connect() as connection:
        connection.register("before_", before.select(both))
        connection.register("after_", after.select(both))
        return (_by_key if keyed else _by_row)(connection, counted, both, key)


def _by_key(connection: duckdb.DuckDBPyConnection, of: Comparison, both: list[str], key: Sequence[str]) -> Comparison:
    on = " AND ".join(f"b.{quote(name)} IS NOT DISTINCT FROM a.{quote(name)}" for name in key)
    other = [name for name in both if name not in key]
    differs = " OR ".join(f"b.{quote(name)} IS DISTINCT FROM a.{quote(name)}" for name in other) or "false"
    what = f"CASE WHEN a._there IS NULL THEN 'gone' WHEN b._there IS NULL THEN 'came' WHEN {differs} THEN 'changed' END"
    listed = ", ".join(f"b.{quote(n)}::VARCHAR AS {quote('b ' + n)}, a.{quote(n)}::VARCHAR AS {quote('a ' + n)}"
                       for n in both)  # fmt: skip
    connection.execute(
        f"CREATE TEMP TABLE joined AS SELECT {what} AS what, {listed} FROM (SELECT *, 1 AS _there FROM before_) b"
        f" FULL JOIN (SELECT *, 1 AS _there FROM after_) a ON {on} WHERE {what} IS NOT NULL"
    )
    counts = dict(connection.execute("SELECT what, count(*) FROM joined GROUP BY what").fetchall())
    rows = connection.execute(f"SELECT * FROM joined ORDER BY ALL LIMIT {MOST_SHOWN}").fetchall()
    sample = tuple(_shown(row[0], both, row[1::2], row[2::2]) for row in rows)
    return _filled(of, counts, sample)


def _by_row(connection: duckdb.DuckDBPyConnection, of: Comparison, both: list[str], _: Sequence[str]) -> Comparison:
    counts, sample = {}, list[dict[str, object]]()
    listed = ", ".join(f"{quote(name)}::VARCHAR" for name in both)
    for what, one, other in (("gone", "before_", "after_"), ("came", "after_", "before_")):
        rest = f"(FROM {one} EXCEPT ALL FROM {other})"
        found = connection.execute(f"SELECT count(*) FROM {rest}").fetchone()
        counts[what] = found[0] if found else 0
        for row in connection.execute(f"SELECT {listed} FROM {rest} LIMIT {MOST_SHOWN // 2}").fetchall():
            sample.append({"what": what, "row": dict(zip(both, row, strict=True))})
    return _filled(of, counts, tuple(sample))


def _filled(of: Comparison, counts: dict[str, int], sample: tuple[dict[str, object], ...]) -> Comparison:
    return Comparison(
        of.model, of.before, of.after, counts.get("gone", 0), counts.get("came", 0), counts.get("changed", 0),
        of.columns_gone, of.columns_came, sample,
    )  # fmt: skip


def _shown(what: str, names: Sequence[str], before: Sequence[object], after: Sequence[object]) -> dict[str, object]:
    if what == "changed":
        return {
            "what": what,
            "row": dict(zip(names, after, strict=True)),
            "before": {n: b for n, b, a in zip(names, before, after, strict=True) if b != a},
        }
    return {"what": what, "row": dict(zip(names, before if what == "gone" else after, strict=True))}
