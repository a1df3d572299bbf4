"""Naive float64 loops for the adjusted measures and their uncertainty, from their definitions.

Nothing here imports the library: NumPy, itertools and plain loops only.
"""

import itertools
import math

import numpy as np


def cosine(a, b):
    """0 where one of the two is all zero."""
    length = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length > 0 else 0.0


def square(triangle):
    """A packed lower triangle as a T x T matrix."""
    length = int((math.sqrt(8 * len(triangle) + 1) - 1) / 2)
    full = np.zeros((length, length))
    position = 0
    for query in range(length):
        for key in range(query + 1):
            full[query, key] = triangle[position]
            position += 1
    return full


def packed(full):
    return np.array([full[i, j] for i in range(len(full)) for j in range(i + 1)])


def similarities(triangles, prompts):
    """s[r][h][r'][h'] over the chosen prompts; triangles[r][h][p] are packed vectors."""
    refits, heads = len(triangles), len(triangles[0])
    s = np.zeros((refits, heads, refits, heads))
    for r, h, q, g in np.ndindex(s.shape):
        s[r, h, q, g] = np.mean([cosine(triangles[r][h][p], triangles[q][g][p]) for p in prompts])
    return s


def best(s):
    """m[r][r'][h] from s."""
    refits, heads = s.shape[:2]
    m = np.full((refits, refits, heads), np.nan)
    for r, q, h in np.ndindex(m.shape):
        if r != q:
            m[r, q, h] = max(s[r, h, q, g] for g in range(heads))
    return m


def pairwise(m):
    """k[r][r'] from m."""
    refits = len(m)
    k = np.full((refits, refits), np.nan)
    for r, q in itertools.permutations(range(refits), 2):
        k[r, q] = (m[r, q].mean() + m[q, r].mean()) / 2
    return k


def split_halves(triangles, prompts, groups=None):
    """m chosen on odd groups of prompts and scored on even ones, averaged with the reverse."""
    refits, heads = len(triangles), len(triangles[0])
    groups = range(len(triangles[0][0])) if groups is None else groups
    odd = [p for p in prompts if groups[p] % 2 == 0]  # group 1 has index 0
    even = [p for p in prompts if groups[p] % 2 == 1]
    m = np.full((refits, refits, heads), np.nan)
    first, second = similarities(triangles, odd), similarities(triangles, even)
    for r, q, h in np.ndindex(m.shape):
        if r != q:
            chosen_odd = int(np.argmax(first[r, h, q]))
            chosen_even = int(np.argmax(second[r, h, q]))
            m[r, q, h] = (second[r, h, q, chosen_odd] + first[r, h, q, chosen_even]) / 2
    return m


def one_to_one(s):
    """m under the best of all assignments, head by head over every set of heads taken so far."""
    refits, heads = s.shape[:2]
    m = np.full((refits, refits, heads), np.nan)
    for r, q in itertools.permutations(range(refits), 2):
        similarity = s[r, :, q].tolist()
        best = {0: (0.0, ())}
        for row in similarity:
            grown = {}
            for taken, (total, order) in best.items():
                for g in range(heads):
                    now = taken | 1 << g
                    if now != taken and (now not in grown or total + row[g] > grown[now][0]):
                        grown[now] = total + row[g], (*order, g)
            best = grown
        ((_, order),) = best.values()
        m[r, q] = [similarity[h][order[h]] for h in range(heads)]
    return m


def shuffled(triangles, shift, prompts=None):
    """s with the other refit's prompts shifted, patterns cut to the shorter prompt's square."""
    refits, heads, count = len(triangles), len(triangles[0]), len(triangles[0][0])
    prompts = range(count) if prompts is None else prompts
    s = np.zeros((refits, heads, refits, heads))
    for r, h, q, g in np.ndindex(s.shape):
        values = []
        for p in prompts:
            one, other = square(triangles[r][h][p]), square(triangles[q][g][(p + shift) % count])
            size = min(len(one), len(other))
            values.append(cosine(packed(one[:size, :size]), packed(other[:size, :size])))
        s[r, h, q, g] = np.mean(values)
    return s


def cut(triangles, shift, prompts):
    """s on the same prompt with patterns cut as in `shuffled`, from both prompts of every pair."""
    refits, heads, count = len(triangles), len(triangles[0]), len(triangles[0][0])
    s = np.zeros((refits, heads, refits, heads))
    for r, h, q, g in np.ndindex(s.shape):
        values = []
        for p in prompts:
            both = (p, (p + shift) % count)
            size = min(len(square(triangles[r][h][one])) for one in both)
            for one in both:
                pair = (square(triangles[r][h][one]), square(triangles[q][g][one]))
                values.append(cosine(*(packed(full[:size, :size]) for full in pair)))
        s[r, h, q, g] = np.mean(values)
    return s


def centred(triangles):
    """Each pattern less the mean over all refits and heads of its prompt."""
    refits, heads, count = len(triangles), len(triangles[0]), len(triangles[0][0])
    out = [[[None] * count for _ in range(heads)] for _ in range(refits)]
    for p in range(count):
        mean = sum(triangles[r][h][p] for r in range(refits) for h in range(heads))
        mean = mean / (refits * heads)
        for r in range(refits):
            for h in range(heads):
                out[r][h][p] = triangles[r][h][p] - mean
    return out


def without_sink(triangle, least=1e-3):
    """Row 1 and the BOS column dropped, rows renormalised, those with too little mass zero."""
    full = square(triangle)
    out = np.zeros((len(full) - 1, len(full) - 1))
    for query in range(1, len(full)):
        mass = full[query, 1:].sum()
        if mass >= least:
            out[query - 1] = full[query, 1:] / mass
    return packed(out)


def bos_mass(triangles):
    """Of one head: triangles[p]."""
    return np.mean([square(triangle)[1:, 0].mean() for triangle in triangles])


def unbiased_hsic(x, y):
    """HSIC_1 of linear kernels from their n x n Gram matrices with zeroed diagonals."""
    n = len(x)
    k, l_ = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l_, 0)
    ones = np.ones(n)
    value = np.trace(k @ l_) + (ones @ k @ ones) * (ones @ l_ @ ones) / ((n - 1) * (n - 2))
    return (value - 2 / (n - 2) * (ones @ k @ l_ @ ones)) / (n * (n - 3))


def debiased_cka(x, y):
    return unbiased_hsic(x, y) / math.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))


def mean_of_pairs(k, kept):
    return np.mean([k[i, j] for i in kept for j in kept if i != j])


def jackknife(statistic, units):
    """SE from a statistic of the kept units."""
    values = [statistic([u for u in range(units) if u != left]) for left in range(units)]
    mean = sum(values) / units
    return math.sqrt((units - 1) / units * sum((value - mean) ** 2 for value in values))


def role_scores(patterns, prompts, local=4):
    """Previous-token, duplicate-token, induction, local and BOS scores of one head by loops.

    patterns[p] is T x T, prompts[p] its tokens; positions count from 0, BOS is position 0.
    """
    per_prompt = {name: [] for name in ("previous_token", "duplicate_token", "induction")}
    per_prompt |= {"local": [], "bos_sink": []}
    for pattern, tokens in zip(patterns, prompts, strict=True):
        rows = {name: [] for name in per_prompt}
        for i in range(1, len(tokens)):
            rows["bos_sink"].append(pattern[i, 0])
            if i >= 2:
                rows["previous_token"].append(pattern[i, i - 1])
            same = [j for j in range(1, i) if tokens[j] == tokens[i]]
            if same:
                rows["duplicate_token"].append(sum(pattern[i, j] for j in same))
            after = [j + 1 for j in same if j + 1 < i]
            if after:
                rows["induction"].append(sum(pattern[i, j] for j in after))
            if i >= 2 * local:
                rows["local"].append(pattern[i, i - local + 1 : i + 1].sum())
        for name, values in rows.items():
            if values:
                per_prompt[name].append(np.mean(values))
    return {name: np.mean(v) if v else float("nan") for name, v in per_prompt.items()}
