"""From the caches of a condition's refits to the similarity and size of their residual streams."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from .cka import cka
from .refit_caches import open_refits

NORMS = ("attention_out_norm", "resid_mid_norm")


def residual_pairs(
    refits: Sequence[str],
    paths: Sequence[str | Path],
    streams: Sequence[str],
    threads: int = 1,
) -> pd.DataFrame:
    """CKA of the residual streams of every two refits of a condition.

    Args:
        refits: names of the refits.
        paths: the cache of each.
        streams: the variables to compare, such as resid_mid.
        threads: how many to use.

    Returns:
        refit_a, refit_b (each pair once, no refit with itself), layer, stream, positions (how
        many vectors were compared), kernel, estimator, cka.
    """
    caches = open_refits(refits, paths, streams)
    tables = []
    for stream in streams:
        for layer in range(caches[0].sizes["layer"]):
            found = cka((cache[stream].isel(layer=layer).values for cache in caches), threads)
            for (kernel, estimator), values in found.items():
                rows = [
                    (one, two, values[a, b])
                    for (a, one), (b, two) in combinations(enumerate(refits), 2)
                ]
                table = pd.DataFrame(rows, columns=["refit_a", "refit_b", "cka"])
                labels = (layer + 1, stream, caches[0].sizes["position"], kernel, estimator)
                names = ("layer", "stream", "positions", "kernel", "estimator")
                for place, (name, label) in enumerate(zip(names, labels, strict=True), start=2):
                    table.insert(place, name, label)
                tables.append(table)
    return pd.concat(tables, ignore_index=True)


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
