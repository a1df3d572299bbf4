"""The table of the map of heads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..caches import open_cache, verify_cache
from ..errors import UserError
from ..meta_sne import default_perplexity, embed, prompt_distances


def meta_sne_table(
    architectures: Sequence[str],
    refits: Sequence[str],
    paths: Sequence[str | Path],
    perplexity: float | None,
    seed: int,
) -> pd.DataFrame:
    """Where every head of one weight decay stands in one t-SNE.

    Args:
        architectures: their names.
        refits: names of the refits.
        paths: the caches, all refits of an architecture together.
        perplexity: of t-SNE; None for `meta_sne.default_perplexity`.
        seed: of t-SNE.

    Returns:
        architecture, refit, layer, head, relative_depth (layer / layers), x, y (no units),
        prompts, perplexity, seed.

    Raises:
        UserError: there are too few prompts, or caches are of different ones.
    """
    cells = [(architecture, refit) for architecture in architectures for refit in refits]
    tables, vectors, prompts = [], [], set()
    for (architecture, refit), path in zip(cells, paths, strict=True):
        cache = open_cache(path)
        verify_cache(path, cache, ["z_mean"])
        prompts.add(cache.attrs["prompts_sha256"])
        if len(prompts) > 1:
            raise UserError(
                f"{path} and {paths[0]} were made with different prompts: delete both and run "
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
        tables.append(pd.DataFrame(labels).assign(prompts=count))
    table = pd.concat(tables, ignore_index=True)
    perplexity = default_perplexity(len(table)) if perplexity is None else perplexity
    x, y = embed(np.concatenate(vectors), perplexity, seed).T
    placed = table.drop(columns="prompts").assign(x=x, y=y, prompts=table["prompts"])
    return placed.assign(perplexity=perplexity, seed=seed)
