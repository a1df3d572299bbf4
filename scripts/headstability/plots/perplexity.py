"""Perplexity of refits on whole texts."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..conventions import ALL
from .style import decay_colors, grid


def perplexity(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Perplexity of every refit by weight decay: one column per architecture, one row per text."""
    colors = decay_colors(look)
    places = {decay: place for place, decay in enumerate(colors)}
    figure, _, shown = grid(table, "text")
    for panel, part in shown:
        refits = part[part["refit"] != ALL]
        for _, pair in refits.groupby("refit", sort=False):
            panel.plot(pair["weight_decay"].map(places), pair["perplexity"], color="0.8", lw=0.8)
        for item in refits.itertuples():
            color = colors[item.weight_decay]
            panel.plot(places[item.weight_decay], item.perplexity, "o", ms=4, color=color)
        for item in part[part["refit"] == ALL].itertuples():
            place, color = places[item.weight_decay], colors[item.weight_decay]
            panel.plot([place - 0.22, place + 0.22], [item.perplexity] * 2, color=color, lw=2)
            if pd.notna(item.relative_difference):
                beside = {"xy": (place + 0.26, item.perplexity), "va": "center", "fontsize": 8}
                panel.annotate(f"{item.relative_difference:+.2%}", **beside)
        panel.set(xlim=(-0.5, len(places) - 0.2), xticks=list(places.values()))
        panel.set_xticklabels(places)
        panel.set_xlabel("weight decay")
        first = refits.iloc[0]
        if panel.get_subplotspec().is_first_row():
            count = refits["refit"].nunique()
            panel.set_title(f"{first['architecture']} ({count} refits)")
        if panel.get_subplotspec().is_first_col():
            tokens = f"({int(first['tokens']):,} predicted tokens)"
            panel.set_ylabel(f"perplexity on {first['text']}\n{tokens}")
    return figure
