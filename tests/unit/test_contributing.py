"""CONTRIBUTING.md is true: its rooms are those there are, and what it names exists."""

import ast
import re
from importlib import import_module

from test_quality import LIBRARY, ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PICTURE = re.search(r"^```mermaid\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]
# Modules of the library that stand beside its packages, drawn as one.
BASE = "errors"


def rooms():
    """Every package, and the modules beside them, by the name of its box."""
    found = {p.parent.name: p.parent.rglob("*.py") for p in LIBRARY.glob("*/__init__.py")}
    return {BASE: LIBRARY.glob("[!_]*.py"), **found}


def used_by():
    """Pairs of a room and another one that imports from it."""
    pairs = set()
    for room, files in rooms().items():
        for path in files:
            inside = path.relative_to(LIBRARY).parts[:-1]
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level == len(inside) + 1:
                    names = [node.module] if node.module else [alias.name for alias in node.names]
                    pairs |= {(name.split(".")[0], room) for name in names}
    known = set(rooms())
    pairs = {(one if one in known else BASE, other) for one, other in pairs}
    return {(one, other) for one, other in pairs if one != other}


def reachable(direct):
    found = set(direct)
    while more := {(a, d) for a, b in found for c, d in direct if b == c} - found:
        found |= more
    return found


def test_the_picture_has_every_room_and_who_uses_whom():
    drawn = set(re.findall(r"^    (\w+)\[", PICTURE, re.MULTILINE))
    assert drawn == set(rooms())
    arrows = set(re.findall(r"^    (\w+) --> (\w+)$", PICTURE, re.MULTILINE))
    assert arrows <= used_by()
    assert reachable(arrows) == reachable(used_by())
    for arrow in arrows:
        assert arrow not in reachable(arrows - {arrow}), f"{arrow}: a longer path replaces it"


def test_no_room_uses_one_above_it():
    assert {(one, other) for one, other in reachable(used_by()) if one == other} == set()


def test_files_it_names_exist():
    named = re.findall(r"`((?:scripts|rules|docs|tests|studies)/[\w./]+|config\.yaml)`", PAGE)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_functions_it_names_are_where_it_says():
    for name, path in re.findall(r"`(\w+)` in `scripts/(\S+)\.py`", PAGE):
        assert callable(getattr(import_module(path.replace("/", ".")), name))
    for name, path in re.findall(r"`(\w+)` (?:of|in) `((?:tables|plots|measures)/\w+)\.py`", PAGE):
        assert callable(getattr(import_module(f"headstability.{path.replace('/', '.')}"), name))
