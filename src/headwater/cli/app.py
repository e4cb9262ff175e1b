"""The command `headwater`: which commands there are, and the edge where every error ends.

A new command is one module in this folder and one line in `COMMANDS`. Its module is imported only when it is used, and
imports the rooms that it needs inside its function, so that `headwater --help` answers at once.

A command is a function with typed parameters and a docstring (they become its flags and help) that returns an exit
code, or None for 0; a command with commands of its own is a `cyclopts.App`. It prints through `headwater.cli.output`
and raises `HeadwaterError`.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import App, CycloptsError, Parameter

from headwater import __version__
from headwater.cli import output
from headwater.errors import HeadwaterError
from headwater.redaction import redacted


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: what is typed.
        function: "module:function" (or "module:app"), imported when the command is used.
        summary: one line for `headwater --help`. A `cyclopts.App` has the same help: cyclopts writes it there.
    """

    name: str
    function: str
    summary: str


COMMANDS: tuple[Command, ...] = (
    Command(
        "demo", "headwater.cli.demo:demo", "Watch a shop's PostgreSQL become live models and tables, and prove it."
    ),
    Command("mirror", "headwater.cli.mirror:mirror", "Mirror a database's tables into a lake folder, with no project."),
    Command("init", "headwater.cli.init:init", "Write a new project, from a database if you like."),
    Command("check", "headwater.cli.check:check", "Find the mistakes in a project, without running it."),
    Command(
        "doctor", "headwater.cli.doctor:doctor", "Look at everything the project depends on, and say how to mend it."
    ),
    Command("test", "headwater.cli.test:test", "Run the tests of the models, offline; or record one from live data."),
    Command("plan", "headwater.cli.plan:plan", "Show what the next run will do, and why."),
    Command("apply", "headwater.cli.apply:apply", "Bring changed models into force without stopping the rest."),
    Command("rollback", "headwater.cli.rollback:rollback", "Bring back the version of a model that ran before."),
    Command("dev", "headwater.cli.dev:dev", "Run the project, reload what you edit, and show what changes."),
    Command("explain", "headwater.cli.explain:explain", "Show how a model is kept up to date, and what that costs."),
    Command("lineage", "headwater.cli.lineage:lineage", "Show where the columns of models come from."),
    Command("run", "headwater.cli.run:run", "Capture, keep the models up to date and land the tables, until stopped."),
    Command("status", "headwater.cli.status:status", "Show where everything stands and whether it adds up."),
    Command("query", "headwater.cli.query:query", "Answer SQL over tables and models, running or stopped."),
    Command("tables", "headwater.cli.tables:app", "List the tables in the lake, and look into their past."),
    Command(
        "maintain", "headwater.cli.maintain:maintain", "Keep the tables small and healthy, now; show what was done."
    ),
    Command("catalog", "headwater.cli.catalog:app", "Let other engines attach to the lake."),
    Command("checkpoint", "headwater.cli.checkpoint:app", "List the engine's saved states, and go back to one."),
    Command("tail", "headwater.cli.tail:tail", "Follow the changes of a model or table."),
    Command(
        "source",
        "headwater.cli.source:app",
        "Show how the sources fare, and decide what to do when one has lost its position.",
    ),
    Command("verify", "headwater.cli.verify:verify", "Prove mirrors equal to their source at an exact position."),
    Command(
        "snapshot",
        "headwater.cli.snapshot:snapshot",
        "Read tables again while their changes are followed.",
    ),
    Command("checks", "headwater.cli.checks:checks", "Show how the quality checks stand."),
    Command(
        "rejects",
        "headwater.cli.rejects:app",
        "List, show, replay, discard or export the records that could not go on.",
    ),
    Command(
        "syncs",
        "headwater.cli.syncs:app",
        "Show what is sent where and how far it got; try again, pause, or send everything again.",
    ),
    Command("log", "headwater.cli.log:app", "Look into the durable log, where every change comes first."),
    Command("bench", "headwater.cli.bench:app", "Measure parts of Headwater on this machine."),
)


COMPLETION = "--install-completion"
"""Writes what bash, zsh or fish need to complete commands and their flags."""


def build(*used: str) -> App:
    """The whole command line; no command's module is imported.

    Args:
        used: commands that will be used: their own docstrings stand instead of their summaries.
    """
    app = App(
        name="headwater",
        help="A streaming lakehouse that you pip install: changes of databases become live SQL models and lake tables.",
        version=f"headwater {__version__}",
        default_parameter=Parameter(negative_iterable=()),
        suppress_keyboard_interrupt=False,
        help_formatter="default" if sys.stdout.isatty() else "plain",
    )
    if COMPLETION in used:
        app.register_install_completion_command(COMPLETION)
    for command in COMMANDS:
        app.command(command.function, name=command.name, help=None if command.name in used else command.summary)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: what was typed after `headwater`; None takes the process's.

    Returns:
        The exit code, as `headwater.cli.output` promises them.
    """
    if arguments is None:
        return _whole_process()
    try:
        return _run(list(arguments))
    except HeadwaterError as error:
        output.print_error(error)
        if "--json" in arguments:
            output.print_json({"code": output.exit_code(error), "errors": output.error_json(error)})
        return output.exit_code(error)
    except KeyboardInterrupt:
        output.note("interrupted")
        return output.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`| head`) has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return output.FAILED
    except Exception as error:  # noqa: BLE001 - the edge: a bug is one line and a file, never a wall of text
        return _internal(error)


def _whole_process() -> int:
    from headwater.allocators import keep_freed

    keep_freed()
    codes: list[int] = []
    atexit.register(_leave, codes)  # before all others, and so called after them
    codes.append(main(sys.argv[1:]))
    return codes[0]


def _leave(codes: list[int]) -> None:
    """Ends a process that has done all that it had to, but for taking every module and object apart, which is a third
    of what a short command takes. Without a code, what came instead of one is left to Python."""
    if not codes:
        return
    code = codes[0]
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        code = code or output.FAILED
    os._exit(code)


def _run(arguments: list[str]) -> int:
    try:
        code = build(*arguments[:1])(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        output.print_usage_error(str(error), " ".join(error.command_chain or ()))
        return output.USAGE
    return code if isinstance(code, int) else output.OK


def _internal(error: Exception) -> int:
    descriptor, path = tempfile.mkstemp(prefix="headwater-", suffix=".traceback")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(redacted("".join(traceback.format_exception(error))))
    first = str(error).partition("\n")[0]
    output.note(redacted(f"internal error: {type(error).__name__}: {first}; the traceback is in {path}"))
    return output.FAILED


if __name__ == "__main__":
    sys.exit(main())
