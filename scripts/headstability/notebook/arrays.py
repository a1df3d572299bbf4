"""Stores of a study as lazy xarray objects: selecting in them selects what will be read.

xarray joins only dask arrays lazily, and dask is no dependency: these are its backend arrays.
"""

import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from ..conventions import triangle_entries
from ..errors import DamagedFile, UserError
from ..storage.stores import open_cache

# What reading an altered store may raise: a checksum that differs, a chunk that cannot be unpacked.
READ_ERRORS = (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, RuntimeError)
REMEDY = "Delete it and run the study again: it is rebuilt, with everything that depends on it"
# Attributes of a variable or store that belong to one refit only.
_OF_ONE_REFIT = ("coordinates_sha256", "layer_sha256", "cell", "weights_sha256")


class Store:
    """A cache or similarity on disk, opened when something in it is first needed."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Its variables, unread; raises UserError if it is missing or incomplete."""
        try:
            return open_cache(self.path)
        except DamagedFile as error:
            raise UserError(f"{error}. {REMEDY}") from error

    def read(self, name: str, places: Sequence[Any]) -> np.ndarray:
        """Part of a variable, by an integer, slice or array of integers for each dimension."""
        variable = self.dataset[name]
        chosen = dict(zip(variable.dims, places, strict=True))
        try:
            return variable.isel(chosen).values
        except READ_ERRORS as error:
            damaged = DamagedFile(self.path, f"{name} cannot be read ({error})")
            raise UserError(f"{damaged}. {REMEDY}") from error


class _Lazy(BackendArray):
    """An array of which xarray asks for parts, by an integer, slice or array per dimension."""

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self.read)


class _Stacked(_Lazy):
    """One variable of the stores of several refits, refits first."""

    def __init__(self, stores: Sequence[Store], name: str) -> None:
        self.stores, self.name = stores, name
        variable = stores[0].dataset[name]
        self.shape, self.dtype = (len(stores), *variable.shape), variable.dtype

    def read(self, places: tuple) -> np.ndarray:
        refits, rest = places[0], places[1:]
        chosen = np.arange(len(self.stores))[refits]
        if chosen.ndim == 0:
            return self._of(int(chosen), rest)
        if len(chosen):
            return np.stack([self._of(refit, rest) for refit in chosen])
        sizes = (np.arange(n)[place].shape for n, place in zip(self.shape[1:], rest, strict=True))
        return np.empty((0, *(size for shape in sizes for size in shape)), self.dtype)

    def _of(self, refit: int, places: tuple) -> np.ndarray:
        """Part of the variable of one refit, whose store must agree with the first one."""
        store, first = self.stores[refit], self.stores[0]
        one, other = store.dataset, first.dataset
        same = one.attrs.get("prompts_sha256") == other.attrs.get("prompts_sha256")
        if not same or one[self.name].shape != other[self.name].shape:
            raise UserError(
                f"{store.path} and {first.path} do not belong together: they differ in prompts or "
                "shape. Delete both and run the study again"
            )
        return store.read(self.name, places)


class _Squares(_Lazy):
    """Patterns as squares (`squares`), padded to the longest prompt."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.packed = _Stacked(stores, "pattern")
        self.lengths = stores[0].dataset["prompt_length"].values
        self.starts = np.append(0, np.cumsum(triangle_entries(self.lengths)))
        longest = int(self.lengths.max())
        self.shape = (*self.packed.shape[:3], len(self.lengths), longest, longest)
        self.dtype = self.packed.dtype

    def read(self, places: tuple) -> np.ndarray:
        chosen = [np.atleast_1d(np.arange(n)[p]) for n, p in zip(self.shape, places, strict=True)]
        refits, layers, heads, prompts, queries, keys = chosen
        out = np.full([len(part) for part in chosen], np.nan, self.dtype)
        for place, prompt in enumerate(prompts):
            entries = slice(int(self.starts[prompt]), int(self.starts[prompt + 1]))
            length = int(self.lengths[prompt])
            square = np.zeros((*out.shape[:3], length, length), self.dtype)
            triangle = self.packed.read((refits, layers, heads, entries))
            square[(..., *np.tril_indices(length))] = triangle
            rows, columns = queries < length, keys < length
            inside = square[..., queries[rows], :][..., keys[columns]]
            out[:, :, :, place][np.ix_(*map(np.arange, out.shape[:3]), rows, columns)] = inside
        single = [not isinstance(part, slice) and np.ndim(part) == 0 for part in places]
        return out[tuple(0 if one else slice(None) for one in single)]


def one_store(store: Store, coords: Mapping[str, Any] | None = None) -> xr.Dataset:
    """A store as a lazy dataset, with more labels; its damage is reported when it is read."""
    found = store.dataset
    variables = {
        name: _unread(("store", *variable.dims), _Stacked([store], name), variable.attrs)[0]
        for name, variable in found.data_vars.items()
    }
    return xr.Dataset(variables, {**found.coords, **(coords or {})}, found.attrs)


def stacked(stores: Mapping[str, Store]) -> xr.Dataset:
    """The stores of refits, by name, as a lazy dataset, `refit` first; heads do not correspond."""
    parts = list(stores.values())
    found = parts[0].dataset
    variables = {
        name: _unread(("refit", *variable.dims), _Stacked(parts, name), _shared(variable.attrs))
        for name, variable in found.data_vars.items()
    }
    return xr.Dataset(variables, {"refit": list(stores), **found.coords}, _shared(found.attrs))


def squares(stores: Mapping[str, Store]) -> xr.DataArray:
    """Attention patterns of several refits (refit, layer, head, prompt, query, key), lazily.

    Rows sum to 1; 0 where a key comes after its query; NaN beyond the end of a prompt. `stores`
    are the caches of the refits, whose heads do not correspond, by name.
    """
    parts = list(stores.values())
    found = parts[0].dataset
    array = _Squares(parts)
    positions = np.arange(1, array.shape[-1] + 1)
    labels = {
        "refit": list(stores),
        **{name: found[name].values for name in ("layer", "head", "prompt")},
        "query": positions,
        "key": positions,
        "prompt_length": found["prompt_length"].variable,
    }
    attributes = {"long_name": "attention pattern", "units": "1"}
    variable = _unread(("refit", "layer", "head", "prompt", "query", "key"), array, attributes)
    return xr.DataArray(variable, labels, name="pattern")


def _unread(dims: Sequence[Any], array: _Lazy, attributes: Mapping[Any, Any]) -> xr.Variable:
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), attributes)


def _shared(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in _OF_ONE_REFIT}
