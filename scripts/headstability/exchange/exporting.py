"""Trained cells in the formats of other tools (docs/models.md, "Export").

Weights only change names and layouts, so reading an export back gives the same weights to the bit.
Every file has its hash beside it.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from ..errors import UserError
from ..models.shape import Shape, own_switches
from ..models.transformer import Transformer
from ..storage.files import write_hashed
from .gpt2_layout import config_of, to_gpt2
from .transformerlens import hooked_config, to_state_dict

if TYPE_CHECKING:  # not needed here and slow to import, but part of the exports' code
    from . import modeling_headstability  # noqa: F401

MODELLING = Path(__file__).with_name("modeling_headstability.py")


def write_transformerlens(
    model: Transformer, state_path: str | Path, config_path: str | Path
) -> None:
    """Write a state dict for TransformerLens and, as JSON, the values of its config.

    Raises UserError if TransformerLens has no such models.
    """
    _check_expressible(model.shape, "TransformerLens")
    buffer = io.BytesIO()  # to a file, its name would become part of the bytes
    torch.save(to_state_dict(model), buffer)
    write_hashed(state_path, buffer.getvalue())
    _write_json(config_path, hooked_config(model.shape))


def write_huggingface(model: Transformer, bos: int, paths: Mapping[str, str | Path]) -> None:
    """Write a folder that AutoModelForCausalLM opens with trust_remote_code.

    `bos` is the id of the beginning token; `paths` says where `config`, `weights` and `modelling`
    go, all in one folder. Raises UserError if the format has no such models.
    """
    _check_expressible(model.shape, "the Hugging Face hub's GPT-2")
    write_hashed(paths["modelling"], MODELLING.read_bytes())
    _write_json(paths["config"], config_of(model.shape, bos))
    write_hashed(paths["weights"], save(to_gpt2(model), {"format": "pt"}))


def _check_expressible(shape: Shape, form: str) -> None:
    for name, value in own_switches(asdict(shape)).items():
        raise UserError(
            f"models in the format of {form} cannot have {name} = {value}: export a cell of an "
            f"architecture whose {name} is {getattr(Shape, name)}"
        )


def _write_json(path: str | Path, value: dict[str, Any]) -> None:
    write_hashed(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())
