"""The caches of a condition's refits, opened and checked together."""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from ..errors import UserError
from ..storage.stores import open_cache, verify_cache


def open_refits(
    refits: Sequence[str], paths: Sequence[str | Path], names: Sequence[str]
) -> list[xr.Dataset]:
    """Open the caches of a condition's refits and verify the variables `names`, which will be read.

    Raises UserError if a cache is damaged, belongs to another refit, or differs from the first one
    in shape or prompts.
    """
    caches = [open_cache(path) for path in paths]
    for refit, path, cache in zip(refits, paths, caches, strict=True):
        verify_cache(path, cache, names)
        shape, first = cache["pattern"].shape, caches[0]["pattern"].shape
        wrong, what = "", "both"
        if cache.attrs["cell"].split("/")[-1] != refit:
            wrong, what = f"{path} was copied from another cell, {cache.attrs['cell']}", "it"
        elif shape != first:
            wrong = f"{path} holds patterns of shape {shape}, {paths[0]} {first}"
        elif cache.attrs["prompts_sha256"] != caches[0].attrs["prompts_sha256"]:
            wrong = f"{path} and {paths[0]} were made with different prompts"
        if wrong:
            raise UserError(f"{wrong}: delete {what} and run the same command again")
    return caches
