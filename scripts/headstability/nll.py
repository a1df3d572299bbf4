"""Negative log-likelihood of predicted tokens (docs/methods.md, "Ablation")."""

import torch.nn.functional as F
from torch import Tensor

from .traced import TracedModel


def summed_nll(model: TracedModel, stream: Tensor, targets: Tensor, used: Tensor) -> float:
    """NLL summed over predicted tokens, in nats.

    Args:
        model: for its unembedding.
        stream: the residual stream after the last layer, [..., position, d_model].
        targets: the token after each position, [..., position].
        used: which targets count, same shape.

    Returns:
        The sum, added up in float64 from losses of the model's own type.
    """
    # Only what is predicted goes through the unembedding: with a large vocabulary the logits
    # outweigh everything else.
    logits = model.logits(stream[used])
    losses = F.cross_entropy(logits, targets[used], reduction="none")
    return losses.double().sum().item()
