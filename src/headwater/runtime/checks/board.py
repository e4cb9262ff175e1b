"""All checks of a running project: kept up to date with every epoch, and judged at its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from headwater.quality.checks import Check, Result, gate_fingerprint
from headwater.runtime.checks.judging import Measured, judge
from headwater.runtime.checks.node_checks import GateAccount, NodeChecks
from headwater.runtime.checks.set_check import SetCheck
from headwater.runtime.checks.withheld import row_digests

Volumes = Callable[[str], Mapping[int, int]]
Stored = Mapping[str, Mapping[str, int | str]]


class Contents(Protocol):
    """What checks ask of a dataflow."""

    def columns_of(self, name: str) -> pa.Schema | None:
        """Columns of a stream or model; None while it has no rows, or waits."""

    def key_of(self, name: str) -> Sequence[str]:
        """The key of a stream or model that has rows."""

    def computed(self, name: str) -> pa.Table:
        """All its rows, those set aside among them, with weights."""


@dataclass(frozen=True)
class Withheld:
    """What the ledger is to be told of a stream or model: new entries, and how often which rows have gone; or, with
    `anew`, all that are set aside now, and what tells which rows pass."""

    node: str
    entries: Sequence[pa.RecordBatch]
    released: Mapping[str, int]
    anew: bool = False
    passing: Callable[[], Collection[str]] = tuple


class CheckBoard:
    """The checks of a project. Used by the epoch thread.

    Args:
        checks: of the project.
    """

    def __init__(self, checks: Sequence[Check] = ()) -> None:
        self.checks = tuple(checks)
        by_node: dict[str, list[Check]] = {}
        for check in self.checks:
            by_node.setdefault(check.node, []).append(check)
        self.nodes = {node: NodeChecks(node, of) for node, of in by_node.items()}
        self._sets = {check.id: SetCheck(check) for check in self.checks if _is_set(check)}
        self._counted: set[str] = set()
        self.gone: dict[str, Mapping[str, int]] = {}
        self.unreconciled = {name for name, node in self.nodes.items() if node.gated}

    def wants_rows(self, name: str) -> bool:
        """Whether the rows of a model are to be kept, to count them when a check is new."""
        return any(name in check.reads for check in self.checks)

    def admit(self, name: str, delta: pa.Table, columns: pa.Schema, key: Sequence[str], *, anew: bool) -> pa.Table:
        """What a stream's or model's change is to all that reads it.

        Args:
            name: of the stream or model.
            delta: what it computed.
            columns: its columns.
            key: its key.
            anew: the delta is all its rows: it was built anew.
        """
        node = self.nodes.get(name)
        if node is None:
            return delta
        if anew:
            node.begin()
            node.take_withheld()
            self._counted.add(name)
            if node.gated:
                self.unreconciled.add(name)
        appeared = node.appeared
        passed = node.admit(delta, columns, key)
        if anew:
            node.appeared = appeared  # rows that are computed again do not appear
        return passed

    def admitted(self, name: str, rows: pa.Table, columns: pa.Schema) -> pa.Table:
        """The rows that are not set aside."""
        node = self.nodes.get(name)
        return rows if node is None else node.admitted(rows, columns)

    def follow(self, contents: Contents, deltas: Mapping[str, pa.Table], moved: Collection[str]) -> None:
        """Takes in what a step did, with all its changes at hand.

        Args:
            contents: the dataflow, which has taken the step.
            deltas: by stream and model, those set aside left out.
            moved: streams and models whose deltas do not say what they are now.
        """
        for name, node in self.nodes.items():
            columns = contents.columns_of(name)
            if columns is not None and name not in self._counted:
                self._count(node, columns, contents)
        for one in self._sets.values():
            columns_of = {name: contents.columns_of(name) for name in one.check.reads}
            known = {name: columns for name, columns in columns_of.items() if columns is not None}
            if len(known) < len(columns_of):
                one.close()
            elif one.fits(known) and not any(name in moved for name in known):
                one.follow({name: deltas[name] for name in known})
            else:
                one.build(known, {n: self.admitted(n, contents.computed(n), c) for n, c in known.items()})

    def recount(self, name: str) -> None:
        """Leaves a stream or model to be counted from all its rows: its delta does not say it all."""
        self._counted.discard(name)
        if name in self.nodes and self.nodes[name].gated:
            self.unreconciled.add(name)

    def _count(self, node: NodeChecks, columns: pa.Schema, contents: Contents) -> None:
        """Counts all rows of a node once."""
        account, appeared = GateAccount(**asdict(node.account)), node.appeared
        withheld, released = node.take_withheld()
        node.begin()
        node.admit(contents.computed(node.node), columns, contents.key_of(node.node))
        node.account, node.appeared, node.withheld, node.released = account, appeared, withheld, released
        self._counted.add(node.node)

    def judged(self, contents: Contents, epoch: int, now_us: int, volumes: Volumes) -> list[Result]:
        """How every check stands.

        Args:
            contents: the dataflow.
            epoch: after which.
            now_us: the time.
            volumes: by check, the rows that appeared before this epoch, by period.
        """
        return [judge(check, self._measured(check, contents, volumes), epoch, now_us) for check in self.checks]

    def _measured(self, check: Check, contents: Contents, volumes: Volumes) -> Measured:
        node, one = self.nodes[check.node], self._sets.get(check.id)
        missing = next((name for name in check.reads if contents.columns_of(name) is None), None)
        if missing is not None:
            return Measured(error=f"{missing} has no rows yet")
        if one is not None:
            return Measured(failing=one.failing, example=one.example, newest_us=one.newest_us(), error=one.error)
        failing, example = node.failing.get(check.id, 0), node.examples.get(check.id, "")
        past = volumes(check.id) if check.kind == "volume" else {}
        return Measured(failing, example, node.error(check), node.rows, node.appeared, None, past)

    def appeared(self) -> dict[str, int]:
        """By check of volume, how many rows have appeared since the last call of `settle`."""
        return {one.id: self.nodes[one.node].appeared for one in self.checks if one.kind == "volume"}

    def settle(self, contents: Contents) -> list[Withheld]:
        """What the ledger is to be told at the end of an epoch; afterwards the next one begins."""
        told = [self._told(node, contents) for node in self.nodes.values() if node.gated]
        self.gone = {one.node: one.released for one in told if one is not None and one.released}
        self.forget_epoch()
        return [one for one in told if one is not None]

    def forget_epoch(self) -> None:
        """Forgets what is only of the epoch that ends: the ledger has it already."""
        for node in self.nodes.values():
            node.appeared = 0
            node.take_withheld()

    def _told(self, node: NodeChecks, contents: Contents) -> Withheld | None:
        columns = contents.columns_of(node.node)
        if columns is None:
            return None
        if node.node not in self.unreconciled:
            entries, released = node.take_withheld()
            return Withheld(node.node, entries, released)
        self.unreconciled.discard(node.node)
        whole, key = contents.computed(node.node), contents.key_of(node.node)
        aside = node.set_aside(whole, columns)
        entries = [node.entries_of(aside, columns, key)] if aside.num_rows else []
        return Withheld(node.node, entries, {}, anew=True, passing=lambda: row_digests(node.admitted(whole, columns)))

    def record(self) -> tuple[Stored, Stored]:
        """What a checkpoint says of the checks, and of the rows set aside."""
        checks: dict[str, Mapping[str, int | str]] = {}
        for check in self.checks:
            node, one = self.nodes[check.node], self._sets.get(check.id)
            if check.node in self._counted:
                count = one.failing if one is not None else node.failing.get(check.id, 0)
                text = one.example if one is not None else node.examples.get(check.id, "")
                checks[check.id] = {"fingerprint": check.fingerprint, "failing": count, "example": text}
        nodes: Stored = {
            name: {"fingerprint": gate_fingerprint(node.checks), "rows": node.rows, **asdict(node.account)}
            for name, node in self.nodes.items()
            if name in self._counted
        }
        return checks, nodes

    def checkpoint(self, making: Path, before: Path | None) -> None:
        """Writes the state of the checks that have one."""
        for name, one in self._sets.items():
            previous = before / name if before is not None and (before / name).is_dir() else None
            one.checkpoint(making / name, previous)

    def restore(self, folder: Path, checks: Stored, nodes: Stored, contents: Contents, kept: Collection[str]) -> None:
        """Goes on from a checkpoint, with the checks that are what they were.

        Args:
            folder: of their state.
            checks, nodes: what `record` said.
            contents: the dataflow, restored.
            kept: streams and models that are what they were.
        """
        for name, node in self.nodes.items():
            told = nodes.get(name)
            same = all(checks.get(one.id, {}).get("fingerprint") == one.fingerprint for one in node.checks)
            if name in kept and told is not None and same:
                self._counted.add(name)
                node.rows = int(told["rows"])
                figures = {key: int(told[key]) for key in ("read", "landed", "rejected", "withdrawn")}
                node.account = GateAccount(**figures)
                node.failing = {one.id: int(checks[one.id]["failing"]) for one in node.checks if one.of_rows}
                node.examples = {i: str(checks[i]["example"]) for i, n in node.failing.items() if n}
            if name in kept and told is not None and told["fingerprint"] == gate_fingerprint(node.checks):
                self.unreconciled.discard(name)
        for name, one in self._sets.items():
            same = checks.get(name, {}).get("fingerprint") == one.check.fingerprint
            if same and all(node in kept for node in one.check.reads) and one.check.node in self._counted:
                found = {node: contents.columns_of(node) for node in one.check.reads}
                known = {node: columns for node, columns in found.items() if columns is not None}
                if len(known) == len(found) and one.restore(folder / name, known):
                    one.failing, one.example = int(checks[name]["failing"]), str(checks[name]["example"])

    def close(self) -> None:
        """Gives up views and connections."""
        for node in self.nodes.values():
            node.close()
        for one in self._sets.values():
            one.close()


def _is_set(check: Check) -> bool:
    return check.kind in ("unique", "referential", "freshness")
