"""Perplexity of refits on whole texts."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..labels import ALL
from .style import decay_colors, panels


def perplexity(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Perplexity of every refit by weight decay: a column an architecture, a row a text.

    Args:
        table: what `tables.perplexity.perplexity_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures, texts = table["architecture"].unique(), table["text"].unique()
    colors = decay_colors(look)
    places = {decay: place for place, decay in enumerate(colors)}
    figure, axes = panels(len(architectures), rows=len(texts))
    for row, text in enumerate(texts):
        for column, architecture in enumerate(architectures):
            panel = axes[row][column]
            part = table[(table["architecture"] == architecture) & (table["text"] == text)]
            refits, means = part[part["refit"] != ALL], part[part["refit"] == ALL]
            for _, pair in refits.groupby("refit", sort=False):
                panel.plot(
                    pair["weight_decay"].map(places), pair["perplexity"], color="0.8", lw=0.8
                )
            for item in refits.itertuples():
                color = colors[item.weight_decay]
                panel.plot(places[item.weight_decay], item.perplexity, "o", ms=4, color=color)
            for item in means.itertuples():
                place, color = places[item.weight_decay], colors[item.weight_decay]
                ends = [place - 0.22, place + 0.22]
                panel.plot(ends, [item.perplexity] * 2, color=color, lw=2)
                if pd.notna(item.relative_difference):
                    panel.annotate(
                        f"{item.relative_difference:+.2%}",
                        (place + 0.26, item.perplexity),
                        va="center",
                        fontsize=8,
                    )
            panel.set(xlim=(-0.5, len(places) - 0.2), xticks=list(places.values()))
            panel.set_xticklabels(places)
            panel.set_xlabel("weight decay")
            title = f"{architecture} ({refits['refit'].nunique()} refits)"
            panel.set_title(title if row == 0 else "")
            if column == 0:
                tokens = int(refits["tokens"].iloc[0])
                panel.set_ylabel(f"perplexity on {text}\n({tokens:,} predicted tokens)")
    return figure
