"""What refits share, and whether single heads come back. Arrays only.

(docs/statistics.md, "Shared and specific".) A similarity is [refit, head, refit, head]: s of every
head with every head of every refit. Values per pair of refits are [refit, refit] with an unread
diagonal.
"""

import functools
from collections.abc import Callable

import numpy as np

from .similarity import best_match, pairwise_stability
from .uncertainty import Replicated, over_pairs, over_refits

# Random tables that give the constant of T0, and their seed.
_TABLES, _SEED = 20_000, 0
# Statistics of a similarity, in the order of tables.
STATISTICS = ("mu", "T", "T0", "rho", "D", "confirmed", "S", "S0", "gain", "signature")


@functools.cache
def chance_constant(heads: int) -> float:
    """K_H of T0 = K_H v / (1 - w), from random tables of one seed; NaN for fewer than 3 heads.

    Two unrelated heads a and c that are both assigned to head b of a third refit have an expected
    similarity of sum_k s(a, b_k) s(b_k, c) over the heads b_k of that refit, in units of what is
    left of b. With c_H the mean entry of the best assignment of a standard normal table, the
    assigned head gives c_H^2, and the H - 1 others, which lie below the mean, c_H^2 / (H - 1)
    together. `v` is the variance of entries that are not assigned, which are smaller than others:
    of a standard normal table, with row and column means removed, it is kappa_H. So
    K_H = c_H^2 H / ((H - 1) kappa_H).
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    if heads < 3:  # nothing is left of the others once row and column means are removed
        return float("nan")
    rng = np.random.default_rng(_SEED)
    best = others = 0.0
    for _ in range(_TABLES // heads):
        table = rng.standard_normal((heads, heads))
        columns = linear_sum_assignment(table, maximize=True)[1]
        best += table[np.arange(heads), columns].mean()
        others += _unassigned_variance(table, columns)
    count = _TABLES // heads
    return (best / count) ** 2 * heads / (heads - 1) / (others / count)


def _unassigned_variance(block: np.ndarray, columns: np.ndarray) -> float:
    """Variance of the entries of a block [head, head] that are not assigned.

    Row and column means of the block are removed first; NaN for one head.
    """
    if len(block) == 1:
        return float("nan")
    rest = block - block.mean(axis=0) - block.mean(axis=1, keepdims=True) + block.mean()
    free = np.ones(block.shape, dtype=bool)
    free[np.arange(len(block)), columns] = False
    return float(rest[free].var())


def _blocks(
    similarity: np.ndarray, chosen: np.ndarray, value: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    """A value of every block of two refits and its assignment, [refit, refit], NaN diagonal."""
    refits = len(similarity)
    found = np.full((refits, refits), np.nan)
    for one in range(refits):
        for other in range(one):
            block = value(similarity[one, :, other], chosen[one, other])
            found[one, other] = found[other, one] = block
    return found


def linked_similarity(similarity: np.ndarray, chosen: np.ndarray) -> Replicated:
    """Mean similarity of heads a and c that are both assigned to one head of a third refit.

    The mean over ordered triples of different refits a, b, c and heads h of
    s(a,h; c,pi_bc(pi_ab(h))): the pair that is compared took no part in the choice.

    Returns:
        A number; NaN with fewer than 3 refits, and without a refit with fewer than 4.
    """
    refits, heads = similarity.shape[:2]
    links = np.zeros(similarity.shape)
    one, other, head = np.nonzero(chosen >= 0)
    links[one, head, other, chosen[one, other, head]] = 1
    flat, scores = links.reshape(refits * heads, -1), similarity.reshape(refits * heads, -1)
    # Blocks of a refit with itself are empty in links: a, b and c differ, once a != c.
    two = (flat @ flat * scores).reshape(refits, heads, refits, heads).sum(axis=(1, 3)) / heads
    np.fill_diagonal(two, 0)
    total = two.sum()
    through = np.empty(refits)
    for middle in range(refits):
        there = links[:, :, middle].reshape(refits * heads, heads)
        product = (there @ there.T * scores).reshape(refits, heads, refits, heads)
        blocks = product.sum(axis=(1, 3)) / heads
        through[middle] = blocks.sum() - np.trace(blocks)
    # A triple loses a refit in one place only, as all three differ.
    left = total - two.sum(axis=0) - two.sum(axis=1) - through
    triples, fewer = (n * (n - 1) * (n - 2) for n in (refits, refits - 1))
    value = total / triples if triples else np.nan
    without = left / fewer if fewer > 0 else np.full(refits, np.nan)
    return Replicated(np.asarray(value), without, np.empty(0))


def redealt_stability(similarity: np.ndarray, leave_out: bool = True) -> Replicated:
    """S0: the expected S if a layer's heads are dealt at random into refits of H heads.

    With s_(k)(i) the similarities of head i to the other n = R H - 1 heads in ascending order, the
    largest of H others drawn at random is s_(k) with probability C(k-1, H-1) / C(n, H).
    """
    refits, heads = similarity.shape[:2]
    count = refits * heads
    flat = similarity.reshape(count, count)
    others = flat[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    owner = np.repeat(np.arange(refits), heads)
    owners = np.broadcast_to(owner, flat.shape)[~np.eye(count, dtype=bool)].reshape(others.shape)
    order = np.argsort(others, axis=1, kind="stable")
    ranked = np.take_along_axis(others, order, axis=1)
    owners = np.take_along_axis(owners, order, axis=1)

    def expected(values: np.ndarray) -> float:
        return float((values * _largest_of(heads, values.shape[1])).sum(axis=1).mean())

    def without(refit: int) -> float:
        if refits < 3 or not leave_out:
            return np.nan
        kept = owner != refit
        rows = ranked[kept][owners[kept] != refit]
        return expected(rows.reshape(kept.sum(), -1))

    left = np.array([without(refit) for refit in range(refits)])
    return Replicated(np.asarray(expected(ranked)), left, np.empty(0))


def _largest_of(drawn: int, count: int) -> np.ndarray:
    """Probability that the k-th smallest of `count` is the largest of `drawn`, [count]."""
    weights = np.zeros(count)
    if count >= drawn:
        weights[-1] = drawn / count
        for rank in range(count - 1, drawn - 1, -1):  # C(k-1, d-1) / C(k, d-1) = (k-d+1) / k
            weights[rank - 1] = weights[rank] * (rank - drawn + 1) / rank
    return weights


def shared_and_specific(
    similarity: np.ndarray, chosen: np.ndarray, dealt: bool = True
) -> dict[str, Replicated]:
    """What a layer's refits share, what is specific to heads, and what chance gives.

    Args:
        similarity: [refit, head, refit, head].
        chosen: its one-to-one matches (`adjusted.assignments`).
        dealt: whether S0 is needed without each refit, which takes longest; otherwise it is NaN.

    Returns:
        Numbers with their values without each refit, by name:
        mu: mean similarity of heads of different refits;
        T: specific component, the similarity of heads linked through a third refit less mu;
        T0: what unrelated heads give;
        rho: recurrence with ceiling 1, (T - T0)/(1 - mu - T0);
        D: similarity of directly assigned heads less mu; confirmed: (T - T0)/D;
        S: stability of the best match, all anchors; S0: the same after a re-deal; gain: S - S0;
        signature: mean similarity of different heads of one refit, less mu.
        NaN where the numbers of refits and heads leave a statistic undefined.
    """
    refits, heads = similarity.shape[:2]
    mu = over_pairs(similarity.mean(axis=(1, 3)))
    assigned = over_pairs(_blocks(similarity, chosen, _assigned))
    spread = over_pairs(_blocks(similarity, chosen, _unassigned_variance))
    own = similarity[np.arange(refits), :, np.arange(refits)]
    others = ~np.eye(heads, dtype=bool)
    inside = np.full(refits, np.nan)
    if heads > 1:
        inside = own[:, others].mean(axis=1)
    within = over_refits(inside)
    specific = linked_similarity(similarity, chosen) - mu
    direct = assigned - mu
    chance = combined(lambda v, w: chance_constant(heads) * divided(v, 1 - w), spread, within)
    stability = over_pairs(pairwise_stability(best_match(similarity)[0]))
    redealt = redealt_stability(similarity, dealt)
    found = {
        "mu": mu,
        "T": specific,
        "T0": chance,
        "rho": combined(recurrence, specific, chance, mu),
        "D": direct,
        "confirmed": combined(lambda t, t0, d: divided(t - t0, d), specific, chance, direct),
        "S": stability,
        "S0": redealt,
        "gain": stability - redealt,
        "signature": within - mu,
    }
    return {name: found[name] for name in STATISTICS}


def _assigned(block: np.ndarray, columns: np.ndarray) -> float:
    return float(block[np.arange(len(block)), columns].mean())


def recurrence(
    specific: np.ndarray,
    chance: np.ndarray,
    mu: np.ndarray,
    ceiling: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Recurrence (T - T0)/(C - mu - T0): 0 by chance, 1 if every head is back; NaN if C is low."""
    return divided(specific - chance, ceiling - mu - chance)


def divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A ratio [...], NaN where the denominator is not above 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), denominator)
    out = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def combined(formula: Callable[..., np.ndarray], *parts: Replicated) -> Replicated:
    """A formula of statistics that share refits and prompts, in each of their values."""
    values = zip(*((part.value, part.refits, part.prompts) for part in parts), strict=True)
    return Replicated(*(np.asarray(formula(*arrays)) for arrays in values))


def same_index(chosen: np.ndarray) -> np.ndarray:
    """Share of heads whose partner has the same index, [..., refit, refit] of [..., head]."""
    return (chosen == np.arange(chosen.shape[-1])).mean(axis=-1)
