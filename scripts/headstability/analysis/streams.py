"""Similarity of residual streams, and sizes of activations and weights, from refits' caches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ..measures.cka import cka
from ..measures.head_cka import shuffled_cka
from ..measures.similarity import NotDefined
from .refit_caches import open_refits

NORMS = ("attention_out_norm", "resid_mid_norm")


def residual_pairs(
    refits: Sequence[str], paths: Sequence[str | Path], streams: Sequence[str], threads: int = 1
) -> pd.DataFrame:
    """CKA of streams, such as resid_mid, of every pair of refits, from the cache of each.

    Returns refit_a, refit_b (each pair once), layer, stream, positions (how many vectors were
    compared), kernel, estimator, cka. Estimator `shuffled` of the linear kernel is the debiased one
    with prompts shuffled: what position alone gives (empty with one prompt or under 4 positions).
    """
    caches = open_refits(refits, paths, streams)
    lengths = caches[0]["prompt_length"].values
    names, (one, other) = np.array(refits), np.triu_indices(len(refits), 1)
    tables = []
    for stream in streams:
        for layer in range(caches[0].sizes["layer"]):
            found = cka((cache[stream].isel(layer=layer).values for cache in caches), threads)
            found["linear", "shuffled"] = _shuffled(caches, stream, layer, lengths)
            for (kernel, estimator), values in found.items():
                table = {
                    "refit_a": names[one],
                    "refit_b": names[other],
                    "layer": layer + 1,
                    "stream": stream,
                    "positions": caches[0].sizes["position"],
                    "kernel": kernel,
                    "estimator": estimator,
                    "cka": values[one, other],
                }
                tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def _shuffled(
    caches: Sequence[xr.Dataset], stream: str, layer: int, lengths: np.ndarray
) -> np.ndarray:
    def centred(refit: int) -> np.ndarray:
        values = caches[refit][stream].isel(layer=layer).values.astype(np.float64)
        return values - values.mean(axis=1, keepdims=True)

    try:
        return shuffled_cka(centred, len(caches), lengths)
    except NotDefined:
        return np.full((len(caches), len(caches)), np.nan)


def stream_norms(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """Mean size of attention's output and of the stream after it, by refit and layer.

    attention_out_norm and resid_mid_norm are mean L2 norms of the mean-centred vectors over all
    positions of all prompts; .._without_bos leaves out BOS and is empty if there is nothing else.
    """
    caches = open_refits(refits, paths, NORMS)
    lengths = caches[0]["prompt_length"].values
    is_bos = np.isin(np.arange(lengths.sum()), np.cumsum(lengths) - lengths)
    tables = []
    for refit, cache in zip(refits, caches, strict=True):
        columns = {"refit": refit, "layer": np.arange(1, cache.sizes["layer"] + 1)}
        for name in NORMS:
            values = cache[name].values.astype(np.float64)
            columns[name] = values.mean(axis=1)
            others = np.ascontiguousarray(values[:, ~is_bos])
            columns[f"{name}_without_bos"] = others.mean(axis=1) if others.size else np.nan
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def weight_norms(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """Frobenius norms of refits' weight matrices: refit, layer, matrix, norm."""
    rows = []
    for refit, cache in zip(refits, open_refits(refits, paths, ["weight_norm"]), strict=True):
        norms = cache["weight_norm"]
        for matrix, values in zip(norms.attrs["matrix"], norms.values.T, strict=True):
            rows += [(refit, layer, matrix, value) for layer, value in enumerate(values, start=1)]
    return pd.DataFrame(rows, columns=["refit", "layer", "matrix", "norm"])
