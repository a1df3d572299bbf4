"""Perplexity of a whole text (docs/experiments.md, "Perplexity"). Models and token ids only."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.interface import LanguageModel
from ..models.precision import inference
from .blocks import PERPLEXITY_POSITIONS


def windows(ids: np.ndarray, context: int) -> list[np.ndarray]:
    """Cut a text, [token], into windows of `context` (at least 2) tokens with stride context - 1.

    A window begins with the last token of the one before it, so every token but the first is
    predicted exactly once. The last one may be shorter, but has at least 2.
    """
    return [ids[start : start + context] for start in range(0, len(ids) - 1, context - 1)]


def text_nll(model: LanguageModel, ids: np.ndarray, bos: int, context: int) -> tuple[int, float]:
    """Number of predicted tokens of a text, and their summed NLL in nats.

    Args:
        model: the model, on its device.
        ids: the text, its beginning token first, [token].
        context: tokens of a window, at most those the model can take.
        bos: id of the beginning token; it also separates documents and is never a target.
    """
    device = model.device
    cut = windows(ids, context)
    size = max(1, PERPLEXITY_POSITIONS // context)
    # A shorter last window runs alone: no padding.
    whole = len(cut) - (len(cut[-1]) < len(cut[0]))
    batches = [cut[start : min(start + size, whole)] for start in range(0, whole, size)]
    count, total = 0, 0.0
    with inference(model.modules(), device):
        for batch in filter(len, [*batches, cut[whole:]]):
            tokens = torch.from_numpy(np.stack(batch).astype(np.int64)).to(device)
            targets = tokens[:, 1:]
            used = targets != bos
            stream = model.stream(tokens[:, :-1])
            count += int(used.sum())
            total += summed_nll(model, stream, targets, used)
    return count, total


def text_losses(
    model: LanguageModel, texts: Mapping[str, np.ndarray], bos: int, context: int
) -> pd.DataFrame:
    """`text_nll` of texts by name: text, tokens (predicted), nll (nats, total), perplexity."""
    rows = [(name, *text_nll(model, ids, bos, context)) for name, ids in texts.items()]
    table = pd.DataFrame(rows, columns=["text", "tokens", "nll"])
    return table.assign(perplexity=np.exp(table["nll"] / table["tokens"]))


def summed_nll(model: LanguageModel, stream: Tensor, targets: Tensor, used: Tensor) -> float:
    """NLL in nats summed over predicted tokens, in float64 from losses of the model's own type.

    Args:
        model: for its unembedding.
        stream: the residual stream after the last layer, [..., position, d_model].
        targets: the token after each position, [..., position].
        used: which targets count, same shape.
    """
    # Only predicted positions go through the unembedding: with a large vocabulary the logits
    # outweigh everything else.
    losses = F.cross_entropy(model.logits(stream[used]), targets[used], reduction="none")
    return losses.double().sum().item()
