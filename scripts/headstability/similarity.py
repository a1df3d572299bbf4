"""Head stability from attention patterns (docs/methods.md, "Stability"). Arrays only.

Rows are heads of refits; columns are pattern entries of prompts laid end to end. After each
prompt's part of a row is scaled to unit length, one dot product of two rows is the sum over
prompts of the cosines, so a single matrix product serves all refits and all anchors.
"""

from collections.abc import Iterable

import numpy as np

# Columns multiplied in float32 before the sum goes to float64: the error of a longer float32
# dot product would show (3.5e-8 at 2^14, 3.8e-6 at 2^19 columns).
GEMM_COLUMNS = 2**16


def unit_prompts(rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Scale each prompt's part of every row to unit L2 norm.

    Args:
        rows: [row, entry], prompts one after another.
        entries: entries of each prompt, [prompt]; they add up to the number of columns.

    Returns:
        [row, entry], float32. A part that is all zero stays zero.
    """
    starts = np.append(0, np.cumsum(entries)[:-1])
    squares = np.add.reduceat(np.square(rows, dtype=np.float64), starts, axis=1)
    norms = np.sqrt(squares)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return (rows * np.repeat(scale, entries, axis=1)).astype(np.float32)


def gram(rows: np.ndarray) -> np.ndarray:
    """Dot products of all rows: float32 products of bounded length, summed in float64."""
    total = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], GEMM_COLUMNS):
        part = rows[:, start : start + GEMM_COLUMNS]
        total += part @ part.T
    return total


def mean_cosine(groups: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Cosine of every pair of rows, averaged over prompts.

    Args:
        groups: whole prompts at a time, as (rows [row, entry], entries [prompt]); rows are the
            same in every group.

    Returns:
        s, [row, row], float64, symmetric.
    """
    total, prompts = None, 0
    for rows, entries in groups:
        part = gram(unit_prompts(rows, entries))
        total = part if total is None else total + part
        prompts += len(entries)
    if total is None:
        raise ValueError("no prompts")
    return total / prompts


def best_match(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best match of every head in every other refit, within one layer.

    Args:
        similarity: s, [refit, head, refit, head].

    Returns:
        m(h, r -> r') = max over h' of s(r, h -> r', h'), [r, r', head], and the h' that attains
        it (counted from 0, the first in case of ties). Where r' = r, m is NaN and h' is -1.
    """
    match = similarity.max(axis=3).transpose(0, 2, 1).copy()
    head = similarity.argmax(axis=3).transpose(0, 2, 1).copy()
    itself = np.arange(len(match))
    match[itself, itself] = np.nan
    head[itself, itself] = -1
    return match, head


def head_stability(match: np.ndarray) -> np.ndarray:
    """S of every head of every anchor: the mean of m over the other refits.

    Args:
        match: m, [anchor, refit, head], NaN on the diagonal.

    Returns:
        [anchor, head].
    """
    return np.nanmean(match, axis=1)


def pairwise_stability(match: np.ndarray) -> np.ndarray:
    """k(r, r') = 1/2 mean_h [m(h, r -> r') + m(h, r' -> r)].

    Args:
        match: m, [anchor, refit, head], NaN on the diagonal.

    Returns:
        [refit, refit], symmetric, NaN on the diagonal.
    """
    one_way = match.mean(axis=2)
    return 0.5 * (one_way + one_way.T)
