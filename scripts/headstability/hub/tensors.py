"""Reading weights that others wrote, without running anything they wrote."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..errors import UserError
from ..storage.files import sha256_file, short_reason

_FETCH_AGAIN = "fetch the file again; if it is in a download cache, delete it there first"


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of one that torch.save wrote, on the CPU.

    A UserError says that it is missing, truncated, or holds more than tensors and containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing")
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="pt") as handle:
                return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).split(". ")[0]
        raise UserError(
            f"{path} holds more than tensors, or is damaged ({first}). Nothing in it was run; "
            f"save the tensors alone, or {_FETCH_AGAIN}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        reason = short_reason(error)
        raise UserError(f"{path} is no complete weights file ({reason}): {_FETCH_AGAIN}") from error
    if not isinstance(state, Mapping):
        kind = type(state).__name__
        raise UserError(f"{path} holds a {kind}, not a mapping of names to tensors")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise UserError(f"{path}: {name!r} is a {kind}, not a tensor: save the tensors alone")
    return {str(name): value for name, value in state.items()}


def check_sha256(path: str | Path, expected: str, name: str | None = None) -> str:
    """Check a file, called `name` in messages, against the sha256 it should have; returns it."""
    found = sha256_file(path)
    if found != expected.lower():
        text = f"{name or path} has sha256 {found}, expected {expected}: {_FETCH_AGAIN}"
        raise UserError(f"{text}, or correct the hash")
    return found


def take(
    state: Mapping[str, Tensor], name: str, shape: tuple[int, ...], path: str | Path
) -> Tensor:
    """One tensor as float32; a UserError if it is missing, not floating point, or misshapen."""
    if name not in state:
        raise UserError(f"{path} has no tensor {name!r}, which this architecture needs")
    tensor = state[name]
    if tuple(tensor.shape) != shape:
        text = f"{path}: {name!r} has shape {tuple(tensor.shape)}, expected {shape}"
        raise UserError(f"{text} from the other tensors")
    if not tensor.is_floating_point():
        raise UserError(f"{path}: {name!r} has type {tensor.dtype}, expected floating point")
    return tensor.to(torch.float32)


def refuse_unknown(names: Iterable[str], known: Iterable[str], path: str | Path) -> None:
    """Raise a UserError at tensors that no part of the architecture would use."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(
            f"{path} has the tensor {unknown[0]!r}{more}, which belongs to no architecture this "
            "reader knows (docs/models.md, Models trained elsewhere)"
        )
