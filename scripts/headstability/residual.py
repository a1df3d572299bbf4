"""From the caches of a condition's refits to the similarity of their residual streams."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd

from .cka import cka
from .refit_caches import open_refits


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
