"""Perplexity of a whole text (docs/experiments.md, "Perplexity"). Models and token ids only."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from .nll import summed_nll
from .precision import inference
from .traced import TracedModel

# Positions run at once: bounds the logits, which are the largest array.
POSITIONS_PER_BATCH = 2048


def windows(ids: np.ndarray, context: int) -> list[np.ndarray]:
    """Cut a text into windows of `context` tokens with stride context - 1.

    A window begins with the last token of the one before it, so every token but the first is
    predicted exactly once.

    Args:
        ids: the text, its beginning token first, [token].
        context: positions of the model, at least 2.

    Returns:
        Arrays of `context` ids; the last one may be shorter, but has at least 2.
    """
    starts = range(0, len(ids) - 1, context - 1)
    return [ids[start : start + context] for start in starts]


def text_nll(model: TracedModel, ids: np.ndarray, bos: int, context: int) -> tuple[int, float]:
    """Number of predicted tokens of a text, and their summed NLL in nats.

    Args:
        model: the model, on its device.
        ids: the text, its beginning token first, [token].
        context: tokens of a window, at most those the model can take.
        bos: id of the beginning token; it also separates documents and is never a target.
    """
    device = model.device
    cut = windows(ids, context)
    size = max(1, POSITIONS_PER_BATCH // context)
    # A shorter last window runs alone: no padding.
    whole = len(cut) - (len(cut[-1]) < len(cut[0]))
    batches = [cut[start : min(start + size, whole)] for start in range(0, whole, size)]
    count, total = 0, 0.0
    with inference(model.modules(), device):
        for batch in [*batches, cut[whole:]]:
            if len(batch) == 0:
                continue
            tokens = torch.from_numpy(np.stack(batch).astype(np.int64)).to(device)
            targets = tokens[:, 1:]
            used = targets != bos
            stream = model.stream(tokens[:, :-1])
            count += int(used.sum())
            total += summed_nll(model, stream, targets, used)
    return count, total


def text_losses(
    model: TracedModel, texts: Mapping[str, np.ndarray], bos: int, context: int
) -> pd.DataFrame:
    """One row a text: text, tokens (predicted), nll (nats, total), perplexity.

    Args:
        model: the model, on its device.
        texts: token ids by name, the beginning token first.
        bos: id of the beginning token.
        context: tokens of a window.
    """
    rows = [(name, *text_nll(model, ids, bos, context)) for name, ids in texts.items()]
    table = pd.DataFrame(rows, columns=["text", "tokens", "nll"])
    return table.assign(perplexity=np.exp(table["nll"] / table["tokens"]))
