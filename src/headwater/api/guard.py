"""Who may ask: looked at before anything of a request is read or done.

A web page that a user of this machine looks at can send requests to 127.0.0.1, so being on loopback protects nobody:

- the `Host` must be an address, localhost or an allowed name; a page that reaches us under a name of its own (DNS
  rebinding) shows that name here;
- an `Origin`, which browsers send with what is sent for a page, must be the server's own or an allowed one;
- a token, where there is one, must be shown in a header, which no page can add without being allowed to.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headwater.api.problem import Problem
from headwater.api.settings import ApiSettings

OPEN_PATHS = frozenset({"/v1/health"})
"""Answered without a token."""


class Guard:
    """ASGI middleware; see above.

    Args:
        app: what is guarded.
        settings: of the server.
        tokens: by path, tokens that open this path beside the server's own; a path that has some is open to nobody
            without a token.
        open_paths: what can be read without a token: the console's page, which holds nothing of a project. One that
            ends in a slash means all below it, too.
    """

    def __init__(
        self, app: ASGIApp, *, settings: ApiSettings, tokens: Mapping[str, Iterable[SecretStr]],
        open_paths: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self._app = app
        self._open = {*OPEN_PATHS, *open_paths}
        self._open_below = tuple(path for path in self._open if path.endswith("/") and path != "/")
        self._hosts = {"localhost", settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}
        self._own = tuple(_digest(token) for token in (settings.token,) if token is not None)
        self._of_path = {path: tuple(map(_digest, given)) for path, given in tokens.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or refuses it. `request.state.trusted` says whether the token was shown, if there is one:
        some open paths say more then."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["trusted"] = self._without_token(scope["path"], headers) is None
        problem = self._refused(scope, headers)
        if problem is not None:
            await problem.response()(scope, receive, self._plain(send))
            return
        origin = headers.get("origin", "").lower()
        if origin in self._origins and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(origin, send)
            return
        await self._app(scope, receive, self._plain(send, origin if origin in self._origins else ""))

    def _refused(self, scope: Scope, headers: Headers) -> Problem | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return Problem(421, "this server does not go by that name: add it to allowed_hosts under api")
        origins = headers.getlist("origin")
        own = f"{scope['scheme']}://{hosts[0].lower()}"
        if len(origins) > 1 or any(origin.lower() not in {own, *self._origins} for origin in origins):
            return Problem(403, "web pages of that origin may not ask: add it to allowed_origins under api")
        if not origins and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Problem(403, "web pages of other sites may not ask")
        preflight = origins and scope["method"] == "OPTIONS"  # browsers show no token with it
        return None if preflight or self._is_open(scope) else self._without_token(scope["path"], headers)

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"]
        reads = scope["method"] in ("GET", "HEAD")
        return path in OPEN_PATHS or (reads and (path in self._open or path.startswith(self._open_below)))

    def _is_ours(self, host: str) -> bool:
        """Whether a `Host` names us; an address does, for no name was looked up to find it."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        if name.lower() in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def _without_token(self, path: str, headers: Headers) -> Problem | None:
        wanted = (*self._own, *self._of_path.get(path, ()))
        if not wanted:
            return None
        kind, _, shown = headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(shown.strip().encode()).digest()
        right = False
        for digest in wanted:  # all of them, so that the time taken says nothing
            right |= hmac.compare_digest(digest, given)
        if right and kind.lower() == "bearer":
            return None
        return Problem(401, "a token is needed: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"})

    async def _preflight(self, origin: str, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type, content-encoding, idempotency-key"),
            (b"access-control-max-age", b"600"), (b"vary", b"Origin"),
        ]})  # fmt: skip
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    def _plain(send: Send, origin: str = "") -> Send:
        """Adds what every answer has: it is not to be guessed at, kept, or read by pages that may not."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
                headers.append("Vary", "Origin")
                if origin:
                    headers["Access-Control-Allow-Origin"] = origin
            await send(message)

        return with_headers


def _digest(token: SecretStr) -> bytes:
    return hashlib.sha256(token.get_secret_value().encode()).digest()
