"""From effects to verdicts (docs/statistics.md, "Verdicts"). Arrays only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .uncertainty import LEVEL, Estimate, Replicated

LARGER = "larger than delta"
OPEN = "positive, size open"
SMALLER = "smaller than delta"
REVERSED = "reversed"
INCONCLUSIVE = "inconclusive"
WORDS = (LARGER, OPEN, SMALLER, REVERSED, INCONCLUSIVE)
# Fewer refits never give a verdict.
LEAST_SAMPLE = 4
# One-sided level of every test.
ALPHA = (1 - LEVEL) / 2
# The one-sided hypotheses behind the words, in the order of columns of p-values.
HYPOTHESES = (LARGER, OPEN, SMALLER, REVERSED)


@dataclass(frozen=True)
class Part:
    """One inequality of a claim: a quantity that should be positive, and by at least how much.

    Attributes:
        name: what is estimated.
        effect: the quantity, [...], with its leave-one-out values.
        delta: smallest effect of interest, in the quantity's unit, at least 0, with its
            leave-one-out values where it is a share of a range that is itself estimated.
        level: level of the two-sided interval.
        required: whether the claim rests on it; otherwise it is only shown.
    """

    name: str
    effect: Replicated
    delta: Replicated | float = 0.0
    level: float = LEVEL
    required: bool = True

    @property
    def estimate(self) -> Estimate:
        """The quantity with its standard errors."""
        return self.effect.estimate()

    def p_values(self) -> np.ndarray:
        """One-sided p of each of HYPOTHESES (`p_values`), [4, ...]."""
        return p_values(self.estimate, self.above_delta(), self.level)

    def verdict(self) -> np.ndarray:
        """The word that its own interval gives, [...]."""
        return words(self.p_values())

    def above_delta(self) -> Estimate:
        """The quantity less the smallest effect of interest."""
        return (self.effect - _replicated(self.delta, self.effect)).estimate()


def _arrays(values: Replicated) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return values.value, values.refits, values.prompts


def p_values(effect: Estimate, above: Estimate, level: float = LEVEL) -> np.ndarray:
    """One-sided p of each of HYPOTHESES from an effect and the effect less delta, [4, ...].

    NaN with fewer than 4 refits or without an interval. Where the effect's interval has another
    level than 95 %, p of the two positive hypotheses is scaled so that .025 is its lower end.
    """
    scale = (1 - LEVEL) / (1 - level)
    upwards = [one.p_above() * scale for one in (above, effect)]
    downwards = [replace(one, value=-one.value).p_above() for one in (above, effect)]
    found = np.array(upwards + downwards)
    return np.where(effect.sample < LEAST_SAMPLE, np.nan, found)


def claim_p_values(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One-sided p of each of HYPOTHESES for a claim, [4, ...], from those of its required parts.

    A claim is positive if all parts are: the largest p (intersection-union, no correction, Berger
    1982). It is smaller or reversed if any of m parts is, which needs level .05/m: m times the
    smallest p (Bonferroni).
    """
    found = np.asarray(parts)
    least = np.minimum(len(found) * found.min(axis=0), 1.0)
    return np.concatenate([found.max(axis=0)[:2], least[2:]])


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


def words(p_values: np.ndarray) -> np.ndarray:
    """The verdict that p-values of HYPOTHESES [4, ...] give: the first of them below .025, [...].

    Reversed comes before smaller than delta, of which it is a special case.
    """
    larger, positive, smaller, reverse = np.asarray(p_values) < ALPHA
    found = np.where(smaller, SMALLER, INCONCLUSIVE)
    found = np.where(reverse, REVERSED, found)
    return np.where(larger, LARGER, np.where(positive, OPEN, found))


@dataclass(frozen=True)
class Pooled:
    """A mean over conditions that share seeds.

    Attributes:
        effect: with its leave-one-seed-out values.
        above: the same less delta.
        beyond: the estimate for conditions other than these: SE^2 = s_b^2/n + SE_seed^2 with
            Satterthwaite's degrees of freedom.
        positive: how many effects are above 0.
        delta: mean smallest effect of interest.
    """

    effect: Estimate
    above: Estimate
    beyond: Estimate
    positive: np.ndarray
    delta: np.ndarray


def pool(parts: Sequence[Part]) -> Pooled:
    """The mean of one part over at least two conditions; a seed that is left out is so in all."""
    count = len(parts)
    effect = mean_of([part.effect for part in parts])
    delta = mean_of([_replicated(part.delta, part.effect) for part in parts])
    values = np.array([part.effect.value for part in parts])
    whole = effect.estimate()
    between, seeds = values.var(axis=0, ddof=1) / count, np.square(whole.se)
    squares = between**2 / (count - 1) + seeds**2 / whole.degrees
    known = np.asarray((between + seeds) ** 2, dtype=np.float64)
    degrees = np.divide(known, squares, out=np.full_like(known, whole.degrees), where=squares > 0)
    unknown = np.full(whole.value.shape, np.nan)
    beyond = Estimate(whole.value, np.sqrt(between + seeds), unknown, degrees, whole.sample)
    above = (effect - delta).estimate()
    return Pooled(whole, above, beyond, (values > 0).sum(axis=0), delta.value)


def mean_of(values: Sequence[Replicated]) -> Replicated:
    """Mean of statistics of conditions that share refits and prompts, seed by seed."""
    return Replicated(*(np.mean(part, axis=0) for part in zip(*map(_arrays, values), strict=True)))


def _replicated(value: Replicated | float, like: Replicated) -> Replicated:
    if isinstance(value, Replicated):
        return value
    return Replicated(*(np.full_like(part, value, dtype=np.float64) for part in _arrays(like)))
