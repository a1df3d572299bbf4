"""From the caches of a condition's refits to its stability, streamed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from .refit_caches import open_refits
from .similarity import best_match, head_stability, mean_cosine, pairwise_stability

# Pattern entries of all heads and refits held at once: bounds memory whatever the number of
# refits and prompts (one prompt is the least that is read).
SLAB_ENTRIES = 2**23


def pattern_groups(
    caches: Sequence[xr.Dataset], layer: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Patterns of one layer, all refits, a few whole prompts at a time.

    Args:
        caches: open caches of all refits.
        layer: counted from 0.

    Yields:
        (rows [refit x head, entry], entries [prompt]).
    """
    lengths = caches[0]["prompt_length"].values
    entries = lengths * (lengths + 1) // 2
    heads = caches[0].sizes["head"]
    rows = len(caches) * heads
    starts = np.append(0, np.cumsum(entries))
    first = 0
    while first < len(entries):
        fitting = np.searchsorted(starts, starts[first] + SLAB_ENTRIES // rows, side="right") - 1
        last = max(first + 1, int(fitting))
        columns = slice(int(starts[first]), int(starts[last]))
        slab = np.empty((rows, columns.stop - columns.start), dtype=np.float32)
        for index, cache in enumerate(caches):
            part = cache["pattern"].isel(layer=layer, entry=columns).values
            slab[index * heads : (index + 1) * heads] = part
        yield slab, entries[first:last]
        first = last


def stability_tables(refits: Sequence[str], paths: Sequence[str | Path]) -> dict[str, pd.DataFrame]:
    """Stability of a condition, for every anchor.

    Args:
        refits: names of the refits.
        paths: the cache of each.

    Returns:
        `heads`: S of every head (anchor, layer, head, stability);
        `pairs`: k_l of every ordered pair of refits (refit_a, refit_b, layer, stability);
        `matches`: m and the matching head (anchor, refit, layer, head, match, similarity).
    """
    caches = open_refits(refits, paths, ["pattern"])
    names = np.array(refits)
    count, heads = len(caches), caches[0].sizes["head"]
    tables: dict[str, list[pd.DataFrame]] = {"heads": [], "pairs": [], "matches": []}
    anchor, other = np.nonzero(~np.eye(count, dtype=bool))
    numbers = np.arange(1, heads + 1)
    for layer in range(caches[0].sizes["layer"]):
        cosines = mean_cosine(pattern_groups(caches, layer))
        match, head = best_match(cosines.reshape(count, heads, count, heads))
        stability, pairs = head_stability(match), pairwise_stability(match)
        tables["heads"].append(
            pd.DataFrame(
                {
                    "anchor": names.repeat(heads),
                    "layer": layer + 1,
                    "head": np.tile(numbers, count),
                    "stability": stability.ravel(),
                }
            )
        )
        tables["pairs"].append(
            pd.DataFrame(
                {
                    "refit_a": names[anchor],
                    "refit_b": names[other],
                    "layer": layer + 1,
                    "stability": pairs[anchor, other],
                }
            )
        )
        tables["matches"].append(
            pd.DataFrame(
                {
                    "anchor": names[anchor].repeat(heads),
                    "refit": names[other].repeat(heads),
                    "layer": layer + 1,
                    "head": np.tile(numbers, len(anchor)),
                    "match": head[anchor, other].ravel() + 1,
                    "similarity": match[anchor, other].ravel(),
                }
            )
        )
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
