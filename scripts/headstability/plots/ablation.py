"""Stability and ablation effects."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..conventions import ALL
from .style import columns, legend_above, lines

LINES = {"zero": ("-", "o"), "mean": ("--", "s")}
NAMES = {"pearson": "Pearson's $r$", "kendall": "Kendall's $\\tau_b$"}


def stability_ablation(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """By layer: correlation of stability with ablation effect, and the mean effect."""
    methods = table["method"].unique()
    refits = table["refit"].nunique() - 1  # beside their mean
    title = f"{{architecture}} ({refits} refits, {{heads}} heads a layer)"
    figure, axes, shown = columns(table, 2, title)
    for column, part in shown:
        for panel, measure in zip(column, (look["correlation"], "mean_delta_loss"), strict=True):
            panel.axhline(0, color="0.7", lw=0.8, zorder=0)
            for method in methods:
                drawn = part[part["method"] == method]
                if method != methods[0]:  # single refits of one method: more would hide it
                    drawn = drawn[drawn["refit"] == ALL]
                labels = {
                    decay: f"wd {decay}, {method} ablation" for decay in look["weight_decays"]
                }
                lines(panel, drawn, measure, "refit", look, labels, LINES[method])
            panel.set_xlim(0.75, part["layer"].max() + 0.25)
    title = f"bold: mean over refits, thin: one refit ({methods[0]} ablation)"
    legend_above(figure, axes[0][0], title, columns=2)
    name = NAMES[look["correlation"]]
    axes[0][0].set_ylabel(f"correlation over heads of\nstability and $\\Delta$ loss ({name})")
    axes[1][0].set_ylabel("mean $\\Delta$ loss of\nablating a head (nats)")
    return figure
