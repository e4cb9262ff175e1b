"""`headwater verify`: a mirror proved equal to its source at an exact position, or where it is not."""

from __future__ import annotations

import builtins
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output

if TYPE_CHECKING:
    from headwater.quality.certificates import Certificate


def verify(
    *tables: str,
    folder: Path = Path(),
    list: bool = False,
    every: bool = False,
    index: bool = False,
    wait_s: float = 60.0,
    json: bool = False,
) -> int:
    """Prove that mirrors hold exactly what their source's tables hold, at one exact position, while everything runs.

    The project must be running. Exit code 0: equal to the last bit. 1: equal but for rows that `headwater rejects`
    lists. 5: different. A certificate of each comparison is kept.

    With --index, running or not: hold the key indexes that are kept for the next start against the tables' files.

    Args:
        tables: SOURCE.TABLE each, for instance shop.orders or shop.sales.orders; with --index tables of the lake, or
            none for all.
        folder: The project's folder.
        list: Compare nothing; list the newest certificate of each table.
        every: With --list, list all certificates that are kept.
        index: Compare no rows; check that the key index of each table says of every row where it lies. Exit code 5 if
            not.
        wait_s: Seconds that the log may take to reach the source's position.
        json: Print one JSON object.
    """
    if index:
        return _check_indexes(tables, folder, json)
    certificates = _kept(folder, every) if list or every else _made(tables, folder, wait_s, shown=not json)
    if json:
        output.print_json({"certificates": [certificate.as_dict() for certificate in certificates]})
    else:
        _print(certificates, listed=list or every)
    if list or every:
        return output.OK
    verdicts = {certificate.verdict for certificate in certificates}
    return output.WRONG_DATA if "different" in verdicts else output.FAILED if "rejected" in verdicts else output.OK


def _check_indexes(tables: tuple[str, ...], folder: Path, json: bool) -> int:
    from headwater.cli.opening import read_project
    from headwater.runtime.identity import index_folder
    from headwater.runtime.verify import check_indexes
    from headwater.serve.query import open_lake

    project = read_project(folder)
    lake = open_lake(project)
    try:
        checks = check_indexes(project, lake, tables)
    finally:
        lake.close()
    if json:
        output.print_json({"indexes": [{**asdict(check), "holds": check.holds} for check in checks]})
    else:
        lines = [[c.table, *map(str, (c.rows, c.missing, c.superfluous, c.wrong)), c.origin] for c in checks]
        output.print_table(["table", "rows", "missing", "superfluous", "wrong", "index from"], lines)
        for check in checks:
            for line in check.listed:
                output.print_data(f"{check.table}: {line}")
        if not all(check.holds for check in checks):
            output.note(
                f"stop the project, remove {index_folder(project.state)}: the next run builds it from the tables"
            )
    return output.OK if all(check.holds for check in checks) else output.WRONG_DATA


def _made(tables: tuple[str, ...], folder: Path, wait_s: float, *, shown: bool) -> builtins.list[Certificate]:
    from headwater.cli.opening import open_project
    from headwater.cli.progress_bar import progress
    from headwater.clock import SystemClock
    from headwater.errors import UserError
    from headwater.runtime.verify import verify as compare
    from headwater.serve.query import open_lake

    if not tables:
        raise UserError("no table is named", hint="headwater verify SOURCE.TABLE, or --list for former certificates")
    project = open_project(folder)
    lake = open_lake(project)
    try:
        made = []
        with progress("verifying", len(tables), shown=shown) as done:
            for table in tables:
                made.append(compare(project, lake, table, SystemClock(), wait_s=wait_s))
                done(len(made), None)
        return made
    finally:
        lake.close()


def _kept(folder: Path, every: bool) -> builtins.list[Certificate]:
    from headwater.cli.opening import read_project
    from headwater.errors import UserError
    from headwater.runtime.state_store import StateStore

    state = read_project(folder).state
    if not (state / "state.db").exists():
        raise UserError(f"this project has not run yet: there is no {state / 'state.db'}", hint="headwater run")
    store = StateStore(state)
    try:
        return store.certificates.entries(newest_only=not every)
    finally:
        store.close()


def _print(certificates: builtins.list[Certificate], *, listed: bool) -> None:
    output.print_table(
        ["table", "verdict", "position", "rows", "here", "checksum", "differ", "rejected", "made"],
        [_line(certificate) for certificate in certificates],
    )
    for certificate in [] if listed else certificates:
        for row in certificate.listed:
            columns = f" in {', '.join(row.columns)}" if row.columns else ""
            count = f" ({row.count} times)" if row.count > 1 else ""
            output.print_data(f"{certificate.source}.{certificate.table} {row.key} {row.what}{columns}{count}")
        if not certificate.complete:
            output.note("not every part that differs was looked at row by row: there are too many")


def _line(certificate: Certificate) -> list[str]:
    return [
        f"{certificate.source}.{certificate.table}",
        certificate.verdict,
        certificate.position,
        str(certificate.rows),
        str(certificate.rows_here),
        certificate.checksum[-12:],
        str(certificate.differences),
        str(certificate.rejected),
        datetime.fromtimestamp(certificate.made_us / 1e6, UTC).isoformat(timespec="seconds"),
    ]
