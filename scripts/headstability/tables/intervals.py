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
    """The refits of a condition with their seeds.

    Attributes:
        names: of the refits.
        init, data: their seeds, [refit].
        reason: why statistics of these refits have no interval; empty if they have.
    """

    def __init__(self, seeds: Mapping[str, Sequence[int]]) -> None:
        """Take {refit: [init seed, data seed]}."""
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
    """Labels of layers and their values, those of the mean over layers (layer "all") first.

    Args:
        layers: [layer, ...].
    """
    names = [ALL, *(str(layer) for layer in range(1, len(layers) + 1))]
    return names, np.concatenate([layers.mean(axis=0, keepdims=True), layers])


def interval_rows(estimate: Estimate, reason: str, **labels: object) -> pd.DataFrame:
    """Columns INTERVAL of an estimate, one row per element.

    Args:
        estimate: of shape [row].
        reason: why it has no interval, for the rows that have none.
        labels: further columns.
    """
    low, high = estimate.interval()
    rows = pd.DataFrame(
        {"estimate": estimate.value, "se": estimate.se, "low": low, "high": high}, dtype=float
    )
    return rows.assign(reason=np.where(rows["se"].isna(), reason, ""), **labels)


def stability_and_excess(
    stability: pd.DataFrame, adjusted: pd.DataFrame, seeds: Seeds
) -> Iterator[pd.DataFrame]:
    """Mean raw stability and its mean excess over the shuffled null, by condition and layer.

    Args:
        stability: CONDITION, refit_a, refit_b, layer, stability.
        adjusted: the same of every adjusted measure, with its name (measure).
        seeds: of the refits.

    Yields:
        CONDITION, measure (stability or excess), layer ("all": the mean over layers), INTERVAL.
    """
    excess = adjusted[adjusted["measure"] == "excess"]
    for measure, pairs in {"stability": stability, "excess": excess}.items():
        for labels, part in by_condition(pairs):
            layers, values = with_mean(pair_matrices(part, "stability", seeds.names))
            estimate = mean_of_pairs(values, seeds.init, seeds.data)
            yield interval_rows(estimate, seeds.reason, layer=layers, measure=measure, **labels)
