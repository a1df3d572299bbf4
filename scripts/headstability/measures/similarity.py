"""Head stability from attention patterns (docs/methods.md, "Stability"). Arrays only.

Rows are heads of refits; columns are the concatenated pattern entries of prompts. One matrix
product per prompt gives the cosines of all its rows: squared lengths are on its diagonal. Once each
prompt's part of a row is scaled to unit length, one dot product of two rows is the sum over prompts
of the cosines. So matrix products serve all refits, all layers and all anchors.
"""

from collections.abc import Iterable

import numpy as np

# Columns multiplied in float32 before the sum goes to float64: the error of a longer float32
# dot product would show (3.5e-8 at 2^14, 3.8e-6 at 2^19 columns).
GEMM_COLUMNS = 2**16
# Groups of prompts whose similarities are kept separately. An even number: a group then holds only
# odd prompts or only even prompts.
GROUPS = 20


class NotDefined(ValueError):
    """The statistic is not defined for these prompts, positions or heads."""


def unit_prompts(rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Scale each prompt's part of every row to unit L2 norm; a part that is all zero stays zero.

    Args:
        rows: [..., row, entry], prompts one after another.
        entries: entries of each prompt, [prompt]; they add up to the number of columns.
    """
    unit = np.empty(rows.shape, dtype=np.float32)
    ends = np.cumsum(entries)
    for start, end in zip(ends - entries, ends, strict=True):
        part = rows[..., start:end]
        norms = np.sqrt(np.einsum("...e,...e->...", part, part, dtype=np.float64))
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        np.multiply(part, scale[..., None].astype(np.float32), out=unit[..., start:end])
    return unit


def gram(rows: np.ndarray) -> np.ndarray:
    """Dot products of all rows [..., row, entry]: [..., row, row], float64, symmetric."""
    return cross(rows, rows)


def cross(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Dot products of rows [..., row, column] with others, in float32 but for the last sum.

    Returns:
        [..., row, other row], float64.
    """
    total = np.zeros((*left.shape[:-1], right.shape[-2]))
    for start in range(0, left.shape[-1], GEMM_COLUMNS):
        columns = slice(start, start + GEMM_COLUMNS)
        total += left[..., columns] @ right[..., columns].swapaxes(-1, -2)
    return total


def prompt_groups(documents: np.ndarray) -> np.ndarray:
    """The group of each prompt, counted from 0: 20 groups of whole documents, or one per document.

    The document that appears k-th is in group k modulo 20, so even group numbers hold the odd ones.

    Args:
        documents: the document each prompt is from, any numbers, [prompt].
    """
    _, first, index = np.unique(documents, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    return rank[index] % min(GROUPS, max(len(first), 1))


def add_groups(
    totals: np.ndarray, rows: np.ndarray, entries: np.ndarray, groups: np.ndarray
) -> None:
    """Add cosines to the sums of the prompts' groups, in place; 0 where a row is all zero.

    Args:
        totals: sums so far, [..., group, row, row].
        rows: [..., row, entry], prompts one after another.
        entries: entries of each prompt, [prompt].
        groups: group of each prompt from 0, [prompt].
    """
    ends = np.cumsum(entries)
    for start, end, group in zip(ends - entries, ends, groups, strict=True):
        products = gram(rows[..., start:end])
        norms = np.sqrt(np.diagonal(products, axis1=-2, axis2=-1))
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        products *= scale[..., :, None]
        products *= scale[..., None, :]
        totals[..., group, :, :] += products


def similarities(
    slabs: Iterable[tuple[np.ndarray, np.ndarray]], groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine of every pair of heads, averaged over prompts, in one pass over the patterns.

    Args:
        slabs: all prompts in order, a few whole ones at a time, as (rows [layer, row, entry],
            entries [prompt]); rows are the same in every slab.
        groups: the group of each prompt from 0, none left out, [prompt].

    Returns:
        Cosines between the heads of one layer, by group of prompts, [layer, group, row, row];
        between the heads of all layers, over all prompts, [layer, row, layer, row];
        the number of prompts in each group, [group].

    Raises:
        ValueError: the slabs hold more or fewer prompts, or none.
    """
    prompts = len(groups)
    counts = np.bincount(groups)
    within = across = np.empty(0)
    done = 0
    for rows, entries in slabs:
        layers, count, _ = rows.shape
        if not done:
            within = np.zeros((layers, len(counts), count, count))
            across = np.zeros((layers * count, layers * count))
        if done + len(entries) <= prompts:
            add_groups(within, rows, entries, groups[done : done + len(entries)])
            across += gram(unit_prompts(rows, entries).reshape(layers * count, -1))
        done += len(entries)
    if not prompts or done != prompts:
        raise ValueError(f"{done} prompts were given, but {prompts} were announced")
    within /= counts[:, None, None]
    across /= prompts
    return within, across.reshape(layers, count, layers, count), counts


def pooled(cosines: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Similarity over all prompts, float64 [...]: the groups' mean, weighted by their prompts.

    Args:
        cosines: [group, ...].
        counts: prompts in each group; 0 leaves a group out, [group].

    Raises:
        NotDefined: no prompt is left.
    """
    if counts.sum() == 0:
        raise NotDefined("no prompts are left: more prompts are needed")
    return np.tensordot(counts / counts.sum(), cosines, axes=1)


def best_match(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best match of every head in every other refit.

    Args:
        similarity: s, [refit, head, refit, candidate]; candidates are the heads of the same layer,
            or those of all layers.

    Returns:
        m(h, r -> r') = max over candidates h' of s(r, h -> r', h'), [r, r', head], and the h' that
        attains it (counted from 0, the first in case of ties). Where r' = r, m is NaN and h' is
        -1.
    """
    itself = np.eye(len(similarity), dtype=bool)[..., None]
    match = np.where(itself, np.nan, similarity.max(axis=3).transpose(0, 2, 1))
    return match, np.where(itself, -1, similarity.argmax(axis=3).transpose(0, 2, 1))


def head_stability(match: np.ndarray) -> np.ndarray:
    """S [anchor, head]: the mean over the other refits of m [anchor, refit, head]."""
    return np.nanmean(match, axis=1)


def pairwise_stability(match: np.ndarray) -> np.ndarray:
    """k(r, r') = 1/2 mean_h [m(h, r -> r') + m(h, r' -> r)] of m [anchor, refit, head].

    Returns:
        [refit, refit], symmetric, NaN on the diagonal.
    """
    one_way = match.mean(axis=2)
    return 0.5 * (one_way + one_way.T)


def layer_proportions(candidate: np.ndarray, layers: int, heads: int) -> np.ndarray:
    """The share of best matches that fall in each layer (docs/experiments.md, "Across layers").

    `candidate` are best matches of one layer's heads among those of all layers, counted through
    layer after layer from 0, [anchor, refit, head]; the diagonal is not read.

    Returns:
        [anchor, layer]; rows sum to 1: an anchor's match with itself is not counted.
    """
    refits = len(candidate)
    found = candidate[~np.eye(refits, dtype=bool)].reshape(refits, -1) // heads
    return (found[:, :, None] == np.arange(layers)).mean(axis=1)


def commonness(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much a head resembles its own layer (docs/experiments.md, "Commonness").

    Returns:
        Of s within one refit and layer, [..., head, head], the mean over the layer's heads, the
        head itself included, and that over the others (NaN if there are none), both [..., head].
    """
    heads = similarity.shape[-1]
    others = np.where(np.eye(heads, dtype=bool), 0.0, similarity).sum(axis=-1)
    itself = np.diagonal(similarity, axis1=-2, axis2=-1)
    without = others / (heads - 1) if heads > 1 else np.full_like(others, np.nan)
    return (others + itself) / heads, without
