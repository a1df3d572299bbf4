"""Standard errors and intervals over refits and prompts (docs/statistics.md, "Uncertainty").

Arrays only. Refits are nodes and pairs of refits are edges, so pairs are not independent: every
average over pairs is recomputed without each refit in turn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number, or an array of numbers, with its uncertainty.

    Attributes:
        value: the estimate, [...].
        se_refit: its standard error over refits, [...]; NaN with too few.
        se_prompt: its standard error over prompts, [...]; NaN where prompts were not resampled.
        degrees: degrees of freedom of its t distribution.
        sample: number of refits behind it (for a pooled estimate: of conditions).
    """

    value: np.ndarray
    se_refit: np.ndarray
    se_prompt: np.ndarray
    degrees: float | np.ndarray
    sample: int

    @property
    def se(self) -> np.ndarray:
        """SE^2 = SE_refit^2 + SE_prompt^2, the latter only where prompts were resampled."""
        return np.sqrt(np.square(self.se_refit) + np.square(np.nan_to_num(self.se_prompt)))

    def interval(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Both ends of the two-sided t interval, NaN with too few refits."""
        reach = stats.t.ppf((1 + level) / 2, self.degrees) * self.se
        return self.value - reach, self.value + reach

    def p_above(self, threshold: float = 0.0) -> np.ndarray:
        """One-sided p of "at most the threshold" against "above it"; NaN with too few refits.

        Without any variation it is 0 above the threshold and 1 elsewhere.
        """
        distance = self.value - threshold
        surely = np.where(distance > 0, np.inf, -np.inf)
        t = np.divide(distance, self.se, out=surely, where=self.se != 0)
        return stats.t.sf(t, self.degrees)


def jackknife_se(replicates: np.ndarray) -> np.ndarray:
    """sqrt((n-1)/n sum_i (theta_(-i) - their mean)^2), [...]; NaN for n < 2.

    Args:
        replicates: theta without each of n units (or groups), [..., n].
    """
    count = replicates.shape[-1]
    if count < 2:
        return np.full(replicates.shape[:-1], np.nan)
    deviations = replicates - replicates.mean(axis=-1, keepdims=True)
    return np.sqrt((count - 1) / count * np.square(deviations).sum(axis=-1))


@dataclass(frozen=True)
class Replicated:
    """A statistic with all its leave-one-out values, which linear combinations preserve.

    Attributes:
        value: [...]; the first axis is the layer where there are layers.
        refits: without each refit, [..., refit].
        prompts: without each group of prompts, [..., group]; no groups if not resampled.
    """

    value: np.ndarray
    refits: np.ndarray
    prompts: np.ndarray

    def contrast(self, weights: np.ndarray) -> "Replicated":
        """Weighted sum over the first axis; where a weight is 0 nothing is read (NaN included)."""
        used = np.flatnonzero(weights)
        parts = (self.value, self.refits, self.prompts)
        return Replicated(*(np.tensordot(weights[used], part[used], axes=1) for part in parts))

    def __neg__(self) -> "Replicated":
        return Replicated(-self.value, -self.refits, -self.prompts)

    def __sub__(self, other: "Replicated") -> "Replicated":
        """Difference of two arms that share refits (seeds) and prompts: both lose the same ones.

        Raises:
            ValueError: they differ in number.
        """
        if self.refits.shape[-1] != other.refits.shape[-1]:
            raise ValueError("paired arms need the same refits")
        if self.prompts.shape[-1] != other.prompts.shape[-1]:
            raise ValueError("paired arms need the same groups of prompts")
        prompts = self.prompts - other.prompts
        return Replicated(self.value - other.value, self.refits - other.refits, prompts)

    def estimate(self) -> Estimate:
        """The statistic with its jackknife standard errors and R - 1 degrees of freedom."""
        sample = self.refits.shape[-1]
        errors = jackknife_se(self.refits), jackknife_se(self.prompts)
        return Estimate(self.value, *errors, sample - 1, sample)


def of_statistic(statistic: Callable[[np.ndarray], np.ndarray | float], refits: int) -> Replicated:
    """Any statistic of refits.

    Args:
        statistic: from the indices of kept refits (from 0) to a number or array [...].
        refits: how many there are.

    Raises:
        ValueError: fewer than 2.
    """
    if refits < 2:
        raise ValueError("a refit can be left out only if there are several")
    every = np.arange(refits)
    value = np.asarray(statistic(every), dtype=np.float64)
    without = [np.asarray(statistic(np.delete(every, refit))) for refit in every]
    return Replicated(value, np.stack(without, axis=-1), np.empty((*value.shape, 0)))


def over_pairs(pairs: np.ndarray, without_prompts: np.ndarray | None = None) -> Replicated:
    """Mean over pairs of refits, in closed form.

    With row sums k_i and total K over ordered pairs, theta_(-i) = (K - 2 k_i) / ((R-1)(R-2)).

    Args:
        pairs: symmetric, diagonal not read, [..., refit, refit].
        without_prompts: the same without each group of prompts, [group, ..., refit, refit].

    Returns:
        [...]; with 2 refits the leave-one-out values are NaN.
    """
    refits = pairs.shape[-1]
    sums = _off_diagonal(pairs).sum(axis=-1)
    total = sums.sum(axis=-1)
    value = total / (refits * (refits - 1))
    if refits > 2:
        without = (total[..., None] - 2 * sums) / ((refits - 1) * (refits - 2))
    else:
        without = np.full(sums.shape, np.nan)
    if without_prompts is None:
        return Replicated(value, without, np.empty((*value.shape, 0)))
    by_group = _off_diagonal(without_prompts).sum(axis=(-1, -2)) / (refits * (refits - 1))
    return Replicated(value, without, np.moveaxis(by_group, 0, -1))


def _off_diagonal(pairs: np.ndarray) -> np.ndarray:
    return np.where(np.eye(pairs.shape[-1], dtype=bool), 0.0, pairs)


def over_refits(values: np.ndarray, without_prompts: np.ndarray | None = None) -> Replicated:
    """Mean over refits of a value that each refit has by itself; NaNs are left out.

    Args:
        values: [refit, ...].
        without_prompts: the same without each group of prompts, [group, refit, ...].

    Returns:
        [...], NaN where no value is left.
    """
    defined = np.isfinite(values)
    filled = np.where(defined, values, 0.0)
    counts, sums = defined.sum(axis=0), filled.sum(axis=0)
    value = _ratio(sums, counts)
    without = np.moveaxis(_ratio(sums - filled, counts - defined), 0, -1)
    if without_prompts is None:
        return Replicated(value, without, np.empty((*value.shape, 0)))
    defined = np.isfinite(without_prompts)
    by_group = _ratio(np.where(defined, without_prompts, 0.0).sum(axis=1), defined.sum(axis=1))
    return Replicated(value, without, np.moveaxis(by_group, 0, -1))


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    out = np.full(np.shape(sums), np.nan)
    return np.divide(sums, counts, out=out, where=counts > 0)


def over_other_refits(values: np.ndarray, se_prompt: np.ndarray | None = None) -> Estimate:
    """Mean over the other refits for one anchor, or for one head of it.

    Given the anchor these values are independent: mean and standard error of R - 1 values,
    t with R - 2 degrees of freedom.

    Args:
        values: [..., other refit], without the anchor itself.
        se_prompt: standard error over prompts, [...]; absent: not estimated.
    """
    count = values.shape[-1]
    value = values.mean(axis=-1)
    unknown = np.full(value.shape, np.nan)
    se = values.std(axis=-1, ddof=1) / np.sqrt(count) if count > 1 else unknown
    return Estimate(value, se, unknown if se_prompt is None else se_prompt, count - 1, count + 1)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation; NaN with fewer than 3 values or where one side does not vary."""
    return float(stats.pearsonr(x, y).statistic) if _vary(x, y) else float("nan")


def kendall_tau_b(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kendall's tau_b over the last axis, [...] of [..., value].

    NaN with fewer than 3 values or where one side does not vary.
    """
    x, y = np.broadcast_arrays(x, y)
    if x.shape[-1] < 3:
        return np.full(x.shape[:-1], np.nan)[()]
    one, other = np.triu_indices(x.shape[-1], 1)
    by_x, by_y = (np.sign(values[..., one] - values[..., other]) for values in (x, y))
    # Pairs that are tied in x do not count for x, those tied in y not for y.
    untied = np.abs(by_x).sum(axis=-1) * np.abs(by_y).sum(axis=-1)
    out = np.full(x.shape[:-1], np.nan)
    return np.divide((by_x * by_y).sum(axis=-1), np.sqrt(untied), out=out, where=untied > 0)[()]


def _vary(x: np.ndarray, y: np.ndarray) -> bool:
    return len(x) >= 3 and bool(np.ptp(x) != 0 and np.ptp(y) != 0)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y on x; NaN where x does not vary."""
    if len(x) < 2 or np.ptp(x) == 0:
        return float("nan")
    centred = x - x.mean()
    return float(centred @ y / (centred @ centred))
