"""Naive float64 computations for models trained elsewhere, written from their documented layouts.

Nothing here imports the library: NumPy and plain loops only.
"""

import math

import numpy as np
from oracles import gelu, layer_norm, softmax

# Kinds of models, by model_type, whose layout `foreign_attention` knows.
DESCRIBED = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2")


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def hooked_transformer(state, tokens, activation):
    """Run a TransformerLens state dict on one prompt, as its documentation defines the tensors.

    LayerNorm tensors that are absent count as weight 1 and bias 0. Returns patterns
    [layer][head], z [layer][head], resid_mid [layer] and logits.
    """
    w = {name: np.asarray(value, dtype=np.float64) for name, value in state.items()}
    d_model = w["embed.W_E"].shape[1]

    def norm(x, name):
        weight, bias = w.get(f"{name}.w", np.ones(d_model)), w.get(f"{name}.b", np.zeros(d_model))
        return layer_norm(x, weight, bias)

    layers = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
    x = np.array([w["embed.W_E"][t] + w["pos_embed.W_pos"][i] for i, t in enumerate(tokens)])
    patterns, zs, mids = [], [], []
    for layer in range(layers):
        part = {n.split(".", 2)[2]: v for n, v in w.items() if n.startswith(f"blocks.{layer}.")}
        normed = norm(x, f"blocks.{layer}.ln1")
        layer_patterns, layer_z, written = [], [], np.tile(part["attn.b_O"], (len(tokens), 1))
        for head in range(part["attn.W_Q"].shape[0]):
            q, k, v = (
                normed @ part[f"attn.W_{letter}"][head] + part[f"attn.b_{letter}"][head]
                for letter in "QKV"
            )
            pattern = np.zeros((len(tokens), len(tokens)))
            for i in range(len(tokens)):
                scores = np.array([q[i] @ k[j] for j in range(i + 1)]) / math.sqrt(q.shape[1])
                pattern[i, : i + 1] = softmax(scores)
            layer_patterns.append(pattern)
            layer_z.append(pattern @ v)
            written = written + pattern @ v @ part["attn.W_O"][head]
        mid = x = x + written
        if "mlp.W_in" in part:
            hidden = norm(mid, f"blocks.{layer}.ln2") @ part["mlp.W_in"] + part["mlp.b_in"]
            hidden = {"gelu": gelu, "gelu_tanh": gelu_tanh}[activation](hidden)
            x = mid + hidden @ part["mlp.W_out"] + part["mlp.b_out"]
        patterns.append(layer_patterns)
        zs.append(layer_z)
        mids.append(mid)
    logits = norm(x, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"]
    return patterns, zs, mids, logits


def rms_norm(x, weight, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def foreign_attention(kind, state, config, layer, x, patterns):
    """z of every query head and the stream after attention, from the stream before the layer.

    Args:
        kind: model_type.
        state: tensors by the names of transformers.
        config: a mapping with num_attention_heads, num_key_value_heads and the norm's epsilon.
        layer: from 0.
        x: the stream before the layer, [position, d_model].
        patterns: of the layer's query heads, [head, query, key].

    Returns:
        z [head][query, d_head], and the stream plus what the heads and the output bias add.
    """
    w = {name: np.asarray(value, dtype=np.float64) for name, value in state.items()}
    heads = config["heads"]
    if kind == "gpt2":
        p = f"transformer.h.{layer}."
        mean = x.mean(-1, keepdims=True)
        normed = (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + config["eps"])
        normed = normed * w[f"{p}ln_1.weight"] + w[f"{p}ln_1.bias"]
        qkv = normed @ w[f"{p}attn.c_attn.weight"] + w[f"{p}attn.c_attn.bias"]
        values = np.split(np.split(qkv, 3, axis=-1)[2], heads, axis=-1)
        matrix, bias = w[f"{p}attn.c_proj.weight"], w[f"{p}attn.c_proj.bias"]
    elif kind == "gpt_neox":
        p = f"gpt_neox.layers.{layer}."
        mean = x.mean(-1, keepdims=True)
        normed = (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + config["eps"])
        normed = normed * w[f"{p}input_layernorm.weight"] + w[f"{p}input_layernorm.bias"]
        qkv = normed @ w[f"{p}attention.query_key_value.weight"].T
        qkv = qkv + w[f"{p}attention.query_key_value.bias"]
        # Head by head its query, key and value.
        values = [np.split(part, 3, axis=-1)[2] for part in np.split(qkv, heads, axis=-1)]
        matrix, bias = w[f"{p}attention.dense.weight"].T, w[f"{p}attention.dense.bias"]
    else:
        p = f"model.layers.{layer}."
        normed = rms_norm(x, w[f"{p}input_layernorm.weight"], config["eps"])
        v = normed @ w[f"{p}self_attn.v_proj.weight"].T
        v = v + w.get(f"{p}self_attn.v_proj.bias", 0.0)
        shared = np.split(v, config["value_heads"], axis=-1)
        values = [shared[head // (heads // config["value_heads"])] for head in range(heads)]
        matrix = w[f"{p}self_attn.o_proj.weight"].T
        bias = w.get(f"{p}self_attn.o_proj.bias", 0.0)
    z = [patterns[head] @ values[head] for head in range(heads)]
    return z, x + np.concatenate(z, axis=-1) @ matrix + bias
