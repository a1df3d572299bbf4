"""A transformer trained by the headstability workflow, for the library `transformers`.

GPT-2 with an unembedding of its own that has a bias and, in attention-only models, without MLPs.
Open the folder with AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).
"""

from typing import Any

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel


class HeadstabilityConfig(GPT2Config):
    """GPT-2's configuration, and whether layers have an MLP."""

    model_type = "headstability"

    def __init__(self, mlp: bool = True, tie_word_embeddings: bool = False, **kwargs: Any) -> None:
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.mlp = mlp


class Nothing(nn.Module):
    """In place of an MLP: adds nothing to the residual stream."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Zeros of the given shape."""
        return torch.zeros_like(hidden_states)


class HeadstabilityForCausalLM(GPT2LMHeadModel):
    """GPT-2 with an untied unembedding with bias."""

    config_class = HeadstabilityConfig
    _tied_weights_keys = None

    def __init__(self, config: HeadstabilityConfig) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=True)
        if not config.mlp:
            for block in self.transformer.h:
                block.ln_2, block.mlp = nn.Identity(), Nothing()
        self.post_init()
