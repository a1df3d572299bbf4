"""Layer stability."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..labels import ALL
from .style import decay_colors, layer_axis, lines, panels


def layer_stability(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability, a panel per architecture, a bold line per weight decay.

    Args:
        table: what `tables.layer_stability_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures))
    for panel, architecture in zip(axes[0], architectures, strict=True):
        part = table[table["architecture"] == architecture]
        overall = part[part["anchor"] == ALL].drop_duplicates("weight_decay")
        labels = {
            row.weight_decay: f"wd {row.weight_decay}, held-out loss {row.held_out_loss:.3f} nats"
            for row in overall.itertuples()
        }
        lines(panel, part, "stability", "anchor", decay_colors(look), labels)
        layer_axis(panel, part["layer"])
        panel.set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
        panel.legend(title="bold: all anchors, thin: one")
    axes[0][0].set_ylabel("layer stability $S_l$ (cosine)")
    return figure
