"""Caching the published way: TransformerLens 3.9.0, every activation, one prompt at a time.

Frozen: this is what the project is compared with.
"""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig


def model(layers, heads, d_model, context, vocabulary):
    """A model with random weights."""
    return HookedTransformer(
        HookedTransformerConfig(
            n_layers=layers,
            n_heads=heads,
            d_model=d_model,
            d_head=d_model // heads,
            d_mlp=4 * d_model,
            n_ctx=context,
            d_vocab=vocabulary,
            act_fn="gelu",
            seed=0,
            device="cpu",
        )
    )


def cache(hooked, prompts):
    """Everything the model computes on each prompt."""
    found = []
    for prompt in prompts:
        _, kept = hooked.run_with_cache(torch.tensor([prompt]), remove_batch_dim=True)
        found.append(kept.to("cpu"))
    return found
