"""Reading safetensors with their recorded hashes, without PyTorch where it is not needed."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from .errors import DamagedFile
from .files import SHA256_KEY, json_sha256, missing

# The part of a checkpoint's header that holds the config.json of a foreign model.
FOREIGN_CONFIG = "transformers_config"


def tensors_sha256(tensors: Iterable[tuple[str, str, tuple[int, ...], np.ndarray]]) -> str:
    """A hash of names, types, shapes and bytes of tensors, whatever file they came from.

    Args:
        tensors: name, type as PyTorch spells it (torch.float32), shape and bytes (uint8) of each,
            by name.
    """
    digest = hashlib.sha256()
    for name, kind, shape, content in tensors:
        digest.update(f"{name}\0{kind}\0{shape}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_checked(
    path: str | Path, framework: str, sha256: Callable[[dict[str, Any]], str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read tensors and header, and check the tensors against the recorded hash.

    Args:
        path: a safetensors file that `checkpoints.write_tensors` wrote.
        framework: what to read with: "pt" or "np".
        sha256: the hash of tensors of that framework.

    Raises:
        UserError: the file is missing.
        DamagedFile: it is truncated or altered.
    """
    with _opened(path, framework) as (handle, header):
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    found = sha256(tensors)
    if found != header.get("sha256"):
        recorded = header.get("sha256")
        raise DamagedFile(path, f"its weights have sha256 {found}, recorded is {recorded}")
    return tensors, header


def read_header(path: str | Path) -> dict[str, Any]:
    """A checkpoint's header alone.

    Raises:
        UserError: the file is missing.
        DamagedFile: it is truncated, or its header altered.
    """
    with _opened(path, "np") as (_, header):
        return header


@contextmanager
def _opened(path: str | Path, framework: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a checkpoint and check its header."""
    try:
        with safe_open(str(path), framework=framework) as handle:
            header = json.loads((handle.metadata() or {})["header"])
            recorded = header.pop(SHA256_KEY)
            if (found := json_sha256(header)) != recorded:
                raise DamagedFile(path, f"its header has sha256 {found}, recorded is {recorded}")
            yield handle, header
    except FileNotFoundError:
        raise missing(path) from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DamagedFile(path, f"not a complete checkpoint ({error})") from error


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A checkpoint's weights as NumPy arrays by name, and its header; see `read_checked`."""
    return read_checked(path, "np", _arrays_sha256)


def _arrays_sha256(arrays: dict[str, np.ndarray]) -> str:
    return tensors_sha256(
        (name, f"torch.{value.dtype}", value.shape, value.reshape(-1).view(np.uint8))
        for name, value in sorted(arrays.items())
    )
