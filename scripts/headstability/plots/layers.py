"""Lines by layer: stability, its contrast between weight decays, and commonness."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..labels import ALL
from .style import (
    dead_layers,
    decay_colors,
    decay_labels,
    layer_axis,
    legend_above,
    lines,
    panels,
    who_is_bold,
)


def layer_stability(table: pd.DataFrame, dead: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability, a panel per architecture, a bold line per weight decay.

    A single anchor shown bold has bars: the standard deviation over its heads.

    Args:
        table: what `tables.layer_stability_table` returned.
        dead: what `tables.ablation.dead_heads_table` returned; the legend says which layers.
        look: the `figures` section of the config, `weight_decays` and `anchor`.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures))
    figure.set_figheight(3.2)  # room for a legend below each panel
    colors = decay_colors(look)
    for panel, architecture in zip(axes[0], architectures, strict=True):
        part = table[table["architecture"] == architecture]
        shown = part[part["anchor"] == look["anchor"]]
        labels = {
            row.weight_decay: f"wd {row.weight_decay}, held-out loss {row.held_out_loss:.3f} nats"
            + _dead(dead_layers(dead, architecture, row.weight_decay))
            for row in shown.drop_duplicates("weight_decay").itertuples()
        }
        lines(panel, part, "stability", "anchor", colors, labels, look["anchor"])
        if look["anchor"] != ALL:
            for decay, rows in shown.groupby("weight_decay", sort=False):
                bars = {"fmt": "none", "ecolor": colors[decay], "elinewidth": 1, "capsize": 2}
                panel.errorbar(rows["layer"], rows["stability"], rows["heads_sd"], **bars)
        layer_axis(panel, part["layer"])
        panel.set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
        panel.legend(title=who_is_bold(look), loc="upper center", bbox_to_anchor=(0.5, -0.2))
    axes[0][0].set_ylabel("layer stability $S_l$ (cosine)")
    return figure


def _dead(layers: list[int]) -> str:
    """The legend's warning of layers whose heads do next to nothing."""
    if not layers:
        return ""
    which = ", ".join(map(str, layers))
    return f"\nheads of layer{'s' if len(layers) > 1 else ''} {which} are dead"


def weight_decay_contrast(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability of all weight decays on one axis, and below it their difference.

    Args:
        table: what `tables.layers.weight_decay_contrast_table` returned.
        look: the `figures` section of the config, `weight_decays` and `anchor`.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures), rows=2)
    colors, labels = decay_colors(look), decay_labels(look)
    baseline = table[table["difference"].isna()]["weight_decay"].iloc[0]
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        above, below = axes[0][column], axes[1][column]
        lines(above, part, "stability", "anchor", colors, labels, look["anchor"])
        above.set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
        below.axhline(0, color=colors[baseline], lw=1, zorder=0)
        contrasted = part[part["weight_decay"] != baseline]
        lines(below, contrasted, "difference", "anchor", colors, labels, look["anchor"])
        if contrasted.empty:
            below.text(0.5, 0.5, "only one weight decay", ha="center", transform=below.transAxes)
        for panel in (above, below):
            layer_axis(panel, part["layer"])
    legend_above(figure, axes[0][0], who_is_bold(look))
    axes[0][0].set_ylabel("layer stability $S_l$ (cosine)")
    axes[1][0].set_ylabel(f"$S_l$ minus that of wd {baseline},\nsame seeds (cosine)")
    return figure


def commonness(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """How common heads are within their own refit, a panel per architecture.

    Args:
        table: what `tables.layers.commonness_table` returned.
        look: the `figures` section of the config, `weight_decays`, `anchor`, and `with_self`:
            whether heads are compared with themselves, too.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures))
    column = "commonness" if look["with_self"] else "commonness_of_others"
    for panel, architecture in zip(axes[0], architectures, strict=True):
        part = table[table["architecture"] == architecture]
        labels = decay_labels(look)
        lines(panel, part, column, "refit", decay_colors(look), labels, look["anchor"])
        layer_axis(panel, part["layer"])
        panel.set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
    legend_above(figure, axes[0][0], who_is_bold(look, "refit"))
    itself = "itself included" if look["with_self"] else "itself left out"
    axes[0][0].set_ylabel(f"commonness $C_l$ (cosine)\n{itself}; low: distinct")
    return figure
