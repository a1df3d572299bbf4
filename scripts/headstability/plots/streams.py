"""Residual streams, and the sizes of activations and weights, by layer."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..conventions import ALL
from .style import by_decay, columns, decay_labels, legend_above, lines

_KERNELS = {"rbf": "RBF", "linear": "linear"}
_PLACES = {"resid_pre": "before attention", "resid_mid": "after attention"}


def residual(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """CKA of the residual stream by layer, one row per stream, and layer stability below."""
    chosen = (table["kernel"] == look["kernel"]) & (table["estimator"] == look["estimator"])
    table = table[chosen]
    streams = [stream for stream in _PLACES if stream in set(table["stream"])]
    title = "{architecture} ({refits} refits, {positions} tokens)"
    figure, axes, shown = columns(table, len(streams) + 1, title)
    for (*above, below), part in shown:
        for panel, stream in zip(above, streams, strict=True):
            lines(panel, part[part["stream"] == stream], "cka", "refit", look)
        lines(below, part[part["stream"] == streams[0]], "stability", "refit", look)
    kernel = f"CKA ({_KERNELS[look['kernel']]}, {look['estimator']})"
    for row, stream in enumerate(streams):
        axes[row][0].set_ylabel(f"stream {_PLACES[stream]}:\n{kernel}")
    axes[-1][0].set_ylabel("heads: layer stability $S_l$\n(cosine, another scale)")
    legend_above(figure, axes[0][0], "bold: all pairs of refits, thin: one refit with the others")
    return figure


def attention_norms(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Mean norms of attention's output and of the stream after it, by layer."""
    figure, axes, shown = columns(table, rows=2)
    for column, part in shown:
        for panel, measure in zip(column, ("attention_out_norm", "resid_mid_norm"), strict=True):
            lines(panel, part, measure, "refit", look)
    for row in axes:  # which share their axis: once all is drawn
        row[0].set_ylim(bottom=0)
    axes[0][0].set_ylabel("attention output:\nmean L2 norm over tokens")
    axes[1][0].set_ylabel("stream after attention:\nmean L2 norm over tokens")
    legend_above(figure, axes[0][0], "bold: mean over refits, thin: one refit")
    return figure


def weight_norms(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Correlation across layers of stability with weight norms, one position per matrix."""
    figure, axes, shown = columns(table)
    decays, labels = look["weight_decays"], decay_labels(look)
    matrices = list(table["matrix"].unique())
    for (panel,), part in shown:
        panel.axhline(0, color="0.7", lw=0.8, zorder=0)
        for place, (decay, color, rows) in enumerate(by_decay(part, look)):
            # Side by side around the matrix's position.
            aside = 0.5 * ((place + 0.5) / len(decays) - 0.5)
            for refit, points in rows.groupby("refit", sort=False):
                x = [matrices.index(name) + aside for name in points["matrix"]]
                style = {"marker": "o", "ms": 3, "alpha": 0.6, "mfc": color, "label": f"_{refit}"}
                if refit == ALL:
                    style = {"marker": "D", "ms": 6, "mew": 1.6, "zorder": 3, "mfc": "none"}
                    style["label"] = labels[decay]
                panel.plot(x, points["pearson"], ls="none", mec=color, **style)
        layers = part["layers"].iloc[0]
        if part["pearson"].isna().all():
            text = "no correlation: it takes 3 layers" if layers < 3 else "no correlation"
            panel.text(0.5, 0.6, text, ha="center", transform=panel.transAxes, color="0.3")
        panel.set_xticks(range(len(matrices)), [_matrix(name) for name in matrices])
        panel.set(xlim=(-0.6, len(matrices) - 0.4), ylim=(-1.08, 1.08), xlabel="weight matrix")
        depth = f"{layers} layer{'s' if layers > 1 else ''}"
        first = part.iloc[0]
        panel.set_title(f"{first['architecture']} ({depth}, {first['refits']} refits)")
    axes[0][0].set_ylabel("correlation across layers of\nstability and norm (Pearson)")
    legend_above(figure, axes[0][0], "open: mean over refits, filled: one refit")
    return figure


def _matrix(name: str) -> str:
    letter, place = name.split("_")
    return f"${letter}_{{{place}}}$" if len(place) == 1 else f"${letter}_{{\\mathrm{{{place}}}}}$"
