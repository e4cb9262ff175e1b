"""A calm view of a running project in the terminal, drawn from nothing but its status (`headwater status --json`)."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from headwater.clock import Clock, SystemClock

Status = Mapping[str, object]

BARS = "▁▂▃▄▅▆▇█"
HISTORY = 60
"""How many rates the sparkline remembers."""
PLAIN_EVERY_S = 2.0
_INDENT = 2

_ACCENT, _QUIET, _GOOD, _WARN, _BAD = "cyan", "bright_black", "green", "yellow", "red"
_STATE_STYLES = {
    "running": _GOOD, "done": _GOOD, "snapshotting": _ACCENT, "starting": _ACCENT, "waiting": _WARN, "stopped": _BAD,
    "killed": _BAD,
}  # fmt: skip


class LiveView:
    """Shows one status after another in place on a terminal, or as a plain line each where there is none.

    Args:
        console: where to draw.
        title: what stands at the top left.
        clock: time; plain lines come at most every `PLAIN_EVERY_S` seconds.
    """

    def __init__(self, console: Console, title: str = "headwater", clock: Clock | None = None) -> None:
        self._console = console
        self._title = title
        self._clock = clock or SystemClock()
        self._told_s = -PLAIN_EVERY_S
        self._rates: deque[float] = deque(maxlen=HISTORY)
        self._frame: tuple[Status, list[float], str] = ({}, [], "")
        self._turned = False
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> LiveView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: Status, note: str = "") -> None:
        """Draws `status`, with `note` as the last line."""
        self._rates.append(rate(status))
        if not self._turned:
            self._frame = (status, list(self._rates), note)
        if self._live is not None:
            self._live.update(self.picture(status, note), refresh=True)
        elif (now := self._clock.monotonic_s()) - self._told_s >= PLAIN_EVERY_S:
            self._told_s = now
            self._console.print(plain_line(status, note), markup=False, highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Prints a line that stays, above the picture."""
        self._turned = self._turned or bool(self._rates)
        self._console.print(Text(f"  {sentence}"))

    def photograph(self) -> str:
        """The picture as an SVG document: the last before something was said about it, such as that it was killed."""
        status, rates, note = self._frame
        return svg(status, rates, title=self._title, note=note)

    def picture(self, status: Status, note: str = "") -> RenderableType:
        """What `show` draws."""
        return picture(status, self._rates, title=self._title, note=note, width=self._console.width)


def picture(
    status: Status,
    rates: Sequence[float] | deque[float] = (),
    *,
    title: str = "headwater",
    note: str = "",
    width: int = 100,
) -> RenderableType:
    """One status as something rich can print.

    Args:
        status: as `headwater status --json` prints it; what is missing is left blank.
        rates: rows per second of the last while, oldest first, for the sparkline.
        title: what stands at the top left.
        note: a last line.
        width: of the terminal, in characters; some columns are left out below 96.
    """
    wide = width >= 96
    parts: list[RenderableType] = [_headline(status, title), Text()]
    parts += [_sources(status, rates, wide), Text(), _streams(status, wide)]
    if _entries(status, "models"):
        parts += [Text(), _models(status, wide)]
    parts += [Text(), _footer(status, width - 2 * _INDENT)]
    error = _mapping(status, "error")
    if error:
        parts += [Text(), Text(str(error.get("message")), style=_BAD), Text(str(error.get("hint")), style=_QUIET)]
    if note:
        parts += [Text(), Text(note, style=_QUIET)]
    return Padding(Group(*parts), (1, _INDENT))


def plain_line(status: Status, note: str = "") -> str:
    """One status in one line, for logs and pipes."""
    fresh = _mapping(status, "freshness_ms")
    lag = sum(_number(source, "lag_bytes") or 0 for source in _entries(status, "sources"))
    parts = [
        str(status.get("state") or "not running"),
        f"epoch {count(status.get('epoch'))}",
        f"{count(rate(status))} rows/s",
        f"lag {size(lag)}",
        f"freshness p50 {milliseconds(fresh.get('p50'))} p99 {milliseconds(fresh.get('p99'))}",
        f"rejects {count(_mapping(status, 'rejects').get('open') or 0)}",
    ]
    return "  ".join([*parts, note] if note else parts)


_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.S)
"""rich names a font to be fetched from elsewhere; the picture takes the reader's own monospace font instead."""


def svg(status: Status, rates: Sequence[float], *, title: str = "headwater", note: str = "", width: int = 100) -> str:
    """The picture as an SVG document, for a README."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(picture(status, rates, title=title, note=note, width=width))
    return _FONT_FACE.sub("", console.export_svg(title="headwater demo"))


def rate(status: Status) -> float:
    """Rows per second that all sources together deliver."""
    return sum(_number(source, "rows_per_s") or 0.0 for source in _entries(status, "sources"))


def sparkline(rates: Iterable[float]) -> str:
    """Bars as high as the rates are, the highest full; nothing stands for no rate at all."""
    values = list(rates)
    top = max(values, default=0.0)
    if top <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[min(int(value / top * len(BARS)), len(BARS) - 1)] for value in values)


def count(value: object) -> str:
    """A number with thousands apart, in short from ten million on; a dash if there is none."""
    if not isinstance(value, int | float):
        return "-"
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= 10 * unit:
            return f"{value / unit:,.1f} {name}"
    return f"{value:,.0f}"


def size(value: object) -> str:
    """Bytes in a unit that fits."""
    if not isinstance(value, int | float):
        return "-"
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= unit:
            return f"{value / unit:,.1f} {name}"
    return f"{value:,.0f} B"


def milliseconds(value: object) -> str:
    """A delay in a unit that fits."""
    if not isinstance(value, int | float):
        return "-"
    if value < 10_000:
        return f"{value:,.0f} ms"
    return f"{value / 1000:,.0f} s" if value < 600_000 else f"{value / 60_000:,.0f} min"


def clock_time(value: object) -> str:
    """Time of day (UTC) of microseconds since 1970; a dash if there is none."""
    if not isinstance(value, int | float):
        return "-"
    return f"{datetime.fromtimestamp(value / 1e6, UTC):%H:%M:%S}"


def _headline(status: Status, title: str) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    state = str(status.get("state") or ("running" if status.get("running") else "not running"))
    left = Text.assemble((title, "bold"), ("  ", ""), (str(status.get("project") or ""), _ACCENT))
    right = Text.assemble(
        ("● ", _STATE_STYLES.get(state, _QUIET)), state, ("   epoch ", _QUIET), count(status.get("epoch"))
    )
    line.add_row(left, right)
    return line


def _grid(headings: Sequence[tuple[str, int]]) -> Table:
    """A table without lines whose first column takes what room is left; the others have fixed widths."""
    grid = Table(box=None, expand=True, padding=0, pad_edge=False, header_style=_QUIET)
    grid.add_column(headings[0][0], ratio=1, no_wrap=True, overflow="ellipsis")
    for heading, width in headings[1:]:
        grid.add_column(heading, width=width, justify="right", no_wrap=True, overflow="ellipsis")
    return grid


def _sources(status: Status, rates: Iterable[float], wide: bool) -> RenderableType:
    grid = _grid([("source", 0), ("", 30 if wide else 16), ("rows/s", 12), ("lag", 12), ("state", 15)])
    spark = sparkline(list(rates)[-28 if wide else -14 :])
    for entry in _entries(status, "sources"):
        state = str(entry.get("state") or "-")
        grid.add_row(
            str(entry.get("name")),
            Text(spark, style=_ACCENT),
            count(_number(entry, "rows_per_s")),
            size(_number(entry, "lag_bytes")),
            Text(state, style=_STATE_STYLES.get(state, "")),
        )
        spark = ""
    return grid


def _streams(status: Status, wide: bool) -> RenderableType:
    headings = [("table", 0), ("rows", 12), ("read", 12), ("rejected", 12), ("in flight", 15)]
    grid = _grid([*headings[:3], ("filtered", 12), *headings[3:]] if wide else headings)
    rows = {str(table.get("name")): _number(table, "rows") for table in _entries(status, "tables")}
    for source in _entries(status, "sources"):
        for entry in _entries(source, "streams"):
            name = str(entry.get("name"))
            filtered: list[RenderableType] = [_zero_is_quiet(_number(entry, "filtered"))] if wide else []
            cells: list[RenderableType] = [count(rows.get(name)), count(_number(entry, "read")), *filtered]
            grid.add_row(
                name,
                *cells,
                _zero_is_quiet(_number(entry, "rejected"), _WARN),
                _zero_is_quiet(_number(entry, "in_flight")),
            )
    return grid


def _models(status: Status, wide: bool) -> RenderableType:
    headings = [("model", 0), ("rows", 12), ("read", 12), ("late", 12), ("watermark", 15)]
    grid = _grid([*headings[:3], ("rows/s", 12), *headings[3:]] if wide else headings)
    for entry in _entries(status, "models"):
        speed: list[RenderableType] = [_zero_is_quiet(_number(entry, "rows_per_s"))] if wide else []
        cells: list[RenderableType] = [count(_number(entry, "rows")), count(_number(entry, "read")), *speed]
        grid.add_row(
            str(entry.get("name")),
            *cells,
            _zero_is_quiet(_number(entry, "late"), _WARN),
            clock_time(_number(entry, "watermark_us")),
        )
    return grid


def _footer(status: Status, room: int) -> RenderableType:
    """Freshness, rejects, the newest checkpoint where there is room for it, and whether the accounts add up."""
    fresh, checkpoint = _mapping(status, "freshness_ms"), _mapping(status, "checkpoint")
    rejects = _number(_mapping(status, "rejects"), "open") or 0
    line = Text.assemble(
        ("freshness  ", _QUIET), ("p50 ", _QUIET), milliseconds(fresh.get("p50")),
        ("  p99 ", _QUIET), milliseconds(fresh.get("p99")),
        ("     rejects  ", _QUIET), (count(rejects), _WARN if rejects else ""),
    )  # fmt: skip
    at = checkpoint.get("epoch")
    kept = Text() if at is None else Text.assemble(("     checkpoint  ", _QUIET), f"epoch {count(at)}")
    accounts = Text()
    if "accounting" in status:
        said, style = ("add up", "") if status["accounting"] else ("do not add up", _BAD)
        accounts = Text.assemble(("     accounts  ", _QUIET), (said, style))
    if line.cell_len + kept.cell_len + accounts.cell_len <= room:
        line.append_text(kept)
    line.append_text(accounts)
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def _zero_is_quiet(value: float | None, style: str = "") -> Text:
    return Text(count(value), style=style if value else _QUIET)


def _entries(owner: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    found = owner.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _mapping(owner: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = owner.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(owner: Mapping[str, object], name: str) -> float | None:
    found = owner.get(name)
    return found if isinstance(found, int | float) else None
