"""Families of models of the library `transformers` that can be studied."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """Where models of one family keep what is read and hooked: dotted names of modules."""

    name: str  # of the family
    layers: str  # the list of layers, in the model
    norm: str  # the last normalisation, in the model
    attention: str  # in a layer
    qkv: Sequence[str]  # queries, keys and values, in the attention: three modules, or one
    output: str  # the output projection, in the attention
    mlp_in: Sequence[str]  # what reads the residual stream, in a layer; two if the MLP is gated
    mlp_out: str  # what writes to the residual stream, in a layer
    # If one module computes all three: its output holds query, key and value of each head in turn,
    # and not all queries, then all keys, then all values.
    qkv_by_head: bool = False

    def by_head(self, attention: nn.Module, what: str, d_head: int) -> list[Tensor] | None:
        """Views of the query, key and value weights (`what` is `weight` or `bias`) by head.

        Each of the three is [head, d_head, d_model] or [head, d_head]; None if there are no biases.
        """
        modules = [attention.get_submodule(name) for name in self.qkv]
        if getattr(modules[-1], what) is None:
            return None
        found = [out_in(module) if what == "weight" else module.bias for module in modules]
        heads = [tensor.unflatten(0, (-1, d_head)) for tensor in found]
        if len(heads) == 3:
            return heads
        (joint,) = heads
        return [joint[part::3] for part in range(3)] if self.qkv_by_head else list(joint.chunk(3))

    def matrices(self, layer: nn.Module, d_head: int) -> dict[str, Tensor]:
        """The weight matrices of a layer [out, in]; see `interface.Layer`."""
        attention = layer.get_submodule(self.attention)
        query, key, value = (
            part.flatten(0, 1) for part in self.by_head(attention, "weight", d_head) or []
        )
        reading = [out_in(layer.get_submodule(name)) for name in self.mlp_in]
        return {
            "W_Q": query,
            "W_K": key,
            "W_V": value,
            "W_O": out_in(attention.get_submodule(self.output)),
            "W_in": reading[0] if len(reading) == 1 else torch.cat(reading),
            "W_out": out_in(layer.get_submodule(self.mlp_out)),
        }


def out_in(module: nn.Module) -> Tensor:
    """A module's weight matrix as [out, in]; GPT-2 stores [in, out]."""
    return module.weight if isinstance(module, nn.Linear) else module.weight.T


def _llama(name: str) -> Family:
    """A family with the layout of Llama."""
    return Family(
        name=name,
        layers="model.layers",
        norm="model.norm",
        attention="self_attn",
        qkv=("q_proj", "k_proj", "v_proj"),
        output="o_proj",
        mlp_in=("mlp.gate_proj", "mlp.up_proj"),
        mlp_out="mlp.down_proj",
    )


# By the `model_type` in config.json.
FAMILIES = {
    "gpt2": Family(
        name="GPT-2",
        layers="transformer.h",
        norm="transformer.ln_f",
        attention="attn",
        qkv=("c_attn",),
        output="c_proj",
        mlp_in=("mlp.c_fc",),
        mlp_out="mlp.c_proj",
    ),
    "gpt_neox": Family(
        name="GPT-NeoX (Pythia)",
        layers="gpt_neox.layers",
        norm="gpt_neox.final_layer_norm",
        attention="attention",
        qkv=("query_key_value",),
        output="dense",
        mlp_in=("mlp.dense_h_to_4h",),
        mlp_out="mlp.dense_4h_to_h",
        qkv_by_head=True,
    ),
    "llama": _llama("Llama"),
    "mistral": _llama("Mistral"),
    "qwen2": _llama("Qwen2"),
}
