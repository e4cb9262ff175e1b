"""`headwater catalog`: the lake's catalog for other engines."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from headwater.cli import output

app = App(name="catalog", help="Let other engines attach to the lake.")
TOKEN_VARIABLE = "HEADWATER_CATALOG_TOKEN"


@app.command
def serve(folder: Path = Path(), /, *, host: str = "127.0.0.1", port: int = 8181, json: bool = False) -> int:
    """Serve the catalog of the project in FOLDER over the Iceberg REST protocol, read-only, until Ctrl-C.

    Spark, Trino, DuckDB and PyIceberg attach to it. The token in the environment variable HEADWATER_CATALOG_TOKEN, if
    there is one, must be borne by every request; an address that others can reach needs one.

    Args:
        folder: The project's folder.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        json: Print one JSON object with the address when it answers.
    """
    import os

    from headwater.cli.opening import read_project
    from headwater.errors import UserError
    from headwater.lake.iceberg.lake import IcebergLake
    from headwater.lake.opening import make_lake
    from headwater.serve.iceberg_rest import CatalogServer

    project = read_project(folder)
    lake = make_lake(project.lake, project.folder, project=project.name, read_only=True)
    try:
        if not isinstance(lake, IcebergLake):
            raise UserError("only Iceberg tables can be served", hint="lake: {type: iceberg}")
        server = CatalogServer(lake, host, port, os.environ.get(TOKEN_VARIABLE))
        if json:
            output.print_json({"url": server.url, "namespace": lake.namespace})
        output.note(f"Iceberg REST catalog at {server.url}, namespace {lake.namespace}; Ctrl-C stops")
        try:
            server.join()
        except KeyboardInterrupt:
            server.close()
    finally:
        lake.close()
    return output.OK
