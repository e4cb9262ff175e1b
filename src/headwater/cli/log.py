"""`headwater log`: look into the durable log."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    from headwater.log.cursor import LogRecord

app = App(name="log", help="Look into the durable log, where every change comes first.")


@app.command
def ls(folder: Path = Path(), /, *, json: bool = False) -> int:
    """List the segments of every source's log.

    Args:
        folder: The project's folder.
        json: Print one JSON object.
    """
    from headwater.log.partition import open_for_reading

    rows = []
    for source, partition in _partitions(folder):
        view = open_for_reading(partition)
        rows += [
            {"source": source, "segment": s.path.name, "base": s.base, "records": s.records, "bytes": s.bytes}
            for s in view.segments()
        ]
    if json:
        output.print_json({"segments": rows})
    else:
        output.print_table(
            ["source", "segment", "base", "records", "bytes"], [[str(v) for v in row.values()] for row in rows]
        )
    return output.OK


@app.command
@as_json
def peek(source: str, folder: Path = Path(), /, *, offset: int | None = None, records: int = 10) -> int:
    """Print records of a source's log as JSON lines.

    Args:
        source: The source.
        folder: The project's folder.
        offset: The first offset; the default shows the last records.
        records: How many.
    """
    from headwater.errors import UserError
    from headwater.log.partition import open_for_reading

    known = dict(_partitions(folder))
    if source not in known:
        raise UserError(
            f"there is no log of a source {source!r}", hint=f"sources with a log: {', '.join(known) or '-'}"
        )
    view = open_for_reading(known[source])
    start = max(view.base, view.head - records) if offset is None else offset
    for line in _lines(view.read(start, min(view.head, start + records))):
        output.print_data(line)
    return output.OK


@app.command
@as_json
def verify(folder: Path = Path(), /) -> int:
    """Check every byte of the log against its checksums.

    Args:
        folder: The project's folder.
    """
    from headwater.log.partition import verify as verify_partition

    code = output.OK
    for source, partition in _partitions(folder):
        report = verify_partition(partition)
        output.print_data(f"{source}: {report.segments} segments, {report.records:,} records, {report.bytes:,} bytes")
        for note in report.notes:
            output.print_data(f"{source}: {note}")
        for finding in report.findings:
            output.print_data(
                f"{source}: {finding.kind} in {finding.segment}, bytes {finding.begin} to {finding.end},"
                f" offsets from {finding.first_offset} to {finding.next_offset or 'the end'}: {finding.reason}"
            )
        if not report.ok:
            code = output.WRONG_DATA
    return code


def _partitions(folder: Path) -> list[tuple[str, Path]]:
    from headwater.cli.opening import read_project
    from headwater.errors import UserError

    log = read_project(folder).state / "log"
    if not log.is_dir():
        raise UserError(f"this project has not run yet: there is no {log}", hint="headwater run")
    return [(path.name, path) for path in sorted(log.iterdir()) if path.is_dir()]


def _lines(records: Iterator[LogRecord]) -> Iterator[str]:
    import pyarrow as pa

    from headwater.serve.moments import printable

    for record in records:
        stream = "_rejects" if record.stream is None else record.stream.name
        for number, row in enumerate(printable(pa.Table.from_batches([record.rows])).to_pylist()):
            yield dumps({"offset": record.offset + number, "stream": stream, **row}, default=str)
