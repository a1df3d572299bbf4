"""Weight matrices of foreign models, by the study's names (docs/experiments.md, "Weight norms")."""

from collections.abc import Iterator, Mapping

import numpy as np

from .adapters import ForeignModel

Matrices = dict[str, np.ndarray]


def layer_matrices(model: ForeignModel) -> Iterator[Matrices]:
    """The weight matrices of each layer, [out, in].

    Heads that share keys and values share their W_K and W_V, which count once. W_in of a gated MLP
    is its gate and its up projection together.

    Args:
        model: of any of the supported families, in a floating point type NumPy knows.
    """
    read = _READ[model.net.config.model_type]
    for layer in model.layers:
        state = {name: value.detach().cpu().numpy() for name, value in layer.named_parameters()}
        yield read(state, model.shape.heads)


def _gpt2(state: Mapping[str, np.ndarray], heads: int) -> Matrices:
    del heads
    query, key, value = np.split(state["attn.c_attn.weight"].T, 3)  # kept as [in, out]
    return {
        **_attention(query, key, value),
        "W_O": state["attn.c_proj.weight"].T,
        "W_in": state["mlp.c_fc.weight"].T,
        "W_out": state["mlp.c_proj.weight"].T,
    }


def _neox(state: Mapping[str, np.ndarray], heads: int) -> Matrices:
    joint = state["attention.query_key_value.weight"]  # head by head its query, key and value
    query, key, value = joint.reshape(heads, 3, -1, joint.shape[1]).swapaxes(0, 1)
    return {
        **_attention(query, key, value),
        "W_O": state["attention.dense.weight"],
        "W_in": state["mlp.dense_h_to_4h.weight"],
        "W_out": state["mlp.dense_4h_to_h.weight"],
    }


def _llama(state: Mapping[str, np.ndarray], heads: int) -> Matrices:
    del heads
    parts = (state[f"self_attn.{name}_proj.weight"] for name in "qkv")
    return {
        **_attention(*parts),
        "W_O": state["self_attn.o_proj.weight"],
        "W_in": np.concatenate([state["mlp.gate_proj.weight"], state["mlp.up_proj.weight"]]),
        "W_out": state["mlp.down_proj.weight"],
    }


def _attention(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> Matrices:
    return {"W_Q": query, "W_K": key, "W_V": value}


_READ = {"gpt2": _gpt2, "gpt_neox": _neox, **dict.fromkeys(("llama", "mistral", "qwen2"), _llama)}
