"""What lives in the web server of a running project, and whether there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from starlette.routing import Mount

from headwater.api.server import ApiServer, Service
from headwater.api.settings import ApiSettings
from headwater.capture.source import Source
from headwater.clock import Clock
from headwater.project.definition import Project
from headwater.registry.routes import routes
from headwater.registry.store import SchemaStore
from headwater.runtime.catalog_service import CatalogService
from headwater.runtime.completions import Completions
from headwater.runtime.identity import state_identity
from headwater.runtime.journal import Journal
from headwater.runtime.progress import Progress


@runtime_checkable
class Served(Protocol):
    """A source that is sent to."""

    name: str

    def service(self) -> Service:
        """What it adds to the web server."""


def make_api(
    project: Project, sources: Iterable[Source], progress: Callable[[], Progress], journal: Journal, clock: Clock,
    schemas: Callable[[], SchemaStore],
) -> ApiServer | None:  # fmt: skip
    """The web server, which listens already and does not answer yet; None if nothing asks for one.

    Args:
        project: whose.
        sources: its sources.
        progress: how far its epochs are.
        journal: where requests that fail through a fault of ours are told of.
        clock: time.
        schemas: gives the schemas that its registry serves, below /registry.

    Raises:
        UserError: the address cannot be listened at.
    """
    served = [source for source in sources if isinstance(source, Served)]
    serves_catalog = project.lake.catalog.serve
    if not served and not serves_catalog and project.api is None:
        return None
    names = [source.name for source in served]
    tables = {table.name for model in project.models for table in model.tables}
    for definition in project.sources:
        if definition.name in names:
            tables |= {table.name for stream in definition.streams for table in definition.tables(stream)}
    completions = Completions(progress, state_identity(project.state), names, tables, clock)

    def tell(error: str) -> None:
        journal.write("api.failed", "error", error=error)

    registry = Service([Mount("/registry", routes=routes(schemas()))])
    services = [*(source.service() for source in served), completions.service(), registry]
    services += [CatalogService(project).service()] if serves_catalog else []
    return ApiServer(project.api or ApiSettings.model_validate({}), services, tell)
