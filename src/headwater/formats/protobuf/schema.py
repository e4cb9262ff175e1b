"""Protocol Buffers schemas: `.proto` texts, descriptors in base64 and descriptor sets, as descriptors to work with.

Texts are compiled by protoc (grpcio-tools brings it), in a process of its own: it prints its complaints there and
nowhere else, and whatever a text does to it, it does not do to us.
"""

from __future__ import annotations

import base64
import binascii
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module, util
from pathlib import Path, PurePosixPath

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import DecodeError

from headwater.errors import UserError
from headwater.formats.protobuf.program import ProtobufSchemaError
from headwater.formats.schema_source import SchemaSource, SchemaText

MAIN = "schema.proto"
PROTOC_S = 20.0
MAX_REFERENCES = 1000
_KNOWN = (
    "any", "descriptor", "duration", "empty", "field_mask", "source_context", "struct", "timestamp", "type", "wrappers",
    "api",
)  # fmt: skip


def files_of(schema: SchemaText, registry: SchemaSource | None) -> FileDescriptor:
    """The file that a registered schema is.

    Raises:
        ProtobufSchemaError: it is not valid, or refers to what is not there.
        UserError: protoc is not installed.
        SourceUnavailable: the registry does not answer.
    """
    texts: dict[str, str] = {}
    _collect(schema, registry, texts, 0)
    return _linked(MAIN, schema.text, tuple(sorted(texts.items())))


def _collect(schema: SchemaText, registry: SchemaSource | None, texts: dict[str, str], depth: int) -> None:
    for reference in schema.references:
        if reference.name in texts:
            continue
        found = None if registry is None else registry.version(reference.subject, reference.version)
        if found is None or depth > MAX_REFERENCES or len(texts) > MAX_REFERENCES:
            raise ProtobufSchemaError(
                f"the schema imports {reference.name}, {reference.subject} version {reference.version}, which is not "
                "registered"
            )
        texts[reference.name] = found.text
        _collect(found, registry, texts, depth + 1)


def as_text(schema: SchemaText, registry: SchemaSource | None) -> str:
    """The schema as it was registered: clients read `.proto` texts and base64 alike."""
    return schema.text


def as_serialized(schema: SchemaText, registry: SchemaSource | None) -> str:
    """The schema as a `FileDescriptorProto` in base64 (`format=serialized`)."""
    if _from_base64(schema.text) is not None:
        return schema.text
    return base64.standard_b64encode(files_of(schema, registry).serialized_pb).decode()


def message_at(file: FileDescriptor, path: Sequence[int]) -> Descriptor:
    """The message type of an index path, as Confluent's wire format has it: the first type of the file is 0.

    Raises:
        ProtobufSchemaError: there is none.
    """
    types = list(file.message_types_by_name.values())
    found: Descriptor | None = None
    for index in path:
        if index >= len(types):
            raise ProtobufSchemaError(f"the schema has no message type {'.'.join(map(str, path))}")
        found = types[index]
        types = list(found.nested_types)
    if found is None:
        raise ProtobufSchemaError("an empty path to a message type")
    return found


def index_path(kind: Descriptor) -> list[int]:
    """The inverse of `message_at`."""
    outer = kind.containing_type
    siblings = kind.file.message_types_by_name.values() if outer is None else outer.nested_types
    return [*(index_path(outer) if outer is not None else []), [each.name for each in siblings].index(kind.name)]


def message_named(file: FileDescriptor, name: str) -> Descriptor:
    """A message type of a file by its full name, or its name in the file; the only one if none is named.

    Raises:
        ProtobufSchemaError: there is none.
    """
    tops = list(file.message_types_by_name.values())
    every = list(tops)
    for each in every:
        every.extend(each.nested_types)
    if not name and len(tops) == 1:
        return tops[0]
    for each in every:
        if name in (each.full_name, each.full_name.removeprefix(f"{file.package}.")):
            return each
    raise ProtobufSchemaError(
        f"the schema has no message type {name!r}" if name else "the schema has several message types",
        hint="format: {type: protobuf, message: ...}: one of " + ", ".join(each.full_name for each in every[:20]),
    )


def linked_folder(path: Path) -> FileDescriptor:
    """A `.proto` file, whose imports stand beside it.

    Raises:
        ProtobufSchemaError: it is not valid.
        UserError: it cannot be read.
    """
    beside = {each.relative_to(path.parent).as_posix(): each for each in path.parent.rglob("*.proto")}
    try:
        texts = {name: each.read_text(encoding="utf-8") for name, each in sorted(beside.items())[:MAX_REFERENCES]}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the .proto files beside {path}: {error}") from error
    return _linked(path.name, texts.pop(path.name), tuple(texts.items()))


@lru_cache(maxsize=256)
def _linked(name: str, text: str, imports: tuple[tuple[str, str], ...]) -> FileDescriptor:
    """A file with all that it imports, in a pool of its own."""
    texts = {**dict(imports), name: text}
    protos = {path: _from_base64(each) for path, each in texts.items()}
    written = {path: each for path, each in texts.items() if protos[path] is None}
    if name in written:
        found = _compiled(name, written, {path: each for path, each in protos.items() if each is not None})
        protos.update({each.name: each for each in found.file})
    elif written:
        for path in written:
            protos.update({each.name: each for each in _compiled(path, written, {}).file})
    pool = DescriptorPool()
    main = protos[name]
    assert main is not None
    try:
        _add(pool, main, {path: proto for path, proto in protos.items() if proto is not None}, set())
        return pool.FindFileByName(main.name)
    except (TypeError, KeyError) as error:
        raise ProtobufSchemaError(f"the schema does not hold together: {error}") from error


def _add(
    pool: DescriptorPool, proto: FileDescriptorProto, files: Mapping[str, FileDescriptorProto], seen: set[str]
) -> None:
    seen.add(proto.name)
    for path in proto.dependency:
        if path in seen:
            continue
        if path in files:
            files[path].name = path
            _add(pool, files[path], files, seen)
        else:
            _add(pool, _well_known(path), files, seen)
    pool.Add(proto)


def _well_known(path: str) -> FileDescriptorProto:
    """A file that comes with Protocol Buffers, or with Google's common types if those are installed."""
    module = path.removesuffix(".proto").replace("/", ".") + "_pb2"
    if not path.startswith("google/") or not path.endswith(".proto") or ".." in path:
        raise ProtobufSchemaError(f"the schema imports {path}, which is not among its references")
    try:
        import_module(module)
    except ImportError as error:
        raise ProtobufSchemaError(f"the schema imports {path}, which is not among its references") from error
    found = FileDescriptorProto()
    Default().FindFileByName(path).CopyToProto(found)
    return found


def _from_base64(text: str) -> FileDescriptorProto | None:
    """A descriptor in base64; None if the text is no such thing."""
    try:
        found = FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None
    return found if found.name and (found.message_type or found.enum_type or found.dependency) else None


def _compiled(main: str, texts: Mapping[str, str], descriptors: Mapping[str, FileDescriptorProto]) -> FileDescriptorSet:
    """Runs protoc over a text.

    Raises:
        ProtobufSchemaError: it is not valid.
        UserError: protoc is not installed.
    """
    if util.find_spec("grpc_tools") is None:
        raise UserError(".proto texts need a compiler", hint="pip install 'headwater[protobuf]'")
    with tempfile.TemporaryDirectory(prefix="headwater-proto-") as folder:
        for path, text in texts.items():
            _write(Path(folder), path, text)
        out, given = Path(folder) / "out.pb", Path(folder) / "given.pb"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports", f"-o{out}", main]
        if descriptors:
            given.write_bytes(_closed(descriptors).SerializeToString())
            command.append(f"--descriptor_set_in={given}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PROTOC_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ProtobufSchemaError("the .proto text takes too long to compile") from error
        if done.returncode != 0:
            complaint = done.stderr.replace(folder + "/", "").strip()[:2000]
            raise ProtobufSchemaError(f"the .proto text is not valid: {complaint}")
        return FileDescriptorSet.FromString(out.read_bytes())


def _closed(descriptors: Mapping[str, FileDescriptorProto]) -> FileDescriptorSet:
    """Descriptors with the files that come with Protocol Buffers, each after those that it imports."""
    found = FileDescriptorSet()
    for name in _KNOWN:
        proto = _well_known(f"google/protobuf/{name}.proto")
        found.file.append(proto)
    seen = {each.name for each in found.file}

    def add(path: str, proto: FileDescriptorProto) -> None:
        seen.add(path)
        proto.name = path
        for wanted in proto.dependency:
            if wanted in descriptors and wanted not in seen:
                add(wanted, descriptors[wanted])
        found.file.append(proto)

    for path, proto in descriptors.items():
        if path not in seen:
            add(path, proto)
    return found


def _write(folder: Path, path: str, text: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or len(path) > 500:
        raise ProtobufSchemaError(f"{path!r} is not the name of an imported file")
    place = folder.joinpath(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
