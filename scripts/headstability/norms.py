"""From the caches of a condition's refits to the sizes of their activations and weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .refit_caches import open_refits

NORMS = ("attention_out_norm", "resid_mid_norm")


def stream_norms(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """How large attention's output and the stream after it are, on average over tokens.

    Args:
        refits: names of the refits.
        paths: the cache of each.

    Returns:
        refit, layer, and the mean L2 norm over all positions of all prompts of the mean-centred
        output of attention (attention_out_norm) and of the mean-centred stream after it
        (resid_mid_norm); the same over all positions but BOS (.._without_bos; empty if there are
        no others).
    """
    caches = open_refits(refits, paths, NORMS)
    first = np.append(0, np.cumsum(caches[0]["prompt_length"].values)[:-1])
    is_bos = np.zeros(caches[0].sizes["position"], dtype=bool)
    is_bos[first] = True
    rows = []
    for refit, cache in zip(refits, caches, strict=True):
        norms = {name: cache[name].values.astype(np.float64) for name in NORMS}
        for layer in range(cache.sizes["layer"]):
            row = {"refit": refit, "layer": layer + 1}
            for name, values in norms.items():
                others = values[layer, ~is_bos]
                row[name] = values[layer].mean()
                row[f"{name}_without_bos"] = others.mean() if len(others) else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def weight_norms(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """Frobenius norms of the weight matrices of a condition's refits.

    Args:
        refits: names of the refits.
        paths: the cache of each.

    Returns:
        refit, layer, matrix, norm.
    """
    rows = []
    for refit, cache in zip(refits, open_refits(refits, paths, ["weight_norm"]), strict=True):
        norms = cache["weight_norm"]
        for matrix, values in zip(norms.attrs["matrix"], norms.values.T, strict=True):
            rows += [(refit, layer, matrix, value) for layer, value in enumerate(values, start=1)]
    return pd.DataFrame(rows, columns=["refit", "layer", "matrix", "norm"])
