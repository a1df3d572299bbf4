"""Where in depth things lie: matches in other layers, and the extremes of stability."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..conventions import ALL, CONDITION
from .style import (
    PANEL,
    by_decay,
    decay_colors,
    decay_labels,
    decay_samples,
    layer_axis,
    legend_above,
    sample,
    shown_anchor,
)

# Height in inches of a condition's row, and of everything above and below the rows.
_ROW, _FRAME = 0.3, 1.5


def cross_layer(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Where best matches lie if they may be in any layer, one row of panels per architecture."""
    shown = table[table["anchor"] == look["anchor"]]
    architectures, decays = shown["architecture"].unique(), look["weight_decays"]
    size = (0.72 * PANEL * len(decays) + PANEL, 2.4 * len(architectures) + 0.5)
    figure, shape = Figure(figsize=size), (len(architectures), len(decays) + 1)
    axes = figure.subplots(*shape, squeeze=False, width_ratios=[0.72] * len(decays) + [0.9])
    for row, architecture in enumerate(architectures):
        part = shown[shown["architecture"] == architecture]
        title = f"{architecture} ({part['refits'].iloc[0]} refits)"
        for panel, (decay, _, matches) in zip(axes[row], by_decay(part, look), strict=False):
            _proportions(panel, matches, look)
            panel.set_title(f"{title}, wd {decay}")
        _stabilities(axes[row][-1], part.drop_duplicates([*CONDITION, "layer"]), look)
        axes[row][-1].set_title(title)
    bar = {"shrink": 0.8, "aspect": 16 * len(architectures), "pad": 0.02}
    label = "proportion of best matches"
    figure.colorbar(axes[0][0].collections[0], ax=axes[:, :-1], label=label, **bar)
    styles = {"any layer": "-", "same layer": "--"}
    samples = [sample(label, color="0.3", ls=ls) for label, ls in styles.items()]
    legend_above(figure, samples + decay_samples(look), shown_anchor(look))
    return figure


def _proportions(panel: Axes, table: pd.DataFrame, look: dict[str, Any]) -> None:
    grid = table.pivot(index="layer", columns="match_layer", values="proportion")
    numbers = {"annot": len(grid) <= 6, "fmt": ".2f", "annot_kws": {"size": 7}}
    shades = {"cmap": look["colormap"], "vmin": 0, "vmax": 1, "cbar": False}
    sns.heatmap(grid.sort_index(ascending=False), ax=panel, **shades, **numbers)
    panel.set(xlabel="layer of the best match", ylabel="layer of the head")
    panel.tick_params(axis="y", rotation=0)


def _stabilities(panel: Axes, table: pd.DataFrame, look: dict[str, Any]) -> None:
    for _, color, part in by_decay(table, look):
        panel.plot(part["layer"], part["stability"], "-o", color=color, lw=1.6, ms=4)
        panel.plot(part["layer"], part["same_layer_stability"], "--s", color=color, lw=1.2, ms=3)
    layer_axis(panel, table["layer"])
    panel.set_ylabel("layer stability (cosine)")


def extremes(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """The most and the least stable layer of every condition, and the difference of the two."""
    order = ["layers", "heads", "mlp", *CONDITION]
    shown = table[table["anchor"] == look["anchor"]].sort_values(order, ascending=False)
    figure = Figure(figsize=(2 * PANEL, _ROW * len(shown) + _FRAME))
    figure.get_layout_engine().set(w_pad=0.1)  # names of two lines extend beyond their space
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.2, 1])
    colors = decay_colors(look)
    single = table[~table["anchor"].isin([ALL, look["anchor"]])]
    for place, row in enumerate(shown.itertuples()):
        color = colors[row.weight_decay]
        face = color if row.mlp else "white"
        others = single[(single[CONDITION] == [row.architecture, row.weight_decay]).all(axis=1)]
        left.plot([row.most_depth, row.least_depth], [place, place], color="0.6", lw=1, zorder=1)
        for what, marker in (("most", "^"), ("least", "v")):
            depth = getattr(row, f"{what}_depth")
            style = {"color": color, "mfc": face, "marker": marker, "ls": "none"}
            left.plot([depth], [place], ms=7, zorder=3, **style)
            depths = others[f"{what}_depth"]
            left.plot(depths, [place] * len(depths), ms=3, alpha=0.5, zorder=2, **style)
        right.barh(place, row.delta, height=0.6, color=face, edgecolor=color)
        dots = {"color": "0.25", "marker": ".", "ms": 3, "ls": "none"}
        right.plot(others["delta"], [place] * len(others), **dots)
    names = [
        f"{row.architecture}: {_counted(row.layers, 'layer')}, {_counted(row.heads, 'head')}\n"
        f"{'MLP' if row.mlp else 'attention-only'}, wd {row.weight_decay}, n = {row.refits}"
        for row in shown.itertuples()
    ]
    left.set_yticks(range(len(names)), names, fontsize=7)
    left.set(xlim=(0, 1.06), ylim=(-0.6, len(names) - 0.4))
    left.set_xlabel("relative depth of the layer, $l/L$")
    right.set_xlabel("$\\Delta S = \\max_l S_l - \\min_l S_l$ (cosine)")
    gray = {"color": "0.3", "ls": "none"}
    samples = [
        sample("most stable layer", marker="^", **gray),
        sample("least stable layer", marker="v", **gray),
        sample("with MLP", marker="s", **gray),
        sample("attention-only", marker="s", mfc="white", **gray),
    ]
    labels = decay_labels(look)
    samples += [sample(labels[decay], color=color, lw=3) for decay, color in colors.items()]
    title = f"large markers and bars: {shown_anchor(look)}; small: single anchors; n: refits"
    legend_above(figure, samples, title, columns=3)
    return figure


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
