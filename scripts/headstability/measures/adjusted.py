"""Head stability with one step changed, and its null. Arrays only.

(docs/statistics.md, "Descriptions of stability".)
A slab is (rows [..., row, entry], entries [prompt]): packed triangles of a few whole prompts, one
row for each head of each refit, as `similarity.similarities` takes them. Similarities are kept by
group of prompts, because setting a group's count to 0 then deletes it: the same arrays `cosines`
[group, refit, head, refit, head], with the number of prompts `counts` [group], give the stability,
its split over odd and even prompts, the one-to-one match and the jackknife over prompts. Matches m
are [anchor, refit, head], NaN where both are the same refit.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .similarity import add_groups, best_match, cross, pooled, unit_prompts

Slab = tuple[np.ndarray, np.ndarray]

SHIFTS = 5
# (S - N)/(1 - N) is left empty where 1 - N is at most this.
LEAST_ROOM = 0.05
# Rows with less attention outside BOS are skipped: renormalised, they would be rounding.
LEAST_MASS = 1e-3
# A pattern closer to the mean than this share of its length equals the mean up to float32 rounding.
LEAST_DEVIATION = 1e-6


def grouped_mean_cosine(slabs: Iterable[Slab], groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of every pair of rows, averaged over the prompts of each group.

    Args:
        slabs: all prompts in order, a few at a time.
        groups: group of each prompt from 0, none left out, [prompt].

    Returns:
        s, [..., group, row, row], float64; prompts in each group, [group].

    Raises:
        ValueError: a group has no prompt, or there are more or fewer prompts than `groups` says.
    """
    counts = _counts(groups)
    total, done = None, 0
    for rows, entries in slabs:
        if total is None:
            total = _sums(rows, counts)
        if done + len(entries) <= len(groups):
            given = groups[done : done + len(entries)]
            add_groups(total, unit_prompts(rows, entries), entries, given)
        done += len(entries)
    if total is None or done != len(groups):
        raise ValueError(f"{done} prompts were given, but {len(groups)} are in groups")
    return total / counts[:, None, None], counts


def _sums(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Zeros for sums of groups, [..., group, row, row]."""
    return np.zeros((*rows.shape[:-2], len(counts), rows.shape[-2], rows.shape[-2]))


def _counts(groups: np.ndarray) -> np.ndarray:
    counts = np.bincount(groups)
    if not len(counts) or counts.min() == 0:
        raise ValueError("every group needs a prompt")
    return counts


def matched_best(cosines: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """m(h, r -> r') of the raw measure, [anchor, refit, head]."""
    return best_match(pooled(cosines, counts))[0]


def matched_split(cosines: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Best match chosen on odd prompts and scored on even ones, and vice versa.

    The mean of the two, [anchor, refit, head]; m is then not a maximum over its own noise. Groups
    are those of `similarity.prompt_groups`.

    Raises:
        NotDefined: one half has no prompt.
    """
    odd_group = np.arange(len(counts)) % 2 == 0
    odd = pooled(cosines, np.where(odd_group, counts, 0))
    even = pooled(cosines, np.where(odd_group, 0, counts))
    return (_scored(even, best_match(odd)[1]) + _scored(odd, best_match(even)[1])) / 2


def matched_one_to_one(cosines: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Match m when no two heads may share one: the assignment of largest total similarity."""
    similarity = pooled(cosines, counts)
    return _scored(similarity, assignments(similarity))


def assignments(similarity: np.ndarray) -> np.ndarray:
    """The partner of every head when no two heads of a refit may share one (Kuhn 1955).

    Returns:
        [refit, other refit, head]: the other refit's head (from 0), of the assignment of largest
        total similarity; -1 where both refits are the same.
    """
    # Imported here: the config names measures, so otherwise every start would take 0.3 s longer.
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    refits, heads = similarity.shape[:2]
    chosen = np.full((refits, refits, heads), -1)
    for one in range(refits):
        for other in range(one):
            rows, columns = linear_sum_assignment(similarity[one, :, other], maximize=True)
            chosen[one, other, rows] = columns
            chosen[other, one, columns] = rows
    return chosen


def _scored(similarity: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Similarity of every head and its chosen head, [anchor, refit, head]; NaN where that is -1."""
    rows = similarity.transpose(0, 2, 1, 3)
    score = np.take_along_axis(rows, np.maximum(chosen, 0)[..., None], axis=3)[..., 0]
    return np.where(chosen < 0, np.nan, score)


def without_prompts(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    cosines: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """A statistic with each group of prompts left out in turn, [group, ...], matches chosen anew.

    It takes (cosines, counts), such as `lambda c, n: pairwise_stability(matched_best(c, n))`; the
    count of the group left out is 0.
    """
    kept = counts * ~np.eye(len(counts), dtype=bool)
    return np.array([statistic(cosines, left) for left in kept])


def null_shifts(prompts: int) -> np.ndarray:
    """The shifts of the shuffled null: five, or all possible ones with fewer than six prompts.

    k_j = max(j, floor(j P / 11)), j = 1..5. All lie below P/2 (from 11 prompts on), because
    shifts k and P - k compare the same prompts.

    Raises:
        ValueError: fewer than two prompts.
    """
    if prompts < 2:
        raise ValueError("the shuffled null needs at least two prompts")
    steps = np.arange(1, SHIFTS + 1)
    shifts = np.maximum(steps, steps * prompts // 11)
    return shifts[shifts < prompts]


def shuffled_mean_cosine(
    read: Callable[[int, int], np.ndarray],
    entries: np.ndarray,
    shift: int,
    groups: np.ndarray,
    at_once: int = 8,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Cosine of every row on prompt p with every row on prompt p + shift (cyclically).

    Both patterns are cut to the shorter prompt: row by row packing makes the top-left block of
    a triangle its first entries. A group that is left out is so in both roles.

    Args:
        read: read(first, last) gives the rows of prompts first to last - 1, [row, entry].
        entries: entries of each prompt, [prompt].
        shift: prompts to shift the second row by; not a multiple of their number.
        groups: group of each prompt from 0, none left out, [prompt].
        at_once: prompts held at once, on either side.

    Returns:
        With all prompts, then without each group, [1 + group, row, shifted row], float64, not
        symmetric; and the cosines of the same cut patterns on the same prompt, of the same shape,
        or None where all prompts are equally long, so that nothing is cut. Both are NaN where no
        pair of prompts is left.

    Raises:
        ValueError: a group has no prompt, or the shift leaves prompts in place.
    """
    prompts = len(entries)
    if shift % prompts == 0:
        raise ValueError(f"a shift by {shift} leaves {prompts} prompts in place")
    count = len(_counts(groups))
    even = len(set(entries.tolist())) == 1
    sums: list[np.ndarray] = []
    pairs = np.zeros(1 + count)
    for first in range(0, prompts, at_once):
        ours = np.arange(first, min(first + at_once, prompts))
        theirs = (ours + shift) % prompts
        rows = read(first, int(ours[-1]) + 1)
        pieces = np.split(theirs, np.flatnonzero(np.diff(theirs) < 0) + 1)
        others = np.concatenate([read(int(part[0]), int(part[-1]) + 1) for part in pieces], axis=-1)
        if not sums:
            shape = (1 + count, len(rows), len(rows))
            sums = [np.zeros(shape) for _ in range(1 if even else 2)]
        start, other_start = 0, 0
        for one, other in zip(ours, theirs, strict=True):
            shared = np.array([min(entries[one], entries[other])])
            left = unit_prompts(rows[..., start : start + shared[0]], shared)
            right = unit_prompts(others[..., other_start : other_start + shared[0]], shared)
            # Position 0 collects all pairs, the others those that lose the group.
            places = [0, *(1 + place for place in {groups[one], groups[other]})]
            pairs[places] += 1
            products = [cross(left, right)]
            if not even:
                products.append((cross(left, left) + cross(right, right)) / 2)
            for total, product in zip(sums, products, strict=True):
                total[places] += product
            start += entries[one]
            other_start += entries[other]
    kept = np.concatenate([pairs[:1], pairs[0] - pairs[1:]])
    scale = np.divide(1.0, kept, out=np.full_like(kept, np.nan), where=kept > 0)
    found = [np.concatenate([t[:1], t[0] - t[1:]]) * scale[:, None, None] for t in sums]
    return found[0], None if even else found[1]


def normalised_excess(stability: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(S - N)/(1 - N) of S and N, both [layer, ...]; NaN where 1 - N is at most .05."""
    room = 1 - np.asarray(null)
    out = np.full(room.shape, np.nan)
    return np.divide(np.asarray(stability) - null, room, out=out, where=room > LEAST_ROOM)


def centred(slabs: Iterable[Slab]) -> Iterator[Slab]:
    """Subtract from every row the mean over all rows of its layer, entry by entry.

    Where a prompt's part differs from the mean by less than 1e-6 of its length, it becomes zero
    (its cosines are then 0): the difference is only rounding and has no direction.
    """
    for rows, entries in slabs:
        difference = rows - rows.mean(axis=-2, keepdims=True, dtype=np.float64).astype(np.float32)
        starts = np.cumsum(entries) - entries
        whole, rest = (
            np.add.reduceat(np.square(part, dtype=np.float64), starts, axis=-1)
            for part in (rows, difference)
        )
        keep = rest > LEAST_DEVIATION**2 * whole
        yield difference * np.repeat(keep, entries, axis=-1), entries


def sink_free(slabs: Iterable[Slab]) -> Iterator[Slab]:
    """Drop the first query and the BOS key, and let every row of a pattern sum to 1 again.

    A row with less than 1e-3 of its attention outside BOS becomes zero for its head: it adds
    nothing to a cosine if the other head skips it too, and counts as disagreement if the other
    head attends elsewhere. A head that skips all rows of a prompt has cosine 0 there.

    Yields:
        slabs with T (T - 1) / 2 entries per prompt.

    Raises:
        ValueError: a prompt is BOS alone.
    """
    for rows, entries in slabs:
        kept, queries = [], []
        for length in triangle_lengths(entries):
            if length < 2:
                raise ValueError("without BOS, a prompt of one position has no pattern")
            kept.append(np.tril_indices(length)[1] > 0)
            queries.append(np.arange(1, length))
        attended = rows[..., np.concatenate(kept)]
        sizes = np.concatenate(queries)
        starts = np.cumsum(sizes) - sizes
        mass = np.add.reduceat(attended.astype(np.float64), starts, axis=-1)
        scale = np.divide(1.0, mass, out=np.zeros_like(mass), where=mass >= LEAST_MASS)
        scaled = attended * np.repeat(scale, sizes, axis=-1)
        yield scaled.astype(np.float32), np.array([query.sum() for query in queries])


def bos_mass(slabs: Iterable[Slab]) -> np.ndarray:
    """Attention to BOS, averaged over queries 2..T of a prompt, then over prompts.

    Returns:
        [..., row], between 0 and 1.

    Raises:
        ValueError: there are no prompts, or one is BOS alone.
    """
    total, prompts = 0.0, 0
    for rows, entries in slabs:
        starts = np.cumsum(entries) - entries
        for start, length in zip(starts, triangle_lengths(entries), strict=True):
            if length < 2:
                raise ValueError("a prompt of one position has no attention to BOS to average")
            queries = np.arange(1, length)
            first = start + queries * (queries + 1) // 2
            total = total + rows[..., first].mean(axis=-1, dtype=np.float64)
        prompts += len(entries)
    if not prompts:
        raise ValueError("no prompts")
    return total / prompts


def triangle_lengths(entries: np.ndarray) -> np.ndarray:
    """T of triangles with T (T + 1) / 2 entries."""
    return ((np.sqrt(8 * np.asarray(entries) + 1) - 1) / 2).round().astype(int)
