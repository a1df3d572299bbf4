"""Raw stability beside its references, and the adjusted measures, by layer."""

import itertools
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import by_decay, columns, decay_samples, layer_axis, legend_above, sample

# The y axis of each row of panels; measures not listed below share the last.
_AXES = (
    "$S_l$ and its references\n(cosine)",
    "excess $S_l - N_l$\n(cosine)",
    "with one bias removed\n(cosine)",
    "centred $S_l$ (cosine), CKA of $z$",
    "other measures",
)
# Row, line, marker and name of each measure; then the lines and markers of others.
_MEASURES = {
    "raw": (0, "-", "o", "raw $S$"),
    "shuffled": (0, ":", "v", "prompt-shuffled null $N$"),
    "untrained": (0, "--", "s", "untrained"),
    "excess": (1, "-", "D", "excess"),
    "split": (2, "-", "^", "odd/even prompts"),
    "one_to_one": (2, "--", "s", "one-to-one"),
    "sink_free": (2, ":", "P", "sink-free"),
    "centred": (3, "-", "X", "centred"),
    "z_cka": (3, "--", "*", "debiased CKA of $z$"),
    "centred_chance": (3, ":", "", "centred, unrelated heads"),
}
_OTHERS = (("-", "p"), ("--", "h"), (":", "d"), ("-.", "<"))
# The same for every weight decay.
_SHARED = ("untrained", "centred_chance")
_NOT_SHOWN = "normalised_excess"
_GREY = "0.45"


def adjusted(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Stability and its references, one column per architecture, one row per kind of measure.

    Bars are 95 % intervals; where they are missing, refits are too few or not independent.
    """
    there = [name for name in table["measure"].unique() if name != _NOT_SHOWN]
    others = [name for name in there if name not in _MEASURES]
    measures = {name: found for name, found in _MEASURES.items() if name in there}
    for name, style in zip(others, itertools.cycle(_OTHERS), strict=False):
        measures[name] = (len(_AXES) - 1, *style, name.replace("_", " "))
    rows = sorted({row for row, *_ in measures.values()})
    figure, axes, shown = columns(table, len(rows))
    for column, part in shown:
        for name, (row, line, marker, _) in measures.items():
            drawn = part[part["measure"] == name]
            _measure(column[rows.index(row)], drawn, name, (line, marker), look)
        for panel in column:
            layer_axis(panel, part["layer"])
    for panel, row in zip(axes[:, 0], rows, strict=True):
        panel.set_ylabel(_AXES[row])
    grey = {"ms": 4, "color": _GREY}
    samples = [sample(text, ls=ls, marker=m, **grey) for _, ls, m, text in measures.values()]
    title = "bars: 95 % intervals over refits and prompts"
    if "untrained" not in there:
        title += "; no untrained reference (nulls.untrained, training.checkpoint_steps: [0])"
    legend_above(figure, decay_samples(look) + samples, title, columns=4)
    return figure


def _measure(
    panel: Axes, table: pd.DataFrame, name: str, style: tuple[str, str], look: dict[str, Any]
) -> None:
    """One line per weight decay; a single grey line for what is the same for all."""
    line, marker = style
    for _, color, rows in by_decay(table, look):
        if rows.empty:
            continue
        shown = _GREY if name in _SHARED else color
        drawn = {"color": shown, "ls": line, "marker": marker, "ms": 4, "lw": 1.4}
        panel.plot(rows["layer"], rows["value"], label=name, **drawn)
        panel.vlines(rows["layer"], rows["low"], rows["high"], color=shown, lw=1, alpha=0.7)
        if name in _SHARED:
            return
