"""Figures from tables. Nothing here computes a number: what is drawn is in the table."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .files import atomic_path, sha256_file, write_sidecar
from .labels import ALL

# Width of one panel in inches: two fit a page's width, one a column's.
PANEL = 3.3
_RC = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "headstability",
    "figure.constrained_layout.use": True,
}


def set_style() -> None:
    """Apply the one style every figure shares."""
    mpl.use("agg")
    sns.set_theme(context="paper", style="ticks", rc=_RC)


def save_figure(figure: Figure, paths: dict[str, str | Path], dpi: int) -> None:
    """Write a figure in every format with its hash, without the date that would make it differ."""
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "ModDate": None},
        "png": {"Software": None},
    }
    # Settle the layout once: it moves a little every time it is computed.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for kind, path in paths.items():
        with atomic_path(path) as part:
            figure.savefig(part, format=kind, dpi=dpi, metadata=metadata[kind])
            write_sidecar(path, sha256_file(part))


def decay_colors(look: dict[str, Any]) -> dict[str, Any]:
    """The colour of every weight decay, the same in all figures of a study."""
    decays = look["weight_decays"]
    return dict(zip(decays, sns.color_palette(look["palette"], len(decays)), strict=True))


def _panels(count: int, rows: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(PANEL * count, 2.6 * rows))
    axes = figure.subplots(rows, count, squeeze=False, sharey="row")
    return figure, axes


def _layer_axis(axes: Axes, layers: pd.Series) -> None:
    axes.set_xticks(sorted(layers.unique()))
    axes.set_xlabel("layer")


def _lines(axes: Axes, table: pd.DataFrame, y: str, unit: str, colors: dict, labels: dict) -> None:
    """A bold line of the "all" rows and a thin one for every single refit, by weight decay."""
    for decay, color in colors.items():
        rows = table[table["weight_decay"] == decay]
        for name, part in rows[rows[unit] != ALL].groupby(unit, sort=False):
            axes.plot(part["layer"], part[y], color=color, lw=0.6, alpha=0.45, label=f"_{name}")
        mean = rows[rows[unit] == ALL]
        if len(mean):
            label = labels.get(decay)
            axes.plot(mean["layer"], mean[y], color=color, lw=2, marker="o", ms=4, label=label)


def layer_stability(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability, a panel per architecture, a bold line per weight decay.

    Args:
        table: what `tables.layer_stability_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    figure, axes = _panels(len(architectures))
    for panel, architecture in zip(axes[0], architectures, strict=True):
        part = table[table["architecture"] == architecture]
        overall = part[part["anchor"] == ALL].drop_duplicates("weight_decay")
        labels = {
            row.weight_decay: f"wd {row.weight_decay}, held-out loss {row.held_out_loss:.3f} nats"
            for row in overall.itertuples()
        }
        _lines(panel, part, "stability", "anchor", decay_colors(look), labels)
        _layer_axis(panel, part["layer"])
        panel.set_title(f"{architecture} ({part['refits'].iloc[0]} refits)")
        panel.legend(title="bold: all anchors, thin: one")
    axes[0][0].set_ylabel("layer stability $S_l$ (cosine)")
    return figure


def stability_ablation(table: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """By layer: correlation of stability with ablation effect, and the mean effect.

    Args:
        table: what `tables.stability_ablation_table` returned.
        look: the `figures` section of the config and `weight_decays`.
    """
    architectures = table["architecture"].unique()
    figure, axes = _panels(len(architectures), rows=2)
    colors = decay_colors(look)
    labels = {decay: f"wd {decay}" for decay in colors}
    for column, architecture in enumerate(architectures):
        part = table[table["architecture"] == architecture]
        refits = part["refit"].nunique() - 1
        for row, measure in enumerate(("pearson", "mean_delta_loss")):
            panel = axes[row][column]
            panel.axhline(0, color="0.7", lw=0.8, zorder=0)
            _lines(panel, part, measure, "refit", colors, labels)
            _layer_axis(panel, part["layer"])
        axes[0][column].set_title(f"{architecture} ({refits} refits)")
    handles, names = axes[0][0].get_legend_handles_labels()
    title = "bold: mean over refits, thin: one refit"
    figure.legend(handles, names, title=title, loc="outside upper center", ncols=len(names))
    axes[0][0].set_ylabel("correlation over heads of\nstability and $\\Delta$ loss (Pearson)")
    axes[1][0].set_ylabel("mean $\\Delta$ loss of\nablating a head (nats)")
    return figure


def head_map(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """Stability of every head of the anchor, layers by heads.

    Args:
        table: what `tables.head_map_table` returned.
        title: the condition and its anchor.
        look: the `figures` section of the config.
    """
    grid = table.pivot(index="layer", columns="head", values="stability").sort_index(
        ascending=False
    )
    figure = Figure(figsize=(max(PANEL, 0.42 * grid.shape[1] + 1.2), 0.36 * grid.shape[0] + 1.3))
    axes = figure.subplots()
    sns.heatmap(
        grid,
        ax=axes,
        cmap=look["colormap"],
        vmin=0,
        vmax=1,
        annot=grid.shape[1] <= 16,
        fmt=".2f",
        annot_kws={"size": 7},
        cbar_kws={"label": "head stability $S$ (cosine)"},
    )
    axes.set(xlabel="head (numbers of this refit only)", ylabel="layer")
    axes.tick_params(axis="y", rotation=0)
    axes.set_title(title)
    return figure


def pairwise(table: pd.DataFrame, title: str, look: dict[str, Any]) -> Figure:
    """Pairwise stability of refits, a heat map per layer.

    Args:
        table: refit_a, refit_b, layer, stability.
        title: the condition.
        look: the `figures` section of the config.
    """
    layers = sorted(table["layer"].unique())
    refits = list(dict.fromkeys(table["refit_a"]))
    columns = min(4, len(layers))
    rows = -(-len(layers) // columns)
    side = min(3.2, max(1.5, 0.42 * len(refits)))
    figure = Figure(figsize=(side * columns + 1.6, (side + 0.5) * rows + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    low, high = table["stability"].min(), table["stability"].max()
    for place, panel in enumerate(axes.flat):
        if place >= len(layers):
            panel.set_visible(False)
            continue
        part = table[table["layer"] == layers[place]]
        grid = part.pivot(index="refit_a", columns="refit_b", values="stability")
        grid = grid.reindex(index=refits, columns=refits)
        sns.heatmap(
            grid,
            ax=panel,
            cmap=look["colormap"],
            vmin=low,
            vmax=high,
            square=True,
            cbar=False,
            annot=len(refits) <= 8,
            fmt=".2f",
            annot_kws={"size": 6},
        )
        panel.set(title=f"layer {layers[place]}", xlabel="", ylabel="")
        panel.tick_params(axis="x", rotation=90)
        panel.tick_params(axis="y", rotation=0)
    figure.colorbar(
        axes.flat[0].collections[0], ax=axes, label="pairwise stability $k_l$ (cosine)", shrink=0.8
    )
    figure.suptitle(title, fontsize=9)
    figure.supxlabel("refit", fontsize=9)
    figure.supylabel("refit", fontsize=9)
    return figure
