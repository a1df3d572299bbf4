"""Naive float64 loops for the parts of patterns and for what is shared and what is specific.

From their definitions; nothing here imports the library: NumPy, SciPy's assignment, itertools.
Patterns are triangles[model][head][prompt], packed row by row.
"""

import itertools
import math

import numpy as np
from oracles_adjusted import cosine
from scipy.optimize import linear_sum_assignment


def mean_pattern(patterns, prompts):
    """Entry by entry over the prompts that have the entry; entries no prompt has are left out."""
    longest = max(len(patterns[p]) for p in prompts)
    mean = []
    for entry in range(longest):
        values = [float(patterns[p][entry]) for p in prompts if len(patterns[p]) > entry]
        mean.append(sum(values) / len(values))
    return np.array(mean)


def even(entries):
    rows = []
    while len(rows) < entries:
        row = int((math.sqrt(8 * len(rows) + 1) - 1) / 2) + 1
        rows += [1 / row] * row
    return np.array(rows[:entries])


def part(rest, whole):
    """What is left of a pattern; zero if it is smaller than 1e-6 of the pattern."""
    small = math.sqrt(rest @ rest) < 1e-6 * math.sqrt(whole @ whole)
    return np.zeros_like(rest) if small else rest


def template(triangles, prompts):
    models, heads = len(triangles), len(triangles[0])
    s = np.zeros((models, heads, models, heads))
    means = [[mean_pattern(head, prompts) for head in model] for model in triangles]
    for r, h, q, g in np.ndindex(s.shape):
        one, other = means[r][h], means[q][g]
        templates = [part(mean - even(len(mean)), mean) for mean in (one, other)]
        s[r, h, q, g] = cosine(*templates)
    return s


def text(triangles, prompts, formed_on=None):
    """Mean over prompts of the cosine of what is left of patterns without their mean."""
    models, heads = len(triangles), len(triangles[0])
    every = range(len(triangles[0][0])) if formed_on is None else formed_on
    means = [[mean_pattern(head, every) for head in model] for model in triangles]
    s = np.zeros((models, heads, models, heads))
    for r, h, q, g in np.ndindex(s.shape):
        values = []
        for p in prompts:
            one, other = np.array(triangles[r][h][p], float), np.array(triangles[q][g][p], float)
            a, b = one - means[r][h][: len(one)], other - means[q][g][: len(other)]
            values.append(cosine(part(a, one), part(b, other)))
        s[r, h, q, g] = np.mean(values)
    return s


def cka(x, y):
    """Debiased linear CKA from n x n kernels without their diagonals (Song et al. 2012)."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        one = np.ones(n)
        first = np.trace(k @ m)
        second = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        third = 2 / (n - 2) * (one @ k @ m @ one)
        return (first + second - third) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    own = hsic(k, k) * hsic(m, m)
    return hsic(k, m) / math.sqrt(own) if own > 0 else 0.0


def without_position(z, lengths):
    """z [position, feature] less its mean over the prompts that reach a position."""
    starts = [sum(lengths[:p]) for p in range(len(lengths))]
    out = np.array(z, dtype=float)
    for p, length in enumerate(lengths):
        for t in range(length):
            there = [z[starts[q] + t] for q in range(len(lengths)) if lengths[q] > t]
            out[starts[p] + t] = z[starts[p] + t] - np.mean(there, axis=0, dtype=np.float64)
    return out


def assign(s):
    """pi[a][b][h]: the head of b that head h of a is assigned to."""
    refits, heads = s.shape[:2]
    pi = np.full((refits, refits, heads), -1)
    for a, b in itertools.permutations(range(refits), 2):
        pi[a, b] = linear_sum_assignment(-s[a, :, b])[1]
    return pi


def specific(s, kept):
    """mu, T, D, within-refit mean and the variance of unassigned entries, of the kept refits."""
    heads = s.shape[1]
    pi = assign(s)
    pairs = list(itertools.permutations(kept, 2))
    mu = np.mean([s[a, :, b].mean() for a, b in pairs])
    linked = []
    for a, b, c in itertools.permutations(kept, 3):
        for h in range(heads):
            linked.append(s[a, h, c, pi[b, c, pi[a, b, h]]])
    direct = [s[a, h, b, pi[a, b, h]] for a, b in pairs for h in range(heads)]
    within = [s[a, h, a, g] for a in kept for h, g in itertools.permutations(range(heads), 2)]
    spread = []
    for a, b in pairs:
        block = s[a, :, b]
        rest = [
            block[h, g] - block[h].mean() - block[:, g].mean() + block.mean()
            for h, g in np.ndindex(block.shape)
            if pi[a, b, h] != g
        ]
        spread.append(np.var(rest))
    through = np.mean(linked) if linked else math.nan
    found = {"mu": mu, "T": through - mu, "D": np.mean(direct) - mu}
    return found | {"signature": np.mean(within) - mu}, np.mean(within), np.mean(spread)


def redealt(s, kept):
    """S0 from the largest of H heads drawn from all others, by counting subsets."""
    heads = s.shape[1]
    every = [(r, h) for r in kept for h in range(heads)]
    values = []
    for r, h in every:
        others = sorted(s[r, h, q, g] for q, g in every if (q, g) != (r, h))
        subsets = math.comb(len(others), heads)
        expected = 0.0
        for place, value in enumerate(others):  # value is the largest: others come from below
            expected += value * math.comb(place, heads - 1) / subsets
        values.append(expected)
    return np.mean(values)
