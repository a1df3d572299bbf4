"""The registry of figures and tables: rows say what their functions really take and use."""

import ast
import inspect
from importlib import import_module

import pytest

from headstability.registry.rows import BY_NAME, FIGURES, ROWS, TABLES

DRAWN = [row.name for row in ROWS if row.draw]


def function(name):
    module, _, inside = name.partition(":")
    return getattr(import_module(f"headstability.{module}"), inside)


def keys_of(drawing, seen=None):
    """The keys of `look` that a drawing uses, itself or through functions of plots/."""
    seen = set() if seen is None else seen
    if drawing in seen:
        return set()
    seen.add(drawing)
    nodes = list(ast.walk(ast.parse(inspect.getsource(drawing))))
    found = {
        node.slice.value
        for node in nodes
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "look"
    }
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    for name in names & set(vars(inspect.getmodule(drawing))):
        other = vars(inspect.getmodule(drawing))[name]
        if inspect.isfunction(other) and other.__module__.startswith("headstability.plots"):
            found |= keys_of(other, seen)
    return found


def test_names_are_there_once():
    names = [name for row in ROWS for name in row.columns]
    assert len(set(names)) == len(names)
    assert set(FIGURES) <= set(TABLES), "a table stands beside every figure, under its name"
    assert len({row.title for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_row_gives_its_function_what_it_takes(name):
    row = BY_NAME[name]
    inspect.signature(function(row.function)).bind(**row.inputs, **row.uses)


@pytest.mark.parametrize("name", DRAWN)
def test_a_row_gives_its_drawing_what_it_takes(name):
    row = BY_NAME[name]
    taken = len(inspect.signature(function(row.draw)).parameters)
    assert taken == 1 + len(row.draws) + bool(row.per) + bool(row.look)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_depends_on_exactly_the_keys_its_drawing_uses(name):
    row = BY_NAME[name]
    assert keys_of(function(row.draw)) == set(row.look)
