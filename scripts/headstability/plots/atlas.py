"""Patterns of an anchor's heads beside those of their best matches."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Inches per token on an axis: the space its label needs at LABEL points.
TOKEN, LABEL = 0.1, 6.5


def head_atlas(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """One row per head of the anchor: its own pattern, then its best match in each refit."""
    refits = list(table["refit"].unique())
    heads = list(table.groupby(["layer", "head", "kind"], sort=False))
    count = int(table["query"].max())
    side = max(1.2, TOKEN * count)
    figure = Figure(figsize=((side + 0.12) * len(refits) + 1.5, (side + 0.12) * len(heads) + 1.3))
    axes = figure.subplots(len(heads), len(refits), squeeze=False)
    for row, ((layer, head, kind), part) in enumerate(heads):
        for column, refit in enumerate(refits):
            panel = axes[row][column]
            shown = part[part["refit"] == refit]
            square = shown.pivot(index="query", columns="key", values="attention")
            shades = {"cmap": look["colormap"], "vmin": 0, "vmax": 1}
            image = panel.imshow(square, interpolation="none", **shades)
            _corner(panel, shown.iloc[0])
            if row == 0:
                panel.set_title(f"anchor {refit}" if column == 0 else refit)
            own = shown[shown["key"] == 1].sort_values("query")
            panel.set_xticks(range(count))
            panel.set_yticks(range(count))
            panel.set_xticklabels(own["query_token"] if row == len(heads) - 1 else [])
            panel.set_yticklabels(own["query_token"] if column == 0 else [])
            for label in [*panel.get_xticklabels(), *panel.get_yticklabels()]:
                label.set(fontsize=LABEL, parse_math=False)
            panel.tick_params(axis="x", rotation=90)
            panel.tick_params(length=1.5, pad=1)
        axes[row][0].set_ylabel(f"layer {layer}, head {head}\n{kind}\nquery token")
    for panel in axes[-1]:
        panel.set_xlabel("key token")
    figure.colorbar(image, ax=axes, label="attention", shrink=0.6 / len(heads) ** 0.5, aspect=30)
    figure.suptitle(title, fontsize=9)
    return figure


def _corner(panel: Axes, first: Any) -> None:
    """In the empty corner above the diagonal: the head shown, and the similarity of the two."""
    alike = f"S = {first.stability:.2f}" if pd.isna(first.cosine) else f"cos {first.cosine:.2f}"
    text = f"head {first.match}\n{alike}"
    panel.text(0.96, 0.96, text, transform=panel.transAxes, ha="right", va="top", fontsize=8)
