"""Stability of heads by what they attend to."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .style import by_decay, decay_labels, grid, legend_above

_TEXTS = {"prompts": "the study's prompts", "synthetic": "repeated random tokens"}
# Offsets of the heads of one weight decay from a role's position: spread by their number.
_SPREAD = 0.7


def roles(table: pd.DataFrame, means: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """One point per head at its role, and the mean of each role with its interval."""
    figure, axes, shown = grid(means, "text", sharey="all")
    figure.set_size_inches(4.6 * axes.shape[1], 3.0 * axes.shape[0] + 0.4)
    names = list(means["role"].unique())
    width = _SPREAD / len(look["weight_decays"])
    for panel, overall in shown:
        first = overall.iloc[0]
        same = (table["architecture"] == first["architecture"]) & (table["text"] == first["text"])
        heads = table[same]
        for place, name in enumerate(names):
            of_role = heads[heads["role"] == name]
            for number, (decay, color, points) in enumerate(by_decay(of_role, look)):
                left = place - _SPREAD / 2 + number * width
                x = [left + width * (i + 1) / (len(points) + 1) for i in range(len(points))]
                panel.plot(x, points["stability"], ".", color=color, ms=3, alpha=0.5)
                mean = overall[(overall["role"] == name) & (overall["weight_decay"] == decay)]
                label = decay_labels(look)[decay] if place == 0 else f"_{decay}"
                diamond = {"ms": 5, "mec": "black", "mew": 0.6, "zorder": 3, "label": label}
                panel.plot([left + width / 2], mean["estimate"], "D", color=color, **diamond)
                panel.vlines([left + width / 2], mean["low"], mean["high"], color="black", lw=1)
        labels = [
            f"{name.replace('_', chr(10))}\n"
            f"n = {' / '.join(map(str, overall.loc[overall['role'] == name, 'heads']))}"
            for name in names
        ]
        panel.set_xticks(range(len(names)), labels, fontsize=7)
        panel.set_xlim(-0.6, len(names) - 0.4)
        title = f"{first['architecture']} ({first['refits']} refits), {_TEXTS[first['text']]}"
        panel.set_title(title, fontsize=8)
    for panel in axes[:, 0]:
        panel.set_ylabel("head stability $S$ (cosine)")
    decays = " / ".join(f"wd {decay}" for decay in look["weight_decays"])
    legend_above(figure, axes[0][0], f"diamonds: mean over heads and refits; n: heads, {decays}")
    return figure
