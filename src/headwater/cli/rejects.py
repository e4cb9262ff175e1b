"""`headwater rejects`: the records that could not go on, and what to do about them."""

from __future__ import annotations

from datetime import UTC, datetime
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headwater.quality.rejects import Cause, Choice, Reject
    from headwater.runtime.state_store import StateStore

app = App(name="rejects", help="List, show, replay, discard or export the records that could not go on.")

_MESSAGE_SHOWN = 120


@app.command
def ls(
    folder: Path = Path(), /, *, settled: bool = False, by_cause: bool = False, stream: str | None = None,
    stage: str | None = None, reason: str | None = None, limit: int = 100, json: bool = False,
) -> int:  # fmt: skip
    """List the rejects that wait for a decision, the oldest first.

    Args:
        folder: The project's folder.
        settled: List replayed, superseded and discarded ones too.
        by_cause: One line for all that failed alike: how many, since when, and the number of an example.
        stream: Only of this stream or model.
        stage: Only of this stage.
        reason: Only of this reason.
        limit: At most so many.
        json: Print one JSON object.
    """
    from headwater.quality.rejects import SETTLED, Choice

    store, choice = _open(folder), Choice((), stream, stage, reason)
    states = ("open", "requested", *(SETTLED if settled else ()))
    causes = store.ledger.causes(states, choice)
    entries = [] if by_cause else store.ledger.entries(states, limit, choice)
    store.close()
    there = sum(cause.count for cause in causes)
    if json:
        listed = {"causes": [_cause(cause) for cause in causes]}
        output.print_json(listed if by_cause else {"rejects": [_json(entry) for entry in entries], "count": there})
    elif by_cause:
        _print_causes(causes)
    else:
        output.print_table(
            ["id", "state", "stage", "stream", "reason", "key", "message"],
            [[str(e.id), e.state, e.stage, e.stream, e.reason, e.key, _shortened(e.message)] for e in entries],
        )
        if there > len(entries):
            output.note(f"{len(entries)} of {there:,}; by what they failed of: headwater rejects ls --by-cause")
    return output.OK


@app.command
def show(number: int, folder: Path = Path(), /, *, json: bool = False) -> int:
    """Show one reject whole, with its record: the rows that it would have been, values as the source wrote them.

    Args:
        number: Its number in `headwater rejects ls`.
        folder: The project's folder.
        json: Print one JSON object.
    """
    store = _open(folder)
    entry = store.ledger.entry(number)
    store.close()
    rows = _rows(entry)
    if json:
        output.print_json({**_json(entry), "record": rows})
        return output.OK
    told = [(name, str(value)) for name, value in _json(entry).items() if value != ""]
    for name, value in [*told, *(("record", dumps(row, ensure_ascii=False)) for row in rows)]:
        output.print_data(f"{name:12} {value}")
    return output.OK


@app.command
@as_json
def replay(
    *numbers: int, folder: Path = Path(), every: bool = False, stream: str | None = None, stage: str | None = None,
    reason: str | None = None,
) -> int:  # fmt: skip
    """Send rejects through the pipeline again, in the running project's next epochs or when it runs next.

    Args:
        numbers: Which, by their numbers in `headwater rejects ls`.
        folder: The project's folder.
        every: All that are open.
        stream: All that are open of this stream or model.
        stage: All that are open of this stage.
        reason: All that are open of this reason.
    """
    choice = _choice(numbers, every, stream, stage, reason)
    store = _open(folder)
    _require(store, numbers)
    with store.transaction():
        moved = store.ledger.ask_replay_of(choice)
    store.close()
    return _told(moved, numbers, "to be replayed")


@app.command
@as_json
def discard(
    *numbers: int, folder: Path = Path(), every: bool = False, stream: str | None = None, stage: str | None = None,
    reason: str | None = None,
) -> int:  # fmt: skip
    """Give rejects up. They stay in the ledger for a while (`rejects: keep_settled`) and are counted as rejected.

    Args:
        numbers: Which, by their numbers in `headwater rejects ls`.
        folder: The project's folder.
        every: All that are open.
        stream: All that are open of this stream or model.
        stage: All that are open of this stage.
        reason: All that are open of this reason.
    """
    choice = _choice(numbers, every, stream, stage, reason)
    store = _open(folder)
    _require(store, numbers)
    with store.transaction():
        moved = store.ledger.discard_all(choice)
    store.close()
    return _told(moved, numbers, "discarded")


@app.command
@as_json
def export(
    file: Annotated[Path, Parameter(help="Where to: a name that ends in .ndjson, .csv or .parquet.")],
    folder: Path = Path(), /, *, settled: bool = False, stream: str | None = None, stage: str | None = None,
    reason: str | None = None,
) -> int:  # fmt: skip
    """Write rejects with their records, raw and as rows, into a file for others.

    Args:
        file: Where to: a name that ends in .ndjson, .csv or .parquet.
        folder: The project's folder.
        settled: Replayed, superseded and discarded ones too.
        stream: Only of this stream or model.
        stage: Only of this stage.
        reason: Only of this reason.
    """
    from headwater.cli.progress_bar import progress
    from headwater.quality.rejects import SETTLED, Choice
    from headwater.serve.rejects_export import write

    store = _open(folder)
    states = ("open", "requested", *(SETTLED if settled else ()))
    entries = store.ledger.each(states, Choice((), stream, stage, reason))
    with progress("writing") as done:

        def told() -> Iterator[dict[str, object]]:
            for number, entry in enumerate(entries, 1):
                yield {**_json(entry), "record": entry.record, "rows": dumps(_rows(entry))}
                done(number, None)

        count = write(file, told())
    store.close()
    output.note(f"{output.counted(count, 'reject')} in {file}")
    return output.OK


def _choice(numbers: tuple[int, ...], every: bool, stream: str | None, stage: str | None, reason: str | None) -> Choice:
    from headwater.errors import UserError
    from headwater.quality.rejects import Choice

    if not (numbers or every or stream or stage or reason):
        raise UserError(
            "which rejects? None is named",
            hint="give their numbers (headwater rejects ls), --stream, --stage or --reason, or --every for all",
        )
    return Choice(numbers, stream, stage, reason)


def _require(store: StateStore, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        store.ledger.entry(number)


def _told(moved: int, numbers: tuple[int, ...], said: str) -> int:
    output.note(f"{moved} of {len(numbers)} {said}" if numbers else f"{moved} {said}")
    return output.OK if moved == len(numbers) or not numbers else output.FAILED


def _open(folder: Path) -> StateStore:
    from headwater.cli.opening import read_project
    from headwater.errors import UserError
    from headwater.runtime.state_store import StateStore

    state = read_project(folder).state
    if not (state / "state.db").exists():
        raise UserError(f"this project has not run yet: there is no {state / 'state.db'}", hint="headwater run")
    return StateStore(state)


def _print_causes(causes: list[Cause]) -> None:
    output.print_table(
        ["count", "state", "stage", "stream", "reason", "first seen", "last seen", "example", "message"],
        [
            [f"{c.count:,}", c.state, c.stage, c.stream, c.reason, _time(c.first_seen_us), _time(c.last_seen_us),
             str(c.example), _shortened(c.message)]
            for c in causes
        ],
    )  # fmt: skip


def _shortened(message: str) -> str:
    return message if len(message) <= _MESSAGE_SHOWN else message[: _MESSAGE_SHOWN - 1] + "…"


def _json(entry: Reject) -> dict[str, object]:
    told = {
        name: value for name, value in vars(entry).items() if name not in ("record", "first_seen_us", "last_seen_us")
    }
    return {**told, "first_seen": _time(entry.first_seen_us), "last_seen": _time(entry.last_seen_us)}


def _cause(cause: Cause) -> dict[str, object]:
    told = {name: value for name, value in vars(cause).items() if not name.endswith("_us")}
    return {**told, "first_seen": _time(cause.first_seen_us), "last_seen": _time(cause.last_seen_us)}


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat()


def _rows(entry: Reject) -> list[dict[str, object]]:
    """The rows of the record, as JSON can hold them."""
    if entry.stage == "decode":
        from headwater.project.connectors import rows_of_record

        return rows_of_record(entry.record)
    if entry.stage == "gap":
        return [loads(entry.record)]
    import pyarrow as pa

    from headwater.serve.moments import printable

    rows = printable(pa.ipc.open_stream(entry.record).read_all()).to_pylist()
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else str(value)
