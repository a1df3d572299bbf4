"""Patterns in the way of the published notebook. Frozen: not to be tuned or mended.

All models of a condition are in memory; every prompt is run through each of them on its own with
`run_with_cache`, and every cache is kept.
"""

import torch
from transformer_lens import ActivationCache, HookedTransformer, HookedTransformerConfig, utils

__all__ = ["ActivationCache", "caches", "hooked", "name", "nbytes"]

name = utils.get_act_name


def hooked(shape, tensors):
    """A HookedTransformer with the weights of one of this project's models.

    Args:
        shape: layers, heads, d_model, context, vocabulary.
        tensors: the weights by this project's names.
    """
    d_model, heads = shape["d_model"], shape["heads"]
    d_head = d_model // heads
    config = HookedTransformerConfig(
        n_layers=shape["layers"],
        n_heads=heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=4 * d_model,
        n_ctx=shape["context"],
        d_vocab=shape["vocabulary"],
        act_fn="gelu",
        normalization_type="LN",
        seed=0,
    )
    model = HookedTransformer(config)
    weights = {
        "embed.W_E": tensors["embed.weight"],
        "pos_embed.W_pos": tensors["position.weight"],
        "ln_final.w": tensors["norm_final.weight"],
        "ln_final.b": tensors["norm_final.bias"],
        "unembed.W_U": tensors["unembed.weight"].T,
        "unembed.b_U": tensors["unembed.bias"],
    }
    for layer in range(shape["layers"]):
        theirs, ours = f"blocks.{layer}.", f"blocks.{layer}."
        for number, name in ((1, "norm_attention"), (2, "norm_mlp")):
            weights[f"{theirs}ln{number}.w"] = tensors[f"{ours}{name}.weight"]
            weights[f"{theirs}ln{number}.b"] = tensors[f"{ours}{name}.bias"]
        qkv = tensors[f"{ours}attention.qkv.weight"].view(3, heads, d_head, d_model)
        bias = tensors[f"{ours}attention.qkv.bias"].view(3, heads, d_head)
        for place, letter in enumerate("QKV"):
            weights[f"{theirs}attn.W_{letter}"] = qkv[place].transpose(1, 2)
            weights[f"{theirs}attn.b_{letter}"] = bias[place]
        out = tensors[f"{ours}attention.out.weight"].T
        weights[f"{theirs}attn.W_O"] = out.reshape(heads, d_head, d_model)
        weights[f"{theirs}attn.b_O"] = tensors[f"{ours}attention.out.bias"]
        for name, letter in (("mlp_in", "in"), ("mlp_out", "out")):
            weights[f"{theirs}mlp.W_{letter}"] = tensors[f"{ours}{name}.weight"].T
            weights[f"{theirs}mlp.b_{letter}"] = tensors[f"{ours}{name}.bias"]
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert all(name.endswith(("mask", "IGNORE")) for name in missing), missing
    return model


def caches(models, prompts):
    """Everything every model computes on every prompt: caches[prompt][refit]."""
    found = []
    for prompt in prompts:
        of_refits = []
        for model in models:
            _, cache = model.run_with_cache(torch.tensor([prompt]), remove_batch_dim=True)
            of_refits.append(cache.to("cpu"))
        found.append(of_refits)
    return found


def nbytes(found):
    """Bytes that the caches hold."""
    return sum(value.nbytes for one in found for cache in one for value in cache.values())
