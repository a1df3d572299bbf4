"""The one style of all figures, and what several of them are made of.

Nothing in this package computes a number: what is drawn is in the table.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..files import atomic_path, sha256_file, write_sidecar
from ..labels import ALL

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


def panels(count: int, rows: int = 1, sharey: str = "row") -> tuple[Figure, Any]:
    """A figure of `count` panels side by side; those of a row, or all, share their y axis."""
    figure = Figure(figsize=(PANEL * count, 2.6 * rows))
    axes = figure.subplots(rows, count, squeeze=False, sharey=sharey)
    return figure, axes


def layer_axis(axes: Axes, layers: pd.Series) -> None:
    """Label the x axis with layers, whole numbers from 1."""
    axes.set_xticks(sorted(layers.unique()))
    axes.set_xlabel("layer")


def lines(
    axes: Axes,
    table: pd.DataFrame,
    y: str,
    unit: str,
    colors: dict,
    labels: dict,
    bold: str = ALL,
    style: tuple[str, str] = ("-", "o"),
) -> None:
    """A bold line of one unit's rows ("all" or a refit), a thin one of every other refit's.

    Args:
        axes: where to draw.
        table: weight_decay, layer, the columns `unit` and `y`.
        y: the column to draw by layer.
        unit: the column that names refits: anchor or refit.
        colors: the colour of each weight decay.
        labels: the legend's text for each weight decay.
        bold: the unit drawn bold.
        style: the bold line and its marker.
    """
    for decay, color in colors.items():
        rows = table[table["weight_decay"] == decay]
        for name, part in rows[~rows[unit].isin([ALL, bold])].groupby(unit, sort=False):
            axes.plot(part["layer"], part[y], color=color, lw=0.6, alpha=0.45, label=f"_{name}")
        mean = rows[rows[unit] == bold]
        if len(mean):
            label = labels.get(decay)
            line, marker = style
            drawn = {"color": color, "lw": 2, "ls": line, "marker": marker, "ms": 4}
            axes.plot(mean["layer"], mean[y], label=label, **drawn)


def decay_labels(look: dict[str, Any]) -> dict[str, str]:
    """The legend's text for every weight decay: its value and the optimiser that implies."""
    return {
        decay: f"wd {decay} ({'AdamW' if float(decay) else 'Adam'})"
        for decay in look["weight_decays"]
    }


def dead_layers(dead: pd.DataFrame, architecture: str, decay: str) -> list[int]:
    """Layers of a condition whose heads do next to nothing, by either method of ablation.

    Args:
        dead: what `tables.ablation.dead_heads_table` returned.
        architecture: of the condition.
        decay: its weight decay.
    """
    here = (dead["architecture"] == architecture) & (dead["weight_decay"] == decay)
    flagged = dead[here & dead["dead"].isin([True])]
    return sorted(flagged["layer"].unique().tolist())


def who_is_bold(look: dict[str, Any], of: str = "anchor") -> str:
    """The legend's words on bold and thin lines.

    Args:
        look: with `anchor`: "all" or the one refit shown bold.
        of: what a line is of: anchor or refit.
    """
    if look["anchor"] == ALL:
        return f"bold: mean of all {of}s, thin: one {of}"
    return f"bold: {of} {look['anchor']}, thin: the other {of}s"


def legend_above(figure: Figure, axes: Axes, title: str, columns: int | None = None) -> None:
    """The legend of one panel, for all of them, above the figure."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        title=title,
        loc="outside upper center",
        ncols=min(columns or len(names), len(names)),
    )
