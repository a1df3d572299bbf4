"""Perplexity of whole texts (docs/experiments.md, "Perplexity")."""

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
    """Cut a text [token] into windows of `context` (at least 2) tokens with stride context - 1.

    A window begins with the last token of the previous one, so each token but the first is
    predicted exactly once. The last window may be shorter but has at least 2 tokens.
    """
    return [ids[start : start + context] for start in range(0, len(ids) - 1, context - 1)]


def text_nll(model: LanguageModel, ids: np.ndarray, bos: int, context: int) -> tuple[int, float]:
    """Number and summed NLL (nats) of the predicted tokens of a text `ids` [token], BOS first.

    The model, on its device, reads windows of `context` tokens. BOS, which also separates
    documents, is never a target.
    """
    device = model.device
    cut = windows(ids, context)
    size = max(1, PERPLEXITY_POSITIONS // context)
    # A shorter last window runs alone, without padding.
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
    """NLL in nats summed over the `targets` [..., position] that are `used`.

    `stream` [..., position, d_model] is the residual stream after the last layer. Losses have the
    model's type; their sum is in float64.
    """
    # Only predicted positions are unembedded: logits of a large vocabulary are the main cost.
    losses = F.cross_entropy(model.logits(stream[used]), targets[used], reduction="none")
    return losses.double().sum().item()
