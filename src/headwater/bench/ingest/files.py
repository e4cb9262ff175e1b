"""Files of an access log and of NDJSON and CSV, read to their ends by a source of files: from the bytes on the disk to
typed Arrow columns with their positions. The log lines are in Apache's combined format, for `%{COMBINEDAPACHELOG}`."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headwater.bench.child import measure as in_child
from headwater.bench.ingest.sources import finding
from headwater.bench.stopwatch import Stopwatch
from headwater.capture.files.settings import FilesSettings
from headwater.capture.files.source import FilesSource
from headwater.clock import SystemClock
from headwater.errors import InvariantBroken

LIMIT_S = 300.0
WARM = 20_000
"""Records read before the clock starts, so that what is compiled is compiled."""

AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5",
    "curl/8.5.0",
)
FORMATS: dict[str, Any] = {
    "grok COMBINEDAPACHELOG": {"type": "grok", "pattern": "%{COMBINEDAPACHELOG}"},
    "ndjson": "ndjson",
    "csv": "csv",
    "lines": "lines",
}


def measure(records: int, tell: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """See `headwater.bench.ingest.sources.Measure`."""
    found = []
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
        for what in FORMATS:
            given = {"folder": folder, "what": what, "records": records}
            one = in_child(f"{__name__}:headwater", given, LIMIT_S)
            found.append({**one, "what": f"headwater {what}"})
            tell(found[-1])
    return found


def access_log(count: int, seed: int = 1) -> Iterator[str]:
    """Lines of an access log in Apache's combined format."""
    rng = random.Random(seed)
    for number in range(count):
        client = f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        user = "frank" if number % 11 == 0 else "-"
        time = f"{number // 3_600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
        at = f"{number // 86_400 % 28 + 1:02d}/Oct/2026:{time}"
        verb = rng.choice(("GET", "GET", "POST"))
        request = f"{verb} /shop/item/{rng.randrange(99_999)}?q={rng.random():.6f} HTTP/1.1"
        size = "-" if number % 17 == 0 else rng.randrange(100, 99_999)
        referrer = "-" if number % 3 == 0 else "https://www.example.com/start?from=mail"
        status, agent = rng.choice((200, 200, 304, 404)), rng.choice(AGENTS)
        yield f'{client} - {user} [{at} +0000] "{request}" {status} {size} "{referrer}" "{agent}"'


def _text(what: str, count: int) -> Iterator[str]:
    if what in ("lines", "grok COMBINEDAPACHELOG"):
        yield from access_log(count)
    elif what == "csv":
        yield "id,customer,status,amount,country"
        yield from (f"{n},{n * 7919 % 100_003},{('placed', 'paid')[n % 2]},{n % 9973}.25,IE" for n in range(count))
    else:
        for n in range(count):
            status = ("placed", "paid")[n % 2]
            yield json.dumps({"id": n, "customer": n * 7919 % 100_003, "status": status, "amount": n % 9973 + 0.25})


def headwater(folder: str, what: str, records: int) -> dict[str, Any]:
    """Reads a file to its end."""
    for name, count in (("warm", WARM), ("all", records)):
        with (Path(folder) / f"{name}.log").open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in _text(what, count))
    clock = SystemClock()
    watch = Stopwatch(clock)
    _read(folder, "warm", what, WARM)
    with watch:
        _read(folder, "all", what, records)
    return finding(what, records, watch.seconds, watch.cpu_s)


def _read(folder: str, name: str, what: str, records: int) -> None:
    settings = FilesSettings.model_validate({"files": {"log": {"paths": f"{name}.log", "format": FORMATS[what]}}})
    source = FilesSource("bench", settings, project="bench", clock=SystemClock())
    source.folder = Path(folder)
    reader = source.open(None)
    taken = 0
    while taken < records:
        group = reader.poll(1.0)
        if group is None or group.rejects is not None:
            raise InvariantBroken(f"{taken} of {records} records came, or some were rejected")
        taken += len(group)
    reader.close()
