"""From estimates to verdicts (docs/statistics.md, "Verdicts"). Arrays only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .uncertainty import LEVEL, Estimate

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
INCONCLUSIVE = "inconclusive"
# Fewer refits (or, pooled, conditions) never give a verdict.
LEAST_SAMPLE = 4


@dataclass(frozen=True)
class Part:
    """One inequality of a claim: a quantity that should be positive, and by at least how much.

    Attributes:
        name: what is estimated.
        estimate: the quantity, [...].
        delta: smallest effect of interest, in the quantity's unit, at least 0.
        level: level of the two-sided interval; the one-sided tests have (1 - level) / 2.
    """

    name: str
    estimate: Estimate
    delta: float
    level: float = LEVEL

    def verdict(self) -> np.ndarray:
        """Supported, not supported or inconclusive, [...].

        Supported: the interval's lower end is above 0 and the estimate at least delta. Not
        supported: its upper end is below delta. Inconclusive otherwise, and always for fewer
        than 4 refits.
        """
        low, high = self.estimate.interval(self.level)
        enough = self.estimate.sample >= LEAST_SAMPLE
        supported = enough & (low > 0) & (self.estimate.value >= self.delta)
        refuted = enough & (high < self.delta)
        return np.where(supported, SUPPORTED, np.where(refuted, NOT_SUPPORTED, INCONCLUSIVE))

    def p_value(self) -> np.ndarray:
        """One-sided p against "not positive", [...]."""
        return self.estimate.p_above(0.0)


def claim_verdict(parts: Sequence[Part]) -> np.ndarray:
    """Verdict of a claim of several parts (intersection-union, no correction), [...].

    Supported if all parts are, not supported if any is not, else inconclusive.
    """
    verdicts = np.array([part.verdict() for part in parts])
    supported = (verdicts == SUPPORTED).all(axis=0)
    refuted = (verdicts == NOT_SUPPORTED).any(axis=0)
    return np.where(supported, SUPPORTED, np.where(refuted, NOT_SUPPORTED, INCONCLUSIVE))


def claim_p_value(parts: Sequence[Part]) -> np.ndarray:
    """One-sided p of a claim: the largest of its parts' (intersection-union), [...]."""
    return np.max([part.p_value() for part in parts], axis=0)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values over conditions, [condition]; NaN stays NaN and does not count.

    The i-th smallest of m becomes the largest of (m - j + 1) p_(j) over j up to i, at most 1.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def over_conditions(values: np.ndarray) -> Estimate:
    """A pooled estimate: mean and ordinary t interval of one value per condition.

    Only approximate where conditions share seeds, because it ignores their common noise. Values
    are [condition, ...]; with fewer than 4 conditions the standard error is NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    count, value = len(values), values.mean(axis=0)
    unknown = np.full(value.shape, np.nan)
    se = values.std(axis=0, ddof=1) / np.sqrt(count) if count >= LEAST_SAMPLE else unknown
    return Estimate(value, se, unknown, count - 1, count)
