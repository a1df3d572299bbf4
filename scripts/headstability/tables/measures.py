"""Tables of one condition's heads, from their similarities; tables over conditions stack them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..measures.similarity import (
    best_match,
    commonness,
    head_stability,
    layer_proportions,
    pairwise_stability,
    pooled,
)


def condition_tables(similarity: xr.Dataset, refits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Stability of a condition for every anchor, and how common its heads are.

    `similarity` is what `analysis.similarities.open_similarity` returned. The tables by name:
    `heads` with S of every head; `pairs` with k_l of every ordered pair of refits; `matches` with m
    and the matching head; `cross_layer`, for matches in any layer, with the mean over heads of S
    and the share of matches in each layer; `commonness` of every head, with and without itself.
    """
    names, count = np.array(refits), len(refits)
    layers, heads = similarity.sizes["layer"], similarity.sizes["head"]
    numbers, itself = np.arange(1, heads + 1), np.arange(count)
    anchor, other = np.nonzero(~np.eye(count, dtype=bool))
    tables: dict[str, list[pd.DataFrame]] = {}
    for layer in range(layers):
        here = similarity.isel(layer=layer)
        cosines = pooled(here["within"].values, similarity["prompts_in_group"].values)
        match, head = best_match(cosines)
        # [refit, head, layer, refit, head] to candidates of all layers
        anywhere = here["across"].values.transpose(0, 1, 3, 2, 4)
        anywhere = anywhere.reshape(count, heads, count, layers * heads).astype(np.float64)
        match_anywhere, candidate = best_match(anywhere)
        with_itself, of_others = commonness(cosines[itself, :, itself, :])
        every_head = {"layer": layer + 1, "head": np.tile(numbers, count)}
        owner = names.repeat(heads)
        columns = {
            "heads": {"anchor": owner, **every_head, "stability": head_stability(match).ravel()},
            "pairs": {
                "refit_a": names[anchor],
                "refit_b": names[other],
                "layer": layer + 1,
                "stability": pairwise_stability(match)[anchor, other],
            },
            "matches": {
                "anchor": names[anchor].repeat(heads),
                "refit": names[other].repeat(heads),
                "layer": layer + 1,
                "head": np.tile(numbers, len(anchor)),
                "match": head[anchor, other].ravel() + 1,
                "similarity": match[anchor, other].ravel(),
            },
            "cross_layer": {
                "anchor": names.repeat(layers),
                "layer": layer + 1,
                "match_layer": np.tile(np.arange(1, layers + 1), count),
                "proportion": layer_proportions(candidate, layers, heads).ravel(),
                "stability": head_stability(match_anywhere).mean(axis=1).repeat(layers),
            },
            "commonness": {
                "refit": owner,
                **every_head,
                "commonness": with_itself.ravel(),
                "commonness_of_others": of_others.ravel(),
            },
        }
        for name, found in columns.items():
            tables.setdefault(name, []).append(pd.DataFrame(found))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
