"""Sizes of a layer's weight matrices (docs/experiments.md, "Weight norms")."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .errors import UserError
from .tensorfiles import read_arrays

# Where a matrix is in a checkpoint, and which third of it; None: all of it.
_PLACES = {
    "W_Q": ("attention.qkv.weight", 0),
    "W_K": ("attention.qkv.weight", 1),
    "W_V": ("attention.qkv.weight", 2),
    "W_O": ("attention.out.weight", None),
    "W_in": ("mlp_in.weight", None),
    "W_out": ("mlp_out.weight", None),
}
# What writes to the residual stream, of which LayerNorm discards the mean over d_model.
_WRITING = ("W_O", "W_out")


def matrix_norms(weights: Mapping[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Frobenius norms of every layer's weight matrices, biases left out.

    W_O and W_out are first taken less their mean over d_model, the axis they write to.

    Args:
        weights: of one model, by name; matrices are [out, in].
        layers: number of layers.

    Returns:
        By matrix, [layer], float64; attention-only models have no W_in and W_out.
    """
    norms = {}
    for matrix, (name, third) in _PLACES.items():
        if f"blocks.0.{name}" not in weights:
            continue
        found = []
        for layer in range(layers):
            values = np.asarray(weights[f"blocks.{layer}.{name}"], dtype=np.float64)
            if third is not None:
                values = np.split(values, 3)[third]
            if matrix in _WRITING:
                values = values - values.mean(axis=0)
            found.append(np.linalg.norm(values))
        norms[matrix] = np.array(found)
    return norms


def weight_norms(refits: Sequence[str], paths: Sequence[str | Path]) -> pd.DataFrame:
    """Frobenius norms of the weight matrices of a condition's refits.

    Args:
        refits: names of the refits.
        paths: the checkpoint of each.

    Returns:
        refit, layer, matrix, norm.

    Raises:
        UserError: a checkpoint is of another refit.
    """
    rows = []
    for refit, path in zip(refits, paths, strict=True):
        weights, header = read_arrays(path)
        if header["cell"].split("/")[-1] != refit:
            raise UserError(
                f"{path} was copied from another cell, {header['cell']}: delete it and run the "
                "same command again"
            )
        norms = matrix_norms(weights, header["shape"]["layers"])
        for matrix, values in norms.items():
            rows += [(refit, layer, matrix, value) for layer, value in enumerate(values, start=1)]
    return pd.DataFrame(rows, columns=["refit", "layer", "matrix", "norm"])
