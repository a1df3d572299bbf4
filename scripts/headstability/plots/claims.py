"""The verdicts on the claims as a matrix, and every part with its interval as a forest plot."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .style import PANEL, legend_above, sample

_WHOLE = "all parts"
_MEASURES = {
    "raw": ("#0173b2", "raw $S$"),
    "text": ("#de8f05", "text similarity"),
    "rho": ("#cc78bc", "recurrence $\\rho$"),
    "cka": ("#029e73", "CKA"),
}
# Of a verdict: marker, whether it is filled, and the colour of its field.
_VERDICTS = {
    "larger than delta": ("^", True, "#7fbf7b"),
    "positive, size open": ("^", False, "#d9f0d3"),
    "smaller than delta": ("s", True, "#e7d4e8"),
    "reversed": ("v", True, "#af8dc3"),
    "inconclusive": ("o", False, "#f7f7f7"),
}
_NAMES = {
    0: "0 heads come back",
    1: "1 middle layers least stable",
    2: "2 deeper models less stable",
    3: "3 unstable heads matter more",
    4: "4 weight decay raises agreement",
    5: "5 stream more stable than heads",
}
_DESCRIBED = "described"
_POOLED = {"pooled": "pooled: {architecture} ({conditions})", "beyond": "beyond: {architecture}"}
_ROW, _FRAME = 0.2, 0.75


def claims(table: pd.DataFrame) -> Figure:
    """One panel per part of a claim, one row per condition, the pooled row last."""
    parts = table[(table["part"] != _WHOLE) & (table["scope"] != _DESCRIBED)]
    shown = list(parts[["claim", "part"]].drop_duplicates().itertuples(index=False, name=None))
    empty = [claim for claim in _NAMES if claim not in {claim for claim, _ in shown}]
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
    if row.scope in _POOLED:
        counted = {"architecture": row.architecture, "conditions": int(row.conditions)}
        return _POOLED[row.scope].format(**counted)
    return f"{row.architecture}, wd {row.weight_decay}"


def _labels(group: pd.DataFrame) -> list[str]:
    """Names of the rows, conditions first."""
    names = dict.fromkeys(_label(row) for row in group.itertuples())
    return sorted(names, key=lambda name: name.startswith(("pooled:", "beyond:")))


def _forest(panel: Axes, group: pd.DataFrame, labels: list[str]) -> None:
    panel.axvline(0, color="0.6", lw=0.8, zorder=0)
    measures = [name for name in _MEASURES if name in set(group["measure"])]
    for row in group.itertuples():
        if pd.isna(row.estimate):
            continue
        offset = 0.3 * (measures.index(row.measure) - (len(measures) - 1) / 2)
        y = labels.index(_label(row)) + offset
        color, (marker, filled, _) = _MEASURES[row.measure][0], _VERDICTS[row.verdict]
        style = {"mfc": color if filled else "white", "mec": color, "ms": 5, "ls": "", "zorder": 2}
        panel.plot([row.low, row.high], [y, y], color=color, lw=1.2, zorder=1)
        panel.plot(row.delta, y, color="0.3", marker="|", ms=5, ls="")
        panel.plot(row.estimate, y, color=color, marker=marker, **style)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.locator_params(axis="x", nbins=5)


def _legend(figure: Figure, measures: set[str]) -> None:
    shown = [_MEASURES[name] for name in _MEASURES if name in measures]
    samples = [sample(name, color=color, lw=2) for color, name in shown]
    for verdict, (marker, filled, _) in _VERDICTS.items():
        face = "0.2" if filled else "white"
        samples.append(sample(verdict, ls="", marker=marker, mec="0.2", mfc=face))
    samples.append(sample("delta", color="0.3", marker="|", ms=5, ls=""))
    title = "positive: as claimed; bars: 95 % intervals (perplexity: 90 %)"
    legend_above(figure, samples, title, columns=4)


def verdicts(table: pd.DataFrame) -> Figure:
    """Claims by conditions: a word and a colour in each field."""
    rows = list(table[["claim", "measure"]].drop_duplicates().itertuples(index=False, name=None))
    conditions = table[["architecture", "weight_decay"]].drop_duplicates()
    columns = list(conditions.itertuples(index=False, name=None))
    figure = Figure(figsize=(2.6 + 1.1 * len(columns), 0.8 + 0.36 * len(rows)))
    panel = figure.subplots()
    for row in table.itertuples():
        x = columns.index((row.architecture, row.weight_decay))
        y = rows.index((row.claim, row.measure))
        word = row.verdict if pd.notna(row.verdict) else ""
        face = _VERDICTS[word][2] if word else "white"
        panel.add_patch(Rectangle((x, y), 1, 1, facecolor=face, edgecolor="0.7", lw=0.8))
        shown = word.replace(" than", "\nthan").replace(", size", ",\nsize") or "-"
        panel.text(x + 0.5, y + 0.5, shown, ha="center", va="center", fontsize=7)
    panel.set_xlim(0, len(columns))
    panel.set_ylim(len(rows), 0)
    names = [f"{_NAMES[claim]} ({_MEASURES[measure][1]})" for claim, measure in rows]
    panel.set_yticks([place + 0.5 for place in range(len(rows))], names, fontsize=7)
    shown = [f"{architecture}\nwd {decay}" for architecture, decay in columns]
    panel.set_xticks([place + 0.5 for place in range(len(columns))], shown, fontsize=7)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    note = "-: the claim is not about the condition or cannot be tested on it"
    figure.supxlabel(note, fontsize=7)
    return figure
