"""Tables of one condition's heads, from their similarities: what tables over conditions stack."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..similarity import (
    best_match,
    commonness,
    head_stability,
    layer_proportions,
    pairwise_stability,
    pooled,
)


def condition_tables(similarity: xr.Dataset, refits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Stability of a condition for every anchor, and how common its heads are.

    Args:
        similarity: what `conditions.open_similarity` returned.
        refits: names of the refits.

    Returns:
        `heads`: S of every head (anchor, layer, head, stability);
        `pairs`: k_l of every ordered pair of refits (refit_a, refit_b, layer, stability);
        `matches`: m and the matching head (anchor, refit, layer, head, match, similarity);
        `cross_layer`: for matches in any layer, the mean over heads of S and the share of matches
        in each layer (anchor, layer, match_layer, proportion, stability);
        `commonness`: of every head, with and without itself (refit, layer, head, commonness,
        commonness_of_others).
    """
    names = np.array(refits)
    groups = similarity["prompts_in_group"].values
    tables: dict[str, list[pd.DataFrame]] = {}
    for layer in range(similarity.sizes["layer"]):
        here = similarity.isel(layer=layer)
        cosines = pooled(here["within"].values, groups)
        parts = _same_layer(cosines, names, layer + 1)
        parts["cross_layer"] = _any_layer(here["across"].values, names, layer + 1)
        parts["commonness"] = _commonness(cosines, names, layer + 1)
        for name, part in parts.items():
            tables.setdefault(name, []).append(part)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _same_layer(cosines: np.ndarray, names: np.ndarray, layer: int) -> dict[str, pd.DataFrame]:
    """Tables heads, pairs and matches of one layer; cosines [refit, head, refit, head]."""
    count, heads = cosines.shape[:2]
    numbers = np.arange(1, heads + 1)
    anchor, other = np.nonzero(~np.eye(count, dtype=bool))
    match, head = best_match(cosines)
    stability, pairs = head_stability(match), pairwise_stability(match)
    return {
        "heads": pd.DataFrame(
            {
                "anchor": names.repeat(heads),
                "layer": layer,
                "head": np.tile(numbers, count),
                "stability": stability.ravel(),
            }
        ),
        "pairs": pd.DataFrame(
            {
                "refit_a": names[anchor],
                "refit_b": names[other],
                "layer": layer,
                "stability": pairs[anchor, other],
            }
        ),
        "matches": pd.DataFrame(
            {
                "anchor": names[anchor].repeat(heads),
                "refit": names[other].repeat(heads),
                "layer": layer,
                "head": np.tile(numbers, len(anchor)),
                "match": head[anchor, other].ravel() + 1,
                "similarity": match[anchor, other].ravel(),
            }
        ),
    }


def _any_layer(cosines: np.ndarray, names: np.ndarray, layer: int) -> pd.DataFrame:
    """Table cross_layer of one layer; cosines [refit, head, layer, refit, head]."""
    count, heads, layers = cosines.shape[:3]
    candidates = cosines.transpose(0, 1, 3, 2, 4).reshape(count, heads, count, layers * heads)
    match, candidate = best_match(candidates.astype(np.float64))
    return pd.DataFrame(
        {
            "anchor": names.repeat(layers),
            "layer": layer,
            "match_layer": np.tile(np.arange(1, layers + 1), count),
            "proportion": layer_proportions(candidate, layers, heads).ravel(),
            "stability": head_stability(match).mean(axis=1).repeat(layers),
        }
    )


def _commonness(cosines: np.ndarray, names: np.ndarray, layer: int) -> pd.DataFrame:
    """Table commonness of one layer; cosines [refit, head, refit, head]."""
    count, heads = cosines.shape[:2]
    refit = np.arange(count)
    with_itself, of_others = commonness(cosines[refit, :, refit, :])
    return pd.DataFrame(
        {
            "refit": names.repeat(heads),
            "layer": layer,
            "head": np.tile(np.arange(1, heads + 1), count),
            "commonness": with_itself.ravel(),
            "commonness_of_others": of_others.ravel(),
        }
    )
