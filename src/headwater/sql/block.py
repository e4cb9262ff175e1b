"""One SELECT under decomposition: the node built so far, and what is still to be built over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from headwater.sql.expressions import CannotDecompose, column, columns, substitute, substitute_order, text
from headwater.sql.plan import Node
from headwater.sql.planner import Planner


@dataclass
class Block:
    """The rules of `headwater.sql.rules` each take one clause away and put a node in its place.

    Attributes:
        planner: makes nodes.
        node: everything built so far; the expressions below name its columns.
        outputs: the SELECT list.
        names: its column names.
        filters: conditions still to apply to `node`.
        group: GROUP BY expressions, None without aggregation.
        sets: of GROUPING SETS, ROLLUP and CUBE, those of `group` that each set has; None without.
        having: conditions over groups.
        qualify: condition over window functions.
        distinct_on: None: not distinct; (): all columns.
        order: ORDER BY.
        limit: LIMIT and OFFSET in SQL, "" for none.
        key: expressions over `node` that together identify a row, None if unknown.
    """

    planner: Planner
    node: Node
    outputs: list[exp.Expr]
    names: list[str]
    filters: list[exp.Expr] = field(default_factory=list)
    group: list[exp.Expr] | None = None
    sets: list[list[exp.Expr]] | None = None
    having: list[exp.Expr] = field(default_factory=list)
    qualify: exp.Expr | None = None
    distinct_on: list[exp.Expr] | None = None
    order: list[exp.Ordered] = field(default_factory=list)
    limit: str = ""
    key: list[exp.Expr] | None = None

    def remaining(self) -> list[exp.Expr]:
        """Every expression that still names columns of `node`, filters apart."""
        qualify = [self.qualify] if self.qualify is not None else []
        return [
            *self.outputs, *(self.group or []), *self.having, *qualify, *(self.distinct_on or []), *self.order,
            *(self.key or []),
        ]  # fmt: skip

    def move(self, node: Node, mapping: Mapping[str, exp.Expr]) -> None:
        """Puts `node` in place of what was there, rewriting what remains.

        Raises:
            CannotDecompose: something remains that `node` does not give.
        """
        self.outputs = [substitute(e, mapping) for e in self.outputs]
        self.group = [substitute(e, mapping) for e in self.group] if self.group is not None else None
        self.sets = [[substitute(e, mapping) for e in keys] for keys in self.sets] if self.sets is not None else None
        self.having = [substitute(e, mapping) for e in self.having]
        self.filters = [substitute(e, mapping) for e in self.filters]
        self.qualify = substitute(self.qualify, mapping) if self.qualify is not None else None
        if self.distinct_on is not None:
            self.distinct_on = [substitute(e, mapping) for e in self.distinct_on]
        self.order = [substitute_order(e, mapping) for e in self.order]
        self.key = [substitute(e, mapping) for e in self.key] if self.key is not None else None
        self.node = node
        self._expect_only(node.name)

    def _expect_only(self, relation: str) -> None:
        for found in columns([*self.remaining(), *self.filters]):
            if found.table != relation:
                raise CannotDecompose(f"{text(found)} does not come from what it is computed from")

    def needed(self, *expressions: exp.Expr) -> list[tuple[exp.Expr, str]]:
        """The columns of `node` that what remains, or `expressions`, name: what a projection must pass on."""
        found = [c for c in columns([*self.remaining(), *expressions]) if c.table == self.node.name]
        return [(c, c.name) for c in found]

    def project(self, selected: Sequence[tuple[exp.Expr, str]], lateral: str = "") -> Node:
        """A projection of `node` that applies the waiting filters."""
        node = self.planner.linear(self.node, selected, self.filters, lateral)
        self.filters = []
        return node


def passed(old: Node, new: Node, names: Sequence[str]) -> dict[str, exp.Expr]:
    """The substitution for columns that `new` passes on from `old` under the same names."""
    return {text(column(old.name, name)): column(new.name, name) for name in names}
