"""House rules that a machine can read from the source: sizes, names, docstrings, and who may do what.

The limits are ratchets: an entry in `GROWN` names a function or file that is over its limit, with its exact size, and
goes as soon as it shrinks. None is added lightly.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "headwater"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

FUNCTION_LINES = 50
FILE_LINES = 500
GROWN: dict[str, int] = {
    "capture/postgres/kernels.py:scan_messages": 55,
    "engine/state/ordered_kernels.py:insert": 54,
}
ROOMS_REFUSED = {"utils", "util", "common", "core", "helpers", "helper", "base", "manager", "managers", "misc"}
MAY_CATCH_ALL = {
    "kafka/consumer.py": "a callback of C: what leaves it is printed and gone, so it is raised when C has returned",
    "capture/python/user_code.py": "the user's code: what it raises stops its source, told by its place",
    "cli/app.py": "the edge: a bug is one line and a file",
    "govern/openlineage.py": "the edge to a lineage service: whatever is wrong over there is a warning here",
    "project/functions.py": "the user's code: what it raises is a mistake in the project",
    "sql/functions.py": "the user's code: what it raises is a reject",
    "runtime/swap/build.py": "a build that fails leaves the running models as they are",
    "runtime/doctor/looks.py": "a look that fails in an unknown way is a finding, and the others stand",
    "runtime/job.py": "the supervision edge: every failure becomes a state or a retry",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_of(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 30


def test_no_function_and_no_file_is_too_long() -> None:
    sizes = {f"{short(path)}:{node.name}": lines_of(node) for path, tree in TREES.items() for node in functions(tree)}
    sizes = {name: size for name, size in sizes.items() if size > FUNCTION_LINES}
    texts = {short(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    sizes |= {name: size for name, size in texts.items() if size > FILE_LINES}
    assert sizes == GROWN, "split what has grown; take out of GROWN what has shrunk"


def test_no_room_has_an_empty_name() -> None:
    names = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert names & ROOMS_REFUSED == set()


def undocumented(path: Path, tree: ast.Module) -> Iterator[str]:
    if tree.body and ast.get_docstring(tree) is None:
        yield f"{short(path)}:1 module"
    yield from _undocumented_in(path, tree.body, _foreign_names(tree))


def _foreign_names(tree: ast.Module) -> set[str]:
    """Names imported from other people's packages: a class derived from one fulfils that one's documented contract."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    outside = [node for node in imports if not (node.module or "").startswith(("headwater", "pydantic", "typing"))]
    return {alias.asname or alias.name for node in outside for alias in node.names}


def _undocumented_in(path: Path, body: list[ast.stmt], foreign: set[str]) -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not implements_a_contract(node):
            yield f"{short(path)}:{node.lineno} {node.name}"
        if isinstance(node, ast.ClassDef):
            derived = any(ast.unparse(base) in foreign for base in node.bases)
            yield from _undocumented_in(path, [] if derived else node.body, foreign)


def implements_a_contract(node: ast.stmt) -> bool:
    """A method with the name of one in a contract (a Protocol, `Node`) need not say again what it does."""
    return isinstance(node, Function) and node.name in CONTRACT_METHODS


def contract_methods() -> Iterator[str]:
    for tree in TREES.values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            if node.name == "Node" or any("Protocol" in ast.unparse(base) for base in node.bases):
                yield from (method.name for method in functions(node) if ast.get_docstring(method))


CONTRACT_METHODS = frozenset(contract_methods())


def test_what_is_public_has_a_docstring() -> None:
    assert [place for path, tree in TREES.items() for place in undocumented(path, tree)] == []


def broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or bool(re.search(r"\b(Base)?Exception\b", ast.unparse(handler.type)))


def test_nothing_is_caught_broadly_but_at_the_edges() -> None:
    """Whoever catches everything raises it again, or is one of the edges and says why."""
    found = []
    for path, tree in TREES.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler) or not broad(node):
                continue
            last = node.body[-1]
            again = isinstance(last, ast.Raise) and last.exc is None
            reason = re.search(r"noqa: BLE001\W+\w+", lines[node.lineno - 1])
            if not again and not (short(path) in MAY_CATCH_ALL and (reason or isinstance(last, ast.Raise))):
                found.append(f"{short(path)}:{node.lineno}")
    assert found == []


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name)


def test_nothing_is_printed_but_by_the_command_line() -> None:
    printing = {short(path) for path, tree in TREES.items() for _ in calls(tree, "print")}
    assert {name for name in printing if not name.startswith("cli/")} == set()


def test_the_engine_asks_the_clock_for_the_time() -> None:
    """`clock.py` alone reads the time, apart from what stands outside the pipeline."""
    outside = ("clock.py", "testing/", "demo/", "cli/")
    reads = re.compile(r"\btime\.(time|time_ns|monotonic|monotonic_ns|sleep)\(|\bdatetime\.(now|utcnow)\(")
    found = [
        short(p) for p in FILES if reads.search(p.read_text(encoding="utf-8")) and not short(p).startswith(outside)
    ]
    assert found == []


def test_no_test_sleeps_and_hopes() -> None:
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{path.name}:{call.lineno}" for name in ("time.sleep", "sleep") for call in calls(tree, name)]
    assert found == [], "wait on a condition with a deadline"


def test_sqlglot_has_one_home() -> None:
    users = {short(path) for path, tree in TREES.items() if "sqlglot" in _imports(tree)}
    assert {name for name in users if not name.startswith("sql/")} == set()


def _imports(tree: ast.AST) -> set[str]:
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize("path", [path for path in FILES if short(path).startswith("cli/")], ids=short)
def test_the_command_line_imports_rooms_inside_functions(path: Path) -> None:
    """What `headwater --help` imports must stay light: a command's module may be imported for its docstring alone."""
    light = ("headwater.cli", "headwater.errors", "headwater.redaction", "headwater.clock", "headwater.position")
    at_top = [node for node in TREES[path].body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in at_top if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in at_top if isinstance(node, ast.ImportFrom)]
    heavy = ("pyarrow", "duckdb", "numba", "numpy", "pyiceberg", "psycopg", "pydantic", "ruamel", "rich")
    assert [name for name in names if name.startswith("headwater.") and not name.startswith(light)] == []
    assert [name for name in names if name.split(".")[0] in heavy] == []
