"""The picture of the workflow: rules by what they make, and what each reads, as an SVG.

Snakemake says what reads what (--rulegraph); here is only where each rule stands.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from xml.sax.saxutils import escape

Edge = tuple[str, str]
# Columns from left to right: what a rule's first file lies under, its colour, its heading.
_STAGES = {
    "corpus": ("#4c72b0", "text and cells"),
    "cells": ("#dd8452", ""),
    "conditions": ("#55a868", "conditions"),
    "tables": ("#8172b3", "tables"),
    "claims.md": ("#8172b3", ""),
    "figures": ("#937860", "figures"),
}
_FIGURES = 5  # their column
_WIDTH, _HEIGHT, _GAP, _PITCH, _TOP = 176, 18, 46, 25, 34


def read_rulegraph(text: str) -> set[Edge]:
    """Pairs of a rule and one that reads from it, from what `snakemake --rulegraph` prints."""
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', text, re.MULTILINE))
    return {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", text)}


def without_detours(edges: Iterable[Edge]) -> set[Edge]:
    """Edges that no longer way replaces."""
    edges = set(edges)
    after: dict[str, set[str]] = {}
    for one, other in edges:
        after.setdefault(one, set()).add(other)

    def reaches(start: str, end: str) -> bool:
        return any(n == end or reaches(n, end) for n in after.get(start, ()))

    return {(a, b) for a, b in edges if not any(reaches(n, b) for n in after[a] - {b})}


def workflow_picture(edges: Iterable[Edge], stages: Mapping[str, str]) -> str:
    """The picture.

    Args:
        edges: of `read_rulegraph`.
        stages: what each rule's first file lies under. Rules without one of the stages that are
            drawn are left out.

    Returns:
        SVG; the same text for the same graph.
    """
    drawn = {rule for rule, stage in stages.items() if stage in _STAGES}
    edges = without_detours(edge for edge in edges if set(edge) <= drawn)
    rules = sorted({rule for edge in edges for rule in edge})
    above = {rule: sorted(a for a, b in edges if b == rule) for rule in rules}
    column = {rule: _column(rule, stages, above) for rule in rules}
    places: dict[str, tuple[int, float]] = {}
    rows = max(list(column.values()).count(number) for number in column.values())
    for number in sorted(set(column.values())):
        members = [rule for rule in rules if column[rule] == number]
        _place(members, number, rows, above, places)
    width = (max(column.values()) + 1) * (_WIDTH + _GAP) - _GAP + 40
    height = _TOP + _PITCH * (max(row for _, row in places.values()) + 1) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height:g}" fill="white"/>',
        *_headings(column, stages),
        *(_arrow(places[a], places[b]) for a, b in sorted(edges)),
        *(_box(rule, places[rule], _STAGES[stages[rule]][0]) for rule in rules),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _column(rule: str, stages: Mapping[str, str], above: Mapping[str, list[str]]) -> int:
    """Text and cells, conditions by how many of their kind lie above, tables, figures."""
    stage = stages[rule]
    if stage in ("corpus", "cells"):
        return 0
    if stage == "conditions":
        same = [one for one in above[rule] if stages[one] == stage]
        return min(3, 1 + max((_column(one, stages, above) for one in same), default=0))
    return _FIGURES if stage == "figures" else _FIGURES - 1


def _place(
    members: list[str],
    number: int,
    rows: int,
    above: Mapping[str, list[str]],
    places: dict[str, tuple[int, float]],
) -> None:
    """Rows of one column, near those of what the rules read; the first one in the order of work."""

    def height(rule: str) -> float:
        known = [places[one][1] for one in above[rule] if one in places]
        return sum(known) / len(known) if known else 0.0

    order: list[str] = []
    if number:
        order = sorted(members, key=lambda rule: (height(rule), rule))
    while len(order) < len(members):
        order += [m for m in members if m not in order and set(above[m]) <= set(order)][:1]
    apart = rows // len(members)
    row = (rows - 1 - apart * (len(members) - 1)) // 2 - apart
    for rule in order:
        # A figure stands beside its table.
        row = max(row + apart, height(rule) if number == _FIGURES else 0)
        places[rule] = (number, row)


def _left(place: tuple[int, float]) -> tuple[float, float]:
    """The middle of a box's left side."""
    return 20 + place[0] * (_WIDTH + _GAP), _TOP + _PITCH * place[1] + _HEIGHT / 2


def _arrow(start: tuple[int, float], end: tuple[int, float]) -> str:
    x, y = _left(start)
    to_x, to_y = _left(end)
    if start[0] == end[0]:  # within a column, around its left side
        out = 10 + 2 * abs(end[1] - start[1])
        path = f"M{x:g},{y:g} C{x - out:g},{y:g} {x - out:g},{to_y:g} {to_x:g},{to_y:g}"
    else:
        x += _WIDTH
        half = (to_x - x) / 2
        path = f"M{x:g},{y:g} C{x + half:g},{y:g} {to_x - half:g},{to_y:g} {to_x:g},{to_y:g}"
    return f'<path d="{path}" fill="none" stroke="#999" stroke-width="1"/>'


def _box(rule: str, place: tuple[int, float], color: str) -> str:
    x, y = _left(place)
    return (
        f'<g><rect x="{x:g}" y="{y - _HEIGHT / 2:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="4" '
        f'fill="white" stroke="{color}"/>'
        f'<text x="{x + _WIDTH / 2:g}" y="{y + 4:g}" text-anchor="middle">{escape(rule)}</text></g>'
    )


def _headings(column: Mapping[str, int], stages: Mapping[str, str]) -> Iterator[str]:
    """The name of each stage over its first column."""
    for stage, (color, text) in _STAGES.items():
        numbers = [column[rule] for rule in column if stages[rule] == stage]
        if text and numbers:
            x, _ = _left((min(numbers), 0))
            yield f'<text x="{x:g}" y="20" font-size="13" fill="{color}">{text}</text>'
