"""What a removed head costs (docs/methods.md, "Ablation"). Models and token ids only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from .activations import batches_by_length, pad_batch
from .traced import TracedModel

PROMPTS_PER_BATCH = 16
HEADS_PER_BATCH = 4


@dataclass(frozen=True)
class AblationResult:
    """Negative log-likelihoods of one model, in nats.

    Attributes:
        tokens: predicted tokens.
        total: NLL of the whole model, summed over predicted tokens.
        ablated: the same with one head's z set to zero, [layer, head].
    """

    tokens: int
    total: float
    ablated: np.ndarray


def ablate_heads(
    model: TracedModel,
    prompts: Sequence[Sequence[int]],
    bos: int,
    progress: Callable[[int], None] = lambda done: None,
) -> AblationResult:
    """Zero one head's z at a time, for every head.

    Value biases are folded into the output bias first, so that a head loses what it reads from
    the context and not its constant. What comes before the ablated layer is computed once; only
    the rest is run again, several heads at a time.

    Args:
        model: the model, on its device; changed in place (value biases folded). Its floating
            point type is the type of the computation; losses are summed in float64.
        prompts: token ids, BOS first; lengths may differ.
        bos: id of the beginning token, never a target.
        progress: told how many prompts are done.
    """
    model.fold_value_biases()
    shape = model.shape
    device = model.device
    total, count = 0.0, 0
    ablated = np.zeros((shape.layers, shape.heads))
    done = 0
    with torch.inference_mode():
        for indices in batches_by_length(prompts, PROMPTS_PER_BATCH):
            chosen = [prompts[index] for index in indices]
            tokens = pad_batch(chosen, pad=bos).to(device)
            targets = tokens[:, 1:]
            lengths = torch.tensor([len(prompt) for prompt in chosen], device=device)
            inside = torch.arange(1, tokens.shape[1], device=device) < lengths[:, None]
            used = inside & (targets != bos)
            count += int(used.sum())
            x = model.start(tokens)
            for layer, block in enumerate(model.blocks):
                _, z = block.pattern_and_z(x)
                for start in range(0, shape.heads, HEADS_PER_BATCH):
                    heads = range(start, min(start + HEADS_PER_BATCH, shape.heads))
                    nll = _without_heads(model, layer, x, z, heads, targets, used)
                    ablated[layer, list(heads)] += nll
                x = block.resume(x, z)
            total += _nll(model, x[None], targets, used)[0]
            done += len(indices)
            progress(done)
    return AblationResult(count, total, ablated)


def _without_heads(
    model: TracedModel,
    layer: int,
    x: Tensor,
    z: Tensor,
    heads: range,
    targets: Tensor,
    used: Tensor,
) -> np.ndarray:
    """NLL of one batch with each of `heads` of `layer` zeroed in turn, [head]."""
    block = model.blocks[layer]
    copies = z.expand(len(heads), *z.shape).clone()
    for row, head in enumerate(heads):
        copies[row, :, head] = 0
    stream = block.resume(x.repeat(len(heads), 1, 1), copies.flatten(0, 1))
    for later in model.blocks[layer + 1 :]:
        stream = later(stream)
    return _nll(model, stream.view(len(heads), *x.shape), targets, used)


def _nll(model: TracedModel, streams: Tensor, targets: Tensor, used: Tensor) -> np.ndarray:
    """Summed NLL of each variant of a batch.

    Args:
        model: for its unembedding.
        streams: residual streams after the last layer, [variant, prompt, position, d_model].
        targets: the next tokens, [prompt, position - 1].
        used: which targets count, same shape.

    Returns:
        float64, [variant].
    """
    wanted = targets[used]
    # Only what is predicted goes through the unembedding, one variant at a time: with a large
    # vocabulary the logits outweigh everything else.
    return np.array(
        [
            F.cross_entropy(model.logits(stream[:, :-1][used]), wanted, reduction="none")
            .double()
            .sum()
            .item()
            for stream in streams
        ]
    )


def ablation_table(result: AblationResult) -> pd.DataFrame:
    """One row a head: what removing it costs.

    Args:
        result: what `ablate_heads` returned.

    Returns:
        layer, head, perplexity (PPL = exp(total NLL / tokens)), ablated_perplexity,
        delta_perplexity, relative_delta_perplexity (its ratio to PPL), delta_loss
        (log(PPL_ablated / PPL), nats), predicted_tokens.
    """
    total, ablated, tokens = result.total, result.ablated, result.tokens
    layers, heads = np.indices(ablated.shape).reshape(2, -1) + 1
    perplexity = np.exp(total / tokens)
    removed = np.exp(ablated.ravel() / tokens)
    return pd.DataFrame(
        {
            "layer": layers,
            "head": heads,
            "perplexity": perplexity,
            "ablated_perplexity": removed,
            "delta_perplexity": removed - perplexity,
            "relative_delta_perplexity": (removed - perplexity) / perplexity,
            "delta_loss": (ablated.ravel() - total) / tokens,
            "predicted_tokens": tokens,
        }
    )
