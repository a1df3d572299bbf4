"""The map of heads."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import PANEL

_MARKERS = "osD^vP*X<>"
# The bright end of a colour map is faint on white.
_EDGE = {"edgecolors": "0.3", "linewidths": 0.2}


def meta_sne(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """The heads of one weight decay, coloured by architecture, by layer and by relative depth."""
    figure = Figure(figsize=(2 * PANEL, PANEL))
    first, second, third = figure.subplots(1, 3, sharex=True, sharey=True)
    size = 14 if len(table) <= 1000 else 3
    architectures = list(dict.fromkeys(table["architecture"]))
    colors = sns.color_palette(look["colormap"], len(architectures))
    for number, (name, color) in enumerate(zip(architectures, colors, strict=True)):
        part = table[table["architecture"] == name]
        marker = _MARKERS[number % len(_MARKERS)]
        shown = {"color": color, "marker": marker, "label": f"{name} ({len(part)})", **_EDGE}
        first.scatter(part["x"], part["y"], size, **shown)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.12), "ncols": 2}
    first.legend(title="architecture (heads)", columnspacing=1, handletextpad=0.1, **below)
    labels = {"layer": "layer", "relative_depth": "relative depth $l/L$"}
    for axes, (column, label) in zip((second, third), labels.items(), strict=True):
        shades = {"c": table[column], "cmap": look["colormap"], **_EDGE}
        points = axes.scatter(table["x"], table["y"], size, **shades)
        bar = figure.colorbar(points, ax=axes, location="bottom", label=label)
        if column == "layer":
            bar.set_ticks(sorted(table[column].unique())[:: max(1, table[column].nunique() // 8)])
        _bare(axes)
    _bare(first)
    first_row, refits = table.iloc[0], table["refit"].nunique()
    counts = f"{len(table)} heads of {refits} refits, {first_row['prompts']} prompts"
    counts += f", perplexity {first_row['perplexity']:.3g}"
    figure.suptitle(f"{title}\n{counts}", fontsize=9)
    return figure


def _bare(axes: Axes) -> None:
    """No ticks: the directions and distances of t-SNE have no unit."""
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
