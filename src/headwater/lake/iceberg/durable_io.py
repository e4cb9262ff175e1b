"""File access whose output is on the disk before it is named anywhere.

PyIceberg's own `FileIO` leaves the last word to the page cache: after a power cut the catalog can point to a metadata
file of zeros. Here a file is fsynced, then its folder, when the output stream closes; the SQLite catalog moves its
pointer after that. Reading, and storage that is not a local disk (where a finished upload is durable), is PyArrow's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSelector, FileSystem, FileType, S3FileSystem
from pyiceberg.io import FileIO, InputFile, OutputFile, OutputStream
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from headwater.durable import fsync_path, make_folder


def local_path(location: str) -> Path | None:
    """The path behind an Iceberg location, None if it is not on a local disk."""
    scheme, rest = location.split("://", 1) if "://" in location else ("file", location)
    return Path(rest) if scheme == "file" else None


def sync_file(path: Path) -> None:
    """Forces a file's bytes and its name in its folder to the disk.

    Raises:
        OSError: as the system says; the file cannot be relied upon then.
    """
    fsync_path(path)
    fsync_path(path.parent)


@dataclass(frozen=True)
class StoredFile:
    """A file found in storage.

    Attributes:
        location: as tables name files.
        size: bytes.
        modified_us: when it was last written, microseconds since 1970 UTC by the storage's clock.
    """

    location: str
    size: int
    modified_us: int


class DurableFileIO(FileIO):
    """What PyIceberg is given as `py-io-impl`. Of table files, nothing but this knows whether they lie on a disk or in
    an object store."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        self._arrow = _Storage(properties)

    def new_input(self, location: str) -> InputFile:
        return self._arrow.new_input(location)

    def new_output(self, location: str) -> OutputFile:
        path = local_path(location)
        return self._arrow.new_output(location) if path is None else DurableFile(location, path)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        self._arrow.delete(location)

    def files_under(self, location: str) -> Iterator[StoredFile]:
        """All files in a folder and those below, in no order; nothing if there is no such folder.

        Raises:
            OSError: the storage cannot be read.
        """
        files, path, prefix = self._place(location)
        for found in files.get_file_info(FileSelector(path, allow_not_found=True, recursive=True)):
            if found.type == FileType.File:
                yield StoredFile(prefix + found.path, found.size, found.mtime_ns // 1000)

    def delete_under(self, location: str) -> None:
        """Removes a folder with all that is in it.

        Raises:
            OSError: the storage refused; some files may be gone.
        """
        local = local_path(location)
        if local is not None:
            shutil.rmtree(local)
            return
        files, path, _ = self._place(location)
        files.delete_dir(path)

    def _place(self, location: str) -> tuple[FileSystem, str, str]:
        """The file system of a location, its path there, and what stands before a path in a location."""
        scheme, netloc, path = self._arrow.parse_location(location, self.properties)
        return self._arrow.fs_by_scheme(scheme, netloc), path, location[: -len(path)]


S3_ATTEMPTS = 5
"""How often a request to an object store is sent, with growing waits, before it counts as failed. All that we send may
be sent twice: files are written once, whole, under names that no other file has."""


CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 30.0
"""How long an object store may take to be reached, and to say nothing."""


class _Storage(PyArrowFileIO):
    """PyArrow's file systems, with one connection pool for all tables of the same object store."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        return _object_store(tuple(sorted((k, str(v)) for k, v in self.properties.items() if k in _S3_OPTIONS)))


_S3_OPTIONS = {
    "s3.endpoint": "endpoint_override",
    "s3.region": "region",
    "client.region": "region",
    "s3.access-key-id": "access_key",
    "s3.secret-access-key": "secret_key",
    "s3.session-token": "session_token",
    "s3.role-arn": "role_arn",
    "s3.force-virtual-addressing": "force_virtual_addressing",
    "s3.request-timeout": "request_timeout",
    "s3.connect-timeout": "connect_timeout",
}
"""PyIceberg's names of properties, which a REST catalog may send too, and PyArrow's."""


_READ: dict[str, Callable[[str], object]] = {
    "force_virtual_addressing": lambda text: text.lower() == "true",
    "request_timeout": float,
    "connect_timeout": float,
}


@lru_cache(maxsize=32)
def _object_store(properties: tuple[tuple[str, str], ...]) -> S3FileSystem:
    """An S3 client. Small files are one PUT, not three requests, and what makes a pool of connections is made once."""
    options: dict[str, object] = {"connect_timeout": CONNECT_TIMEOUT_S, "request_timeout": ANSWER_TIMEOUT_S}
    for name, value in properties:
        option = _S3_OPTIONS[name]
        options[option] = _READ[option](value) if option in _READ else value
    return S3FileSystem(
        **options,
        allow_delayed_open=True,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS),
    )


class DurableFile(OutputFile):
    """A local file to be written once."""

    def __init__(self, location: str, path: Path) -> None:
        super().__init__(location)
        self.path = path

    def __len__(self) -> int:
        return self.path.stat().st_size

    def exists(self) -> bool:
        return self.path.exists()

    def to_input_file(self) -> InputFile:
        return PyArrowFileIO().new_input(self.location)

    def create(self, overwrite: bool = False) -> OutputStream:
        make_folder(self.path.parent)
        return DurableStream(self.path, "wb" if overwrite else "xb")


class DurableStream(OutputStream):
    """Bytes on their way to a file; closing it makes them durable."""

    def __init__(self, path: Path, mode: str) -> None:
        self._path = path
        self._file = open(path, mode)  # noqa: SIM115 - `close` closes it
        self._size = 0

    def write(self, b: bytes) -> int:
        self._size += len(b)
        return int(self._file.write(b))

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._file.flush()

    @property
    def closed(self) -> bool:
        """Whether it is closed; PyArrow's Parquet writer asks."""
        return self._file.closed

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            sync_file(self._path)

    def __enter__(self) -> DurableStream:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()
