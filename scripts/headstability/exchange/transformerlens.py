"""State dicts in the layout of TransformerLens, written and read (docs/models.md).

Only the architecture of `Transformer` is read: learned positions, LayerNorm before each sublayer, a
GELU MLP four times as wide as the stream or none, untied unembedding with bias.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..hub.tensors import refuse_unknown, take
from ..models.shape import Shape
from ..models.transformer import LAYER_NORM_EPS, Transformer

# Buffers, not weights: the causal mask and the value of masked scores.
_BUFFERS = ("attn.mask", "attn.IGNORE")
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def shape_of(state: Mapping[str, Tensor], path: str | Path, activation: str) -> Shape:
    """The shape of the model of a state dict; its tensors do not tell the activation.

    Raises UserError if tensors that determine it are missing or the shape is not supported.
    """
    for name, dimensions in {"embed.W_E": 2, "pos_embed.W_pos": 2, "blocks.0.attn.W_Q": 3}.items():
        if name not in state:
            raise UserError(
                f"{path} has no tensor {name!r}: it is no TransformerLens state dict of an "
                "architecture this reader knows"
            )
        if state[name].ndim != dimensions:
            raise UserError(f"{path}: {name!r} has {state[name].ndim} dimensions, not {dimensions}")
    vocabulary, d_model = state["embed.W_E"].shape
    heads, _, d_head = state["blocks.0.attn.W_Q"].shape
    if heads * d_head != d_model:
        raise UserError(
            f"{path}: {heads} heads of width {d_head} do not fill d_model = {d_model}; only "
            "d_head = d_model / heads is supported"
        )
    blocks = {int(m[1]) for name in state if (m := re.match(r"blocks\.(\d{1,9})\.", name))}
    layers = 1 + max(blocks)
    if layers > len(blocks):  # one name could otherwise claim any number of layers
        absent = next(number for number in range(layers) if number not in blocks)
        raise UserError(f"{path} has layers up to blocks.{layers - 1}, but no blocks.{absent}")
    return Shape(
        layers=layers,
        heads=heads,
        d_model=d_model,
        mlp="blocks.0.mlp.W_in" in state,
        context=state["pos_embed.W_pos"].shape[0],
        vocabulary=vocabulary,
        activation=activation,
    )


def from_state_dict(
    state: Mapping[str, Tensor], path: str | Path, activation: str = "gelu"
) -> Transformer:
    """The model of a TransformerLens state dict; buffers are ignored.

    LayerNorms that were folded into the next matrix are absent: they get weight 1 and bias 0.
    Raises UserError, which names the tensor, if one is missing, unknown or of the wrong shape.
    """
    model = Transformer(shape_of(state, path, activation))
    places = _places(model)
    buffers = {f"blocks.{i}.{name}" for i in range(model.shape.layers) for name in _BUFFERS}
    refuse_unknown(state, {*places, *buffers}, path)
    for name, place in places.items():
        if name not in state and re.search(r"(^|\.)ln(1|2|_final)\.[wb]$", name):
            place.fill_(1.0 if name.endswith("w") else 0.0)
        else:
            place.copy_(take(state, name, tuple(place.shape), path))
    return model.eval().requires_grad_(False)


def to_state_dict(model: Transformer) -> dict[str, Tensor]:
    """A model's weights in TransformerLens's layout, with the buffers that its releases save.

    `from_state_dict` restores the weights to the bit.
    """
    out = {}
    for name, place in _places(model).items():
        out[name] = place.detach().cpu().clone().contiguous()
        if name.endswith("attn.b_O"):
            out[name.replace("b_O", "mask")] = torch.empty((0, 0), dtype=torch.bool)
            out[name.replace("b_O", "IGNORE")] = torch.tensor(-torch.inf)
    return out


def hooked_config(shape: Shape) -> dict[str, Any]:
    """What `HookedTransformerConfig` needs to build the model, as JSON values."""
    return {
        "n_layers": shape.layers,
        "n_heads": shape.heads,
        "d_model": shape.d_model,
        "d_head": shape.d_head,
        "d_mlp": 4 * shape.d_model if shape.mlp else None,
        "d_vocab": shape.vocabulary,
        "n_ctx": shape.context,
        "act_fn": _ACTIVATIONS[shape.activation] if shape.mlp else None,
        "attn_only": not shape.mlp,
        "normalization_type": "LN",
        "eps": LAYER_NORM_EPS,
        "positional_embedding_type": "standard",
        "device": "cpu",
    }


def _places(model: Transformer) -> dict[str, Tensor]:
    """A model's weights under TransformerLens's names: views in its layout."""
    shape, own = model.shape, model.state_dict()
    heads, d_head, d_model = shape.heads, shape.d_head, shape.d_model
    places = {
        "embed.W_E": own["embed.weight"],
        "pos_embed.W_pos": own["position.weight"],
        "unembed.W_U": own["unembed.weight"].T,
        "unembed.b_U": own["unembed.bias"],
        "ln_final.w": own["norm_final.weight"],
        "ln_final.b": own["norm_final.bias"],
    }
    for layer in range(shape.layers):
        prefix = f"blocks.{layer}."
        weights = own[f"{prefix}attention.qkv.weight"].view(3, heads, d_head, d_model)
        biases = own[f"{prefix}attention.qkv.bias"].view(3, heads, d_head)
        for index, letter in enumerate("QKV"):
            places[f"{prefix}attn.W_{letter}"] = weights[index].transpose(1, 2)
            places[f"{prefix}attn.b_{letter}"] = biases[index]
        joint = own[f"{prefix}attention.out.weight"].T
        places[f"{prefix}attn.W_O"] = joint.view(heads, d_head, d_model)
        places[f"{prefix}attn.b_O"] = own[f"{prefix}attention.out.bias"]
        places[f"{prefix}ln1.w"] = own[f"{prefix}norm_attention.weight"]
        places[f"{prefix}ln1.b"] = own[f"{prefix}norm_attention.bias"]
        if not shape.mlp:
            continue
        places[f"{prefix}ln2.w"] = own[f"{prefix}norm_mlp.weight"]
        places[f"{prefix}ln2.b"] = own[f"{prefix}norm_mlp.bias"]
        for side in ("in", "out"):
            places[f"{prefix}mlp.W_{side}"] = own[f"{prefix}mlp_{side}.weight"].T
            places[f"{prefix}mlp.b_{side}"] = own[f"{prefix}mlp_{side}.bias"]
    return places
