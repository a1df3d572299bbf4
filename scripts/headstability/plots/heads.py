"""Heat maps of heads and of refits."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .style import PANEL


def head_map(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """Stability of every head of the anchor, layers by heads; dead ones are marked."""
    grid = table.pivot(index="layer", columns="head", values="stability")
    grid = grid.sort_index(ascending=False)
    # Even with a layer or two, as high as the label beside the colour bar.
    height = max(2.3, 0.36 * grid.shape[0] + 1.3)
    figure = Figure(figsize=(max(PANEL, 0.42 * grid.shape[1] + 1.2), height))
    axes = figure.subplots()
    shades = {"cmap": look["colormap"], "vmin": 0, "vmax": 1}
    numbers = {"annot": grid.shape[1] <= 16, "fmt": ".2f", "annot_kws": {"size": 7}}
    bar = {"label": "head stability $S$ (cosine)"}
    sns.heatmap(grid, ax=axes, cbar_kws=bar, **shades, **numbers)
    axes.set(xlabel="head (numbers of this refit only)", ylabel="layer")
    dead = set(table[table["dead"].isin([True])]["layer"])
    names = [f"{layer} (dead)" if layer in dead else str(layer) for layer in grid.index]
    axes.set_yticklabels(names)
    axes.tick_params(axis="y", rotation=0)
    axes.set_title(f"{title}, anchor {table['anchor'].iloc[0]}")
    return figure


def pairwise(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """Pairwise stability of refits, a heat map per layer."""
    layers = sorted(table["layer"].unique())
    refits = list(dict.fromkeys(table["refit_a"]))
    columns = min(4, len(layers))
    rows = -(-len(layers) // columns)
    side = min(3.2, max(1.5, 0.42 * len(refits)))
    figure = Figure(figsize=(side * columns + 1.6, (side + 0.5) * rows + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    values = table["stability"]
    shades = {"cmap": look["colormap"], "vmin": values.min(), "vmax": values.max(), "cbar": False}
    numbers = {"annot": len(refits) <= 8, "fmt": ".2f", "annot_kws": {"size": 6}}
    for panel in axes.flat[len(layers) :]:
        panel.set_visible(False)
    for panel, layer in zip(axes.flat, layers, strict=False):
        part = table[table["layer"] == layer]
        grid = part.pivot(index="refit_a", columns="refit_b", values="stability")
        grid = grid.reindex(index=refits, columns=refits)
        sns.heatmap(grid, ax=panel, square=True, **shades, **numbers)
        panel.set(title=f"layer {layer}", xlabel="", ylabel="")
        panel.tick_params(axis="x", rotation=90)
        panel.tick_params(axis="y", rotation=0)
    label = "pairwise stability $k_l$ (cosine)"
    figure.colorbar(axes.flat[0].collections[0], ax=axes, label=label, shrink=0.8)
    figure.suptitle(title, fontsize=9)
    figure.supxlabel("refit", fontsize=9)
    figure.supylabel("refit", fontsize=9)
    return figure
