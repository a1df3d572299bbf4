"""Stability and ablation effects."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..labels import ALL
from .style import decay_colors, layer_axis, legend_above, lines, panels

LINES = {"zero": ("-", "o"), "mean": ("--", "s")}
NAMES = {"pearson": "Pearson's $r$", "kendall": "Kendall's $\\tau_b$"}


def stability_ablation(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """By layer: correlation of stability with ablation effect, and the mean effect.

    Args:
        table: what `tables.ablation.stability_ablation_table` returned.
        look: the `figures` section of the config, `weight_decays` and `correlation`.
    """
    architectures = table["architecture"].unique()
    methods = table["method"].unique()
    figure, axes = panels(len(architectures), rows=2)
    colors = decay_colors(look)
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        for row, measure in enumerate((look["correlation"], "mean_delta_loss")):
            panel = axes[row][column]
            panel.axhline(0, color="0.7", lw=0.8, zorder=0)
            for method in methods:
                shown = part[part["method"] == method]
                if method != methods[0]:  # single refits of one method: more would hide it
                    shown = shown[shown["refit"] == ALL]
                labels = {decay: f"wd {decay}, {method} ablation" for decay in colors}
                lines(panel, shown, measure, "refit", colors, labels, style=LINES[method])
            layer_axis(panel, part["layer"])
            panel.set_xlim(0.75, part["layer"].max() + 0.25)
        refits = part["refit"].nunique() - 1
        axes[0][column].set_title(
            f"{architecture} ({refits} refits, {part['heads'].iloc[0]} heads a layer)"
        )
    title = f"bold: mean over refits, thin: one refit ({methods[0]} ablation)"
    legend_above(figure, axes[0][0], title, columns=2)
    name = NAMES[look["correlation"]]
    axes[0][0].set_ylabel(f"correlation over heads of\nstability and $\\Delta$ loss ({name})")
    axes[1][0].set_ylabel("mean $\\Delta$ loss of\nablating a head (nats)")
    return figure
