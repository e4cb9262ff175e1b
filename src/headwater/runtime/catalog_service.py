"""The lake's catalog in the web server of a running project: `/iceberg/v1/...`, read-only."""

from __future__ import annotations

from threading import Lock

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from headwater.api.server import Service
from headwater.errors import HeadwaterError, UserError
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.iceberg.rest_answers import CatalogReader
from headwater.lake.opening import make_lake
from headwater.project.definition import Project

PATH = "/iceberg"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]


class CatalogService:
    """Answers from a project's lake, which it opens for reading when it is first asked: at the first start there is
    none yet.

    Args:
        project: whose.

    Raises:
        UserError: its tables are not Iceberg's.
    """

    def __init__(self, project: Project) -> None:
        if project.lake.type != "iceberg":
            raise UserError(
                f"lake: catalog: serve: tables of type {project.lake.type!r} have no catalog",
                hint="leave `serve` out, or set `lake: {type: iceberg}`",
            )
        self._project, self._lock = project, Lock()
        self._lake: IcebergLake | None = None

    def service(self) -> Service:
        """What it adds to the web server, which looks at names, origins and tokens."""
        return Service([Route(f"{PATH}/{{path:path}}", self._answer, methods=METHODS)])

    async def _answer(self, request: Request) -> Response:
        target = bytes(request.scope["raw_path"]).decode("latin-1").removeprefix(PATH)
        try:
            reader = await run_in_threadpool(self._reader)
        except HeadwaterError:
            message = {"message": "there are no tables yet", "type": "ServiceUnavailableException", "code": 503}
            return JSONResponse({"error": message}, 503)
        named = {name.lower(): value for name, value in request.headers.items()}
        answer = await run_in_threadpool(reader.answer, request.method, target, named)
        return JSONResponse(answer.body, int(answer.status))

    def _reader(self) -> CatalogReader:
        """Raises HeadwaterError: there is no lake yet, or it cannot be opened."""
        with self._lock:
            if self._lake is None:
                project = self._project
                lake = make_lake(project.lake, project.folder, project=project.name, read_only=True)
                assert isinstance(lake, IcebergLake)
                self._lake = lake
        return CatalogReader(self._lake, hosts=None)
