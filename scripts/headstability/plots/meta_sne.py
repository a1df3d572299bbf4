"""The map of heads."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import PANEL

_MARKERS = "osD^vP*X<>"


def meta_sne(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """The heads of one weight decay, coloured by architecture, by layer and by relative depth.

    Args:
        table: what `tables.meta_sne.meta_sne_table` returned.
        title: which weight decay.
        look: the `figures` section of the config.
    """
    figure = Figure(figsize=(3 * PANEL, PANEL + 0.9))
    first, second, third = figure.subplots(1, 3, sharex=True, sharey=True)
    size = 26 if len(table) <= 1000 else 4
    architectures = list(dict.fromkeys(table["architecture"]))
    colors = sns.color_palette(look["colormap"], len(architectures))
    for number, (name, color) in enumerate(zip(architectures, colors, strict=True)):
        part = table[table["architecture"] == name]
        marker = _MARKERS[number % len(_MARKERS)]
        label = f"{name} ({len(part)})"
        first.scatter(part["x"], part["y"], size, color=color, marker=marker, lw=0, label=label)
    columns = min(3, len(architectures))
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": columns}
    first.legend(title="architecture (heads)", columnspacing=1, handletextpad=0.2, **below)
    for axes, column, label in (
        (second, "layer", "layer"),
        (third, "relative_depth", "relative depth $l/L$"),
    ):
        points = axes.scatter(
            table["x"], table["y"], size, c=table[column], cmap=look["colormap"], lw=0
        )
        bar = figure.colorbar(points, ax=axes, location="bottom", label=label, shrink=0.9)
        if column == "layer":
            bar.set_ticks(sorted(table[column].unique())[:: max(1, table[column].nunique() // 8)])
        _bare(axes)
    _bare(first)
    perplexity, prompts = table["perplexity"].iloc[0], table["prompts"].iloc[0]
    refits = table["refit"].nunique()
    counts = f"{len(table)} heads of {refits} refits, {prompts} prompts, perplexity {perplexity:g}"
    figure.suptitle(f"{title}: {counts}", fontsize=9)
    return figure


def _bare(axes: Axes) -> None:
    """No ticks: the directions and distances of t-SNE have no unit."""
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
