"""From the caches and checkpoints of a condition's refits to the scores of their heads."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from .conditions import pattern_slabs
from .errors import UserError
from .files import read_json, sha256_file
from .loading import load_model
from .refit_caches import open_refits
from .role_prompts import default_tokens, synthetic_scores
from .roles import even_patterns, repeated_prompts, role_scores
from .traced import TracedModel

# The kinds of text: the study's prompts, and those in which a random sequence stands twice.
PROMPTS, SYNTHETIC = "prompts", "synthetic"


def condition_scores(
    caches: Mapping[str, str | Path],
    weights: Sequence[str | Path],
    prompts: str | Path,
    chosen: Mapping[str, Any],
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores of all heads of a condition, on its prompts (from caches) and on synthetic ones.

    Args:
        caches: the cache of each refit, by name.
        weights: the checkpoint of each.
        prompts: the prompt set the caches are of.
        chosen: the `roles` section of the config.
        device: where to run models.
        progress: told how many refits are done.

    Returns:
        By kind of text, scores [refit, layer, head, role] in the order of `roles.ROLES`, and what
        even attention scores, [role].

    Raises:
        UserError: caches and prompts do not belong together, or synthetic prompts do not fit.
    """
    opened = open_refits(list(caches), list(caches.values()), ["pattern"])
    if opened[0].attrs["prompts_sha256"] != sha256_file(prompts):
        first = next(iter(caches.values()))
        raise UserError(
            f"{first} was made with other prompts than {prompts}: delete the cache and run the "
            "same command again"
        )
    texts = {PROMPTS: read_json(prompts)["tokens"]}
    scores = {PROMPTS: cached_scores(opened, texts[PROMPTS])}
    found = []
    for path in weights:
        model, _ = load_model(path)
        if SYNTHETIC not in texts:
            texts[SYNTHETIC] = _synthetic(model, texts[PROMPTS][0][0], chosen)
        found.append(synthetic_scores(model, texts[SYNTHETIC], device))
        progress(len(found))
    scores[SYNTHETIC] = np.array(found)
    even = {name: role_scores([even_patterns(text)], text)[0] for name, text in texts.items()}
    return scores, even


def cached_scores(caches: Sequence[xr.Dataset], prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """Scores from cached patterns, [refit, layer, head, role].

    Args:
        caches: open caches of all refits.
        prompts: token ids of each prompt, BOS first.
    """
    layers, heads = caches[0].sizes["layer"], caches[0].sizes["head"]
    slabs = ((rows.reshape(-1, rows.shape[-1]), sizes) for rows, sizes in pattern_slabs(caches))
    scores = role_scores(slabs, prompts)
    return scores.reshape(layers, len(caches), heads, -1).transpose(1, 0, 2, 3)


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
