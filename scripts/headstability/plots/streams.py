"""Residual streams, and the sizes of activations and weights, by layer."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..labels import ALL
from .style import decay_colors, decay_labels, layer_axis, legend_above, lines, panels

_KERNELS = {"rbf": "RBF", "linear": "linear"}
_PLACES = {"resid_pre": "before attention", "resid_mid": "after attention"}


def residual(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """CKA of the residual stream by layer, a row a stream, and layer stability below it.

    Args:
        table: what `tables.streams.residual_table` returned.
        look: the `figures` section of the config, `weight_decays`, and the `kernel` and
            `estimator` to show.
    """
    chosen = (table["kernel"] == look["kernel"]) & (table["estimator"] == look["estimator"])
    table = table[chosen]
    architectures = table["architecture"].unique()
    streams = [stream for stream in _PLACES if stream in set(table["stream"])]
    figure, axes = panels(len(architectures), rows=len(streams) + 1)
    colors, labels = decay_colors(look), decay_labels(look)
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        for row, stream in enumerate(streams):
            panel = axes[row][column]
            lines(panel, part[part["stream"] == stream], "cka", "refit", colors, labels)
            layer_axis(panel, part["layer"])
        below = part[part["stream"] == streams[0]]
        lines(axes[-1][column], below, "stability", "refit", colors, labels)
        layer_axis(axes[-1][column], part["layer"])
        counts = f"{part['refits'].iloc[0]} refits, {part['positions'].iloc[0]} tokens"
        axes[0][column].set_title(f"{architecture} ({counts})")
    kernel = f"CKA ({_KERNELS[look['kernel']]}, {look['estimator']})"
    for row, stream in enumerate(streams):
        axes[row][0].set_ylabel(f"stream {_PLACES[stream]}:\n{kernel}")
    axes[-1][0].set_ylabel("heads: layer stability $S_l$\n(cosine, another scale)")
    legend_above(figure, axes[0][0], "bold: all pairs of refits, thin: one refit with the others")
    return figure


def attention_norms(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Mean norms of attention's output and of the stream after it, by layer.

    Args:
        table: what `tables.streams.attention_norms_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures), rows=2)
    colors, labels = decay_colors(look), decay_labels(look)
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        for row, measure in enumerate(("attention_out_norm", "resid_mid_norm")):
            panel = axes[row][column]
            lines(panel, part, measure, "refit", colors, labels)
            layer_axis(panel, part["layer"])
        axes[0][column].set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
    for row in axes:  # which share their axis: once all is drawn
        row[0].set_ylim(bottom=0)
    axes[0][0].set_ylabel("attention output:\nmean L2 norm over tokens")
    axes[1][0].set_ylabel("stream after attention:\nmean L2 norm over tokens")
    legend_above(figure, axes[0][0], "bold: mean over refits, thin: one refit")
    return figure


def weight_norms(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Correlation across layers of stability with weight norms, a place a matrix.

    Args:
        table: what `tables.streams.weight_norms_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    figure, axes = panels(len(architectures))
    colors, labels = decay_colors(look), decay_labels(look)
    matrices = list(dict.fromkeys(table["matrix"]))
    for panel, architecture in zip(axes[0], architectures, strict=True):
        part = table[table["architecture"] == architecture]
        panel.axhline(0, color="0.7", lw=0.8, zorder=0)
        for place, (decay, color) in enumerate(colors.items()):
            rows = part[part["weight_decay"] == decay]
            # Side by side around the matrix's place.
            aside = 0.5 * ((place + 0.5) / len(colors) - 0.5)
            for refit, points in rows.groupby("refit", sort=False):
                x = [matrices.index(name) + aside for name in points["matrix"]]
                bold = refit == ALL
                style = {"ms": 6, "mew": 1.6, "zorder": 3} if bold else {"ms": 3, "alpha": 0.6}
                panel.plot(
                    x,
                    points["pearson"],
                    "D" if bold else "o",
                    mfc="none" if bold else color,
                    mec=color,
                    label=labels[decay] if bold else f"_{refit}",
                    **style,
                )
        layers = part["layers"].iloc[0]
        if part["pearson"].isna().all():
            text = "no correlation: it takes 3 layers" if layers < 3 else "no correlation"
            panel.text(0.5, 0.6, text, ha="center", transform=panel.transAxes, color="0.3")
        panel.set_xticks(range(len(matrices)), [_matrix(name) for name in matrices])
        panel.set(xlim=(-0.6, len(matrices) - 0.4), ylim=(-1.08, 1.08), xlabel="weight matrix")
        depth = f"{layers} layer{'s' if layers > 1 else ''}"
        panel.set_title(f"{architecture} ({depth}, {part['refits'].iloc[0]} refits)")
    axes[0][0].set_ylabel("correlation across layers of\nstability and norm (Pearson)")
    legend_above(figure, axes[0][0], "open: mean over refits, filled: one refit")
    return figure


def _matrix(name: str) -> str:
    letter, place = name.split("_")
    return f"${letter}_{{{place}}}$" if len(place) == 1 else f"${letter}_{{\\mathrm{{{place}}}}}$"
