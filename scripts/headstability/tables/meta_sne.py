"""The table of the map of heads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import UserError
from ..measures.meta_sne import default_perplexity, embed, prompt_distances
from ..storage.stores import open_cache, verify_cache


def meta_sne_table(
    architectures: Sequence[str],
    refits: Sequence[str],
    caches: Sequence[str | Path],
    perplexity: float | None,
    seed: int,
) -> pd.DataFrame:
    """The position of every head of one weight decay in one t-SNE map, x and y without units.

    `caches` are paths, all refits of an architecture together. relative_depth is layer / layers.

    Raises:
        UserError: there are too few prompts, or caches are of different ones.
    """
    cells = [(architecture, refit) for architecture in architectures for refit in refits]
    tables, vectors, prompts = [], [], set()
    for (architecture, refit), path in zip(cells, caches, strict=True):
        cache = open_cache(path)
        verify_cache(path, cache, ["z_mean"])
        prompts.add(cache.attrs["prompts_sha256"])
        if len(prompts) > 1:
            raise UserError(
                f"{path} and {caches[0]} were made with different prompts: delete both and run "
                "the same command again"
            )
        layers, heads, count, _ = cache["z_mean"].shape
        if count < 3:
            raise UserError(
                f"meta_sne compares distances between prompts and needs at least 3; {path} has "
                f"{count}: choose another prompt set (key stability.prompts) or leave meta_sne "
                "out (key figures.include)"
            )
        vectors += [prompt_distances(layer) for layer in cache["z_mean"].values]
        numbers = np.arange(1, layers + 1).repeat(heads)
        labels = {
            "architecture": architecture,
            "refit": refit,
            "layer": numbers,
            "head": np.tile(np.arange(1, heads + 1), layers),
            "relative_depth": numbers / layers,
        }
        tables.append(pd.DataFrame(labels))
    table = pd.concat(tables, ignore_index=True)
    perplexity = default_perplexity(len(table)) if perplexity is None else perplexity
    x, y = embed(np.concatenate(vectors), perplexity, seed).T
    return table.assign(x=x, y=y, prompts=count, perplexity=perplexity, seed=seed)
