"""Sizes of a layer's weight matrices (docs/experiments.md, "Weight norms")."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import xarray as xr

from ..models.interface import LanguageModel

# They write to the residual stream, whose mean over d_model LayerNorm discards.
_WRITING = ("W_O", "W_out")


def weight_matrices(model: LanguageModel) -> Iterator[dict[str, np.ndarray]]:
    """Each layer's weight matrices by name, [out, in]; see `interface.Layer`."""
    for block in model.blocks:
        yield {name: matrix.numpy(force=True) for name, matrix in block.matrices().items()}


def matrix_norms(layers: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Frobenius norms of weight matrices by name, without biases: float64 [layer].

    From W_O and W_out their mean over d_model, the axis they write to, is first subtracted.
    """
    norms: dict[str, list[float]] = {}
    for matrices in layers:
        for matrix, given in matrices.items():
            values = np.asarray(given, dtype=np.float64)
            if matrix in _WRITING:
                values = values - values.mean(axis=0)
            # The last bits of a norm by BLAS would depend on the number of threads.
            norms.setdefault(matrix, []).append(float(np.sqrt(np.sum(np.square(values)))))
    return {matrix: np.array(values) for matrix, values in norms.items()}


def weight_norm(layers: Iterable[Mapping[str, np.ndarray]]) -> xr.DataArray:
    """`matrix_norms` of a model as a variable (layer, matrix) of its cache.

    The attribute `matrix` names the matrices, as Zarr has no standard way to store a coordinate of
    strings.
    """
    norms = matrix_norms(layers)
    attributes = {
        "long_name": "Frobenius norm of weights; of what writes to the stream, mean-centred",
        "units": "1",
        "matrix": list(norms),
    }
    return xr.DataArray(
        np.column_stack(list(norms.values())), dims=("layer", "matrix"), attrs=attributes
    )
