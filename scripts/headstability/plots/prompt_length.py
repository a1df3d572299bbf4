"""Layer stability by prompt length."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ..labels import ALL
from .style import panels


def prompt_length(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability against prompt length, a line a layer; a panel a condition.

    Args:
        table: what `tables.prompt_length.prompt_length_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures, decays = table["architecture"].unique(), look["weight_decays"]
    figure, axes = panels(len(architectures), rows=len(decays), sharey="all")
    layers = sorted(table["layer"].unique())
    colors = dict(zip(layers, sns.color_palette(look["colormap"], len(layers)), strict=True))
    for row, decay in enumerate(decays):
        for column, architecture in enumerate(architectures):
            panel = axes[row][column]
            of_condition = (table["architecture"] == architecture) & (
                table["weight_decay"] == decay
            )
            part = table[of_condition & (table["anchor"] == ALL)]
            for layer, line in part.groupby("layer"):
                panel.plot(
                    line["tokens"],
                    line["stability"],
                    color=colors[layer],
                    marker="o",
                    ms=3.5,
                    label=f"{layer}",
                )
            panel.set_xticks(sorted(part["tokens"].unique()))
            panel.set_xlabel("prompt length (tokens, BOS not counted)")
            prompts, refits = part["prompts"].iloc[0], part["refits"].iloc[0]
            panel.set_title(
                f"{architecture}, wd {decay} ({refits} refits, {prompts} prompts)", fontsize=8
            )
        axes[row][0].set_ylabel("layer stability $S_l$ (cosine)")
    deepest = table.loc[table["layer"].idxmax(), "architecture"]
    handles, names = axes[0][list(architectures).index(deepest)].get_legend_handles_labels()
    figure.legend(handles, names, title="layer", loc="outside right upper")
    return figure
