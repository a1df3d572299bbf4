"""State dicts in the layout of TransformerLens, read and written.

See docs/models.md, "Models trained elsewhere". Only the architecture of `model.Transformer` is
read: learned positions, LayerNorm before each sublayer, a GELU MLP four times as wide or none,
untied unembedding with bias.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..model import LAYER_NORM_EPS, Transformer
from ..shape import Shape
from .tensors import refuse_unknown, take

# Buffers, not weights: the causal mask and the number that stands for minus infinity.
_BUFFERS = ("attn.mask", "attn.IGNORE")
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def shape_of(state: Mapping[str, Tensor], path: str | Path, activation: str) -> Shape:
    """The shape of the model a state dict is of.

    Args:
        state: tensors by TransformerLens's names.
        path: where they come from, for messages.
        activation: `gelu` or `gelu_tanh`; the tensors do not tell.

    Raises:
        UserError: tensors the shape follows from are missing, or it is not one this project has.
    """
    named = {"embed.W_E": 2, "pos_embed.W_pos": 2, "blocks.0.attn.W_Q": 3}
    for name, dimensions in named.items():
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
    if layers > len(blocks):  # else one name could stand for any number of layers
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
    """The model of a TransformerLens state dict.

    Args:
        state: its tensors. LayerNorm tensors may be absent, as where they were folded into the
            next matrix: then its weight is 1 and its bias 0. Buffers are ignored.
        path: where they come from, for messages.
        activation: `gelu` (exact) or `gelu_tanh` (approximation).

    Raises:
        UserError: a tensor is missing, has the wrong shape, or is not known; names it.
    """
    shape = shape_of(state, path, activation)
    model = Transformer(shape)
    sizes = _foreign_sizes(shape)
    buffers = {f"blocks.{i}.{name}" for i in range(shape.layers) for name in _BUFFERS}
    refuse_unknown(state, {*sizes, *buffers}, path)

    def read(name: str) -> Tensor:
        if name not in state and re.search(r"(^|\.)ln(1|2|_final)\.[wb]$", name):
            return torch.full(sizes[name], 1.0 if name.endswith("w") else 0.0)
        return take(state, name, sizes[name], path)

    foreign = {name: read(name) for name in sizes}
    model.load_state_dict(_to_own(foreign, shape))
    return model.eval().requires_grad_(False)


def to_state_dict(model: Transformer) -> dict[str, Tensor]:
    """A model's weights in TransformerLens's layout, with the buffers its releases save.

    `from_state_dict` gives the same weights back to the bit.
    """
    shape, own = model.shape, model.state_dict()
    heads, d_head, d_model = shape.heads, shape.d_head, shape.d_model
    out = {
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
            out[f"{prefix}attn.W_{letter}"] = weights[index].transpose(1, 2)
            out[f"{prefix}attn.b_{letter}"] = biases[index]
        out[f"{prefix}attn.W_O"] = own[f"{prefix}attention.out.weight"].T.view(
            heads, d_head, d_model
        )
        out[f"{prefix}attn.b_O"] = own[f"{prefix}attention.out.bias"]
        out[f"{prefix}attn.mask"] = torch.empty((0, 0), dtype=torch.bool)
        out[f"{prefix}attn.IGNORE"] = torch.tensor(-torch.inf)
        norms = {"ln1": "norm_attention", **({"ln2": "norm_mlp"} if shape.mlp else {})}
        for their_norm, our_norm in norms.items():
            out[f"{prefix}{their_norm}.w"] = own[f"{prefix}{our_norm}.weight"]
            out[f"{prefix}{their_norm}.b"] = own[f"{prefix}{our_norm}.bias"]
        if shape.mlp:
            for side in ("in", "out"):
                out[f"{prefix}mlp.W_{side}"] = own[f"{prefix}mlp_{side}.weight"].T
                out[f"{prefix}mlp.b_{side}"] = own[f"{prefix}mlp_{side}.bias"]
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in out.items()}


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


def _foreign_sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The shape of every weight in TransformerLens's layout."""
    d_model, heads, d_head, d_mlp = shape.d_model, shape.heads, shape.d_head, 4 * shape.d_model
    sizes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (shape.vocabulary, d_model),
        "pos_embed.W_pos": (shape.context, d_model),
        "unembed.W_U": (d_model, shape.vocabulary),
        "unembed.b_U": (shape.vocabulary,),
        "ln_final.w": (d_model,),
        "ln_final.b": (d_model,),
    }
    block: dict[str, tuple[int, ...]] = {"ln1.w": (d_model,), "ln1.b": (d_model,)}
    for letter in "QKV":
        block[f"attn.W_{letter}"] = (heads, d_model, d_head)
        block[f"attn.b_{letter}"] = (heads, d_head)
    block |= {"attn.W_O": (heads, d_head, d_model), "attn.b_O": (d_model,)}
    if shape.mlp:
        block |= {"ln2.w": (d_model,), "ln2.b": (d_model,)}
        block |= {"mlp.W_in": (d_model, d_mlp), "mlp.b_in": (d_mlp,)}
        block |= {"mlp.W_out": (d_mlp, d_model), "mlp.b_out": (d_model,)}
    for layer in range(shape.layers):
        sizes |= {f"blocks.{layer}.{name}": size for name, size in block.items()}
    return sizes


def _to_own(foreign: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """The same weights by the names and layouts of `model.Transformer`."""
    d_model = shape.d_model
    own = {
        "embed.weight": foreign["embed.W_E"],
        "position.weight": foreign["pos_embed.W_pos"],
        "unembed.weight": foreign["unembed.W_U"].T,
        "unembed.bias": foreign["unembed.b_U"],
        "norm_final.weight": foreign["ln_final.w"],
        "norm_final.bias": foreign["ln_final.b"],
    }
    for layer in range(shape.layers):
        prefix = f"blocks.{layer}."
        here = {n.removeprefix(prefix): v for n, v in foreign.items() if n.startswith(prefix)}
        weights = [here[f"attn.W_{letter}"].transpose(1, 2) for letter in "QKV"]
        biases = [here[f"attn.b_{letter}"] for letter in "QKV"]
        block = {
            "attention.qkv.weight": torch.cat(weights).reshape(3 * d_model, d_model),
            "attention.qkv.bias": torch.cat(biases).flatten(),
            "attention.out.weight": here["attn.W_O"].reshape(d_model, d_model).T,
            "attention.out.bias": here["attn.b_O"],
            "norm_attention.weight": here["ln1.w"],
            "norm_attention.bias": here["ln1.b"],
        }
        if shape.mlp:
            block |= {"norm_mlp.weight": here["ln2.w"], "norm_mlp.bias": here["ln2.b"]}
            for side in ("in", "out"):
                block[f"mlp_{side}.weight"] = here[f"mlp.W_{side}"].T
                block[f"mlp_{side}.bias"] = here[f"mlp.b_{side}"]
        own |= {f"{prefix}{name}": value for name, value in block.items()}
    return own
