"""Trained cells in the formats of other tools (docs/models.md, "Export").

Nothing is computed: weights change names and layouts only, so reading an export back gives the
same weights to the bit. Every file has its hash beside it.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from ..files import write_bytes, write_sidecar
from ..model import Transformer
from ..sources.own import config_of, to_gpt2
from ..sources.transformerlens import hooked_config, to_state_dict

if TYPE_CHECKING:  # not needed here, and slow to import; but a change of it changes exports
    from . import modeling_headstability  # noqa: F401

MODELLING = Path(__file__).with_name("modeling_headstability.py")


def write_transformerlens(
    model: Transformer, state_path: str | Path, config_path: str | Path
) -> None:
    """Write a state dict for TransformerLens and the values of its config.

    Args:
        model: the model.
        state_path: where the state dict goes, as torch.save writes it.
        config_path: where what HookedTransformerConfig needs goes, as JSON.
    """
    buffer = io.BytesIO()  # to a file, its name would become part of the bytes
    torch.save(to_state_dict(model), buffer)
    _write(state_path, buffer.getvalue())
    _write_json(config_path, hooked_config(model.shape))


def write_huggingface(model: Transformer, bos: int, paths: Mapping[str, str | Path]) -> None:
    """Write a folder that AutoModelForCausalLM opens, with trust_remote_code.

    Args:
        model: the model.
        bos: id of the beginning token.
        paths: where `config`, `weights` and `modelling` go, all in one folder.
    """
    _write(paths["modelling"], MODELLING.read_bytes())
    _write_json(paths["config"], config_of(model.shape, bos))
    _write(paths["weights"], save(to_gpt2(model), {"format": "pt"}))


def _write_json(path: str | Path, value: dict[str, Any]) -> None:
    _write(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def _write(path: str | Path, data: bytes) -> None:
    write_sidecar(path, hashlib.sha256(data).hexdigest())
    write_bytes(path, data)
