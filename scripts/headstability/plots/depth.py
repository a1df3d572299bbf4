"""Where in depth things lie: matches in other layers, and the extremes of stability."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..labels import ALL, CONDITION
from .style import PANEL, decay_colors, decay_labels, layer_axis

# Height in inches of a condition's row, and of all that stands above and below the rows.
_ROW, _FRAME = 0.3, 1.5


def cross_layer(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Where best matches lie if any layer may hold them, a row of panels per architecture.

    Args:
        table: what `tables.layers.cross_layer_table` returned.
        look: the `figures` section of the config, `weight_decays` and `anchor`.
    """
    shown = table[table["anchor"] == look["anchor"]]
    architectures, decays = shown["architecture"].unique(), look["weight_decays"]
    size = (0.72 * PANEL * len(decays) + PANEL, 2.4 * len(architectures) + 0.5)
    figure = Figure(figsize=size)
    grid = {"width_ratios": [0.72] * len(decays) + [0.9]}
    axes = figure.subplots(len(architectures), len(decays) + 1, squeeze=False, gridspec_kw=grid)
    for row, architecture in enumerate(architectures):
        part = shown[shown["architecture"] == architecture]
        title = f"{architecture} ({part['refits'].iloc[0]} refits)"
        for column, decay in enumerate(decays):
            panel = axes[row][column]
            _proportions(panel, part[part["weight_decay"] == decay], look)
            panel.set_title(f"{title}, wd {decay}")
        _stabilities(axes[row][-1], part.drop_duplicates([*CONDITION, "layer"]), look)
        axes[row][-1].set_title(title)
    bar = {"shrink": 0.8, "aspect": 16 * len(architectures), "pad": 0.02}
    label = "proportion of best matches"
    figure.colorbar(axes[0][0].collections[0], ax=axes[:, :-1], label=label, **bar)
    styles = {"any layer": "-", "same layer": "--"}
    handles = [Line2D([], [], color="0.3", ls=ls, label=label) for label, ls in styles.items()]
    colors = decay_colors(look).items()
    handles += [Line2D([], [], color=color, lw=3, label=f"wd {decay}") for decay, color in colors]
    of = "mean of all anchors" if look["anchor"] == ALL else f"anchor {look['anchor']}"
    figure.legend(handles=handles, title=of, loc="outside upper center", ncols=len(handles))
    return figure


def _proportions(panel: Axes, table: pd.DataFrame, look: dict[str, Any]) -> None:
    grid = table.pivot(index="layer", columns="match_layer", values="proportion")
    sns.heatmap(
        grid.sort_index(ascending=False),
        ax=panel,
        cmap=look["colormap"],
        vmin=0,
        vmax=1,
        cbar=False,
        annot=len(grid) <= 6,
        fmt=".2f",
        annot_kws={"size": 7},
    )
    panel.set(xlabel="layer of the best match", ylabel="layer of the head")
    panel.tick_params(axis="y", rotation=0)


def _stabilities(panel: Axes, table: pd.DataFrame, look: dict[str, Any]) -> None:
    for decay, color in decay_colors(look).items():
        part = table[table["weight_decay"] == decay]
        dashed = {"lw": 1.2, "ls": "--", "marker": "s", "ms": 3}
        panel.plot(part["layer"], part["stability"], color=color, lw=1.6, marker="o", ms=4)
        panel.plot(part["layer"], part["same_layer_stability"], color=color, **dashed)
    layer_axis(panel, table["layer"])
    panel.set_ylabel("layer stability (cosine)")


def extremes(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """The most and the least stable layer of every condition, and how far they are apart.

    Args:
        table: what `tables.layers.extremes_table` returned.
        look: the `figures` section of the config, `weight_decays` and `anchor`.
    """
    order = [*["layers", "heads", "mlp"], *CONDITION]
    shown = table[table["anchor"] == look["anchor"]].sort_values(order, ascending=False)
    figure = Figure(figsize=(2 * PANEL, _ROW * len(shown) + _FRAME))
    figure.get_layout_engine().set(w_pad=0.1)  # names of two lines reach beyond their place
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [1.2, 1]})
    colors = decay_colors(look)
    single = table[~table["anchor"].isin([ALL, look["anchor"]])]
    for place, row in enumerate(shown.itertuples()):
        color = colors[row.weight_decay]
        face = color if row.mlp else "white"
        others = single[
            (single["architecture"] == row.architecture)
            & (single["weight_decay"] == row.weight_decay)
        ]
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
    left.set(
        xlim=(0, 1.06), ylim=(-0.6, len(names) - 0.4), xlabel="relative depth of the layer, $l/L$"
    )
    right.set_xlabel("$\\Delta S = \\max_l S_l - \\min_l S_l$ (cosine)")
    gray = {"color": "0.3", "ls": "none"}
    handles = [
        Line2D([], [], marker="^", label="most stable layer", **gray),
        Line2D([], [], marker="v", label="least stable layer", **gray),
        Line2D([], [], marker="s", label="with MLP", **gray),
        Line2D([], [], marker="s", mfc="white", label="attention-only", **gray),
    ]
    handles += [
        Line2D([], [], color=colors[decay], lw=3, label=label)
        for decay, label in decay_labels(look).items()
    ]
    bold = "mean of all anchors" if look["anchor"] == ALL else f"anchor {look['anchor']}"
    title = f"large markers and bars: {bold}; small: single anchors; n: refits"
    figure.legend(handles=handles, title=title, loc="outside upper center", ncols=3)
    return figure


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
