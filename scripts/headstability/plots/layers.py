"""Stability by layer, its contrast between weight decays, commonness, and prompt length."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..conventions import ALL
from .style import (
    by_decay,
    columns,
    decay_colors,
    grid,
    layer_axis,
    layer_colors,
    layer_legend,
    legend_above,
    lines,
    who_is_bold,
)

_STABILITY = "layer stability $S_l$ (cosine)"


def layer_stability(table: pd.DataFrame, dead: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability, a panel per architecture, a bold line per weight decay.

    A single anchor shown bold has bars: the standard deviation over its heads.
    """
    figure, axes, shown = columns(table)
    figure.set_figheight(3.2)  # room for a legend below each panel
    dead = dead[dead["dead"].isin([True])]
    for (panel,), part in shown:
        bold = part[part["anchor"] == look["anchor"]]
        labels = {
            row.weight_decay: f"wd {row.weight_decay}, held-out loss {row.held_out_loss:.3f} nats"
            + _dead(dead, row.architecture, row.weight_decay)
            for row in bold.drop_duplicates("weight_decay").itertuples()
        }
        lines(panel, part, "stability", "anchor", look, labels)
        if look["anchor"] != ALL:
            for _, color, rows in by_decay(bold, look):
                bars = {"fmt": "none", "ecolor": color, "elinewidth": 1, "capsize": 2}
                panel.errorbar(rows["layer"], rows["stability"], rows["heads_sd"], **bars)
        panel.legend(title=who_is_bold(look), loc="upper center", bbox_to_anchor=(0.5, -0.2))
    axes[0][0].set_ylabel(_STABILITY)
    return figure


def _dead(dead: pd.DataFrame, architecture: str, decay: str) -> str:
    """The legend's warning about layers whose heads do almost nothing, by either ablation."""
    here = (dead["architecture"] == architecture) & (dead["weight_decay"] == decay)
    layers = sorted(dead[here]["layer"].unique())
    plural, which = "s" if len(layers) > 1 else "", ", ".join(map(str, layers))
    return f"\nheads of layer{plural} {which} are dead" if layers else ""


def weight_decay_contrast(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability of all weight decays on one axis, and below it their difference."""
    figure, axes, shown = columns(table, rows=2)
    baseline = table[table["difference"].isna()]["weight_decay"].iloc[0]
    for (above, below), part in shown:
        lines(above, part, "stability", "anchor", look)
        below.axhline(0, color=decay_colors(look)[baseline], lw=1, zorder=0)
        contrasted = part[part["weight_decay"] != baseline]
        lines(below, contrasted, "difference", "anchor", look)
        if contrasted.empty:
            below.text(0.5, 0.5, "only one weight decay", ha="center", transform=below.transAxes)
        layer_axis(below, part["layer"])
    legend_above(figure, axes[0][0], who_is_bold(look))
    axes[0][0].set_ylabel(_STABILITY)
    axes[1][0].set_ylabel(f"$S_l$ minus that of wd {baseline},\nsame seeds (cosine)")
    return figure


def commonness(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """How common heads are within their own refit, a panel per architecture."""
    figure, axes, shown = columns(table)
    for (panel,), part in shown:
        column = "commonness" if look["with_self"] else "commonness_of_others"
        lines(panel, part, column, "refit", look)
    legend_above(figure, axes[0][0], who_is_bold(look, "refit"))
    itself = "itself included" if look["with_self"] else "itself left out"
    axes[0][0].set_ylabel(f"commonness $C_l$ (cosine)\n{itself}; low: distinct")
    return figure


def prompt_length(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability against prompt length, one line per layer and one panel per condition."""
    figure, axes, shown = grid(table, "weight_decay", look["weight_decays"], sharey="all")
    colors = layer_colors(table["layer"], look)
    for panel, part in shown:
        part = part[part["anchor"] == ALL]
        for layer, line in part.groupby("layer"):
            style = {"color": colors[layer], "marker": "o", "ms": 3.5, "label": f"{layer}"}
            panel.plot(line["tokens"], line["stability"], **style)
        panel.set_xticks(sorted(part["tokens"].unique()))
        panel.set_xlabel("prompt length (tokens, BOS not counted)")
        title = "{architecture}, wd {weight_decay} ({refits} refits, {prompts} prompts)"
        panel.set_title(title.format(**part.iloc[0]), fontsize=8)
    for panel in axes[:, 0]:
        panel.set_ylabel(_STABILITY)
    layer_legend(figure, axes[0], table)
    return figure
