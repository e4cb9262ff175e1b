"""How a view is to work: its settings, and how a checkpoint remembers them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypedDict

from headwater.engine.worker import Late
from headwater.sql.fast_paths import Options, Recompute
from headwater.sql.functions import Function

Stored = dict[str, "str | int | list[str]"]

_MICROSECOND = timedelta(microseconds=1)


class Arguments(TypedDict, total=False):
    """The settings as arguments of `View`; see `Settings` for what each does."""

    key: Sequence[str]
    emit: Literal["changes", "final"]
    lateness: timedelta
    late: Late | None
    append_only: Collection[str]
    ttl: Mapping[str, tuple[str, timedelta]]
    without: Collection[str]
    recompute: Recompute
    functions: Collection[Function]
    threads: int
    memory: int | None
    spill: Path | str | None
    keep_result: bool
    name: str
    file: str | None
    first_line: int


@dataclass(frozen=True)
class Settings:
    """The settings of a view.

    Attributes:
        key: columns that identify a row of the result; () to infer it.
        emit: `changes` gives every change at once; `final` gives each time window once, when it is closed.
        lateness: how long after its end, in event time, a window stays open.
        late: what becomes of rows whose windows are all closed: `update` the result (default of `changes`; state is
            kept for ever), `reject` into the ledger (default of `final`), or `drop`, counted.
        append_only: inputs that never have retractions; nothing is kept for those then.
        ttl: by input, a column of event time and how long rows stay. Once the watermark less `lateness` is so far
            past a row, the row leaves the view, with all that is kept of it; what comes of it after that is late.
        without: fast paths (`headwater.sql.fast_paths.FAST_PATHS`) that are not to be used.
        recompute: `refused` raises for SQL of which a part must be computed again over all rows at every change.
        functions: functions that the SQL may call, made by `headwater.udf`.
        threads: how many workers share out the keys, each on a thread of its own.
        memory: bytes that state may take in RAM; what is more is mapped from files. None: as much as it needs.
        spill: folder of those files; the system's folder for temporary files if not given.
        keep_result: whether the rows of the result are kept for `View.result`; its changes are returned in any case.
        name: what rejects are filed under.
        file: file to name in errors.
        first_line: line of `file` on which the SQL begins.
    """

    key: Sequence[str] = ()
    emit: Literal["changes", "final"] = "changes"
    lateness: timedelta = timedelta(0)
    late: Late | None = None
    append_only: Collection[str] = ()
    ttl: Mapping[str, tuple[str, timedelta]] = field(default_factory=dict)
    without: Collection[str] = ()
    recompute: Recompute = "allowed"
    functions: Collection[Function] = ()
    threads: int = 1
    memory: int | None = None
    spill: Path | str | None = None
    keep_result: bool = True
    name: str = "view"
    file: str | None = None
    first_line: int = 1

    @property
    def options(self) -> Options:
        """What the planner may do."""
        ttl = tuple(sorted((name, column, time // _MICROSECOND) for name, (column, time) in self.ttl.items()))
        return Options(self.emit, frozenset(self.append_only), frozenset(self.without), self.recompute, ttl)

    @property
    def policy(self) -> Late:
        """What becomes of late rows."""
        return self.late or ("reject" if self.emit == "final" else "update")

    @property
    def text(self) -> str:
        """All that gives state its meaning: the same for settings under which a checkpoint may be restored."""
        called = sorted(function.fingerprint for function in self.functions)
        return f"{self.options.text} {self.lateness} {self.late} {called}"

    def stored(self) -> Stored:
        """For the manifest of a checkpoint."""
        return {
            "key": list(self.key),
            "emit": self.emit,
            "lateness_us": self.lateness // _MICROSECOND,
            "late": self.late or "",
            "append_only": sorted(self.append_only),
            "ttl": [json.dumps(one) for one in self.options.ttl],
            "without": sorted(self.without),
            "threads": self.threads,
            "keep_result": int(self.keep_result),
            "name": self.name,
        }


def read_settings(stored: Mapping[str, object]) -> Arguments:
    """What `Settings.stored` wrote, as arguments.

    Raises:
        KeyError: it has another form.
    """
    emit: Literal["changes", "final"] = "final" if stored["emit"] == "final" else "changes"
    lates: dict[object, Late] = {"update": "update", "reject": "reject", "drop": "drop"}
    return Arguments(
        key=_texts(stored["key"]),
        emit=emit,
        lateness=int(str(stored["lateness_us"])) * _MICROSECOND,
        late=lates.get(stored["late"]),
        append_only=_texts(stored["append_only"]),
        ttl={name: (time, us * _MICROSECOND) for name, time, us in map(json.loads, _texts(stored["ttl"]))},
        without=_texts(stored["without"]),
        threads=int(str(stored["threads"])),
        keep_result=bool(stored["keep_result"]),
        name=str(stored["name"]),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
