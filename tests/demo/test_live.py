"""The live view draws whatever a status may say: nothing, the usual, the huge, and the broken."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from headwater.clock import SystemClock
from headwater.demo.live import LiveView, count, milliseconds, picture, plain_line, rate, size, sparkline, svg

TYPICAL: dict[str, object] = {
    "v": 1, "project": "shop", "running": True, "state": "running", "epoch": 128, "checkpoint": {"epoch": 120},
    "freshness_ms": {"p50": 412.3, "p99": 861.0}, "accounting": True, "rejects": {"open": 2}, "error": None,
    "sources": [{"name": "shop", "state": "running", "lag_bytes": 12288, "rows_per_s": 1240.3, "streams": [
        {"name": "orders", "read": 9120, "landed": 9079, "rejected": 2, "filtered": 0, "late": 0, "in_flight": 41},
    ]}],
    "tables": [{"name": "orders", "rows": 4332, "epoch": 128}],
    "models": [{"name": "unpaid_orders", "rows": 212, "read": 636, "rows_per_s": 388, "late": 0,
                "watermark_us": 1_795_251_600_000_000}],
}  # fmt: skip
HUGE: dict[str, object] = {
    **TYPICAL,
    "project": "a_name_of_sixty_three_characters_" + "x" * 30,
    "epoch": 10**15,
    "freshness_ms": {"p50": 9e9, "p99": None},
    "sources": [
        {"name": "s" * 63, "state": "snapshotting", "lag_bytes": 2**60, "rows_per_s": 1e13, "streams": [
            {"name": "t" * 63, "read": 10**18, "landed": 0, "rejected": 10**12, "filtered": 0, "in_flight": 10**18}
            for _ in range(40)
        ]},
    ],
}  # fmt: skip
BROKEN: dict[str, object] = {
    **TYPICAL,
    "state": "stopped",
    "accounting": False,
    "error": {"message": "the slot is gone", "hint": "headwater check"},
}
STATUSES = {"empty": {}, "typical": TYPICAL, "huge": HUGE, "broken": BROKEN}


class StillClock(SystemClock):
    """A clock that moves when it is told to."""

    seconds = 0.0

    def monotonic_s(self) -> float:
        return self.seconds


def drawn(status: dict[str, object], width: int) -> str:
    console = Console(file=io.StringIO(), record=True, width=width)
    console.print(picture(status, [1.0, 0.0, 5.0], width=width, note="a note"))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("name", STATUSES)
def test_every_status_fits_its_width(name: str, width: int) -> None:
    text = drawn(STATUSES[name], width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "a note" in text


def test_what_is_said_is_shown() -> None:
    for width in (80, 100):
        text = drawn(TYPICAL, width)
        for word in ("shop", "128", "1,240", "12.0 KiB", "4,332", "9,120", "41", "unpaid_orders", "412 ms", "add up"):
            assert word in text, (word, width)
    assert "the slot is gone" in drawn(BROKEN, 80)
    assert "do not add up" in drawn(BROKEN, 80)


def test_no_terminal_gets_plain_lines() -> None:
    console = Console(file=(out := io.StringIO()), width=80)
    clock = StillClock()
    with LiveView(console, clock=clock) as view:
        view.show(TYPICAL, "going [on]")
        view.show({}, "too soon to be told")
        clock.seconds += 2
        view.show({})
    lines = out.getvalue().splitlines()
    assert lines[0] == plain_line(TYPICAL, "going [on]")
    assert len(lines) == 2
    assert "\x1b" not in out.getvalue()
    assert re.search(r"epoch 128 .* p99 861 ms .* rejects 2", lines[0])


def test_a_terminal_gets_the_picture() -> None:
    console = Console(file=(out := io.StringIO()), width=100, force_terminal=True)
    with LiveView(console, "the demo") as view:
        view.say("killed with kill -9")
        view.show(TYPICAL)
    assert "the demo" in out.getvalue()
    assert "killed with kill -9" in out.getvalue()


def test_svg_is_a_document_with_the_numbers() -> None:
    document = svg(TYPICAL, [1.0, 2.0], width=80)
    assert document.startswith("<svg")
    assert "unpaid_orders" in document


def test_the_photograph_is_of_the_moment_before_the_story_turned() -> None:
    with LiveView(Console(file=io.StringIO(), width=80)) as view:
        view.say("it begins")
        view.show({}, "too_early")
        view.show(TYPICAL, "just_right")
        view.say("killed")
        view.show(BROKEN, "too_late")
    document = view.photograph()
    assert "just_right" in document
    assert "too_early" not in document
    assert "too_late" not in document


def test_numbers_read_well() -> None:
    assert [count(n) for n in (None, 0, 1234, 12_345_678, 10**12)] == ["-", "0", "1,234", "12.3 M", "1,000.0 G"]
    assert [size(n) for n in (None, 0, 1536, 5 * 2**30)] == ["-", "0 B", "1.5 KiB", "5.0 GiB"]
    assert [milliseconds(n) for n in (None, 412.3, 12_000, 3_600_000)] == ["-", "412 ms", "12 s", "60 min"]
    assert sparkline([0, 1, 2]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert rate(TYPICAL) == 1240.3
