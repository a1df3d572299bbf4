"""Raw stability beside its references, and the adjusted measures, by layer."""

import itertools
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import columns, decay_colors, decay_samples, layer_axis, legend_above, sample

# By row of panels: the axis, and the line and marker of each measure.
_ROWS = [
    (
        "$S_l$ and its references\n(cosine)",
        {"raw": ("-", "o"), "shuffled": (":", "v"), "untrained": ("--", "s")},
    ),
    ("excess $S_l - N_l$\n(cosine)", {"excess": ("-", "D")}),
    (
        "with one bias removed\n(cosine)",
        {"split": ("-", "^"), "one_to_one": ("--", "s"), "sink_free": (":", "P")},
    ),
    (
        "centred $S_l$ (cosine), CKA of $z$",
        {"centred": ("-", "X"), "z_cka": ("--", "*"), "centred_chance": (":", "")},
    ),
]
# Lines and markers of measures not listed above: they share one more row.
_OTHERS = ("other measures", [("-", "p"), ("--", "h"), (":", "d"), ("-.", "<")])
_NAMES = {
    "raw": "raw $S$",
    "shuffled": "prompt-shuffled null $N$",
    "untrained": "untrained",
    "excess": "excess",
    "split": "odd/even prompts",
    "one_to_one": "one-to-one",
    "sink_free": "sink-free",
    "centred": "centred",
    "z_cka": "debiased CKA of $z$",
    "centred_chance": "centred, unrelated heads",
}
# The same for every weight decay.
_SHARED = ("untrained", "centred_chance")
_NOT_SHOWN = "normalised_excess"
_GREY = "0.45"


def adjusted(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Stability and its references, one column per architecture, one row per kind of measure.

    Bars are 95 % intervals; where they are missing, refits are too few or not independent.
    """
    there = list(table["measure"].unique())
    rows = _rows(there)
    figure, axes, shown = columns(table, len(rows))
    for column, part in shown:
        for panel, (_, measures) in zip(column, rows, strict=True):
            for name, style in measures.items():
                _measure(panel, part[part["measure"] == name], name, style, look)
            layer_axis(panel, part["layer"])
    samples = decay_samples(look)
    for panel, (axis, measures) in zip(axes[:, 0], rows, strict=True):
        panel.set_ylabel(axis)
        for name, (line, marker) in measures.items():
            text = _NAMES.get(name, name.replace("_", " "))
            samples.append(sample(text, ls=line, marker=marker, ms=4, color=_GREY))
    title = "bars: 95 % intervals over refits and prompts"
    if "untrained" not in there:
        title += "; no untrained reference (nulls.untrained, training.checkpoint_steps: [0])"
    legend_above(figure, samples, title, columns=4)
    return figure


def _rows(there: list[str]) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """The rows of panels that have something to show."""
    placed = {_NOT_SHOWN, *(name for _, measures in _ROWS for name in measures)}
    axis, styles = _OTHERS
    others = [name for name in there if name not in placed]
    rows = [*_ROWS, (axis, dict(zip(others, itertools.cycle(styles), strict=False)))]
    found = [(axis, {k: v for k, v in row.items() if k in there}) for axis, row in rows]
    return [(axis, row) for axis, row in found if row]


def _measure(
    panel: Axes, table: pd.DataFrame, name: str, style: tuple[str, str], look: dict[str, Any]
) -> None:
    """One line per weight decay; a single grey line for what is the same for all."""
    line, marker = style
    for decay, color in decay_colors(look).items():
        rows = table[table["weight_decay"] == decay]
        if rows.empty:
            continue
        shown = _GREY if name in _SHARED else color
        drawn = {"color": shown, "ls": line, "marker": marker, "ms": 4, "lw": 1.4}
        panel.plot(rows["layer"], rows["value"], label=name, **drawn)
        panel.vlines(rows["layer"], rows["low"], rows["high"], color=shown, lw=1, alpha=0.7)
        if name in _SHARED:
            return
