"""What a study's design can answer: origin, dose response, time course, refits needed."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..conventions import ALL
from .style import (
    by_decay,
    columns,
    decay_labels,
    grid,
    layer_axis,
    layer_colors,
    layer_legend,
    legend_above,
)

# What is on the y axis, by the name of a measure.
MEASURES = {
    "stability": "layer stability $S_l$ (cosine)",
    "mu": "what refits share, $\\mu$\n(cosine, text)",
    "rho": "recurrence $\\rho$\n(text similarity)",
    "held_out_loss": "held-out loss (nats)",
    "delta_loss_zero": "zero ablation,\n$\\Delta$ loss (nats)",
    "delta_loss_mean": "mean ablation,\n$\\Delta$ loss (nats)",
}
_SHARED = {"init": "share the init seed", "data": "share the data seed", "neither": "share neither"}
# Width in inches of a legend beside the panels, and numbers of refits that an axis may name.
_LEGEND = 1.3
_REFITS = (3, 5, 10, 20, 50, 100, 300, 1000, 3000, 10_000)
_OF = {"init": "init seed", "data": "data seed", "rest": "rest"}


def origin(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Similarity by what pairs of refits share, and variance components, by layer."""
    layers = table[table["layer"] != ALL].astype({"layer": int})
    figure, axes, shown = columns(layers, 2 * len(look["weight_decays"]), title="")
    figure.set_figwidth(figure.get_figwidth() + _LEGEND)
    sources = dict.fromkeys([*_SHARED, *_OF])
    colors = dict(zip(sources, sns.color_palette(look["palette"], len(sources)), strict=True))
    title = "{architecture}, wd {weight_decay} ({init_seeds} x {data_seeds} seeds)"
    for column, of_architecture in shown:
        decays = by_decay(of_architecture, look)
        for (_, _, part), above, below in zip(decays, column[::2], column[1::2], strict=True):
            drawn = ((above, "similarity", _SHARED), (below, "variance", _OF))
            for panel, quantity, labels in drawn:
                for shift, (source, label) in enumerate(labels.items(), start=-1):
                    rows = part[(part["quantity"] == quantity) & (part["source"] == source)]
                    _with_bars(panel, rows["layer"] + shift * 0.08, rows, colors[source], label)
                layer_axis(panel, part["layer"])
                panel.set_title(title.format(**part.iloc[0]), fontsize=8)
            below.axhline(0, color="0.6", lw=0.8, zorder=0)
    for above, below in zip(axes[::2, 0], axes[1::2, 0], strict=True):
        above.set_ylabel("pairwise stability $k_l$\n(cosine)")
        below.set_ylabel("variance component\n(cosine)")
    for panel, what in zip(axes[:2, -1], ("pairs that", "due to"), strict=True):
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), title=what)
    return figure


def dose(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Every measure against weight decay, one line per layer and a bold one for their mean."""
    table = table.assign(decay=table["weight_decay"].astype(float))
    table = table.sort_values("decay", kind="stable")
    figure, axes, shown = _measures(table)
    values = table.drop_duplicates("decay")
    least = values.loc[values["decay"] > 0, "decay"].min()
    ticks = [f"{row.weight_decay}\n{row.dose:.3g}" for row in values.itertuples()]
    colors = layer_colors(table["layer"], look)
    for panel, part in shown:
        panel.set_xscale("symlog", linthresh=least)
        for layer, color in colors.items():
            rows, mean = part[part["layer"] == layer], layer == ALL
            if len(rows):
                label = "mean of layers" if mean else layer
                _with_bars(panel, rows["decay"], rows, color, label, lw=2 if mean else 1)
        panel.set_xticks(values["decay"], ticks)
        panel.minorticks_off()
    figure.supxlabel("weight decay (below: learning rate x weight decay x steps)", fontsize=9)
    layer_legend(figure, axes[0], table, room=_LEGEND)
    return figure


def time_course(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Every measure against training tokens: the mean over layers bold, single layers thin."""
    figure, axes, shown = _measures(table)
    tokens = sorted(table["tokens"].unique())
    least = next((value for value in tokens if value > 0), 1)
    for panel, part in shown:
        panel.set_xscale("symlog", linthresh=least)
        for decay, color, rows in by_decay(part, look):
            for layer, line in rows[rows["layer"] != ALL].groupby("layer"):
                thin = {"color": color, "lw": 0.7, "alpha": 0.6, "label": f"_{decay} {layer}"}
                panel.plot(line["tokens"], line["estimate"], **thin)
                end = tuple(line[["tokens", "estimate"]].iloc[-1])
                beside = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
                panel.annotate(f"{layer}", end, fontsize=6, color=color, **beside)
            mean = rows[rows["layer"] == ALL]
            _with_bars(panel, mean["tokens"], mean, color, decay_labels(look)[decay], lw=2)
        panel.set_xticks(tokens, [f"{value:,}" for value in tokens], rotation=30)
        panel.minorticks_off()
        panel.set_xlabel("training tokens")
    legend_above(figure, axes[0][0], "bold: mean over layers, thin: single layers (numbered)")
    return figure


def _measures(table: pd.DataFrame) -> tuple[Figure, Any, list[tuple[Axes, pd.DataFrame]]]:
    """One row of panels per measure, one column per architecture; and every panel with its rows."""
    figure, axes, shown = grid(table, "measure")
    for panel, part in shown:
        panel.set_title("{architecture} ({refits} refits)".format(**part.iloc[0]))
    for panel, measure in zip(axes[:, 0], table["measure"].unique(), strict=True):
        panel.set_ylabel(MEASURES.get(measure, measure))
    return figure, axes, shown


def refits_needed(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Width of intervals by the number of refits, one panel per condition, one colour per layer."""
    figure, axes, shown = grid(table, "weight_decay", sharey="all")
    colors = layer_colors(table["layer"], look)
    title = "{architecture}, wd {weight_decay} ({measured} refits)"
    for panel, part in shown:
        _widths(panel, part, colors)
        panel.set_title(title.format(**part.iloc[0]), fontsize=8)
    for panel in axes[:, 0]:
        panel.set_ylabel("width of the 95 % interval\nof $S_l$ (cosine)")
    words = "layer (all: their mean)\ndots: drawn, lines: expected"
    layer_legend(figure, axes[0], table, words, room=_LEGEND)
    return figure


def _widths(panel: Axes, part: pd.DataFrame, colors: dict[str, Any]) -> None:
    shown = part.dropna(subset=["width"])
    if shown.empty:
        words = part["reason"].iloc[0].replace("; ", ";\n")
        panel.text(0.5, 0.5, words, ha="center", va="center", transform=panel.transAxes, fontsize=7)
        panel.set_xticks([])
    else:
        panel.set(xscale="log", yscale="log")
        panel.axhline(part["wanted"].iloc[0], color="0.4", lw=0.8, ls="--")
        panel.set_xticks([size for size in _REFITS if size <= shown["refits"].max()])
        panel.xaxis.set_major_formatter("{x:.0f}")
        panel.minorticks_off()
        needed = shown.loc[shown["layer"] == ALL, "needed"].iloc[0]
        if not pd.isna(needed):
            words = f"mean of layers:\n{needed} refits needed"
            panel.text(0.98, 0.98, words, ha="right", va="top", transform=panel.transAxes, size=7)
    for layer, color in colors.items():
        rows, bold = shown[shown["layer"] == layer], layer == ALL
        if rows.empty:
            continue
        drawn, expected = (rows[rows["source"] == name] for name in ("drawn", "expected"))
        panel.plot(drawn["refits"], drawn["width"], color=color, marker="o", ms=3.5, ls="none")
        if bold:
            edges = drawn["width_low"], drawn["width_high"]
            panel.fill_between(drawn["refits"], *edges, color=color, alpha=0.15)
        style = {"color": color, "lw": 2 if bold else 0.9, "label": layer}
        panel.plot(expected["refits"], expected["width"], **style)
    panel.set_xlabel("refits")


def _with_bars(
    panel: Axes, x: pd.Series, rows: pd.DataFrame, color: Any, label: str, lw: float = 1.2
) -> None:
    """A line of estimates, and bars from `low` to `high` where there is an interval."""
    panel.plot(x, rows["estimate"], color=color, marker="o", ms=3.5, lw=lw, label=label)
    panel.vlines(x, rows["low"], rows["high"], color=color, lw=1)
