"""Ablation the published way: TransformerLens 3.9.0, a forward pass a head and prompt, hooked.

Frozen: this is what the project is compared with.
"""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig


def model(layers, heads, d_model, context, vocabulary):
    """A model of the study's shape, to be given weights."""
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
            normalization_type="LN",
            seed=0,
            device="cpu",
        )
    )


def ablated_nll(hooked, prompts, layer, head):
    """NLL summed over the tokens of all prompts with one head's z set to zero, in nats."""

    def zero(z, hook):
        z[:, :, head] = 0
        return z

    total = 0.0
    for prompt in prompts:
        tokens = torch.tensor([prompt])
        hooks = [(f"blocks.{layer}.attn.hook_z", zero)]
        loss = hooked.run_with_hooks(tokens, return_type="loss", fwd_hooks=hooks)
        total += loss.item() * (len(prompt) - 1)
    return total
