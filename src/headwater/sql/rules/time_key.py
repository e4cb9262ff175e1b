"""GROUP BY strftime(...): grouped by the time that the text shows, from which the text is made where it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from headwater.sql.block import Block
from headwater.sql.expressions import column
from headwater.sql.parse import DIALECT
from headwater.sql.plan import Node
from headwater.sql.shown_time import shown_unit, tells


@dataclass(frozen=True)
class Key:
    """A key of a grouping.

    Attributes:
        written: the expression that stands in the SQL.
        computed: what is grouped by.
        name: of the column that holds it.
    """

    written: exp.Expr
    computed: exp.Expr
    name: str

    def shown(self, node: Node) -> exp.Expr:
        """What was written, of the groups that are `node`."""
        held = column(node.name, self.name)
        if self.computed is self.written:
            return held
        shown = self.written.copy()
        shown.set("this", held)
        return shown


def cut_keys(block: Block, written: Sequence[tuple[exp.Expr, str]]) -> tuple[Key, ...]:
    """The keys of a grouping, where texts that tell a day, hour, minute or second are grouped by as that;
    () if there are no such."""
    if not block.planner.allows("time_keys"):
        return ()
    keys = tuple(Key(key, _cut(block.node, key), name) for key, name in written)
    return keys if any(key.computed is not key.written for key in keys) else ()


def _cut(node: Node, written: exp.Expr) -> exp.Expr:
    """What to group by in place of a key: the key itself, if there is nothing better."""
    format_ = written.args.get("format") if isinstance(written, exp.TimeToStr) else None
    if not isinstance(format_, exp.Literal) or not format_.is_string or not tells(format_.name):
        return written
    time, types = written.this, {column.name: column.type for column in node.columns}
    if not isinstance(time, exp.Column) or types.get(time.name) != "TIMESTAMP":
        return written
    return exp.func("date_trunc", exp.Literal.string(shown_unit(format_.name)), time.copy(), dialect=DIALECT)
