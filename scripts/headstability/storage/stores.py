"""Arrays on disk: a zipped zarr store, complete or absent.

A single stored-only zip has a real modification time, can be checksummed, costs one inode, and is
byte-identical when written again. A zarr directory has none of these, and one whose writer was
killed opens normally and reads zeros.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import MemoryStore, ZipStore

from ..conventions import ENTRY_CHUNK, triangle_entries
from ..errors import DamagedFile
from .files import atomic_path, read_failure

_METADATA = "zarr.json"  # the member that says what an array or the store is
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def layer_sha256(values: np.ndarray) -> str:
    """Hash of one layer's values, C order."""
    return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()


def write_cache(path: str | Path, dataset: xr.Dataset, provenance: dict[str, Any]) -> None:
    """Write a dataset, whose variables have `layer` as first dimension, as a zipped zarr store.

    Variables are chunked by layer and carry the sha256 of each layer in their attribute
    `layer_sha256`; attributes of the store are the provenance and the `coordinates_sha256`.
    """
    dataset = dataset.assign_attrs(provenance, coordinates_sha256=_coordinates_sha256(dataset))
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        encoding[str(name)] = {"compressors": None, "chunks": variable.shape}
    for name, variable in dataset.data_vars.items():
        sums = [layer_sha256(layer) for layer in variable.values]
        dataset[name] = variable.assign_attrs(layer_sha256=sums)
        chunks = {"layer": 1, "entry": ENTRY_CHUNK}
        encoding[str(name)]["chunks"] = tuple(
            min(chunks.get(str(dim), size), size) for dim, size in variable.sizes.items()
        )
    contents: dict[str, Any] = {}
    with zarr.config.set({"array.write_empty_chunks": True}):
        dataset.to_zarr(MemoryStore(contents), encoding=encoding, zarr_format=3, consolidated=False)
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for key in sorted(contents):
            archive.writestr(zipfile.ZipInfo(key, _ZIP_DATE), contents[key].to_bytes())


def open_cache(path: str | Path) -> xr.Dataset:
    """Open a cache lazily: only coordinates are read and checked.

    Nothing in the file is run or unpacked: only stores of the third format, without compression,
    are admitted, and none larger than its file. Others are DamagedFiles.
    """
    try:
        _check_archive(path)
        store = ZipStore(path, mode="r")
        dataset = xr.open_zarr(store, consolidated=False, chunks=None, zarr_format=3)
        if (size := sum(v.nbytes for v in dataset.variables.values())) > Path(path).stat().st_size:
            raise ValueError(f"{size} bytes of values in a file of {Path(path).stat().st_size}")
        for coordinate in dataset.coords.values():
            coordinate.load()
        found, recorded = _coordinates_sha256(dataset), dataset.attrs.get("coordinates_sha256")
    except MemoryError:
        raise
    except Exception as error:  # zarr raises nearly anything on what is not of its making
        raise read_failure(path, "not a complete zarr store", error) from error
    if found != recorded:
        raise DamagedFile(path, f"its coordinates have sha256 {found}, recorded is {recorded}")
    return dataset


def pattern_of(cache: xr.Dataset, layer: int, head: int, prompt: int) -> xr.DataArray:
    """One head's full pattern on one prompt (T x T); layer, head and prompt count from 1."""
    lengths = cache["prompt_length"].values
    starts = np.append(0, np.cumsum(triangle_entries(lengths)))
    entries = slice(starts[prompt - 1], starts[prompt])
    packed = cache["pattern"].sel(layer=layer, head=head).isel(entry=entries).values
    length = int(lengths[prompt - 1])
    full = np.zeros((length, length), dtype=packed.dtype)
    full[np.tril_indices(length)] = packed
    numbers = np.arange(1, length + 1)
    return xr.DataArray(full, {"query": numbers, "key": numbers}, ("query", "key"))


def _check_archive(path: str | Path) -> None:
    """Read what says what is in the archive: zarr would print tracebacks of what it cannot read."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError(f"{member.filename} in it is compressed or encrypted")
            folder = member.filename.split("/")[0]
            if member.filename != _METADATA and f"{folder}/{_METADATA}" not in names:
                raise ValueError(f"{member.filename} in it belongs to no array")
            if member.filename.endswith(_METADATA):
                json.loads(archive.read(member))


def _coordinates_sha256(dataset: xr.Dataset) -> str:
    """A hash of names, types, shapes and values of all coordinates."""
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.coords)):
        values = np.ascontiguousarray(dataset[name].values)
        digest.update(f"{name}\0{values.dtype}\0{values.shape}\0".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def verify_cache(path: str | Path, dataset: xr.Dataset, names: Iterable[str]) -> None:
    """Check the named variables of an open cache against their recorded hashes, layer by layer."""
    for name in names:
        try:
            recorded = dataset[name].attrs["layer_sha256"]
            found = [layer_sha256(dataset[name].isel(layer=i).values) for i in range(len(recorded))]
        except MemoryError:
            raise
        except Exception as error:
            raise read_failure(path, f"{name} cannot be read", error) from error
        for layer, (expected, actual) in enumerate(zip(recorded, found, strict=True), start=1):
            if expected != actual:
                where = f"layer {layer} of {name}"
                raise DamagedFile(path, f"{where} has sha256 {actual}, recorded is {expected}")
