"""Losses that never hold all logits at once (docs/methods.md, "Training")."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.shape import LOGIT_BYTES
from ..models.transformer import Transformer

Terms = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """The number of positions whose logits are held at once."""
    return max(1, LOGIT_BYTES.get(device.type, 2**29) // (4 * vocabulary))


def loss_terms(logits: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats, [position], and its gradient, [position, vocabulary].

    `logits` [position, vocabulary] lack the bias b_U [vocabulary], may have any floating point type
    and are overwritten; `targets` [position] are the next tokens. The gradient, of the summed
    losses by the logits, is softmax - one-hot. Results have the type of the bias.
    """
    logits = logits.to(bias.dtype).add_(bias)
    wanted = targets[:, None]
    probability = logits.softmax(-1)
    # log sum exp from the largest term, whose probability never vanishes.
    log_norm = logits.amax(-1) - probability.amax(-1).log()
    losses = log_norm - logits.gather(1, wanted)[:, 0]
    return losses, probability.scatter_(1, wanted, probability.gather(1, wanted) - 1)


def unembedding_loss(
    stream: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    dtype: torch.dtype | None = None,
    chunk: int | None = None,
    terms: Terms = loss_terms,
) -> Tensor:
    """Mean cross-entropy of logits = stream W^T + b, in nats: a scalar of the weight's type.

    Loss and gradients are those of `F.cross_entropy(F.linear(stream, weight, bias), targets)`, but
    only `chunk` rows of logits exist at a time, from which the gradients are formed at once.
    `stream` [position, d_model] is normalised, `weight` is W_U [vocabulary, d_model], `bias` b_U
    [vocabulary]. Matrix products have the type `dtype` (default: the weight's); softmax, loss and
    sums of gradients have the weight's. `terms` is `loss_terms` or the same function compiled.
    """
    chunk = chunk or chunk_rows(len(weight), stream.device)
    return _UnembeddingLoss.apply(
        stream, weight, bias, targets, dtype or weight.dtype, chunk, terms
    )


class _UnembeddingLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        stream: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
        chunk: int,
        terms: Terms,
    ) -> Tensor:
        total = torch.zeros_like(bias[0])
        d_stream = torch.empty(stream.shape, dtype=dtype, device=stream.device)
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        rows, factor = stream.to(dtype), weight.to(dtype)
        for start in range(0, len(rows), chunk):
            part = slice(start, start + chunk)
            losses, d_logits = terms(torch.mm(rows[part], factor.t()), bias, targets[part])
            total += losses.sum()
            d_bias += d_logits.sum(0)
            d_logits = d_logits.to(dtype)
            torch.mm(d_logits, factor, out=d_stream[part])
            d_weight += torch.mm(d_logits.t(), rows[part])
        ctx.save_for_backward(d_stream.to(stream.dtype), d_weight, d_bias)
        ctx.count = len(rows)
        return total / ctx.count

    @staticmethod
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        share = d_loss / ctx.count
        gradients = [saved * share for saved in ctx.saved_tensors]
        return (*gradients, None, None, None, None)


def mean_loss(model: Transformer, rows: np.ndarray, bos: int, batch: int) -> float:
    """Mean negative log-likelihood in nats over predicted tokens, `batch` rows at a time.

    `rows` [n, context] are token ids, BOS first. BOS, which also separates documents, is no target.
    """
    device = model.embed.weight.device
    chunk = chunk_rows(model.shape.vocabulary, device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            tokens = torch.from_numpy(rows[start : start + batch]).to(device)
            targets = tokens[:, 1:].flatten()
            stream = model.before_unembedding(tokens).flatten(0, 1)
            for part, wanted in zip(stream.split(chunk), targets.split(chunk), strict=True):
                logits = model.unembed(part).float()
                losses = F.cross_entropy(logits, wanted, ignore_index=bos, reduction="none")
                total += losses.double().sum()
    return total.item() / int((rows[:, 1:] != bos).sum())
