"""Stability and ablation effects."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from .style import decay_colors, layer_axis, legend_above, lines, panels


def stability_ablation(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """By layer: correlation of stability with ablation effect, and the mean effect.

    Args:
        table: what `tables.stability_ablation_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures), rows=2)
    colors = decay_colors(look)
    labels = {decay: f"wd {decay}" for decay in colors}
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        refits = part["refit"].nunique() - 1
        for row, measure in enumerate(("pearson", "mean_delta_loss")):
            panel = axes[row][column]
            panel.axhline(0, color="0.7", lw=0.8, zorder=0)
            lines(panel, part, measure, "refit", colors, labels)
            layer_axis(panel, part["layer"])
        axes[0][column].set_title(f"{architecture} ({refits} refits)")
    legend_above(figure, axes[0][0], "bold: mean over refits, thin: one refit")
    axes[0][0].set_ylabel("correlation over heads of\nstability and $\\Delta$ loss (Pearson)")
    axes[1][0].set_ylabel("mean $\\Delta$ loss of\nablating a head (nats)")
    return figure
