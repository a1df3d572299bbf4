"""Running a model on prompts and keeping what its heads do (docs/methods.md, "Cache")."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..conventions import triangle_entries
from ..models.interface import LanguageModel
from ..models.precision import inference
from .blocks import CACHE_PROMPTS


def pad_batch(prompts: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Right-pad prompts to one length, int64 [prompt, longest].

    Exact under causal attention: padding lies in the future.
    """
    tensors = [torch.tensor(prompt, dtype=torch.int64) for prompt in prompts]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=pad)


def batches_by_length(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Indices of prompts in batches of similar length, longest first."""
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    return [order[start : start + size] for start in range(0, len(order), size)]


# The residual streams that can be kept, and what they are.
STREAMS = {
    "resid_pre": "residual stream before the layer",
    "resid_mid": "residual stream after attention, before the MLP",
}
# What caches hold, with its dimensions.
_CONTENT = {
    "pattern": "attention pattern, lower triangle with diagonal",
    "z": "head output before W_O, value bias included",
    "z_mean": "mean of z over the tokens of a prompt, BOS included",
    "attention_out_norm": "L2 norm of the mean-centred output of attention, b_O included",
    "resid_mid_norm": "L2 norm of the mean-centred residual stream after attention",
    **STREAMS,
}
_DIMENSIONS = {
    "pattern": ("layer", "head", "entry"),
    "z": ("layer", "head", "position", "d_head"),
    "z_mean": ("layer", "head", "prompt", "d_head"),
    **dict.fromkeys(STREAMS, ("layer", "position", "d_model")),
    "attention_out_norm": ("layer", "position"),
    "resid_mid_norm": ("layer", "position"),
}


def activations(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    device: torch.device,
    batch: int = CACHE_PROMPTS,
    streams: Sequence[str] = ("resid_mid",),
) -> xr.Dataset:
    """Patterns, z, residual streams and norms of every layer on every prompt.

    Args:
        model: the model, biases unfolded.
        prompts: token ids of each prompt, BOS first; lengths may differ.
        device: where to run.
        batch: prompts per forward pass.
        streams: which of STREAMS to keep.

    Returns:
        A dataset with
        `pattern` (layer, head, entry): lower triangles, row by row, prompts one after another;
        `z` (layer, head, position, d_head): head outputs before W_O, value bias included;
        `z_mean` (layer, head, prompt, d_head): its mean over a prompt's tokens, BOS included;
        each of `streams` (layer, position, d_model);
        `attention_out_norm`, `resid_mid_norm` (layer, position): L2 norms of what attention adds
        to the stream and of the stream after it, each less its mean over d_model;
        and coordinates that give the prompt, query and key of each entry, and the prompt and token
        of each position. Layers and heads are numbered from 1. All float32, no units.
    """
    model = model.to(device)
    lengths = np.array([len(prompt) for prompt in prompts])
    entry_start = np.append(0, np.cumsum(triangle_entries(lengths)))
    position_start = np.append(0, np.cumsum(lengths))
    shape = model.shape
    sizes = {"entry": entry_start[-1], "position": position_start[-1], "prompt": len(prompts)}
    sizes |= {"layer": shape.layers, "head": shape.heads}
    sizes |= {"d_head": shape.d_head, "d_model": shape.d_model}
    names = ("pattern", "z", "z_mean", *streams, "attention_out_norm", "resid_mid_norm")
    out = {
        name: np.empty([sizes[dimension] for dimension in _DIMENSIONS[name]], dtype=np.float32)
        for name in names
    }
    with inference(model.modules(), device):
        for indices in batches_by_length(prompts, batch):
            tokens = pad_batch([prompts[index] for index in indices], pad=0).to(device)
            triangles = {n: _flat_triangle(n, tokens.shape[1]) for n in set(lengths[indices])}
            for layer, trace in enumerate(model.trace(tokens)):
                flat = trace.pattern.flatten(2).cpu().numpy()
                z = trace.z.cpu().numpy()
                by_position = {name: getattr(trace, name) for name in streams}
                by_position["attention_out_norm"] = _centred_norm(trace.attention_out)
                by_position["resid_mid_norm"] = _centred_norm(trace.resid_mid)
                kept = {name: values.cpu().numpy() for name, values in by_position.items()}
                for row, index in enumerate(indices):
                    length = lengths[index]
                    entries = slice(entry_start[index], entry_start[index + 1])
                    positions = slice(position_start[index], position_start[index + 1])
                    out["pattern"][layer, :, entries] = flat[row].take(triangles[length], axis=1)
                    out["z"][layer, :, positions] = z[row, :, :length]
                    out["z_mean"][layer, :, index] = z[row, :, :length].mean(1, dtype=np.float64)
                    for name, values in kept.items():
                        out[name][layer, positions] = values[row, :length]
    return _label(out, prompts)


def _flat_triangle(length: int, padded: int) -> np.ndarray:
    """Indices of a lower triangle in the flattened square of a longer, padded prompt."""
    query, key = np.tril_indices(length)
    return query * padded + key


def _centred_norm(vectors: Tensor) -> Tensor:
    """L2 norms of vectors less their mean over d_model: LayerNorm reads nothing else."""
    return (vectors - vectors.mean(-1, keepdim=True)).norm(dim=-1)


def _label(variables: dict[str, np.ndarray], prompts: Sequence[Sequence[int]]) -> xr.Dataset:
    lengths = [len(prompt) for prompt in prompts]
    triangles = [np.tril_indices(length) for length in lengths]
    number = np.arange(1, len(prompts) + 1)
    layers, heads = variables["pattern"].shape[:2]
    return xr.Dataset(
        {
            name: (_DIMENSIONS[name], values, {"long_name": _CONTENT[name], "units": "1"})
            for name, values in variables.items()
        },
        coords={
            "layer": np.arange(1, layers + 1),
            "head": np.arange(1, heads + 1),
            "prompt": number,
            "prompt_length": ("prompt", np.array(lengths), {"units": "tokens, BOS included"}),
            "entry_prompt": ("entry", np.repeat(number, [len(t[0]) for t in triangles])),
            "query": ("entry", np.concatenate([t[0] + 1 for t in triangles]).astype(np.int32)),
            "key": ("entry", np.concatenate([t[1] + 1 for t in triangles]).astype(np.int32)),
            "position_prompt": ("position", np.repeat(number, lengths)),
            "token": ("position", np.concatenate([np.asarray(p) for p in prompts])),
        },
    )
