"""`headwater checkpoint`: the engine's saved states, and going back to one."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from headwater.cli import output
from headwater.cli.as_json import as_json

app = App(name="checkpoint", help="List the engine's saved states, and go back to one.")


@app.command
def ls(folder: Path = Path(), /, *, limit: int = 50, json: bool = False) -> int:
    """List checkpoints, newest first: epoch, time, how long they took, how large they are, and which are kept.

    Args:
        folder: The project's folder.
        limit: At most so many.
        json: Print one JSON object.
    """
    from dataclasses import asdict

    from headwater.cli.opening import read_project
    from headwater.lake.moment import time_text
    from headwater.runtime.checkpoint_history import kept_epochs, noted

    state = read_project(folder).state
    kept, made = kept_epochs(state), noted(state, limit)
    if json:
        output.print_json({"checkpoints": [{**asdict(one), "kept": one.epoch in kept} for one in made]})
        return output.OK
    rows = [
        [str(one.epoch), time_text(one.at_us), f"{one.duration_ms:,.0f} ms", f"{one.bytes:,}", f"{one.new_bytes:,}",
         f"{one.files:,}", "kept" if one.epoch in kept else ""]
        for one in made
    ]  # fmt: skip
    output.print_table(["epoch", "time", "took", "bytes", "new", "files", ""], rows)
    return output.OK


@app.command
@as_json
def restore(epoch: int, folder: Path = Path(), /) -> int:
    """Let the next start of a stopped project begin at an earlier checkpoint, for instance if the newest is suspected.

    Epochs since then are run again with the same input. The tables hold them already and are left alone: no row is lost
    or doubled. To put a table back to what it held earlier: headwater tables rollback.

    Args:
        epoch: Its epoch; `headwater checkpoint ls` says which are kept.
        folder: The project's folder.
    """
    from headwater.cli.opening import read_project
    from headwater.clock import SystemClock
    from headwater.runtime.checkpoint_history import go_back

    forgotten = go_back(read_project(folder).state, epoch, SystemClock())
    told = f"forgotten: {', '.join(map(str, forgotten))}" if forgotten else "it is the newest"
    output.print_data(f"the next start begins at checkpoint {epoch} ({told})")
    return output.OK
