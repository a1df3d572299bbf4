"""What heads attend to: scores of known roles (docs/statistics.md, "Roles"). Arrays only.

A score is attention averaged over the queries at which the role can appear, then over prompts.
Positions count from 0 here; position 0 is BOS.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from .adjusted import Slab, bos_mass

# Keys of the local score: the query itself and the three positions before it.
LOCAL_KEYS = 4

Mask = Callable[[np.ndarray], np.ndarray]


def _previous(tokens: np.ndarray) -> np.ndarray:
    """The position before the query, where that is not BOS."""
    return np.eye(len(tokens), k=-1, dtype=bool) & (np.arange(len(tokens)) > 0)


def _duplicate(tokens: np.ndarray) -> np.ndarray:
    """Earlier positions with the query's token, BOS aside."""
    earlier = np.tri(len(tokens), k=-1, dtype=bool)
    return earlier & (tokens[:, None] == tokens) & (np.arange(len(tokens)) > 0)


def _induction(tokens: np.ndarray) -> np.ndarray:
    """Positions before the query that follow an earlier occurrence of its token."""
    follows = np.zeros((len(tokens), len(tokens)), dtype=bool)
    follows[:, 1:] = _duplicate(tokens)[:, :-1]
    return np.tril(follows, k=-1)


def _local(tokens: np.ndarray) -> np.ndarray:
    """The query and the three positions before it, where these are at most half of its keys."""
    query, key = np.indices((len(tokens), len(tokens)))
    return (key <= query) & (key > query - LOCAL_KEYS) & (query >= 2 * LOCAL_KEYS)


MASKS: dict[str, Mask] = {
    "induction": _induction,
    "duplicate_token": _duplicate,
    "previous_token": _previous,
    "local": _local,
}
# From the most special to the most general: a head gets the first role for which it scores enough.
ROLES = (*MASKS, "bos_sink")
# Columns of tables that hold the scores of even attention.
EVEN = [f"even_{role}" for role in ROLES]


def role_scores(slabs: Iterable[Slab], prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """Scores of all roles for every row.

    Args:
        slabs: packed triangles of all prompts in order, a few at a time; rows are any heads of
            any layers and refits.
        prompts: token ids of each prompt, BOS first, at least two positions.

    Returns:
        [row, role] in the order of `ROLES`, between 0 and 1; NaN where no prompt has a query at
        which the role can appear.

    Raises:
        ValueError: slabs and prompts do not fit together.
    """
    totals, used, done = 0.0, np.zeros(len(ROLES), dtype=int), 0
    for rows, entries in slabs:
        here = prompts[done : done + len(entries)]
        if [len(prompt) * (len(prompt) + 1) // 2 for prompt in here] != list(entries):
            raise ValueError("patterns and prompts differ in length")
        weights, shows = _weights(here)
        sums = np.column_stack([rows @ weights, bos_mass([(rows, entries)]) * len(entries)])
        totals = totals + sums
        used += np.append(shows, len(entries))
        done += len(entries)
    if done != len(prompts) or not done:
        raise ValueError(f"{done} prompts have patterns, {len(prompts)} have tokens")
    return np.divide(totals, used, out=np.full(totals.shape, np.nan), where=used > 0)


def _weights(prompts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Weights [entry, mask] whose product with a row is its score, summed over prompts.

    Also, for each mask, the number of prompts on which it can appear.
    """
    parts, shows = [], np.zeros(len(MASKS), dtype=int)
    for prompt in prompts:
        tokens = np.asarray(prompt)
        triangle = np.tril_indices(len(tokens))
        wanted = np.array([mask(tokens) for mask in MASKS.values()])
        queries = wanted.any(axis=2).sum(axis=1)
        shows += queries > 0
        parts.append((wanted[:, *triangle] / np.maximum(queries, 1)[:, None]).T)
    return np.concatenate(parts), shows


def even_patterns(prompts: Sequence[Sequence[int]]) -> Slab:
    """The pattern that attends evenly to all positions so far, as a slab of one row.

    Its scores are what a head gets on these prompts without any preference.
    """
    keys = [np.arange(1, len(prompt) + 1) for prompt in prompts]
    rows = [np.repeat(1 / visible, visible) for visible in keys]
    return np.concatenate(rows)[None], np.array([len(row) for row in rows])


def strongest_roles(scores: np.ndarray, least: float) -> np.ndarray:
    """One role per head: the first of `ROLES` whose score reaches `least`, else "none".

    Scores are [head, role], as `role_scores` returns them; names are [head].
    """
    reached = np.nan_to_num(scores) >= least
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), len(ROLES))
    return np.array([*ROLES, "none"])[first]


def repeated_prompts(
    vocabulary: int, bos: int, count: int, length: int, seed: int, repeats: int = 2
) -> list[list[int]]:
    """Synthetic prompts: BOS, then one random sequence of different tokens several times.

    Args:
        vocabulary: tokens are drawn from 0 to vocabulary - 1.
        bos: never drawn.
        count: prompts.
        length: tokens of the sequence.
        seed: seed of the draw.
        repeats: times the sequence appears.

    Returns:
        `count` lists of 1 + length x repeats token ids.

    Raises:
        ValueError: the vocabulary has fewer other tokens than `length`.
    """
    tokens = np.delete(np.arange(vocabulary), bos)
    if length > len(tokens):
        raise ValueError(f"{length} different tokens cannot come from {len(tokens)}")
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(tokens, size=length, replace=False) for _ in range(count)]
    return [[bos, *np.tile(sequence, repeats).tolist()] for sequence in drawn]
