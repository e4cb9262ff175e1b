"""`headwater run`: capture, models and tables, until stopped."""

from __future__ import annotations

from pathlib import Path

from headwater.cli import output


def run(folder: Path = Path(), /, *, once: bool = False, json_log: bool | None = None) -> int:
    """Run the project in FOLDER until Ctrl-C, which finishes what is under way; a second one stops at once.

    Serves the console on 127.0.0.1:8080, or what `api:` in headwater.yml says; `api: {console: false}` turns it off.

    Args:
        folder: The project's folder.
        once: Stop when what the sources hold now is in the tables.
        json_log: Tell changes of state as JSON lines; the default does so when stderr is not a terminal.
    """
    from headwater.cli.opening import open_project
    from headwater.console.services import services
    from headwater.runtime.journal import Journal
    from headwater.runtime.supervisor import Supervisor

    supervisor = Supervisor(open_project(folder), Journal(as_json=json_log), once=once, extend=services)
    supervisor.stop_on_signals()
    error = supervisor.run()
    if error is None:
        return output.OK
    output.print_error(error)
    return output.exit_code(error)
