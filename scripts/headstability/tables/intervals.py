"""Estimates with their intervals as rows of tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..conventions import ALL
from ..measures.uncertainty import Estimate
from ..measures.variance import LEAST_SEEDS, is_crossed, mean_of_pairs
from .recurrence import prepended_mean, recurrence_replicates
from .replicates import by_condition, pair_matrices, rows_of

# Columns of an estimate in a table: both ends of the 95 % interval, and why there is none.
INTERVAL = ["estimate", "se", "low", "high", "reason"]
# Refits below which a mean over pairs has no interval.
_LEAST_REFITS = 3


class Seeds:
    """The refits of a condition: names, seeds (init, data), and why they give no interval (reason).

    Made from {refit: [init seed, data seed]}. The reason is empty if there is an interval.
    """

    def __init__(self, seeds: Mapping[str, Sequence[int]]) -> None:
        self.names = list(seeds)
        self.init, self.data = np.array([seeds[name] for name in self.names]).T
        self.crossed = is_crossed(self.init, self.data)
        fewest = min(len(np.unique(self.init)), len(np.unique(self.data)))
        self.reason = ""
        if self.crossed and fewest < LEAST_SEEDS:
            self.reason = f"an interval needs at least {LEAST_SEEDS} seeds of each kind"
        elif not self.crossed and len(self.names) < _LEAST_REFITS:
            self.reason = f"an interval needs at least {_LEAST_REFITS} refits"


def with_mean(layers: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of layers and their values [layer, ...]; first those of their mean, layer "all"."""
    names = [ALL, *(str(layer) for layer in range(1, len(layers) + 1))]
    return names, np.concatenate([layers.mean(axis=0, keepdims=True), layers])


def interval_rows(estimate: Estimate, reason: str, **labels: object) -> pd.DataFrame:
    """Columns INTERVAL and labels of an estimate [row]; `reason` where there is no interval."""
    low, high = estimate.interval()
    columns = {"estimate": estimate.value, "se": estimate.se, "low": low, "high": high}
    rows = pd.DataFrame(columns, dtype=float)
    return rows.assign(reason=np.where(rows["se"].isna(), reason, ""), **labels)


def stability_and_recurrence(
    stability: pd.DataFrame, shared: pd.DataFrame, twins: pd.DataFrame | None, seeds: Seeds
) -> Iterator[pd.DataFrame]:
    """Raw stability, and what text similarity says of it, by condition and layer.

    Takes tables with CONDITION: pairs (refit_a, refit_b, layer, stability) and `shared` of
    `analysis.adjusted`; `twins` as for `recurrence_table`. Yields CONDITION, measure (stability; mu
    and rho of text similarity, without an interval where refits cross seeds), layer ("all": their
    mean) and INTERVAL.
    """
    for labels, part in by_condition(stability):
        found = recurrence_replicates(rows_of(shared, **labels), twins, labels, seeds.names)
        estimates = {
            "stability": found["raw", "S"],
            "mu": found["text", "mu"],
            "rho": found["text", "rho"],
        }
        for measure, values in estimates.items():
            whole = prepended_mean(values).estimate()
            reason = seeds.reason
            layers, matrices = with_mean(pair_matrices(part, "stability", seeds.names))
            if seeds.crossed and measure == "stability":
                whole = mean_of_pairs(matrices, seeds.init, seeds.data)
            elif seeds.crossed:
                whole = replace(whole, se_refit=np.full_like(whole.value, np.nan))
                reason = reason or "refits cross init and data seeds and are not independent"
            yield interval_rows(whole, reason, layer=layers, measure=measure, **labels)
