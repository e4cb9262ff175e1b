"""`headwater run`: capture, models and tables, until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headwater.cli import output

Log = Literal["auto", "json", "text"]


def run(
    folder: Path = Path(), /, *, once: bool = False, log: Log = "auto", json: bool = False, json_log: bool = False
) -> int:
    """Run the project in FOLDER until Ctrl-C, which finishes what is under way; a second one stops at once.

    Serves the console on 127.0.0.1:8080, or what `api:` in headwater.yml says; `api: {console: false}` turns it off.

    Args:
        folder: The project's folder.
        once: Stop when what the sources hold now is in the tables.
        log: How to tell changes of state on stderr: as JSON lines, as text, or auto: text on a terminal.
        json: Print one JSON object to stdout when the project has stopped.
        json_log: The same as --log json.
    """
    from headwater.cli.opening import open_project
    from headwater.console.services import services
    from headwater.runtime.journal import Journal
    from headwater.runtime.supervisor import Supervisor

    journal = Journal(as_json=True if json_log else {"auto": None, "json": True, "text": False}[log])
    supervisor = Supervisor(open_project(folder), journal, once=once, extend=services)
    supervisor.stop_on_signals()
    error = supervisor.run()
    code = output.OK if error is None else output.exit_code(error)
    if json:
        output.print_json({"code": code, "errors": [] if error is None else output.error_json(error)})
    if error is not None:
        output.print_error(error)
    return code
