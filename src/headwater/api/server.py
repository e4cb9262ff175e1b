"""The server: one thread with an event loop, a socket that is taken before anything else, a stop that finishes."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from headwater.api.body import Room
from headwater.api.connection import timed_protocol
from headwater.api.guard import Guard
from headwater.api.problem import Problem, on_problem
from headwater.api.settings import ApiSettings
from headwater.errors import UserError

KEEP_ALIVE_S = 5
FINISH_S = 10
"""Seconds that requests under way have when the server stops."""
HEAD_BYTES = 16 << 10
BACKLOG = 1024


@dataclass(frozen=True)
class Service:
    """Something that lives in the server.

    Attributes:
        routes: Starlette's routes; their handlers raise `Problem`, are coroutines, leave work to threads, and find the
            `body.Room` for what they read as `request.app.state.room`.
        tokens: by path, tokens that open it beside the server's own; such a path is closed without one.
        open_paths: paths that can be read without a token, those that end in a slash with all below them.
        stop: called when the server has stopped.
    """

    routes: Sequence[BaseRoute]
    tokens: Mapping[str, Sequence[SecretStr]] = field(default_factory=dict)
    open_paths: Sequence[str] = ()
    stop: Callable[[], None] = lambda: None


class ApiServer:
    """The web server of a running project. Listens from when it is made, answers from `start` on.

    Args:
        settings: see there.
        services: what it serves.
        tell: called with a sentence about a request that failed through a fault of ours.
        or_any_port: if the port is taken, another that is free does as well.

    Attributes:
        port: where it listens.

    Raises:
        UserError: the address cannot be listened at, or others can reach it and there is no token.
    """

    def __init__(
        self, settings: ApiSettings, services: Sequence[Service], tell: Callable[[str], None] = lambda text: None,
        *, or_any_port: bool = False,
    ) -> None:  # fmt: skip
        if not settings.loopback and settings.token is None:
            raise UserError(f"a token is required to listen at {settings.host}, beyond this machine",
                            hint="add `token: ${API_TOKEN}` under api, or listen at 127.0.0.1")  # fmt: skip
        self._host, self._services = settings.host, services
        self._socket = _listen(settings, or_any_port)
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            _application(settings, services, tell),
            http=timed_protocol(settings.head_timeout_s, settings.body_timeout_s),
            loop="asyncio", ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
            proxy_headers=False, server_header=False,
            limit_concurrency=settings.max_connections, timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=FINISH_S, h11_max_incomplete_event_size=HEAD_BYTES,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="api", daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more requests, finishes those under way, and ends. May be called twice, and before `start`."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(FINISH_S + 5)
        self._socket.close()
        for service in self._services:
            service.stop()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(settings: ApiSettings, or_any_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if or_any_port and error.errno == errno.EADDRINUSE and settings.port:
            return _listen(settings.model_copy(update={"port": 0}), False)
        raise UserError(
            f"the api cannot listen at {settings.host}, port {settings.port}: {error.strerror or error}",
            hint="set another port under api in headwater.yml (0: any that is free)",
        ) from error
    listening.setblocking(False)
    return listening


def _application(settings: ApiSettings, services: Sequence[Service], tell: Callable[[str], None]) -> Starlette:
    tokens = {path: given for service in services for path, given in service.tokens.items()}
    open_paths = [path for service in services for path in service.open_paths]

    async def on_bug(request: Request, error: Exception) -> Response:
        tell(f"{request.method} {request.url.path}: {type(error).__name__}: {error}")
        return Problem(500, "this is a bug of Headwater's; its journal says more").response()

    app = Starlette(
        routes=[Route("/v1/health", _health), *(route for service in services for route in service.routes)],
        middleware=[Middleware(Guard, settings=settings, tokens=tokens, open_paths=open_paths)],
        exception_handlers={Problem: on_problem, HTTPException: _on_http_exception, Exception: on_bug},
    )
    app.router.redirect_slashes = False
    app.state.room = Room(int(settings.max_memory))
    return app


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: paths and methods that there are not."""
    if not isinstance(error, HTTPException):
        raise error
    detail = "there is nothing here" if error.status_code == 404 else error.detail
    return Problem(error.status_code, detail, headers=error.headers).response()
