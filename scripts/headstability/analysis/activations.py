"""Run a model on prompts and keep what its heads do (docs/methods.md, "Cache")."""

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
    """Right-pad prompts to int64 [prompt, longest]; causal attention never sees the padding."""
    tensors = [torch.tensor(prompt, dtype=torch.int64) for prompt in prompts]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=pad)


def batches_by_length(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Indices of prompts in batches of similar length, longest first."""
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    return [order[start : start + size] for start in range(0, len(order), size)]


# What caches hold: dimensions and description.
_VARIABLES = {
    "pattern": ("layer head entry", "attention pattern, lower triangle with diagonal"),
    "z": ("layer head position d_head", "head output before W_O, value bias included"),
    "z_mean": ("layer head prompt d_head", "mean of z over the tokens of a prompt, BOS included"),
    "resid_pre": ("layer position d_model", "residual stream before the layer"),
    "resid_mid": ("layer position d_model", "residual stream after attention, before the MLP"),
    "attention_out_norm": (
        "layer position",
        "L2 norm of the mean-centred output of attention, b_O included",
    ),
    "resid_mid_norm": (
        "layer position",
        "L2 norm of the mean-centred residual stream after attention",
    ),
}


def activations(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    device: torch.device,
    batch: int = CACHE_PROMPTS,
    streams: Sequence[str] = ("resid_mid",),
    documents: Sequence[int] | None = None,
) -> xr.Dataset:
    """Patterns, z, residual streams and norms of every layer on every prompt.

    `model` still has its value biases, `prompts` are token ids, BOS first, of any lengths, and
    `batch` prompts run at a time. The dataset, all float32 and without units, has the variables
    `_VARIABLES`, of the residual streams only `streams`. Patterns are lower triangles, row by row,
    prompts one after another. Norms are L2 norms of vectors less their mean over d_model.
    Coordinates give the document of each prompt (`documents`; by default each is one of its own),
    the prompt, query and key of each entry, and the prompt and token of each position. Layers and
    heads are numbered from 1.
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
        name: np.empty([sizes[dim] for dim in _VARIABLES[name][0].split()], dtype=np.float32)
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
    return _label(out, prompts, documents)


def _flat_triangle(length: int, padded: int) -> np.ndarray:
    """Indices of a lower triangle in the flattened square of a longer, padded prompt."""
    query, key = np.tril_indices(length)
    return query * padded + key


def _centred_norm(vectors: Tensor) -> Tensor:
    """L2 norms of vectors less their mean over d_model, which LayerNorm discards."""
    return (vectors - vectors.mean(-1, keepdim=True)).norm(dim=-1)


def _label(
    variables: dict[str, np.ndarray],
    prompts: Sequence[Sequence[int]],
    documents: Sequence[int] | None,
) -> xr.Dataset:
    lengths = [len(prompt) for prompt in prompts]
    query, key = np.concatenate([np.tril_indices(n) for n in lengths], axis=1).astype(np.int32) + 1
    number = np.arange(1, len(prompts) + 1)
    layers, heads = variables["pattern"].shape[:2]
    return xr.Dataset(
        {
            name: (dims.split(), variables[name], {"long_name": description, "units": "1"})
            for name, (dims, description) in _VARIABLES.items()
            if name in variables
        },
        coords={
            "layer": np.arange(1, layers + 1),
            "head": np.arange(1, heads + 1),
            "prompt": number,
            "prompt_length": ("prompt", np.array(lengths), {"units": "tokens, BOS included"}),
            "prompt_document": ("prompt", number if documents is None else np.array(documents)),
            "entry_prompt": ("entry", np.repeat(number, [triangle_entries(n) for n in lengths])),
            "query": ("entry", query),
            "key": ("entry", key),
            "position_prompt": ("position", np.repeat(number, lengths)),
            "token": ("position", np.concatenate([np.asarray(p) for p in prompts])),
        },
    )
