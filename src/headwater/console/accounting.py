"""`GET /v1/accounting`: read = landed + rejected + filtered + late + in flight, for everything."""

from __future__ import annotations

from typing import Any

from headwater.console import overview
from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import accounting as shapes
from headwater.quality.accounting import Account


def accounting(call: Call) -> shapes.Accounting:
    """All accounts as of the last epoch."""
    progress, now = call.running.progress(), overview.latest(call)
    streams = [
        shapes.StreamLine(**_line(name, account), source=progress.stream_sources.get(name, ""))
        for name, account in progress.streams.items()
    ]
    models = [shapes.Line(**_line(name, account)) for name, account in progress.models.items()]
    syncs = [
        shapes.SyncLine(**{name: getattr(sync, name) for name in shapes.SyncLine.model_fields}) for sync in now.syncs
    ]
    aside = [
        shapes.AsideLine(
            name=name, holds=bool(counts["holds"]),
            counts={key: int(value) for key, value in counts.items() if key != "holds"},
        )
        for name, counts in progress.gates.items()
    ]  # fmt: skip
    lines: list[shapes.Line | shapes.SyncLine | shapes.AsideLine] = [*streams, *models, *syncs, *aside]
    holds = all(line.holds for line in lines)
    return shapes.Accounting(
        epoch=progress.epoch, holds=holds, streams=streams, models=models, syncs=syncs, aside=aside
    )


def _line(name: str, account: Account) -> dict[str, Any]:
    return {"name": name, **account.as_dict(), "difference": account.difference}


ENDPOINTS = (
    Endpoint("GET", "/v1/accounting", "Every account, and whether it adds up.", shapes.Accounting, accounting),
)
