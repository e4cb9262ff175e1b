"""`headwater syncs`: what is sent where, how far it got, and what to do about records that could not be delivered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    from headwater.deliver.deliveries import Deliveries
    from headwater.project.definition import Project, SyncDefinition

app = App(name="syncs", help="Show what is sent where and how far it got; try again, pause, or send everything again.")
_PARTS = ("handed", "delivered", "superseded", "discarded", "parked", "failed", "pending")


@app.command
def ls(folder: Path = Path(), /, *, json: bool = False) -> int:
    """List the syncs, and what became of the records that were handed to them.

    Args:
        folder: The project's folder.
        json: Print one JSON object.
    """
    from headwater.cli.opening import read_project

    project = read_project(folder)
    found = [_told(project, sync) for sync in project.syncs]
    if json:
        output.print_json({"syncs": found})
        return output.OK
    header = ["sync", "model", "type", "state", *_PARTS]
    output.print_table(header, [[str(one[name if name != "sync" else "name"]) for name in header] for one in found])
    for one in found:
        if one["error"]:
            output.warn(f"{one['name']}: {one['error']}", f"headwater syncs show {one['name']}")
    return output.OK


@app.command
def show(name: str, folder: Path = Path(), /, *, limit: int = 100, json: bool = False) -> int:
    """Show the records of a sync that are not delivered, and why.

    Args:
        name: The sync's name.
        folder: The project's folder.
        limit: The most of them.
        json: Print one JSON object.
    """
    store, project, sync = _open(name, folder)
    waiting = store.waiting(limit=limit)
    store.close()
    rows: list[dict[str, object]] = [
        {"seq": one.seq, "state": one.state, "key": one.key, "epoch": one.epoch, "attempts": one.attempts,
         "reason": one.reason}
        for one in waiting
    ]  # fmt: skip
    if json:
        output.print_json({**_told(project, sync), "waiting": rows})
        return output.OK
    output.print_table(
        list(rows[0]) if rows else ["nothing waits"], [[str(cell) for cell in row.values()] for row in rows]
    )
    return output.OK


@app.command
@as_json
def retry(name: str, *seqs: int, folder: Path = Path()) -> int:
    """Try records again that are parked or wait for their next try; a sync that stopped begins again.

    Args:
        name: The sync's name.
        seqs: Which, by their numbers in `headwater syncs show`; all if none is given.
        folder: The project's folder.
    """
    return _ask("retry", name, seqs, folder)


@app.command
@as_json
def discard(name: str, *seqs: int, folder: Path = Path(), every: bool = False) -> int:
    """Give records up that are not delivered. They stay in the ledger of rejects, and are counted as discarded.

    Args:
        name: The sync's name.
        seqs: Which, by their numbers in `headwater syncs show`.
        folder: The project's folder.
        every: All that are parked or failed.
    """
    if not seqs and not every:
        output.print_usage_error("say which records, or --every", "syncs discard")
        return output.USAGE
    return _ask("discard", name, seqs, folder)


@app.command
@as_json
def pause(name: str, folder: Path = Path(), /) -> int:
    """Send nothing from now on. What changes meanwhile waits in the outbox.

    Args:
        name: The sync's name.
        folder: The project's folder.
    """
    store, _, _ = _open(name, folder)
    store.pause(True)
    store.close()
    output.note(f"{name} is paused: headwater syncs resume {name}")
    return output.OK


@app.command
@as_json
def resume(name: str, folder: Path = Path(), /) -> int:
    """Go on with a sync that was paused, or that stopped for something that has been mended since.

    Args:
        name: The sync's name.
        folder: The project's folder.
    """
    store, project, _ = _open(name, folder)
    store.pause(False)
    store.close()
    _begin_again(project, name)
    output.note(f"{name} goes on")
    return output.OK


@app.command
@as_json
def resync(name: str, folder: Path = Path(), /, *, anew: bool = False, again: bool = False) -> int:
    """Send every row that the model has once more, in the run under way or the next.

    A sync with a key writes the same rows again. Rows that the destination has and the model has not stay there.

    Args:
        name: The sync's name.
        folder: The project's folder.
        anew: Begin another outbox: for a destination that holds more than this state knows of. What waited in the
            former one is left out, as all rows are sent.
        again: Do it for a sync without a key too, which inserts every row once more: empty the destination first.
    """
    from headwater.clock import SystemClock
    from headwater.deliver.outbox import current, new_resync_id
    from headwater.errors import UserError
    from headwater.project.state_file import write_atomically
    from headwater.runtime.outboxes import RESYNC, sync_folder

    store, project, _ = _open(name, folder)
    store.close()
    at = sync_folder(project.state, name)
    of = current(at)
    if of is not None and not of.key and not again:
        raise UserError(
            f"{name!r} has no key: every row would be there twice",
            hint=f"empty the destination, then headwater syncs resync {name} --again",
        )
    write_atomically(at / RESYNC, new_resync_id(SystemClock()) + (" anew" if anew else ""))
    _begin_again(project, name)
    output.note(f"every row of {name} is sent again")
    return output.OK


@app.command
def dry_run(name: str, folder: Path = Path(), /, *, limit: int = 10, json: bool = False) -> int:
    """Show what a sync would send next. Nothing is sent, and nothing is connected.

    Args:
        name: The sync's name.
        folder: The project's folder.
        limit: The most records.
        json: Print one JSON object.
    """
    from headwater.serve.dry_run import next_records

    _, project, sync = _found(name, folder)
    shown = next_records(project, sync, limit)
    if json:
        output.print_json({"sync": name, "records": shown})
        return output.OK
    for line in shown:
        output.print_data(line)
    if not shown:
        output.note("nothing waits to be sent")
    return output.OK


def _ask(verb: str, name: str, seqs: tuple[int, ...], folder: Path) -> int:
    from headwater.errors import UserError

    store, project, _ = _open(name, folder)
    unknown = [seq for seq in seqs if not store.records([seq])]
    if unknown:
        store.close()
        raise UserError(f"no record {unknown[0]} of {name!r} waits", hint=f"headwater syncs show {name}")
    store.ask("retry" if verb == "retry" else "discard", list(seqs) or None)
    store.close()
    _begin_again(project, name)
    output.note(f"asked: {verb} {', '.join(map(str, seqs)) or 'all that are parked or failed'}")
    return output.OK


def _begin_again(project: Project, name: str) -> None:
    from headwater.runtime.deliverers import RESUME
    from headwater.runtime.outboxes import sync_folder

    (sync_folder(project.state, name) / RESUME).touch()


def _found(name: str, folder: Path) -> tuple[Path, Project, SyncDefinition]:
    """The sync of that name.

    Raises:
        UserError: there is none.
    """
    from headwater.cli.opening import read_project
    from headwater.errors import UserError
    from headwater.project.mistakes import did_you_mean
    from headwater.runtime.outboxes import sync_folder

    project = read_project(folder)
    sync = next((one for one in project.syncs if one.name == name), None)
    if sync is None:
        hint = did_you_mean(name, [one.name for one in project.syncs]) or "headwater syncs ls"
        raise UserError(f"there is no sync {name!r}", hint=hint)
    return sync_folder(project.state, name), project, sync


def _open(name: str, folder: Path) -> tuple[Deliveries, Project, SyncDefinition]:
    """The delivery table of a sync that has run.

    Raises:
        UserError: there is no such sync, or it has not run yet.
    """
    from headwater.deliver.deliveries import FILE, Deliveries
    from headwater.errors import UserError

    at, project, sync = _found(name, folder)
    if not (at / FILE).exists():
        raise UserError(f"the sync {name!r} has not run yet", hint="headwater run")
    return Deliveries(at), project, sync


def _told(project: Project, sync: SyncDefinition) -> Mapping[str, object]:
    """Name, model, type, state and account of a sync."""
    from headwater.runtime.status import sync_state
    from headwater.serve.deliveries import account, is_paused

    state, error = sync_state(project.state, sync.name)
    state = "paused" if is_paused(project, sync.name) else state
    told = {"name": sync.name, "model": sync.model, "type": sync.type, "state": state, "error": error}
    return {**told, **account(project, sync.name)}
