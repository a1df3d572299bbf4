"""Scores of known roles of a cell's heads (docs/statistics.md, "Roles")."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..errors import UserError
from ..measures.roles import EVEN, ROLES, even_patterns, repeated_prompts, role_scores
from ..models.checkpoints import load_model
from ..models.interface import LanguageModel
from ..models.precision import inference
from ..storage.files import read_json, sha256_file
from .blocks import ROLE_PROMPTS, ROLE_TOKENS
from .refit_caches import open_refits
from .similarities import pattern_slabs

# Kinds of text: the study's prompts, and prompts in which a random sequence occurs twice.
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

    `chosen` has tokens, prompts and seed of the config's section `roles`. Returns text, layer,
    head, one column of scores for each role, and EVEN: the scores of even attention on that text.
    Raises UserError if cache, refit and prompts do not belong together or synthetic prompts do not
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
    slabs = ((rows.reshape(-1, rows.shape[-1]), sizes) for rows, sizes in pattern_slabs([opened]))
    cached = role_scores(slabs, real).reshape(*opened["pattern"].shape[:2], -1)
    tables = [_table(PROMPTS, real, cached)]
    tables += [_table(SYNTHETIC, synthetic, synthetic_scores(model, synthetic, device))]
    return pd.concat(tables, ignore_index=True)


def _table(name: str, text: Sequence[Sequence[int]], scores: np.ndarray) -> pd.DataFrame:
    """Scores [layer, head, role] on a text, one row for each head."""
    layer, head = np.indices(scores.shape[:2]).reshape(2, -1)
    table = pd.DataFrame({"text": name, "layer": layer + 1, "head": head + 1})
    table[list(ROLES)] = scores.reshape(-1, len(ROLES))
    table[EVEN] = role_scores([even_patterns(text)], text)[0]
    return table


def _synthetic(model: LanguageModel, bos: int, chosen: Mapping[str, Any]) -> list[list[int]]:
    shape = model.shape
    length = chosen["tokens"] or default_tokens(shape.context, shape.vocabulary)
    if not 1 <= length < shape.vocabulary:
        raise UserError(
            f"a sequence of {length} different tokens, twice, does not fit a vocabulary of "
            f"{shape.vocabulary} and a context of {shape.context}: lower roles.tokens, or leave "
            "roles out (key figures.include)"
        )
    return repeated_prompts(shape.vocabulary, bos, chosen["prompts"], length, chosen["seed"])


def default_tokens(context: int, vocabulary: int) -> int:
    """Length of a sequence that fits twice after BOS; at most ROLE_TOKENS."""
    return min(ROLE_TOKENS, (context - 1) // 2, vocabulary - 1)


def synthetic_scores(
    model: LanguageModel, prompts: Sequence[Sequence[int]], device: torch.device
) -> np.ndarray:
    """Scores of heads on prompts of one length, [layer, head, role] in the order of ROLES."""
    model = model.to(device)
    shape = model.shape
    with inference(model.modules(), device):
        scores = role_scores(_slabs(model, prompts, device), prompts)
    return scores.reshape(shape.layers, shape.heads, -1)


def _slabs(
    model: LanguageModel, prompts: Sequence[Sequence[int]], device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lower triangles of patterns of all heads, (rows [layer x head, entry], entries [prompt])."""
    rows, columns = np.tril_indices(len(prompts[0]))
    for start in range(0, len(prompts), ROLE_PROMPTS):
        batch = prompts[start : start + ROLE_PROMPTS]
        traces = model.trace(torch.tensor(batch, device=device))
        patterns = np.stack([trace.pattern.cpu().numpy() for trace in traces])
        packed = patterns[..., rows, columns]  # [layer, prompt, head, entry]
        layers, _, heads, _ = packed.shape
        slab = packed.transpose(0, 2, 1, 3).reshape(layers * heads, -1)
        yield slab, np.full(len(batch), len(rows))
