"""Makes a failing case small: fewer steps and rows, plainer settings, less SQL, as long as it goes wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import sqlglot
from sqlglot import exp
from tests.fuzz.case import Case, Settings, mistake
from tests.fuzz.data import Step, legal

Fails = Callable[[Case], bool]


def shrunk(case: Case, rounds: int = 4, fails: Fails | None = None) -> Case:
    """The smallest case found that still goes wrong."""
    kind = _kind(mistake(case)) if fails is None else ""
    wrong = fails or (lambda candidate: _kind(mistake(candidate)) == kind)
    for _ in range(rounds):
        before = case
        for candidates in (_settings, _fewer_steps, _less_sql, _fewer_rows):
            case = _greedy(case, candidates, wrong)
        if case == before:
            break
    return case


def _kind(message: str) -> str:
    """What went wrong, without the particulars: another mistake met on the way is not this one made small."""
    return re.sub(r"\d+", "", message.split(":")[0] + message.partition(": ")[2][:24]) if message else "nothing"


def _greedy(case: Case, candidates: Callable[[Case], Iterator[Case]], wrong: Fails) -> Case:
    improved = True
    while improved:
        improved = False
        for candidate in candidates(case):
            if wrong(candidate):
                case, improved = candidate, True
                break
    return case


def _settings(case: Case) -> Iterator[Case]:
    plain = Settings()
    for name in ("append_only", "without", "threads", "cut", "restart", "hash_bits"):
        if getattr(case.settings, name) != getattr(plain, name):
            yield replace(case, settings=replace(case.settings, **{name: getattr(plain, name)}))


def _fewer_steps(case: Case) -> Iterator[Case]:
    for i in range(len(case.steps)):
        steps = case.steps[:i] + case.steps[i + 1 :]
        if legal(steps):
            yield replace(case, steps=steps)


def _fewer_rows(case: Case) -> Iterator[Case]:
    for i, step in enumerate(case.steps):
        for name, changes in step.items():
            for size in (max(len(changes) // 2, 1), 1):
                for start in range(0, len(changes), size):
                    less: Step = {**step, name: changes[:start] + changes[start + size :]}
                    steps = [*case.steps[:i], less, *case.steps[i + 1 :]]
                    if legal(steps):
                        yield replace(case, steps=steps)


def _less_sql(case: Case) -> Iterator[Case]:
    try:
        tree = sqlglot.parse_one(case.sql, read="duckdb")
    except sqlglot.errors.SqlglotError:
        return
    seen = {case.sql}
    for number, _ in enumerate(tree.walk()):
        for change in (_drop, _lift, _unlist):
            copy = tree.copy()
            node = list(copy.walk())[number]
            made = change(copy, node)
            sql = made.sql(dialect="duckdb") if made is not None else ""
            if sql and sql not in seen and len(sql) < len(case.sql) + 5:
                seen.add(sql)
                yield replace(case, sql=sql)


def _drop(tree: exp.Expr, node: exp.Expr) -> exp.Expr | None:
    """Leaves out a clause."""
    if not isinstance(node, exp.Where | exp.Having | exp.Qualify | exp.Filter | exp.Join | exp.With | exp.Limit):
        return None
    if isinstance(node, exp.Filter):
        node.replace(node.this)
    else:
        node.pop()
    return tree


def _lift(tree: exp.Expr, node: exp.Expr) -> exp.Expr | None:
    """Puts a part in place of the whole."""
    if isinstance(
        node, exp.And | exp.Or | exp.Paren | exp.Not | exp.Cast | exp.Coalesce | exp.SetOperation | exp.Upper
    ):
        part = node.this
        if node.parent is None:
            return part
        node.replace(part)
        return tree
    return None


def _unlist(tree: exp.Expr, node: exp.Expr) -> exp.Expr | None:
    """Leaves an output out."""
    if isinstance(node.parent, exp.Select) and node.arg_key == "expressions" and len(node.parent.expressions) > 1:
        node.pop()
        return tree
    return None
