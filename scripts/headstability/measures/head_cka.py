"""Similarity of what heads write (docs/statistics.md, "What heads write"). Arrays only."""

from collections.abc import Callable

import numpy as np

from .adjusted import null_shifts
from .similarity import NotDefined, cross

# A head whose outputs vary by less than this share of their length writes a constant.
LEAST_VARIATION = 1e-6


def head_cka(read: Callable[[int], np.ndarray], refits: int, refits_at_once: int = 8) -> np.ndarray:
    """Debiased linear CKA of z between every two heads of all refits of one layer.

    With features X and Y centred over the n positions and their row norms squared, a and b, the
    unbiased HSIC of linear kernels is up to a constant ||X'Y||^2 - n/(n-2) a.b
    + sum(a) sum(b) / ((n-1)(n-2)): no n x n matrix is formed. A head that writes a constant has
    CKA 0 with all others and with itself.

    Args:
        read: read(refit) gives z of one refit, refits counted from 0, [head, position, d_head];
            positions of all prompts stacked.
        refits: how many there are.
        refits_at_once: refits held in memory, besides one more.

    Returns:
        [refit, head, refit, head], float64, symmetric.

    Raises:
        NotDefined: fewer than 4 positions.
    """
    hsic = None
    for first in range(0, refits, refits_at_once):
        held = range(first, min(first + refits_at_once, refits))
        block = [_features(read(refit)) for refit in held]
        for other in range(first, refits):
            theirs = block[other - first] if other - first < len(block) else _features(read(other))
            if hsic is None:
                heads = len(theirs[1])
                hsic = np.zeros((refits, heads, refits, heads))
            for refit, ours in enumerate(block, start=first):
                if refit <= other:
                    found = _hsic(*ours, *theirs)
                    if refit == other:  # symmetric but for the order of its sums
                        found = (found + found.T) / 2
                    hsic[refit, :, other], hsic[other, :, refit] = found, found.T
    flat = hsic.reshape(refits * heads, -1)
    own = np.sqrt(np.maximum(np.diagonal(flat), 0))
    scale = np.outer(own, own)
    return np.divide(flat, scale, out=np.zeros_like(flat), where=scale > 0).reshape(hsic.shape)


def _features(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred features of unit length as rows [head x d_head, position], and their squared norms.

    CKA does not depend on scale; unit length keeps float32 products away from its limits.
    """
    heads, positions, d_head = z.shape
    if positions < 4:
        raise NotDefined("debiased CKA needs at least 4 positions")
    z = z.astype(np.float64)
    centred = z - z.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=(1, 2))
    varies = length > LEAST_VARIATION * np.linalg.norm(z, axis=(1, 2))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=varies)
    centred *= scale[:, None, None]
    rows = centred.transpose(0, 2, 1).reshape(heads * d_head, positions)
    return rows.astype(np.float32), np.square(centred).sum(axis=2)


def _hsic(
    rows: np.ndarray, squares: np.ndarray, other_rows: np.ndarray, other_squares: np.ndarray
) -> np.ndarray:
    """Unbiased HSIC of the heads of two refits, up to the factor n (n - 3), [head, head]."""
    (heads, count), other_heads = squares.shape, len(other_squares)
    products = cross(rows, other_rows).reshape(heads, len(rows) // heads, other_heads, -1)
    return (
        np.square(products).sum(axis=(1, 3))
        - count / (count - 2) * (squares @ other_squares.T)
        + np.outer(squares.sum(axis=1), other_squares.sum(axis=1)) / ((count - 1) * (count - 2))
    )


def shuffled_cka(
    read: Callable[[int], np.ndarray],
    refits: int,
    lengths: np.ndarray,
    refits_at_once: int = 8,
) -> np.ndarray:
    """Debiased linear CKA of layers with the prompts of one of them shuffled, the mean over shifts.

    Position t of prompt p is compared with position t of prompt p + shift, as far as both prompts
    reach; shifts are those of `adjusted.null_shifts`. What is left is due to position alone.

    Args:
        read: read(refit) gives what a refit's layer writes, [position, feature].
        refits: how many there are.
        lengths: positions of each prompt, [prompt].
        refits_at_once: refits held in memory, besides one more.

    Returns:
        [refit, refit], symmetric, NaN on the diagonal.

    Raises:
        NotDefined: one prompt alone, or fewer than 4 positions.
    """
    if len(lengths) < 2:
        raise NotDefined("the shuffled null needs at least two prompts")
    starts = np.cumsum(lengths) - lengths
    found = []
    for shift in map(int, null_shifts(len(lengths))):
        partner = np.roll(np.arange(len(lengths)), -shift)
        shared = np.minimum(lengths, lengths[partner])
        ours = _positions(starts, shared)
        theirs = _positions(starts[partner], shared)
        values = np.full((refits, refits), np.nan)
        for first in range(0, refits, refits_at_once):
            held = range(first, min(first + refits_at_once, refits))
            left = [_features(read(one)[None, ours]) for one in held]
            own = [_hsic(*features, *features)[0, 0] for features in left]
            for other in range(first + 1, refits):
                right = _features(read(other)[None, theirs])
                itself = _hsic(*right, *right)[0, 0]
                for one, features, norm in zip(held, left, own, strict=True):
                    if one < other:
                        shared = _hsic(*features, *right)[0, 0]
                        scale = norm * itself
                        cka = shared / np.sqrt(scale) if scale > 0 else 0.0
                        values[one, other] = values[other, one] = cka
        found.append(values)
    return np.mean(found, axis=0)


def _positions(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Indices of the first positions of each prompt, `lengths` of them."""
    return np.concatenate([s + np.arange(n) for s, n in zip(starts, lengths, strict=True)])
