"""What a removed head costs (docs/methods.md, "Ablation"). Models and token ids only."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .activations import batches_by_length, pad_batch
from .nll import summed_nll
from .precision import inference
from .traced import TracedModel

PROMPTS_PER_BATCH = 16
# More would not fit the processor's caches at the paper's width.
VARIANTS_PER_BATCH = 2


@dataclass(frozen=True)
class AblationResult:
    """Negative log-likelihoods of one model, in nats.

    Attributes:
        tokens: predicted tokens.
        total: NLL of the whole model, summed over predicted tokens.
        ablated: by method, the same with one head's z replaced, [layer, head].
    """

    tokens: int
    total: float
    ablated: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Batch:
    """Prompts of similar length, without their last token, which predicts nothing.

    Attributes:
        inputs: token ids, [prompt, position], padded on the right.
        targets: the next tokens, same shape.
        used: which targets are predicted: neither BOS nor padding, which is BOS too.
    """

    inputs: Tensor
    targets: Tensor
    used: Tensor


def ablate_heads(
    model: TracedModel,
    prompts: Sequence[Sequence[int]],
    bos: int,
    methods: Sequence[str] = ("zero", "mean"),
    progress: Callable[[int], None] = lambda done: None,
) -> AblationResult:
    """Replace one head's z at a time, for every head.

    `zero` sets z to zero; `mean` sets it to one vector per head, its mean over non-BOS positions
    of all prompts. Value biases are folded into the output bias first, so that a head zeroed
    loses what it reads from the context and not its constant. What comes before the ablated layer
    is computed once; only the rest is run again, several heads and methods at a time.

    Args:
        model: the model, on its device; changed in place (value biases folded). Its floating
            point type is the type of the computation; losses are summed in float64.
        prompts: token ids, BOS first; lengths may differ.
        bos: id of the beginning token, never a target.
        methods: `zero`, `mean` or both.
        progress: told how many prompts are done.
    """
    model.fold_value_biases()
    shape = model.shape
    device = model.device
    total, count, done = 0.0, 0, 0
    ablated = {method: np.zeros((shape.layers, shape.heads)) for method in methods}
    with inference(model.modules(), device):
        vectors = _replacements(model, prompts, bos, methods)
        for indices in batches_by_length(prompts, PROMPTS_PER_BATCH):
            tokens = pad_batch([prompts[index] for index in indices], pad=bos).to(device)
            batch = _Batch(tokens[:, :-1], tokens[:, 1:], tokens[:, 1:] != bos)
            count += int(batch.used.sum())
            x = model.start(batch.inputs)
            for layer, block in enumerate(model.blocks):
                _, z = block.pattern_and_z(x)
                for variants in _groups(shape.heads, methods):
                    changed = [
                        _replaced(z, head, vectors[method][layer, head])
                        for head, method in variants
                    ]
                    losses = _nll_from(model, layer, x, torch.stack(changed), batch)
                    for (head, method), nll in zip(variants, losses, strict=True):
                        ablated[method][layer, head] += nll
                x = block.resume(x, z)
            total += summed_nll(model, x, batch.targets, batch.used)
            done += len(indices)
            progress(done)
    return AblationResult(count, total, ablated)


def mean_z(model: TracedModel, prompts: Sequence[Sequence[int]], bos: int) -> Tensor:
    """Every head's z averaged over the positions of all prompts that are not BOS.

    Returns:
        [layer, head, d_head], float64.
    """
    shape = model.shape
    total = torch.zeros((shape.layers, shape.heads, shape.d_head), dtype=torch.float64)
    count = 0
    for indices in batches_by_length(prompts, PROMPTS_PER_BATCH):
        tokens = pad_batch([prompts[index] for index in indices], pad=bos).to(model.device)
        kept = tokens != bos  # padding is BOS too
        count += int(kept.sum())
        for layer, traced in enumerate(model.trace(tokens)):
            total[layer] += traced.z.transpose(1, 2)[kept].double().sum(0).cpu()
    return total / count


def _replacements(
    model: TracedModel, prompts: Sequence[Sequence[int]], bos: int, methods: Sequence[str]
) -> dict[str, Tensor]:
    """By method, what takes the place of z: [layer, head, d_head]."""
    shape = model.shape
    zero = torch.zeros((shape.layers, shape.heads, shape.d_head))
    return {method: mean_z(model, prompts, bos) if method == "mean" else zero for method in methods}


def _groups(heads: int, methods: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """Pairs of head and method, as many at a time as are run together."""
    pairs = [(head, method) for head in range(heads) for method in methods]
    for start in range(0, len(pairs), VARIANTS_PER_BATCH):
        yield pairs[start : start + VARIANTS_PER_BATCH]


def _replaced(z: Tensor, head: int, vector: Tensor) -> Tensor:
    """Outputs of all heads, [prompt, head, position, d_head], one of them replaced by a vector."""
    changed = z.clone()
    changed[:, head] = vector
    return changed


def _nll_from(model: TracedModel, layer: int, x: Tensor, z: Tensor, batch: _Batch) -> list[float]:
    """Summed NLL of each variant of a batch, run on from a layer.

    Args:
        model: the model.
        layer: counted from 0.
        x: the residual stream before the layer, [prompt, position, d_model].
        z: of its heads in every variant, [variant, prompt, head, position, d_head].
        batch: the prompts.
    """
    stream = model.blocks[layer].resume(x.repeat(len(z), 1, 1), z.flatten(0, 1))
    for later in model.blocks[layer + 1 :]:
        stream = later(stream)
    return [
        summed_nll(model, variant, batch.targets, batch.used)
        for variant in stream.view(len(z), *x.shape)
    ]


def ablation_table(result: AblationResult) -> pd.DataFrame:
    """One row a method and head: what removing it costs.

    Args:
        result: what `ablate_heads` returned.

    Returns:
        method, layer, head, perplexity (PPL = exp(total NLL / tokens)), ablated_perplexity,
        delta_perplexity, relative_delta_perplexity (its ratio to PPL), delta_loss
        (log(PPL_ablated / PPL), nats), predicted_tokens.
    """
    total, tokens = result.total, result.tokens
    perplexity = np.exp(total / tokens)
    parts = []
    for method, ablated in result.ablated.items():
        layers, heads = np.indices(ablated.shape).reshape(2, -1) + 1
        removed = np.exp(ablated.ravel() / tokens)
        columns = {
            "method": method,
            "layer": layers,
            "head": heads,
            "perplexity": perplexity,
            "ablated_perplexity": removed,
            "delta_perplexity": removed - perplexity,
            "relative_delta_perplexity": (removed - perplexity) / perplexity,
            "delta_loss": (ablated.ravel() - total) / tokens,
            "predicted_tokens": tokens,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
