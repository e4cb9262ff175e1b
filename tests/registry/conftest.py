"""A registry on a real server."""

from __future__ import annotations

import socket
import threading

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from headwater.registry.routes import routes
from headwater.registry.store import SchemaStore


@pytest.fixture
def store(tmp_path):
    made = SchemaStore(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def url(store):
    """Where the registry of `store` is served."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Mount("/registry", routes=routes(store))])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/registry"
    server.should_exit = True
    thread.join(60)
    listener.close()
    assert not thread.is_alive()
