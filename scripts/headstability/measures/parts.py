"""The parts of what a head does: position, text, and what it writes. Arrays only.

(docs/statistics.md, "Two parts of a pattern".) Slabs are those of `adjusted`; here they are read
more than once, so they must be an iterable that can start again. Prompts are packed row by row:
entry e of a shorter prompt is entry e of a longer one.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from .adjusted import LEAST_DEVIATION, Slab, triangle_lengths
from .similarity import NotDefined


def even_pattern(entries: int) -> np.ndarray:
    """The packed pattern of a head that attends evenly, 1/i in row i, [entry]."""
    rows = np.arange(1, int(triangle_lengths(np.array([entries]))[0]) + 1)
    return np.repeat(1 / rows, rows)


def pattern_sums(slabs: Iterable[Slab], groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of patterns over the prompts of each group, entry by entry.

    Args:
        slabs: all prompts in order, (rows [row, entry], entries [prompt]).
        groups: group of each prompt from 0, [prompt].

    Returns:
        Sums [group, row, entry of the longest prompt], float64, and how many prompts have the
        entry, [group, entry].
    """
    sums = counts = np.empty(0)
    done = 0
    for rows, entries in slabs:
        longest = max(int(entries.max()), counts.shape[-1])
        if longest > counts.shape[-1]:
            shape = (groups.max() + 1, len(rows), longest)
            grown, counted = np.zeros(shape), np.zeros((shape[0], longest), dtype=int)
            if done:
                grown[..., : sums.shape[-1]], counted[:, : sums.shape[-1]] = sums, counts
            sums, counts = grown, counted
        ends = np.cumsum(entries)
        for start, end, group in zip(ends - entries, ends, groups[done:], strict=False):
            sums[group, :, : end - start] += rows[:, start:end]
            counts[group, : end - start] += 1
        done += len(entries)
    return sums, counts


def template(slabs: Iterable[Slab], groups: np.ndarray) -> np.ndarray:
    """Similarity of what heads do on every prompt alike: cos(mean pattern - even pattern).

    The mean is taken entry by entry over the prompts that have the entry. A mean pattern that is
    nearer to the even one than 1e-6 of its length has cosine 0.

    Returns:
        With all prompts, then without each group, [1 + group, row, row], float64; NaN where no
        prompt is left.
    """
    sums, counts = pattern_sums(slabs, groups)
    even = even_pattern(sums.shape[-1])
    total, number = sums.sum(axis=0), counts.sum(axis=0)
    found = [_template(total, number, even)]
    found += [
        _template(total - part, number - less, even)
        for part, less in zip(sums, counts, strict=True)
    ]
    return np.array(found)


def _template(sums: np.ndarray, counts: np.ndarray, even: np.ndarray) -> np.ndarray:
    kept = counts > 0
    if not kept.any():
        return np.full((len(sums), len(sums)), np.nan)
    mean = sums[:, kept] / counts[kept]
    rest = mean - even[kept]
    length = np.linalg.norm(rest, axis=1)
    there = length > LEAST_DEVIATION * np.linalg.norm(mean, axis=1)
    unit = rest * np.divide(1.0, length, out=np.zeros_like(length), where=there)[:, None]
    return unit @ unit.T


def text(slabs: Iterable[Slab]) -> Iterator[Slab]:
    """Patterns less each head's mean pattern: what its attention takes from this text.

    A part smaller than 1e-6 of its pattern becomes zero, so that its cosines are 0. Without a group
    of prompts the mean pattern is not formed anew.

    Raises:
        NotDefined: there is one prompt alone.
    """
    prompts = sum(len(entries) for _, entries in slabs)
    if prompts < 2:
        raise NotDefined("what depends on the text shows from two prompts on")
    sums, counts = pattern_sums(slabs, np.zeros(prompts, dtype=int))
    mean = sums[0] / counts[0]
    for rows, entries in slabs:
        out = np.empty(rows.shape, dtype=np.float32)
        ends = np.cumsum(entries)
        for start, end in zip(ends - entries, ends, strict=True):
            part = rows[:, start:end].astype(np.float64)
            rest = part - mean[:, : end - start]
            whole, left = np.square(part).sum(axis=1), np.square(rest).sum(axis=1)
            there = left > LEAST_DEVIATION**2 * whole
            # Of unit length: float32 products then keep their precision however small the part.
            scale = np.divide(1.0, np.sqrt(left), out=np.zeros_like(left), where=there)
            out[:, start:end] = rest * scale[:, None]
        yield out, entries


def without_position(z: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What heads write less its mean over prompts at each position.

    Args:
        z: [head, position, d_head], positions of all prompts one after another.
        lengths: positions of each prompt, [prompt].

    Returns:
        float64 of the same shape; zero at a position that one prompt alone has.
    """
    out = z.astype(np.float64)
    starts = np.cumsum(lengths) - lengths
    for position in range(int(lengths.max())):
        at = (starts + position)[lengths > position]
        out[:, at] -= out[:, at].mean(axis=1, keepdims=True)
    return out
