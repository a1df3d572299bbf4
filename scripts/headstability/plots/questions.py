"""What a study's design can tell: origin, dose response, time course, refits needed."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..labels import ALL
from .style import decay_colors, decay_labels, legend_above, panels

# What is on the y axis, by the name of a measure.
MEASURES = {
    "stability": "layer stability $S_l$ (cosine)",
    "excess": "excess $S_l - N_l$ (cosine)",
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
    """Similarity by what pairs of refits share, and variance components, by layer.

    Args:
        table: what `tables.questions.origin_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures, decays = table["architecture"].unique(), look["weight_decays"]
    figure, axes = panels(len(architectures), rows=2 * len(decays))
    figure.set_figwidth(figure.get_figwidth() + _LEGEND)
    sources = dict.fromkeys([*_SHARED, *_OF])
    colors = dict(zip(sources, sns.color_palette(look["palette"], len(sources)), strict=True))
    for row, decay in enumerate(decays):
        for column, architecture in enumerate(architectures):
            part = table[
                (table["architecture"] == architecture)
                & (table["weight_decay"] == decay)
                & (table["layer"] != ALL)
            ]
            for place, (quantity, labels) in enumerate(
                {"similarity": _SHARED, "variance": _OF}.items()
            ):
                panel = axes[2 * row + place][column]
                for shift, (source, label) in enumerate(labels.items(), start=-1):
                    rows = part[(part["quantity"] == quantity) & (part["source"] == source)]
                    where = rows["layer"].astype(int)
                    _with_bars(panel, where, rows, colors[source], label, shift * 0.08)
                panel.set_xticks(sorted(part["layer"].astype(int).unique()))
                panel.set_xlabel("layer")
                seeds = part[["init_seeds", "data_seeds"]].iloc[0]
                panel.set_title(
                    f"{architecture}, wd {decay} ({seeds.iloc[0]} x {seeds.iloc[1]} seeds)",
                    fontsize=8,
                )
                if place:
                    panel.axhline(0, color="0.6", lw=0.8, zorder=0)
        axes[2 * row][0].set_ylabel("pairwise stability $k_l$\n(cosine)")
        axes[2 * row + 1][0].set_ylabel("variance component\n(cosine)")
    for row in (0, 1):
        axes[row][-1].legend(
            loc="upper left", bbox_to_anchor=(1, 1), title=("pairs that", "due to")[row]
        )
    return figure


def dose(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Every measure against weight decay, a line a layer and a bold one for their mean.

    Args:
        table: what `tables.questions.dose_table` returned.
        look: the `figures` section of the config.
    """
    figure, axes, parts = _measures(table)
    values = table.drop_duplicates("weight_decay").assign(
        decay=lambda rows: rows["weight_decay"].astype(float)
    )
    values = values.sort_values("decay")
    least = values.loc[values["decay"] > 0, "decay"].min()
    ticks = [f"{row.weight_decay}\n{row.dose:.3g}" for row in values.itertuples()]
    colors = _layer_colors(table, look)
    for panel, part in parts:
        part = part.assign(decay=part["weight_decay"].astype(float)).sort_values("decay")
        panel.set_xscale("symlog", linthresh=least)
        _layer_lines(panel, part, "decay", colors)
        panel.set_xticks(values["decay"], ticks)
        panel.minorticks_off()
    figure.supxlabel("weight decay (below: learning rate x weight decay x steps)", fontsize=9)
    _layer_legend(figure, axes[0], table, table["architecture"].unique())
    return figure


def time_course(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Every measure against training tokens: the mean over layers bold, single layers thin.

    Args:
        table: what `tables.time_course.time_course_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    figure, axes, parts = _measures(table)
    tokens = sorted(table["tokens"].unique())
    least = next((value for value in tokens if value > 0), 1)
    for panel, part in parts:
        panel.set_xscale("symlog", linthresh=least)
        for decay, color in decay_colors(look).items():
            rows = part[part["weight_decay"] == decay]
            for layer, line in rows[rows["layer"] != ALL].groupby("layer"):
                panel.plot(
                    line["tokens"],
                    line["estimate"],
                    color=color,
                    lw=0.7,
                    alpha=0.6,
                    label=f"_{decay} {layer}",
                )
                last = line.iloc[-1]
                panel.annotate(
                    f"{layer}",
                    (last["tokens"], last["estimate"]),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=6,
                    color=color,
                    va="center",
                )
            mean = rows[rows["layer"] == ALL]
            _with_bars(panel, mean["tokens"], mean, color, decay_labels(look)[decay], lw=2)
        panel.set_xticks(tokens, [f"{value:,}" for value in tokens], rotation=30)
        panel.minorticks_off()
        panel.set_xlabel("training tokens")
    legend_above(figure, axes[0][0], "bold: mean over layers, thin: single layers (numbered)")
    return figure


def _measures(table: pd.DataFrame) -> tuple[Figure, Any, list[tuple[Axes, pd.DataFrame]]]:
    """A row of panels a measure, a column an architecture; and every panel with its rows."""
    architectures, measures = table["architecture"].unique(), table["measure"].unique()
    figure, axes = panels(len(architectures), rows=len(measures))
    parts = []
    for row, measure in enumerate(measures):
        for panel, architecture in zip(axes[row], architectures, strict=True):
            here = (table["measure"] == measure) & (table["architecture"] == architecture)
            panel.set_title(f"{architecture} ({table.loc[here, 'refits'].iloc[0]} refits)")
            parts.append((panel, table[here]))
        axes[row][0].set_ylabel(MEASURES.get(measure, measure))
    return figure, axes, parts


def refits_needed(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Width of intervals by the number of refits, a panel a condition, a colour a layer.

    Args:
        table: what `tables.questions.refits_needed_table` returned.
        look: the `figures` section of the config.
    """
    architectures, decays = table["architecture"].unique(), table["weight_decay"].unique()
    figure, axes = panels(len(architectures), rows=len(decays), sharey="all")
    colors = _layer_colors(table, look)
    for row, decay in enumerate(decays):
        for column, architecture in enumerate(architectures):
            panel = axes[row][column]
            part = table[(table["weight_decay"] == decay) & (table["architecture"] == architecture)]
            _widths(panel, part, colors)
            first = part.iloc[0]
            panel.set_title(f"{architecture}, wd {decay} ({first['measured']} refits)", fontsize=8)
        axes[row][0].set_ylabel("width of the 95 % interval\nof $S_l$ (cosine)")
    _layer_legend(
        figure,
        axes[0],
        table,
        architectures,
        "layer (all: their mean)\ndots: drawn, lines: expected",
    )
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
        rows = shown[shown["layer"] == layer]
        if rows.empty:
            continue
        bold = layer == ALL
        drawn, expected = (rows[rows["source"] == name] for name in ("drawn", "expected"))
        panel.plot(drawn["refits"], drawn["width"], color=color, marker="o", ms=3.5, ls="none")
        if bold:
            panel.fill_between(
                drawn["refits"], drawn["width_low"], drawn["width_high"], color=color, alpha=0.15
            )
        panel.plot(
            expected["refits"], expected["width"], color=color, lw=2 if bold else 0.9, label=layer
        )
    panel.set_xlabel("refits")


def _layer_colors(table: pd.DataFrame, look: dict[str, Any]) -> dict[str, Any]:
    """Colours of layers, shallow to deep; the mean over layers is black."""
    layers = sorted((name for name in table["layer"].unique() if name != ALL), key=int)
    shades = sns.color_palette(look["colormap"], len(layers))
    return {ALL: "black", **dict(zip(layers, shades, strict=True))}


def _layer_lines(panel: Axes, part: pd.DataFrame, x: str, colors: dict[str, Any]) -> None:
    """A line a layer with its interval; a bold one for the mean over layers."""
    for layer, color in colors.items():
        rows = part[part["layer"] == layer]
        label = "mean of layers" if layer == ALL else layer
        if len(rows):
            _with_bars(panel, rows[x], rows, color, label, lw=2 if layer == ALL else 1)


def _with_bars(
    panel: Axes,
    x: pd.Series,
    rows: pd.DataFrame,
    color: Any,
    label: str,
    shift: float = 0.0,
    lw: float = 1.2,
) -> None:
    """A line of estimates, and bars from `low` to `high` where there is an interval."""
    panel.plot(x + shift, rows["estimate"], color=color, marker="o", ms=3.5, lw=lw, label=label)
    panel.vlines(x + shift, rows["low"], rows["high"], color=color, lw=1)


def _layer_legend(
    figure: Figure, axes: Any, table: pd.DataFrame, architectures: Any, title: str = "layer"
) -> None:
    """The legend of the deepest architecture, beside the panels."""
    numbers = table[table["layer"] != ALL]
    deepest = numbers.loc[numbers["layer"].astype(int).idxmax(), "architecture"]
    figure.set_figwidth(figure.get_figwidth() + _LEGEND)
    handles, names = axes[list(architectures).index(deepest)].get_legend_handles_labels()
    figure.legend(handles, names, title=title, loc="outside right upper")
