"""Models in the format of the Hugging Face hub, built by the library `transformers`."""

from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig
from transformers.utils import logging as transformers_logging

from ..errors import UserError
from ..hub.folders import Folder
from ..hub.tensors import read_state
from .families import FAMILIES
from .foreign import ForeignModel


def read_weights(folder: Folder) -> dict[str, Tensor]:
    """All tensors of a model's folder; UserError if two files hold the same tensor."""
    state: dict[str, Tensor] = {}
    for path in folder.weights:
        part = read_state(path)
        if twice := sorted(set(part) & set(state)):
            raise UserError(f"{path}: {twice[0]!r} is also in another of the model's files")
        state |= part
    return state


def foreign_model(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    where: str,
    dtype: torch.dtype = torch.float32,
) -> ForeignModel:
    """Build a model from its config.json and tensors; no code that came with it is run.

    `where` names the model in messages; weights become `dtype`. Raises UserError if the
    architecture is not supported or a tensor is missing, unknown or of the wrong shape.
    """
    values = dict(config)
    kind = values.pop("model_type")
    if kind not in FAMILIES:
        raise UserError(
            f"{where}: architecture {kind!r} is not supported; supported are {', '.join(FAMILIES)} "
            "and models exported from here"
        )
    if values.get("quantization_config"):
        raise UserError(f"{where}: quantized weights are not supported; use the original model")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        built = AutoConfig.for_model(kind, **values)
        net, found = MODEL_FOR_CAUSAL_LM_MAPPING[type(built)].from_pretrained(
            None,
            config=built,
            state_dict=dict(state),
            attn_implementation="eager",
            dtype=dtype,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (StrictDataclassError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: transformers cannot build this model ({reason})") from error
    for name, here, needed in sorted(found["mismatched_keys"]):
        raise UserError(
            f"{where}: {name!r} has shape {tuple(here)}, its config.json needs {tuple(needed)}"
        )
    for name in sorted(found["missing_keys"]):
        raise UserError(f"{where} has no tensor {name!r}, which its config.json needs")
    for name in sorted(found["unexpected_keys"]):
        raise UserError(f"{where} has the tensor {name!r}, for which its config.json has no place")
    return ForeignModel(net)


def own_tensors(model: ForeignModel) -> dict[str, Tensor]:
    """A model's weights, each once: an unembedding tied to the embedding is left out."""
    by_place: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.net.state_dict().items():
        by_place.setdefault(tensor.data_ptr(), (name, tensor))
    return dict(by_place.values())


def stored_type(state: Mapping[str, Tensor]) -> torch.dtype:
    """The floating point type of the largest tensor, which stands for all."""
    largest = max(state.values(), key=Tensor.numel)
    return largest.dtype if largest.is_floating_point() else torch.float32
