"""Raw stability beside its references, and the adjusted measures, by layer."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import decay_colors, layer_axis, panels

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
_GREY = "0.45"


def adjusted(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Stability and what stands beside it, a column per architecture, a row per kind of measure.

    Bars are 95 % intervals; without one, refits are too few or not independent.

    Args:
        table: what `tables.adjusted.adjusted_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    there = set(table["measure"])
    rows = [
        (axis, {name: style for name, style in measures.items() if name in there})
        for axis, measures in _ROWS
        if there & set(measures)
    ]
    figure, axes = panels(len(architectures), rows=len(rows))
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        axes[0][column].set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
        for panel, (axis, measures) in zip(axes[:, column], rows, strict=True):
            for name, style in measures.items():
                _measure(panel, part[part["measure"] == name], name, style, look)
            layer_axis(panel, part["layer"])
            if column == 0:
                panel.set_ylabel(axis)
    _legend(figure, [measures for _, measures in rows], look, "untrained" in there)
    return figure


def _measure(
    panel: Axes, table: pd.DataFrame, name: str, style: tuple[str, str], look: dict[str, Any]
) -> None:
    """One line a weight decay; a single grey one of what is the same for all."""
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


def _legend(figure: Figure, rows: list[dict], look: dict[str, Any], untrained: bool) -> None:
    """Colours and line styles, and why the untrained reference is missing if it is."""
    handles = [
        Line2D([], [], color=color, lw=3, label=f"wd {decay}")
        for decay, color in decay_colors(look).items()
    ]
    for measures in rows:
        for name, (line, marker) in measures.items():
            style = {"ls": line, "marker": marker, "ms": 4, "color": _GREY}
            handles.append(Line2D([], [], label=_NAMES[name], **style))
    title = "bars: 95 % intervals over refits and prompts"
    if not untrained:
        title += "; no untrained reference (nulls.untrained, training.checkpoint_steps: [0])"
    figure.legend(handles=handles, title=title, loc="outside upper center", ncols=4)
