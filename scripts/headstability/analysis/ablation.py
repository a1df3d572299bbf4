"""The cost of removing a head (docs/methods.md, "Ablation")."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..models.interface import LanguageModel
from ..models.precision import inference
from .activations import batches_by_length, pad_batch
from .blocks import ABLATED_PROMPTS, ABLATED_VARIANTS
from .perplexity import summed_nll


@dataclass(frozen=True)
class AblationResult:
    """Negative log-likelihoods (NLL) of one model, in nats."""

    tokens: int  # predicted tokens
    total: float  # NLL of the whole model, summed over predicted tokens
    ablated: dict[str, np.ndarray]  # by method, the same with one head's z replaced, [layer, head]


def ablate_heads(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    bos: int,
    methods: Sequence[str] = ("zero", "mean"),
    progress: Callable[[int], None] = lambda done: None,
) -> AblationResult:
    """Replace one head's z at a time, for every head.

    `zero` sets z to zero; `mean` sets it to the head's mean over the non-BOS positions of all
    prompts. Value biases are first folded into the output bias, so that a zeroed head loses what it
    reads from the context but not its constant. Layers before the ablated one are computed once;
    the rest is run again, for several heads and methods at a time.

    The model, on its device, is changed in place. It computes in its own floating point type;
    losses are summed in float64. `prompts` are token ids, BOS first, of any lengths; BOS (id `bos`)
    is never a target. `progress` is told how many prompts are done.
    """
    model.fold_value_biases()
    shape = model.shape
    total, count, done = 0.0, 0, 0
    ablated = {method: np.zeros((shape.layers, shape.heads)) for method in methods}
    # Variants are run together in groups.
    pairs = [(head, method) for head in range(shape.heads) for method in methods]
    groups = [pairs[i : i + ABLATED_VARIANTS] for i in range(0, len(pairs), ABLATED_VARIANTS)]
    with inference(model.modules(), model.device):
        vectors = {"zero": torch.zeros((shape.layers, shape.heads, shape.d_head))}
        if "mean" in methods:
            vectors["mean"] = mean_z(model, prompts, bos)
        for indices in batches_by_length(prompts, ABLATED_PROMPTS):
            tokens = pad_batch([prompts[index] for index in indices], pad=bos).to(model.device)
            targets = tokens[:, 1:]
            used = targets != bos  # padding is BOS too
            count += int(used.sum())
            # The last token of a prompt predicts nothing.
            x = model.start(tokens[:, :-1])
            for layer, block in enumerate(model.blocks):
                _, z = block.pattern_and_z(x)
                for variants in groups:
                    changed = z.repeat(len(variants), 1, 1, 1, 1)
                    for place, (head, method) in enumerate(variants):
                        changed[place, :, head] = vectors[method][layer, head]
                    streams = _run_from(model, layer, x, changed)
                    for (head, method), stream in zip(variants, streams, strict=True):
                        ablated[method][layer, head] += summed_nll(model, stream, targets, used)
                x = block.resume(x, z)
            total += summed_nll(model, x, targets, used)
            done += len(indices)
            progress(done)
    return AblationResult(count, total, ablated)


def mean_z(model: LanguageModel, prompts: Sequence[Sequence[int]], bos: int) -> Tensor:
    """Each head's z averaged over the non-BOS positions of all prompts, [layer, head, d_head]."""
    shape = model.shape
    total = torch.zeros((shape.layers, shape.heads, shape.d_head), dtype=torch.float64)
    count = 0
    for indices in batches_by_length(prompts, ABLATED_PROMPTS):
        tokens = pad_batch([prompts[index] for index in indices], pad=bos).to(model.device)
        kept = tokens != bos  # padding is BOS too
        count += int(kept.sum())
        for layer, trace in enumerate(model.trace(tokens)):
            total[layer] += trace.z.transpose(1, 2)[kept].double().sum(0).cpu()
    return total / count


def _run_from(model: LanguageModel, layer: int, x: Tensor, z: Tensor) -> Tensor:
    """The residual stream after the last layer, [variant, prompt, position, d_model].

    It starts from the stream before a layer (counted from 0), [prompt, position, d_model], and z of
    the layer's heads in each variant, [variant, prompt, head, position, d_head].
    """
    stream = model.blocks[layer].resume(x.repeat(len(z), 1, 1), z.flatten(0, 1))
    for later in model.blocks[layer + 1 :]:
        stream = later(stream)
    return stream.view(len(z), *x.shape)


def ablation_table(result: AblationResult) -> pd.DataFrame:
    """The cost of removing each head, by method, layer and head.

    The other columns are perplexity (PPL = exp(total NLL / tokens)), ablated_perplexity,
    delta_perplexity, relative_delta_perplexity (its ratio to PPL), delta_loss
    (log(PPL_ablated / PPL), nats) and predicted_tokens.
    """
    tokens = result.tokens
    perplexity = np.exp(result.total / tokens)
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
            "delta_loss": (ablated.ravel() - result.total) / tokens,
            "predicted_tokens": tokens,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
