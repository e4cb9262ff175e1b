"""`headwater tail`: the changes of a model or table as they are committed."""

from __future__ import annotations

from json import dumps
from pathlib import Path

from headwater.cli import output


def tail(
    name: str,
    folder: Path = Path(),
    /,
    *,
    follow: bool = True,
    after_epoch: int | None = None,
    json: bool = False,
) -> int:
    """Print the changes of a model or table as its epochs are committed, until Ctrl-C: + appears, - goes.

    Args:
        name: The model or table.
        folder: The project's folder.
        follow: Wait for more; with --no-follow, print what is kept and end.
        after_epoch: Begin after this epoch.
        json: One JSON object for each changed row.
    """
    from headwater.change import WEIGHT
    from headwater.cli.opening import read_project
    from headwater.serve import tail as serve
    from headwater.serve.moments import printable

    for change in serve.tail(read_project(folder), name, after_epoch=after_epoch, follow=follow):
        for row in printable(change.rows).to_pylist():
            weight = row.pop(WEIGHT)
            if json:
                line = {"v": 1, "epoch": change.epoch, "weight": weight, "row": row}
                output.print_data(dumps(line, default=str, ensure_ascii=False))
            else:
                sign = "+" if weight > 0 else "-"
                values = "  ".join(f"{column}={value}" for column, value in row.items())
                output.print_data(f"{change.epoch:>6}  {sign * min(abs(weight), 3)}  {values}")
    return output.OK
