"""Families of models of the library `transformers` that can be studied, one entry each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """Where models of one family keep what is read and hooked: dotted names of modules.

    Attributes:
        name: of the family.
        layers: the list of layers, in the model.
        norm: the last normalisation, in the model.
        attention: the attention, in a layer.
        qkv: what computes queries, keys and values, in the attention: three modules, or one.
        output: the output projection, in the attention.
        mlp_in: what reads the stream in the MLP, in a layer; several if the MLP is gated.
        mlp_out: what writes to the stream in the MLP, in a layer.
        qkv_by_head: if one module computes all three, its output has for each head its query, key
            and value; otherwise all queries, all keys and all values.
    """

    name: str
    layers: str
    norm: str
    attention: str
    qkv: Sequence[str]
    output: str
    mlp_in: Sequence[str]
    mlp_out: str
    qkv_by_head: bool = False

    def by_head(self, attention: nn.Module, what: str, d_head: int) -> list[Tensor] | None:
        """The weights of queries, keys and values, or their biases, as views.

        Args:
            attention: the attention of a layer.
            what: `weight` or `bias`.
            d_head: width of a head.

        Returns:
            Of each of the three [head, d_head, d_model] or [head, d_head]; None if it has none.
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
    """A module's matrix as [out, in]; GPT-2 keeps matrices as [in, out]."""
    return module.weight if isinstance(module, nn.Linear) else module.weight.T


def _llama(name: str) -> Family:
    """A family laid out as Llama is."""
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


# By `model_type` of their config.json.
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
