"""Running a model on prompts and keeping what its heads do (docs/methods.md, "Cache")."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from .traced import TracedModel


def triangle_entries(length: int) -> int:
    """Entries of a pattern's lower triangle with its diagonal: T (T + 1) / 2."""
    return length * (length + 1) // 2


def pad_batch(prompts: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Right-pad prompts to one length. Exact under causal attention: padding lies in the future.

    Returns:
        int64 [prompt, longest].
    """
    longest = max(len(prompt) for prompt in prompts)
    out = torch.full((len(prompts), longest), pad, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        out[row, : len(prompt)] = torch.tensor(prompt)
    return out


def batches_by_length(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Indices of prompts in batches of similar length, longest first."""
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    return [order[start : start + size] for start in range(0, len(order), size)]


def activations(
    model: TracedModel, prompts: Sequence[Sequence[int]], device: torch.device, batch: int = 8
) -> xr.Dataset:
    """Patterns, z and resid_mid of every head and layer on every prompt.

    Args:
        model: the model, biases unfolded.
        prompts: token ids of each prompt, BOS first; lengths may differ.
        device: where to run.
        batch: prompts per forward pass.

    Returns:
        A dataset with
        `pattern` (layer, head, entry): lower triangles, row by row, prompts one after another;
        `z` (layer, head, position, d_head): head outputs before W_O, value bias included;
        `resid_mid` (layer, position, d_model): the residual stream after attention;
        and coordinates that say which prompt, query and key an entry is, and which prompt and
        token a position is. Layers and heads are numbered from 1. All float32, no units.
    """
    shape = model.shape
    model = model.to(device)
    lengths = np.array([len(prompt) for prompt in prompts])
    entry_start = np.append(0, np.cumsum(triangle_entries(lengths)))
    position_start = np.append(0, np.cumsum(lengths))
    pattern = np.empty((shape.layers, shape.heads, entry_start[-1]), dtype=np.float32)
    z = np.empty((shape.layers, shape.heads, position_start[-1], shape.d_head), dtype=np.float32)
    resid_mid = np.empty((shape.layers, position_start[-1], shape.d_model), dtype=np.float32)
    with torch.inference_mode():
        for indices in batches_by_length(prompts, batch):
            tokens = pad_batch([prompts[index] for index in indices], pad=0).to(device)
            for layer, traced in enumerate(model.trace(tokens)):
                patterns, zs, mids = traced.pattern.cpu(), traced.z.cpu(), traced.resid_mid.cpu()
                for row, index in enumerate(indices):
                    length = lengths[index]
                    entries = slice(entry_start[index], entry_start[index + 1])
                    positions = slice(position_start[index], position_start[index + 1])
                    query, key = np.tril_indices(length)
                    pattern[layer, :, entries] = patterns[row][:, query, key].numpy()
                    z[layer, :, positions] = zs[row, :, :length].numpy()
                    resid_mid[layer, positions] = mids[row, :length].numpy()
    return _label(pattern, z, resid_mid, prompts)


def _label(
    pattern: np.ndarray,
    z: np.ndarray,
    resid_mid: np.ndarray,
    prompts: Sequence[Sequence[int]],
) -> xr.Dataset:
    lengths = [len(prompt) for prompt in prompts]
    triangles = [np.tril_indices(length) for length in lengths]
    number = np.arange(1, len(prompts) + 1)
    return xr.Dataset(
        {
            "pattern": (
                ("layer", "head", "entry"),
                pattern,
                {"long_name": "attention pattern, lower triangle with diagonal", "units": "1"},
            ),
            "z": (
                ("layer", "head", "position", "d_head"),
                z,
                {"long_name": "head output before W_O, value bias included", "units": "1"},
            ),
            "resid_mid": (
                ("layer", "position", "d_model"),
                resid_mid,
                {"long_name": "residual stream after attention, before the MLP", "units": "1"},
            ),
        },
        coords={
            "layer": np.arange(1, pattern.shape[0] + 1),
            "head": np.arange(1, pattern.shape[1] + 1),
            "prompt": number,
            "prompt_length": ("prompt", np.array(lengths), {"units": "tokens, BOS included"}),
            "entry_prompt": ("entry", np.repeat(number, [len(t[0]) for t in triangles])),
            "query": ("entry", np.concatenate([t[0] + 1 for t in triangles]).astype(np.int32)),
            "key": ("entry", np.concatenate([t[1] + 1 for t in triangles]).astype(np.int32)),
            "position_prompt": ("position", np.repeat(number, lengths)),
            "token": ("position", np.concatenate([np.asarray(p) for p in prompts])),
        },
    )


def pattern_of(cache: xr.Dataset, layer: int, head: int, prompt: int) -> xr.DataArray:
    """One head's full pattern on one prompt, from a cache.

    Args:
        cache: what `activations` made or `caches.open_cache` opened.
        layer: numbered from 1.
        head: numbered from 1.
        prompt: numbered from 1.

    Returns:
        (query, key), T x T, lower triangular, rows sum to 1.
    """
    lengths = cache["prompt_length"].values
    starts = np.append(0, np.cumsum(triangle_entries(lengths)))
    entries = slice(starts[prompt - 1], starts[prompt])
    packed = cache["pattern"].sel(layer=layer, head=head).isel(entry=entries).values
    length = int(lengths[prompt - 1])
    full = np.zeros((length, length), dtype=packed.dtype)
    full[np.tril_indices(length)] = packed
    numbers = np.arange(1, length + 1)
    return xr.DataArray(full, {"query": numbers, "key": numbers}, ("query", "key"))
