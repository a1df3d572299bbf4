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
    "by one part of a pattern\n(cosine), or CKA",
    "with another match, or\nwithout BOS (cosine)",
    "centred $S_l$ (cosine), CKA of $z$",
    "other measures",
)
# Row, line, marker and name of each measure; then the lines and markers of others.
_MEASURES = {
    "raw": (0, "-", "o", "raw $S$"),
    "cut": (0, "-.", ".", "raw, cut like $N$"),
    "shuffled": (0, ":", "v", "prompt-shuffled null $N$"),
    "untrained": (0, "--", "s", "untrained"),
    "excess": (1, "-", "D", "excess"),
    "template": (2, "--", "^", "template (position)"),
    "text": (2, "-", "o", "text"),
    "written": (2, ":", "P", "written (debiased CKA)"),
    "split": (3, "-", "^", "odd/even prompts"),
    "one_to_one": (3, "--", "s", "one-to-one"),
    "sink_free": (3, ":", "P", "sink-free"),
    "centred": (4, "-", "X", "centred"),
    "z_cka": (4, "--", "*", "debiased CKA of $z$"),
    "centred_chance": (4, ":", "", "centred, heads dealt at random"),
}
_OTHERS = (("-", "p"), ("--", "h"), (":", "d"), ("-.", "<"))
# The same for every weight decay.
_SHARED = ("untrained",)
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
    legend_above(figure, decay_samples(look) + samples, title, columns=3)
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
