"""What lives in the web server of a running project, and whether there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from starlette.routing import Mount

from headwater.api.server import ApiServer, Service
from headwater.api.settings import ApiSettings
from headwater.capture.source import Source
from headwater.clock import Clock
from headwater.project.definition import Project
from headwater.registry.routes import routes
from headwater.registry.store import SchemaStore
from headwater.runtime.api_token import FILE as TOKEN_FILE
from headwater.runtime.api_token import kept_token
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
    schemas: Callable[[], SchemaStore], more: Sequence[Service] = (),
) -> ApiServer | None:  # fmt: skip
    """The web server, which listens already and does not answer yet; None if nothing asks for one.

    Args:
        project: whose.
        sources: its sources.
        progress: how far its epochs are.
        journal: where requests that fail through a fault of ours are told of.
        clock: time.
        schemas: gives the schemas that its registry serves, below /registry.
        more: what lives there besides, the console; its last service may take all paths that are left.

    Raises:
        UserError: the address cannot be listened at.
    """
    served = [source for source in sources if isinstance(source, Served)]
    serves_catalog = project.lake.catalog.serve
    asked = bool(served) or serves_catalog or project.api is not None
    if not asked and not more:
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
    return ApiServer(_settings(project, journal), [*services, *more], tell, or_any_port=not asked)


def _settings(project: Project, journal: Journal) -> ApiSettings:
    """The server's settings; beyond loopback there is a token, made and kept if none was given."""
    settings = project.api or ApiSettings.model_validate({})
    if settings.loopback or settings.token is not None:
        return settings
    token = kept_token(project.state)
    journal.secrets = journal.secrets.and_also([token.get_secret_value()])
    journal.write("api.token", file=str(project.state / TOKEN_FILE), hint="who asks from beyond this machine shows it")
    return settings.model_copy(update={"token": token})
