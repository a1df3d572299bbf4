"""Where instability comes from, and how many refits are needed. Arrays only.

(docs/statistics.md, "Init seed and data seed" and "How many refits")
`pairs` are similarities k of two refits, symmetric, diagonal not read, [..., refit, refit];
`init_seeds` and `data_seeds` are those of each refit, [refit].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .uncertainty import LEVEL, Estimate, jackknife_se, of_statistic, over_pairs, over_refits

BOTH, INIT, DATA, NEITHER = "both", "init", "data", "neither"
SHARED = (BOTH, INIT, DATA, NEITHER)
COMPONENTS = ("init", "data", "rest")
# Fewer seeds of a kind leave nothing to compare when one is deleted.
LEAST_SEEDS = 3
# More refits than this are no realistic plan.
MOST_REFITS = 10_000


def shared_seeds(init_seeds: np.ndarray, data_seeds: np.ndarray) -> dict[str, np.ndarray]:
    """Which pairs of refits share both seeds, only one, or neither; no refit with itself.

    Returns:
        A mask [refit, refit] for each of `SHARED`.
    """
    init = np.equal.outer(init_seeds, init_seeds)
    data = np.equal.outer(data_seeds, data_seeds)
    masks = {BOTH: init & data, INIT: init & ~data, DATA: ~init & data, NEITHER: ~init & ~data}
    return {name: mask & ~np.eye(len(mask), dtype=bool) for name, mask in masks.items()}


def similarity_by_shared_seeds(
    pairs: np.ndarray, init_seeds: np.ndarray, data_seeds: np.ndarray
) -> dict[str, Estimate]:
    """Mean similarity of pairs that share both seeds, one or neither.

    SE^2 is the sum of the jackknives over init seeds and over data seeds (each deletes all
    refits with that seed), with as many degrees of freedom as the scarcer seed has, less 1.

    Returns:
        For each of `SHARED`, an estimate [...]; NaN where there are no such pairs, or, for the
        standard error, where deleting a seed leaves none.
    """
    return _crossed(_class_means, SHARED, pairs, init_seeds, data_seeds)


def variance_components(
    pairs: np.ndarray, init_seeds: np.ndarray, data_seeds: np.ndarray
) -> dict[str, Estimate]:
    """The contributions of the init seed, the data seed and the rest to instability.

    If a refit's direction is mu + init effect + data effect + rest, the similarity of two refits
    is the variance they share. With k of pairs that share both seeds, the init seed, the data
    seed or neither: init = k_init - k_neither, data = k_data - k_neither,
    rest = k_both - k_init - k_data + k_neither. A run repeated with both seeds is itself
    (k_both = 1) unless such pairs were measured.

    Returns:
        For each of `COMPONENTS`, an estimate [...]; standard errors as for
        `similarity_by_shared_seeds`.
    """
    return _crossed(_components, COMPONENTS, pairs, init_seeds, data_seeds)


def _class_means(
    pairs: np.ndarray, init_seeds: np.ndarray, data_seeds: np.ndarray
) -> list[np.ndarray]:
    """In the order of SHARED, [...]."""
    undefined = np.full(pairs.shape[:-2], np.nan)
    masks = shared_seeds(init_seeds, data_seeds).values()
    return [pairs[..., mask].mean(axis=-1) if mask.any() else undefined for mask in masks]


def _components(
    pairs: np.ndarray, init_seeds: np.ndarray, data_seeds: np.ndarray
) -> list[np.ndarray]:
    """In the order of COMPONENTS, [...]."""
    both, init, data, neither = _class_means(pairs, init_seeds, data_seeds)
    both = np.where(np.isnan(both), 1.0, both)
    return [init - neither, data - neither, both - init - data + neither]


def _crossed(
    statistics: Callable[..., list[np.ndarray]],
    names: Sequence[str],
    pairs: np.ndarray,
    init_seeds: np.ndarray,
    data_seeds: np.ndarray,
) -> dict[str, Estimate]:
    """Estimates by name of several statistics of pairs and their seeds."""

    def stacked(k: np.ndarray) -> np.ndarray:
        return np.stack(statistics(pairs[..., k[:, None], k], init_seeds[k], data_seeds[k]))

    found = _without_seeds(stacked, init_seeds, data_seeds)
    parts = zip(found.value, found.se_refit, found.se_prompt, strict=True)
    return {
        name: Estimate(*part, found.degrees, found.sample)
        for name, part in zip(names, parts, strict=True)
    }


def _without_seeds(
    statistic: Callable[[np.ndarray], np.ndarray | float],
    init_seeds: np.ndarray,
    data_seeds: np.ndarray,
    least: int = 1,
) -> Estimate:
    """A statistic of kept refits with both delete-one-seed jackknives.

    Without a standard error where there are fewer than `least` seeds of a kind.
    """
    value = np.asarray(statistic(np.arange(len(init_seeds))), dtype=np.float64)
    squares = np.zeros(value.shape)
    for seeds in (init_seeds, data_seeds):
        kept = [np.flatnonzero(seeds != seed) for seed in np.unique(seeds)]
        without = [np.asarray(statistic(one)) for one in kept] if len(kept) >= least else [value]
        squares = squares + np.square(jackknife_se(np.stack(without, axis=-1)))
    fewest = min(len(np.unique(init_seeds)), len(np.unique(data_seeds)))
    unknown = np.full(value.shape, np.nan)
    return Estimate(value, np.sqrt(squares), unknown, fewest - 1, fewest)


def is_crossed(init_seeds: np.ndarray, data_seeds: np.ndarray) -> bool:
    """Whether several init seeds are crossed with several data seeds."""
    shared = shared_seeds(init_seeds, data_seeds)
    return bool(shared[INIT].any() and shared[DATA].any())


def of_refits(
    statistic: Callable[[np.ndarray], np.ndarray | float],
    init_seeds: np.ndarray,
    data_seeds: np.ndarray,
) -> Estimate:
    """Any statistic of refits, with the interval that their seeds require.

    Refits that cross seeds are not independent of each other: SE^2 is then the sum of the
    jackknives over init seeds and over data seeds, with as many degrees of freedom as the scarcer
    seed has, less 1, and none with fewer than 3 seeds of a kind. Otherwise each refit is left out.
    The statistic takes the indices of kept refits (from 0) and gives a number or array [...].
    """
    if not is_crossed(init_seeds, data_seeds):
        return of_statistic(statistic, len(init_seeds)).estimate()
    return _without_seeds(statistic, init_seeds, data_seeds, LEAST_SEEDS)


def mean_of_pairs(pairs: np.ndarray, init_seeds: np.ndarray, data_seeds: np.ndarray) -> Estimate:
    """Mean over pairs of refits, with the interval of `of_refits`."""
    if not is_crossed(init_seeds, data_seeds):
        return over_pairs(pairs).estimate()
    return of_refits(lambda k: over_pairs(pairs[..., k[:, None], k]).value, init_seeds, data_seeds)


def mean_of_refits(values: np.ndarray, init_seeds: np.ndarray, data_seeds: np.ndarray) -> Estimate:
    """Mean over refits of values [refit, ...] without NaNs, with the interval of `of_refits`."""
    if not is_crossed(init_seeds, data_seeds):
        return over_refits(values).estimate()
    return of_refits(lambda k: over_refits(values[k]).value, init_seeds, data_seeds)


@dataclass(frozen=True)
class PairVariance:
    """Variances of the model k(r, r') = mean + node_r + node_r' + pair.

    Attributes:
        node: variance of a refit's contribution to all its pairs.
        pair: variance that belongs to single pairs.
    """

    node: float
    pair: float

    def expected_se(self, refits: np.ndarray) -> np.ndarray:
        """Expected jackknife SE of the mean over pairs of R refits (3 or more), [...].

        SE^2 = 4/R (node + pair/(R-2)).
        """
        return np.sqrt(4 / refits * (self.node + self.pair / (refits - 2)))


def pair_variance(pairs: np.ndarray) -> PairVariance:
    """Node and pair variance of a similarity matrix, by the analysis of variance.

    With g_i the deviation of row sum i from the mean row sum, SS_node = sum g_i^2 / (R-2) and
    SS_pair = SS_total - SS_node on R (R-3)/2 degrees of freedom; a negative node variance is
    set to 0.

    Raises:
        ValueError: fewer than 4 refits.
    """
    refits = len(pairs)
    if refits < 4:
        raise ValueError("telling node and pair variance apart needs at least 4 refits")
    values = pairs[np.triu_indices(refits, 1)]
    sums = np.where(np.eye(refits, dtype=bool), 0.0, pairs).sum(axis=1)
    node_squares = np.square(sums - sums.mean()).sum() / (refits - 2)
    pair_squares = np.square(values - values.mean()).sum() - node_squares
    pair = max(pair_squares / (refits * (refits - 3) / 2), 0.0)
    node = max((node_squares / (refits - 1) - pair) / (refits - 2), 0.0)
    return PairVariance(float(node), float(pair))


def widths_by_refits(pairs: np.ndarray, sizes: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Width of the 95 % interval of the mean over pairs, by the number of refits.

    Args:
        pairs: as above.
        sizes: numbers of refits to draw, without replacement, each from 3 to R, [size].
        draws: subsets of each size.
        seed: seed of the draws; every layer sees the same subsets.

    Returns:
        [size, draw, ...]: subsets overlap, so the draws of a size are not independent.

    Raises:
        ValueError: a size is out of range.
    """
    refits = pairs.shape[-1]
    if min(sizes) < 3 or max(sizes) > refits:
        raise ValueError(f"intervals need 3 refits, and there are {refits}")
    rng = np.random.default_rng(seed)
    widths = []
    for size in sizes:
        chosen = [rng.permutation(refits)[:size] for _ in range(draws)]
        ends = [over_pairs(pairs[..., c[:, None], c]).estimate().interval() for c in chosen]
        widths.append([high - low for low, high in ends])
    return np.array(widths)


def expected_width(variance: PairVariance, refits: np.ndarray) -> np.ndarray:
    """Width of the 95 % interval of the mean over pairs of R refits, [...]: 2 t_(R-1) SE."""
    return 2 * stats.t.ppf((1 + LEVEL) / 2, refits - 1) * variance.expected_se(refits)


def refits_needed(variance: PairVariance, width: float) -> int | None:
    """The fewest refits (at least 4) whose expected 95 % interval is at most `width` wide.

    None if 10,000 are not enough.
    """
    refits = np.arange(4, MOST_REFITS + 1)
    enough = refits[expected_width(variance, refits) <= width]
    return int(enough[0]) if len(enough) else None
