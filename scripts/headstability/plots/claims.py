"""Every part of the five claims with its interval: a forest plot."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import PANEL, legend_above, sample

_WHOLE = "all parts"
_MEASURES = {
    "raw": ("#0173b2", "raw $S$"),
    "excess": ("#de8f05", "excess"),
    "cka": ("#029e73", "CKA"),
}
# Marker of a verdict, and whether it is filled.
_VERDICTS = {"supported": ("o", True), "inconclusive": ("o", False), "not supported": ("X", True)}
_ROW, _FRAME = 0.2, 0.75


def claims(table: pd.DataFrame) -> Figure:
    """One panel per part of a claim, one row per condition, the pooled row last."""
    parts = table[(table["part"] != _WHOLE) & (table["scope"] != "described")]
    shown = list(parts[["claim", "part"]].drop_duplicates().itertuples(index=False, name=None))
    empty = [claim for claim in range(1, 6) if claim not in {claim for claim, _ in shown}]
    panels = sorted([*shown, *((claim, "") for claim in empty)])
    groups = [parts[(parts["claim"] == claim) & (parts["part"] == part)] for claim, part in panels]
    labels = [_labels(group) for group in groups]
    rows = -(-len(panels) // 2)
    heights = [
        _ROW * max(map(len, labels[2 * row : 2 * row + 2]), default=1) + _FRAME
        for row in range(rows)
    ]
    figure = Figure(figsize=(PANEL * 2.9, sum(heights) + 0.5))
    axes = figure.subplots(rows, 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for place, panel in enumerate(axes.flat):
        if place >= len(panels):
            panel.set_visible(False)
            continue
        claim, part = panels[place]
        panel.set_title(f"claim {claim}: {part}" if part else f"claim {claim}")
        if not part:
            reasons = table[(table["claim"] == claim) & (table["part"] == _WHOLE)]["reason"]
            panel.text(0.5, 0.5, reasons.iloc[0], ha="center", wrap=True, fontsize=7)
            panel.set_axis_off()
            continue
        _forest(panel, groups[place], labels[place])
    _legend(figure, set(parts["measure"]))
    return figure


def _label(row: Any) -> str:
    if row.scope == "pooled":
        return f"pooled ({int(row.conditions)})"
    return f"{row.architecture}, wd {row.weight_decay}"


def _labels(group: pd.DataFrame) -> list[str]:
    """Names of the rows, conditions first."""
    names = dict.fromkeys(_label(row) for row in group.itertuples())
    return sorted(names, key=lambda name: name.startswith("pooled ("))


def _forest(panel: Axes, group: pd.DataFrame, labels: list[str]) -> None:
    panel.axvline(0, color="0.6", lw=0.8, zorder=0)
    panel.axvline(group["delta"].iloc[0], color="0.3", lw=0.8, ls=":", zorder=0)
    measures = [name for name in _MEASURES if name in set(group["measure"])]
    for row in group.itertuples():
        if pd.isna(row.estimate):
            continue
        offset = 0.3 * (measures.index(row.measure) - (len(measures) - 1) / 2)
        y = labels.index(_label(row)) + offset
        color, (marker, filled) = _MEASURES[row.measure][0], _VERDICTS[row.verdict]
        style = {"mfc": color if filled else "white", "mec": color, "ms": 5, "ls": "", "zorder": 2}
        panel.plot([row.low, row.high], [y, y], color=color, lw=1.2, zorder=1)
        panel.plot(row.estimate, y, color=color, marker=marker, **style)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.locator_params(axis="x", nbins=5)


def _legend(figure: Figure, measures: set[str]) -> None:
    shown = [_MEASURES[name] for name in _MEASURES if name in measures]
    samples = [sample(name, color=color, lw=2) for color, name in shown]
    for verdict, (marker, filled) in _VERDICTS.items():
        face = "0.2" if filled else "white"
        samples.append(sample(verdict, ls="", marker=marker, mec="0.2", mfc=face))
    samples.append(sample("delta", color="0.3", lw=0.8, ls=":"))
    title = "positive: as the paper says; bars: 95 % intervals (perplexity: 90 %)"
    legend_above(figure, samples, title)
