"""What refits share and whether heads come back, beside layer stability."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..conventions import ALL
from .style import (
    columns,
    decay_colors,
    decay_samples,
    layer_axis,
    legend_above,
    lines,
    sample,
    who_is_bold,
)

_MEASURE = "text"
_GREY = "0.45"


def recurrence(table: pd.DataFrame, layer_stability: pd.DataFrame, look: dict[str, Any]) -> Figure:
    """Layer stability as in the paper, and below it mu and rho of text similarity, by layer.

    One column per architecture. Bars are 95 % intervals.
    """
    shown = table[(table["measure"] == _MEASURE) & (table["layer"] != ALL)]
    shown = shown.assign(layer=shown["layer"].astype(int))
    figure, axes, parts = columns(layer_stability, rows=3)
    for (raw, shared, specific), part in parts:
        lines(raw, part, "stability", "anchor", look)
        rows = shown[shown["architecture"] == part["architecture"].iloc[0]]
        _statistics(shared, rows, look, "mu", "mu_untrained", "ceiling")
        _statistics(specific, rows, look, "rho", "rho_untrained")
        for level in (0, 1):
            specific.axhline(level, color="0.3", lw=0.8, ls=":", zorder=0)
        shared.axhline(0, color="0.3", lw=0.8, ls=":", zorder=0)
    axes[0][0].set_ylabel("layer stability $S_l$\n(cosine, as in the paper)")
    axes[1][0].set_ylabel("what refits share\n$\\mu$ (cosine, text)")
    axes[2][0].set_ylabel("do heads come back?\nrecurrence $\\rho$")
    samples = decay_samples(look)
    samples.append(sample("untrained", color=_GREY, ls="--", marker="s", ms=4))
    if "ceiling" in set(shown["statistic"]):
        text = "twins (same seed, other weight decay)"
        samples.append(sample(text, color="0.2", ls="-.", lw=1))
    title = (
        f"top: {who_is_bold(look)}; bars: 95 % intervals; "
        "$\\rho$: 0 by chance, 1 if every head comes back"
    )
    legend_above(figure, samples, title, columns=4)
    return figure


def _statistics(
    panel: Axes, rows: pd.DataFrame, look: dict[str, Any], name: str, untrained: str, top: str = ""
) -> None:
    """One statistic per weight decay with its interval, the untrained reference, the ceiling."""
    for decay, color in decay_colors(look).items():
        here = rows[rows["weight_decay"] == decay]
        values = here[here["statistic"] == name]
        panel.plot(values["layer"], values["value"], color=color, marker="o", ms=4, lw=2)
        panel.vlines(values["layer"], values["low"], values["high"], color=color, lw=1.2)
        ceiling = here[here["statistic"] == top]
        panel.plot(ceiling["layer"], ceiling["value"], color=color, ls="-.", lw=1)
    reference = rows[rows["statistic"] == untrained].drop_duplicates("layer")
    panel.plot(reference["layer"], reference["value"], color=_GREY, ls="--", marker="s", ms=4)
    panel.vlines(reference["layer"], reference["low"], reference["high"], color=_GREY, lw=1)
    layer_axis(panel, rows["layer"])
