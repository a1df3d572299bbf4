"""Estimates with their intervals as rows of tables."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ..conventions import ALL
from ..measures.uncertainty import Estimate
from ..measures.variance import LEAST_SEEDS, is_crossed, mean_of_pairs
from .replicates import by_condition, pair_matrices

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
        crossed = is_crossed(self.init, self.data)
        fewest = min(len(np.unique(self.init)), len(np.unique(self.data)))
        self.reason = ""
        if crossed and fewest < LEAST_SEEDS:
            self.reason = f"an interval needs at least {LEAST_SEEDS} seeds of each kind"
        elif not crossed and len(self.names) < _LEAST_REFITS:
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


def stability_and_excess(
    stability: pd.DataFrame, adjusted: pd.DataFrame, seeds: Seeds
) -> Iterator[pd.DataFrame]:
    """Mean raw stability and its mean excess over the shuffled null, by condition and layer.

    Takes tables with CONDITION, refit_a, refit_b, layer and stability; `adjusted` has the measure
    too. Yields CONDITION, measure (stability or excess), layer ("all": their mean) and INTERVAL.
    """
    excess = adjusted[adjusted["measure"] == "excess"]
    for measure, pairs in {"stability": stability, "excess": excess}.items():
        for labels, part in by_condition(pairs):
            layers, values = with_mean(pair_matrices(part, "stability", seeds.names))
            estimate = mean_of_pairs(values, seeds.init, seeds.data)
            yield interval_rows(estimate, seeds.reason, layer=layers, measure=measure, **labels)
