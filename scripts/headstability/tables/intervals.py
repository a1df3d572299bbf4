"""Estimates with their intervals as rows of tables."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ..labels import ALL, CONDITION
from ..uncertainty import Estimate
from ..variance import LEAST_SEEDS, is_crossed

# What an estimate has in a table: both ends of the 95 % interval, and why there is none.
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
        self.crossed = is_crossed(self.init, self.data)
        fewest = min(len(np.unique(self.init)), len(np.unique(self.data)))
        self.reason = ""
        if self.crossed and fewest < LEAST_SEEDS:
            self.reason = f"an interval needs at least {LEAST_SEEDS} seeds of each kind"
        elif not self.crossed and len(self.names) < _LEAST_REFITS:
            self.reason = f"an interval needs at least {_LEAST_REFITS} refits"

    def pairs(self, table: pd.DataFrame, value: str = "stability") -> np.ndarray:
        """What a table holds of every pair of refits, by layer.

        Args:
            table: of one condition: refit_a, refit_b, layer and `value`; in either order of the
                two refits, or in both.
            value: name of its column.

        Returns:
            [layer, refit, refit], NaN on the diagonal.
        """
        place = {name: index for index, name in enumerate(self.names)}
        count = len(self.names)
        out = np.full((int(table["layer"].max()), count, count), np.nan)
        one, other = (table[column].map(place) for column in ("refit_a", "refit_b"))
        for a, b in ((one, other), (other, one)):
            out[table["layer"] - 1, a, b] = table[value]
        return out


def stability_and_excess(
    stability: pd.DataFrame, adjusted: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Tables of pairs by measure: raw stability, and its excess over the shuffled null.

    Args:
        stability: labels, refit_a, refit_b, layer, stability.
        adjusted: the same of every adjusted measure, with its name (measure).
    """
    excess = adjusted[adjusted["measure"] == "excess"]
    return {"stability": stability, "excess": excess.rename(columns={"stability": "excess"})}


def by_condition(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Labels and rows of every condition, in the order of the table."""
    for key, part in table.groupby(CONDITION, sort=False):
        yield dict(zip(CONDITION, key, strict=True)), part


def with_mean(layers: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Labels of layers and their values, those of the mean over layers (layer "all") first.

    Args:
        layers: [layer, ...].
    """
    names = [ALL, *(str(layer) for layer in range(1, len(layers) + 1))]
    return names, np.concatenate([layers.mean(axis=0, keepdims=True), layers])


def interval_rows(estimate: Estimate, reason: str) -> pd.DataFrame:
    """Columns INTERVAL of an estimate, a row an element.

    Args:
        estimate: of shape [row].
        reason: why it has no interval, for the rows that have none.
    """
    low, high = estimate.interval()
    rows = pd.DataFrame(
        {"estimate": estimate.value, "se": estimate.se, "low": low, "high": high}, dtype=float
    )
    return rows.assign(reason=np.where(rows["se"].isna(), reason, ""))
