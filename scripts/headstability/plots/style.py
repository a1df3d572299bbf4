"""The common style of all figures, and parts that several of them share.

Nothing in this package computes a number: what is drawn is in the table. Every figure has a row of
the registry (`registry.rows`) and a function here, which returns it undrawn. The function gets the
table of the row, whose columns stand there; the tables the row `draws` beside it; the name of what
it is of, if there is one per condition or weight decay; and last, where the row has it, `look`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..conventions import ALL
from ..storage.files import atomic_path, sha256_file, write_sidecar

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
    """Write a figure in every format with its hash, without a date, which would make it differ."""
    metadata = {"pdf": {"CreationDate": None, "ModDate": None}, "png": {"Software": None}}
    # Compute the layout once: it shifts a little every time it is computed.
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


def by_decay(table: pd.DataFrame, look: dict[str, Any]) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    """Every weight decay with its colour and its rows of the table."""
    for decay, color in decay_colors(look).items():
        yield decay, color, table[table["weight_decay"] == decay]


def decay_labels(look: dict[str, Any]) -> dict[str, str]:
    """The legend's text for every weight decay: its value and the optimiser that implies."""
    decays = look["weight_decays"]
    return {decay: f"wd {decay} ({'AdamW' if float(decay) else 'Adam'})" for decay in decays}


def layer_colors(layers: pd.Series, look: dict[str, Any]) -> dict[Any, Any]:
    """Colours of layers, shallow to deep; "all", the mean over layers, is black and first."""
    numbers = sorted((name for name in layers.unique() if name != ALL), key=int)
    shades = sns.color_palette(look["colormap"], len(numbers))
    return {ALL: "black", **dict(zip(numbers, shades, strict=True))}


def _panels(count: int, rows: int, sharey: str = "row") -> tuple[Figure, Any]:
    figure = Figure(figsize=(PANEL * count, 2.6 * rows))
    return figure, figure.subplots(rows, count, squeeze=False, sharey=sharey)


def columns(
    table: pd.DataFrame, rows: int = 1, title: str = "{architecture} ({refits} refits)"
) -> tuple[Figure, Any, list[tuple[Any, pd.DataFrame]]]:
    """A figure with a column of panels for every architecture of the table.

    Braces in the title of a column hold columns of the table. Returns the figure, its panels (rows,
    architectures), and the panels of every column with the rows of the table that they show.
    """
    names = table["architecture"].unique()
    figure, axes = _panels(len(names), rows)
    shown = [(axes[:, i], table[table["architecture"] == name]) for i, name in enumerate(names)]
    for column, part in shown:
        column[0].set_title(title.format(**part.iloc[0]))
    return figure, axes, shown


def grid(
    table: pd.DataFrame, by: str, values: Iterable[Any] | None = None, sharey: str = "row"
) -> tuple[Figure, Any, list[tuple[Axes, pd.DataFrame]]]:
    """A figure with a column of panels for every architecture, and a row for every value of `by`.

    `values` are all by default; `sharey` says whether a row or all panels share their y axis.
    Returns the figure, its panels (values, architectures), and every panel with the rows of the
    table that it shows.
    """
    values = table[by].unique() if values is None else values
    names = table["architecture"].unique()
    figure, axes = _panels(len(names), len(values), sharey)
    parts = [
        table[(table[by] == value) & (table["architecture"] == name)]
        for value in values
        for name in names
    ]
    return figure, axes, list(zip(axes.flat, parts, strict=True))


def layer_axis(axes: Axes, layers: pd.Series) -> None:
    """Label the x axis with layers, whole numbers from 1."""
    axes.set_xticks(sorted(layers.unique()))
    axes.set_xlabel("layer")


def lines(
    axes: Axes,
    table: pd.DataFrame,
    y: str,
    unit: str,
    look: dict[str, Any],
    labels: dict[str, str] | None = None,
    style: tuple[str, str] = ("-", "o"),
) -> None:
    """The column `y` by layer: a bold line for one refit or for "all", thin ones for other refits.

    The column `unit` (anchor or refit) names them; `look["anchor"]`, if there is one, is bold, with
    `style`: its line and marker. `labels` are the legend's texts by weight decay.
    """
    line, marker = style
    labels, bold = labels or decay_labels(look), look.get("anchor", ALL)
    for decay, color, rows in by_decay(table, look):
        for name, part in rows[~rows[unit].isin([ALL, bold])].groupby(unit, sort=False):
            axes.plot(part["layer"], part[y], color=color, lw=0.6, alpha=0.45, label=f"_{name}")
        mean = rows[rows[unit] == bold]
        if len(mean):
            drawn = {"color": color, "lw": 2, "ls": line, "marker": marker, "ms": 4}
            axes.plot(mean["layer"], mean[y], label=labels.get(decay), **drawn)
    layer_axis(axes, table["layer"])


def shown_anchor(look: dict[str, Any], of: str = "anchor") -> str:
    """What is shown large or bold, in words: the mean of all of a kind, or the one chosen."""
    return f"mean of all {of}s" if look["anchor"] == ALL else f"{of} {look['anchor']}"


def who_is_bold(look: dict[str, Any], of: str = "anchor") -> str:
    """The legend's explanation of bold and thin lines, each of an anchor or refit."""
    others = f"one {of}" if look["anchor"] == ALL else f"the other {of}s"
    return f"bold: {shown_anchor(look, of)}, thin: {others}"


def sample(label: str, **style: Any) -> Line2D:
    """A line or marker for a legend, with its text."""
    return Line2D([], [], label=label, **style)


def decay_samples(look: dict[str, Any]) -> list[Line2D]:
    """The colours of weight decays for a legend."""
    return [sample(f"wd {decay}", color=c, lw=3) for decay, c in decay_colors(look).items()]


def legend_above(
    figure: Figure, shown: Axes | list[Line2D], title: str, columns: int | None = None
) -> None:
    """A legend above the figure, of lines with their texts or of a panel that stands for all.

    By default everything stands side by side.
    """
    handles = shown.get_legend_handles_labels()[0] if isinstance(shown, Axes) else shown
    above = {"loc": "outside upper center", "ncols": columns or len(handles)}
    figure.legend(handles=handles, title=title, **above)


def layer_legend(
    figure: Figure, row: Any, table: pd.DataFrame, title: str = "layer", room: float = 0
) -> None:
    """The legend of layers beside the panels: that of the deepest architecture's panel in `row`.

    The figure gets wider by `room`, in inches.
    """
    numbers = table[table["layer"] != ALL]
    deepest = numbers.loc[numbers["layer"].astype(int).idxmax(), "architecture"]
    place = list(table["architecture"].unique()).index(deepest)
    handles, names = row[place].get_legend_handles_labels()
    figure.set_figwidth(figure.get_figwidth() + room)
    figure.legend(handles, names, title=title, loc="outside right upper")
