"""The page: its files, which lie in the package, with the headers that let it run nothing but itself.

They are open to whoever reaches the server: they hold nothing of the project. What the page shows comes from /v1.
"""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headwater.api.problem import Problem
from headwater.api.server import Service

STATIC = Path(__file__).parent / "static"
PAGES = (
    "overview", "graph", "streams", "sql", "tables", "capture", "rejects", "accounting", "checkpoints", "checks",
    "plan", "models", "syncs", "lineage",
)  # fmt: skip
"""First parts of the paths that the page itself gives meaning to."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_IMMUTABLE = "public, max-age=31536000, immutable"
_TYPES = {
    ".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml",
    ".json": "application/json", ".webmanifest": "application/manifest+json",
}  # fmt: skip
_PLACEHOLDER = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Headwater</title></head>
<body><h1>Headwater</h1><p>The project runs. The console's files are not built in this checkout. To build them:</p>
<pre>make setup</pre><p>The API is there: <a href="/v1/overview">/v1/overview</a>,
<a href="/v1/openapi.json">/v1/openapi.json</a>.</p></body></html>
"""


class Page:
    """Serves the page's files.

    Args:
        folder: where they are; it need not be there.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def service(self) -> Service:
        """What it adds to the server; to be the last, for it takes every path that nobody else does."""
        routes = [
            Route("/assets/{name:path}", self._asset, methods=["GET"]),
            Route("/{path:path}", self._index, methods=["GET"]),
        ]
        return Service(routes, open_paths=("/", "/assets/", *(f"/{page}" for page in PAGES),
                                           *(f"/{page}/" for page in PAGES), "/favicon.ico"))  # fmt: skip

    async def _asset(self, request: Request) -> Response:
        name = f"assets/{request.path_params['name']}"
        path = await to_thread.run_sync(self._find, name)
        if path is None:
            raise Problem(404, "there is nothing here")
        return await self._file(request, path, _IMMUTABLE)

    async def _index(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path.startswith(("v1/", "registry/", "iceberg/")) or path in ("v1", "registry", "iceberg", "metrics"):
            raise Problem(404, "there is nothing here")
        own = await to_thread.run_sync(self._find, path) if "." in path else None
        if own is not None:
            return await self._file(request, own, "no-cache")
        if "." in path.rpartition("/")[2] and "/" not in path:
            raise Problem(404, "there is nothing here")
        index = await to_thread.run_sync(self._find, "index.html")
        if index is None:
            return Response(_PLACEHOLDER, headers={**HEADERS, "Cache-Control": "no-cache"}, media_type="text/html")
        return await self._file(request, index, "no-cache")

    def _find(self, name: str) -> Path | None:
        """A file by its name below the folder. Names are looked up among those that are there, never joined to a path:
        `..`, absolute names and links out of the folder find nothing."""
        found = self._files.get(name)
        if found is None or not found.is_file():
            self._files = {
                path.relative_to(self._folder).as_posix(): path
                for path in (self._folder.rglob("*") if self._folder.is_dir() else ())
                if path.is_file() and not path.is_symlink()
            }
        return self._files.get(name)

    async def _file(self, request: Request, path: Path, keep: str) -> Response:
        content = await to_thread.run_sync(path.read_bytes)
        mark = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {**HEADERS, "Cache-Control": keep, "ETag": mark}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(content, headers=headers, media_type=kind)
