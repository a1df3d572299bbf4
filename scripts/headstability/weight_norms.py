"""Sizes of a layer's weight matrices (docs/experiments.md, "Weight norms")."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from .model import Transformer

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


def weight_norm(model: Transformer) -> xr.DataArray:
    """`matrix_norms` of a model as a variable of its cache.

    Returns:
        (layer, matrix), float64, no units; the attribute `matrix` names the matrices in order
        (Zarr has no settled way to store a coordinate of texts).
    """
    weights = {name: value.numpy(force=True) for name, value in model.state_dict().items()}
    norms = matrix_norms(weights, model.shape.layers)
    attributes = {
        "long_name": "Frobenius norm of weights; of what writes to the stream, mean-centred",
        "units": "1",
        "matrix": list(norms),
    }
    return xr.DataArray(
        np.column_stack(list(norms.values())), dims=("layer", "matrix"), attrs=attributes
    )
