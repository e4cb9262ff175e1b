"""Every class of error has a code of its own, and every code its entry in the runbook."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


def error_classes():
    """Names of the classes below HeadwaterError, with the code in each one's body."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "class " in text and re.search(r"HeadwaterError|UserError|Stopped|Unavailable|Error\)", text):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                    found[node.name] = (bases, _code(node), path.relative_to(ROOT))
    tree = {"HeadwaterError"}
    while True:
        more = {name for name, (bases, _, _) in found.items() if bases & tree} - tree
        if not more:
            return {name: found[name][1:] for name in tree}
        tree |= more


def _code(node):
    for line in node.body:
        target = (
            line.target if isinstance(line, ast.AnnAssign) else line.targets[0] if isinstance(line, ast.Assign) else 0
        )
        if isinstance(target, ast.Name) and target.id == "code" and line.value is not None:
            return ast.literal_eval(line.value)
    return None


def test_every_error_has_a_code_of_its_own():
    classes = error_classes()
    assert len(classes) > 20
    without = [f"{name} in {place}" for name, (code, place) in classes.items() if not code]
    assert not without, "give it a `code` and an entry in docs/runbook.md"
    codes = [code for code, _ in classes.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"HW(-[A-Z]+)+", code) for code in codes)


def test_every_code_has_its_entry_in_the_runbook_and_no_other():
    entries = re.split(r"^### ", RUNBOOK, flags=re.M)[1:]
    names = [entry.partition("\n")[0].strip() for entry in entries]
    assert sorted(names) == sorted(code for code, _ in error_classes().values())
    for name, entry in zip(names, entries, strict=True):
        for part in ("**What happened:**", "**Kept:**", "**Do:**"):
            assert part in entry, (name, part)


def test_the_commands_that_it_names_are_there():
    reference = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^#+ `?(headwater [a-z\- ]+?)`?$", reference, flags=re.M))
    named = set(re.findall(r"`(headwater [a-z\- \n]+)", RUNBOOK))
    assert len(named) > 8
    for command in named:
        words = command.replace("\n", " ").split()
        assert " ".join(words) in known, command


def test_the_warnings_of_the_journal_are_in_the_runbook():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    told = set(re.findall(r'journal\.write\(\s*"([a-z_.]+)",\s*"(?:warning|error)"', sources))
    assert told > {"sync.anew", "table.held"}
    assert not [event for event in sorted(told) if f"`{event}`" not in RUNBOOK]
