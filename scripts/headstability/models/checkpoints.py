"""Weights on disk: safetensors files whose header holds shape, hash and provenance."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import DamagedFile, UserError
from ..storage.files import NOT_AS_WRITTEN, SHA256_KEY, atomic_path, json_sha256, read_failure
from .interface import LanguageModel
from .shape import Shape
from .transformer import Transformer

# The key of a checkpoint's header with the config.json of a model of the library transformers.
FOREIGN_CONFIG = "transformers_config"


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of the names, types, shapes and bytes of tensors, whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: dict[str, Any]) -> str:
    """Write tensors and a header with their hash (`sha256`), atomically; return the hash."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    sha256 = weights_sha256(plain)
    header = json.loads(json.dumps({**header, "sha256": sha256}))  # as it will be read
    text = json.dumps({**header, SHA256_KEY: json_sha256(header)}, sort_keys=True)
    metadata = {"header": text}  # one entry: safetensors writes several in any order
    with atomic_path(path) as part:
        try:
            save_file(plain, part, metadata)
        except SafetensorError as error:  # it hides the number of the system's error
            raise UserError(
                f"cannot write {path}: {error}. Free some space and run the same command again; "
                "nothing half-written was left behind."
            ) from error
    return sha256


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and header and check both against their recorded hashes.

    Raises UserError if the file is missing and DamagedFile if it is truncated or altered.
    """
    try:
        with safe_open(str(path), framework="pt") as handle:
            header = json.loads((handle.metadata() or {})["header"])
            recorded = header.pop(SHA256_KEY)
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, *NOT_AS_WRITTEN) as error:
        raise read_failure(path, "not a complete checkpoint", error) from error
    found = json_sha256(header)
    if found != recorded:
        raise DamagedFile(path, f"its header has sha256 {found}, recorded is {recorded}")
    found = weights_sha256(tensors)
    if found != header.get("sha256"):
        recorded = header.get("sha256")
        raise DamagedFile(path, f"its weights have sha256 {found}, recorded is {recorded}")
    return tensors, header


def write_weights(path: str | Path, model: Transformer, header: dict[str, Any]) -> str:
    """Write a model's weights with its shape in the header; return their hash."""
    return write_tensors(path, model.state_dict(), {**header, "shape": asdict(model.shape)})


def read_model(path: str | Path) -> tuple[Transformer, dict[str, Any]]:
    """As `load_model`, but only a model of this project's architecture.

    Raises UserError if the checkpoint holds a model of another architecture.
    """
    tensors, header = read_tensors(path)
    if "shape" not in header:
        raise UserError(
            f"{path} holds a model of the library transformers, which this does not apply to: "
            "it works on cells trained here or imported from TransformerLens"
        )
    return own_model(tensors, header, path), header


class _Undrawn(TorchFunctionMode):
    """While this is active, layers draw no initial weights, which a checkpoint would overwrite.

    On the meta device, drawing loads torch's compiler, which takes a second of every job.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def own_model(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any], path: str | Path
) -> Transformer:
    """The model of a checkpoint, on the CPU; DamagedFile if tensors and header do not agree."""
    try:
        shape = Shape(**header["shape"])
        with torch.device("meta"), _Undrawn():
            needed = {name: value.shape for name, value in Transformer(shape).state_dict().items()}
        for name, value in tensors.items():
            if value.dtype != torch.float32 or value.shape != needed.get(name):
                kind = f"{value.dtype} of shape {tuple(value.shape)}"
                raise ValueError(f"{name} is {kind}, which is no weight of this model")
        if absent := sorted(set(needed) - set(tensors)):
            raise ValueError(f"{absent[0]} is absent")
    except (RuntimeError, ZeroDivisionError, *NOT_AS_WRITTEN) as error:
        raise read_failure(path, "not a complete checkpoint", error) from error
    with _Undrawn():
        model = Transformer(shape)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


def load_model(path: str | Path) -> tuple[LanguageModel, dict[str, Any]]:
    """The model and the header of a checkpoint, on the CPU, in float32 and evaluation mode.

    Raises UserError if the file is missing and DamagedFile if it is truncated or altered.
    """
    tensors, header = read_tensors(path)
    if FOREIGN_CONFIG not in header:
        return own_model(tensors, header, path), header
    from .huggingface import foreign_model  # noqa: PLC0415 - slow to import, seldom needed

    return foreign_model(header[FOREIGN_CONFIG], tensors, str(path)), header
