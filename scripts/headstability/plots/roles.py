"""Stability of heads by what they attend to."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .style import decay_colors, decay_labels, legend_above, panels

_TEXTS = {"prompts": "the study's prompts", "synthetic": "repeated random tokens"}
# Where the heads of one weight decay lie beside a role's place: spread by their number.
_SPREAD = 0.7


def roles(table: pd.DataFrame, means: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """A point a head at its role, and the mean of each role with its interval.

    Args:
        table: heads, CONDITION and the columns of `tables.roles.role_heads`.
        means: CONDITION and the columns of `tables.roles.role_stability`.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures, texts = table["architecture"].unique(), means["text"].unique()
    figure, axes = panels(len(architectures), rows=len(texts), sharey="all")
    figure.set_size_inches(4.6 * len(architectures), 3.0 * len(texts) + 0.4)
    names = list(means["role"].unique())
    colors = decay_colors(look)
    width = _SPREAD / len(colors)
    for row, text in enumerate(texts):
        for column, architecture in enumerate(architectures):
            panel = axes[row][column]
            heads, overall = (
                rows[(rows["architecture"] == architecture) & (rows["text"] == text)]
                for rows in (table, means)
            )
            for place, name in enumerate(names):
                for number, (decay, color) in enumerate(colors.items()):
                    left = place - _SPREAD / 2 + number * width
                    points = heads[(heads["role"] == name) & (heads["weight_decay"] == decay)]
                    x = [left + width * (i + 1) / (len(points) + 1) for i in range(len(points))]
                    panel.plot(x, points["stability"], ".", color=color, ms=3, alpha=0.5)
                    mean = overall[(overall["role"] == name) & (overall["weight_decay"] == decay)]
                    label = decay_labels(look)[decay] if place == 0 else f"_{decay}"
                    panel.plot(
                        [left + width / 2],
                        mean["estimate"],
                        "D",
                        color=color,
                        ms=5,
                        mec="black",
                        mew=0.6,
                        label=label,
                        zorder=3,
                    )
                    panel.vlines([left + width / 2], mean["low"], mean["high"], color="black", lw=1)
            counts = overall.groupby("role", sort=False)["heads"].agg(
                lambda found: " / ".join(map(str, found))
            )
            labels = [f"{name.replace('_', chr(10))}\nn = {counts[name]}" for name in names]
            panel.set_xticks(range(len(names)), labels, fontsize=7)
            panel.set_xlim(-0.6, len(names) - 0.4)
            panel.set_title(
                f"{architecture} ({overall['refits'].iloc[0]} refits), {_TEXTS[text]}", fontsize=8
            )
        axes[row][0].set_ylabel("head stability $S$ (cosine)")
    decays = " / ".join(f"wd {decay}" for decay in colors)
    legend_above(figure, axes[0][0], f"diamonds: mean over heads and refits; n: heads, {decays}")
    return figure
