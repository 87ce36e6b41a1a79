"""docs/ARCHITECTURE.md is the tree: its rooms are the package's, and none imports one below it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "zip_keras"
ROOMS = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8"), re.M)
UNRANKED = {"__init__", "__main__"}  # the package itself: it names what the rooms offer


def rooms_of_the_tree():
    return {
        entry.stem
        for entry in PACKAGE.iterdir()
        if (entry.suffix == ".py" or (entry.is_dir() and any(entry.glob("*.py")))) and entry.stem not in UNRANKED
    }


def imported_rooms(file):
    """The rooms that a module imports, also inside functions, but not for type checkers only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "zip_keras" and len(parts) > 1 and parts[1] in ROOMS:
                yield parts[1], node.lineno


def test_the_table_lists_the_rooms():
    assert len(ROOMS) == len(set(ROOMS))
    assert set(ROOMS) == rooms_of_the_tree()


@pytest.mark.parametrize("room", ROOMS)
def test_no_upward_import(room):
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else sorted((PACKAGE / room).rglob("*.py"))
    assert files
    upward = [
        f"{file.relative_to(ROOT)}:{line} imports {other}"
        for file in files
        for other, line in imported_rooms(file)
        if ROOMS.index(other) > ROOMS.index(room)
    ]
    assert not upward
