"""The user's generator: found in its file, run on a thread of its own, its mistakes told by their place."""

from __future__ import annotations

import importlib.util
import inspect
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from headwater.errors import HeadwaterError, Place, SourceStopped, SourceUnavailable

Generator = Callable[..., Iterator[tuple[Any, Any]]]
MARK = "__headwater_source__"
_AHEAD = 4


def source(body: Generator) -> Generator:
    """Marks a generator as a source.

        @headwater.source
        def readings(position, url):
            for page in pages(url, since=position or 0):
                yield page.rows, page.last_id

    It is called with the position that was durable last, None at first, and the `arguments` of the settings. It yields
    pairs: rows (an Arrow table or batch, a dict, or a list of dicts) and the position behind them, any JSON value. Rows
    and position become durable together; a position is asked for again only from what is durable. When it ends it is
    called again, after `every_s` seconds, with the last position.
    """
    setattr(body, MARK, True)
    return body


def load(file: Path, function: str) -> Generator:
    """The generator in a file.

    Raises:
        SourceStopped: it cannot be loaded, or is not there; with the place.
    """
    module = _module(file)
    if function:
        found = getattr(module, function, None)
    else:
        marked = [value for value in vars(module).values() if getattr(value, MARK, False)]
        found = marked[0] if len(marked) == 1 else None
    if not inspect.isgeneratorfunction(found):
        what = (
            f"there is no generator {function!r}" if function else "there is not just one function marked as a source"
        )
        hint = "mark it with @headwater.source, let it yield (rows, position), and name it under function:"
        raise SourceStopped(what, hint=hint, place=Place(str(file)))
    return found


def _module(file: Path) -> ModuleType:
    if not file.is_file():
        raise SourceStopped(
            "the file is not there", place=Place(str(file)), hint="file: counts from the project's folder"
        )
    spec = importlib.util.spec_from_file_location(f"headwater_source_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        place = Place(str(file), error.lineno or 1, error.offset or 1)
        raise SourceStopped(f"this is not Python: {error.msg}", place=place) from None
    except Exception as error:  # noqa: BLE001 the user's code may raise anything while it is loaded
        raise told(error, file) from None
    return module


def told(error: Exception, file: Path) -> HeadwaterError:
    """What the user's code raised, with the line of the file that it was in. What a network raises may pass."""
    if isinstance(error, HeadwaterError):
        return error
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    place = Place(str(file), (lines[-1] if lines else 1) or 1, 1)
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError | TimeoutError | EOFError):
        return SourceUnavailable(message, place=place)
    return SourceStopped(
        message, place=place, hint="the position behind the last durable rows is kept: mend it and run on"
    )


def as_batch(rows: object, place: Place) -> pa.RecordBatch:
    """What was yielded as rows, as a batch.

    Raises:
        SourceStopped: it is none of the forms that rows may have.
    """
    try:
        if isinstance(rows, pa.RecordBatch):
            return rows
        if isinstance(rows, Mapping):
            rows = [dict(rows)]
        if isinstance(rows, list):
            names = list(dict.fromkeys(name for row in rows for name in row))
            rows = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        if isinstance(rows, pa.Table):
            whole = rows.combine_chunks().to_batches()
            return whole[0] if whole else pa.RecordBatch.from_pylist([], schema=rows.schema)
    except (pa.ArrowException, AttributeError, TypeError) as error:
        raise SourceStopped(f"the rows cannot be made columns: {error}", place=place) from error
    hint = "yield an Arrow table or batch, a dict, or a list of dicts"
    raise SourceStopped(f"{type(rows).__name__} is yielded as rows", place=place, hint=hint)


class Running:
    """A call of the generator, on a thread of its own, a few yields ahead.

    Args:
        body: the generator.
        file: that it is in.
        position: to begin behind.
        arguments: besides.
    """

    def __init__(self, body: Generator, file: Path, position: object, arguments: Mapping[str, object]) -> None:
        self._file = file
        self._place = Place(str(file), body.__code__.co_firstlineno, 1)
        self._items: queue.Queue[tuple[Any, Any] | HeadwaterError | None] = queue.Queue(_AHEAD)
        self._stopping = threading.Event()
        self.ended = False
        name = f"generator:{body.__name__}"
        self._thread = threading.Thread(target=self._run, args=(body, position, arguments), name=name, daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> tuple[pa.RecordBatch, Any] | None:
        """The next rows and position; None if there are none yet, or no more (`ended`).

        Raises:
            SourceStopped, SourceUnavailable: the user's code raised.
        """
        try:
            item = self._items.get(timeout=timeout_s) if timeout_s > 0 else self._items.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, HeadwaterError):
            raise item
        if item is None:
            self.ended = True
            return None
        return item

    def stop(self) -> None:
        """Lets the generator go at its next yield."""
        self._stopping.set()

    def _run(self, body: Generator, position: object, arguments: Mapping[str, object]) -> None:
        try:
            generator = body(position, **arguments)
            for item in generator:
                if self._stopping.is_set():
                    return
                self._put(self._checked(item))
            self._put(None)
        except Exception as error:  # noqa: BLE001 the user's code may raise anything
            self._put(told(error, self._file))

    def _checked(self, item: object) -> tuple[pa.RecordBatch, Any]:
        if not isinstance(item, tuple) or len(item) != 2:
            raise SourceStopped("what is yielded is not a pair of rows and position", place=self._place)
        return as_batch(item[0], self._place), item[1]

    def _put(self, item: tuple[Any, Any] | HeadwaterError | None) -> None:
        while not self._stopping.is_set():
            try:
                self._items.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
