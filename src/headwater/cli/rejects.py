"""`headwater rejects`: the records that could not go on, and what to do about them."""

from __future__ import annotations

from datetime import UTC, datetime
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.quality.rejects import Reject
    from headwater.runtime.state_store import StateStore

app = App(name="rejects", help="List, show, replay or discard the records that could not go on.")


@app.command
def ls(folder: Path = Path(), /, *, settled: bool = False, json: bool = False) -> int:
    """List the rejects that wait for a decision.

    Args:
        folder: The project's folder.
        settled: List replayed, superseded and discarded ones too.
        json: Print one JSON object.
    """
    store = _open(folder)
    entries = store.ledger.entries(("open", "requested"))
    if settled:
        entries += store.ledger.entries(("replayed", "superseded", "discarded"))
    store.close()
    if json:
        output.print_json({"rejects": [_json(entry) for entry in entries]})
        return output.OK
    output.print_table(
        ["id", "state", "stage", "stream", "reason", "key", "message"],
        [[str(e.id), e.state, e.stage, e.stream, e.reason, e.key, e.message] for e in entries],
    )
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
def replay(*numbers: int, folder: Path = Path(), every: bool = False) -> int:
    """Send rejects through the pipeline again, in the running project's next epoch or when it runs next.

    Args:
        numbers: Which, by their numbers in `headwater rejects ls`.
        folder: The project's folder.
        every: All that are open.
    """
    return _decide("ask_replay", numbers, folder, every, "to be replayed")


@app.command
def discard(*numbers: int, folder: Path = Path(), every: bool = False) -> int:
    """Give rejects up. They stay in the ledger and are counted as rejected.

    Args:
        numbers: Which, by their numbers in `headwater rejects ls`.
        folder: The project's folder.
        every: All that are open.
    """
    return _decide("discard", numbers, folder, every, "discarded")


def _decide(verb: str, numbers: tuple[int, ...], folder: Path, every: bool, said: str) -> int:
    store = _open(folder)
    chosen = [entry.id for entry in store.ledger.entries(("open",), limit=1_000_000)] if every else list(numbers)
    for number in chosen:
        store.ledger.entry(number)
    with store.transaction():
        moved = store.ledger.ask_replay(chosen) if verb == "ask_replay" else store.ledger.discard(chosen)
    store.close()
    output.note(f"{moved} of {len(chosen)} {said}")
    return output.OK if moved == len(chosen) else output.FAILED


def _open(folder: Path) -> StateStore:
    from headwater.cli.opening import read_project
    from headwater.errors import UserError
    from headwater.runtime.state_store import StateStore

    state = read_project(folder).state
    if not (state / "state.db").exists():
        raise UserError(f"this project has not run yet: there is no {state / 'state.db'}", hint="headwater run")
    return StateStore(state)


def _json(entry: Reject) -> dict[str, object]:
    told = {
        name: value for name, value in vars(entry).items() if name not in ("record", "first_seen_us", "last_seen_us")
    }
    return {**told, "first_seen": _time(entry.first_seen_us), "last_seen": _time(entry.last_seen_us)}


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
