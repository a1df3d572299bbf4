"""From the cache and checkpoint of a cell to the scores of its heads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from .conditions import pattern_slabs
from .errors import UserError
from .files import read_json, sha256_file
from .loading import load_model
from .refit_caches import open_refits
from .role_prompts import default_tokens, synthetic_scores
from .roles import EVEN, ROLES, even_patterns, repeated_prompts, role_scores
from .traced import TracedModel

# The kinds of text: the study's prompts, and those in which a random sequence stands twice.
PROMPTS, SYNTHETIC = "prompts", "synthetic"


def cell_scores(
    refit: str,
    cache: str | Path,
    weights: str | Path,
    prompts: str | Path,
    chosen: Mapping[str, Any],
    device: torch.device,
) -> pd.DataFrame:
    """Scores of all heads of a cell, on its prompts (from its cache) and on synthetic ones.

    Args:
        refit: name of the refit.
        cache: its cache.
        weights: its checkpoint.
        prompts: the prompt set the cache is of.
        chosen: tokens, prompts and seed of the `roles` section of the config.
        device: where to run the model.

    Returns:
        text, layer, head, a column a role with the score, and EVEN: what even attention scores on
        that text.

    Raises:
        UserError: cache, refit and prompts do not belong together, or synthetic prompts do not
            fit.
    """
    (opened,) = open_refits([refit], [cache], ["pattern"])
    if opened.attrs["prompts_sha256"] != sha256_file(prompts):
        raise UserError(
            f"{cache} was made with other prompts than {prompts}: delete the cache and run the "
            "same command again"
        )
    model, _ = load_model(weights)
    real = read_json(prompts)["tokens"]
    synthetic = _synthetic(model, real[0][0], chosen)
    found = {
        PROMPTS: (real, cached_scores(opened, real)),
        SYNTHETIC: (synthetic, synthetic_scores(model, synthetic, device)),
    }
    return pd.concat([_table(name, *one) for name, one in found.items()], ignore_index=True)


def _table(name: str, text: Sequence[Sequence[int]], scores: np.ndarray) -> pd.DataFrame:
    """One row a head: its scores [layer, head, role] on a text."""
    layer, head = np.indices(scores.shape[:2]).reshape(2, -1)
    table = pd.DataFrame({"text": name, "layer": layer + 1, "head": head + 1})
    table[list(ROLES)] = scores.reshape(-1, len(ROLES))
    table[EVEN] = role_scores([even_patterns(text)], text)[0]
    return table


def cached_scores(cache: xr.Dataset, prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """Scores from cached patterns, [layer, head, role].

    Args:
        cache: an open cache.
        prompts: token ids of each prompt, BOS first.
    """
    slabs = ((rows.reshape(-1, rows.shape[-1]), sizes) for rows, sizes in pattern_slabs([cache]))
    scores = role_scores(slabs, prompts)
    return scores.reshape(cache.sizes["layer"], cache.sizes["head"], -1)


def _synthetic(model: TracedModel, bos: int, chosen: Mapping[str, Any]) -> list[list[int]]:
    shape = model.shape
    length = chosen["tokens"] or default_tokens(shape.context, shape.vocabulary)
    if not 1 <= length < shape.vocabulary:
        raise UserError(
            f"a sequence of {length} different tokens, twice, does not fit a vocabulary of "
            f"{shape.vocabulary} and a context of {shape.context}: lower roles.tokens, or leave "
            "roles out (key figures.include)"
        )
    return repeated_prompts(shape.vocabulary, bos, chosen["prompts"], length, chosen["seed"])
