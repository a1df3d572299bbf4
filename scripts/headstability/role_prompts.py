"""Scores of known roles of a model's heads on synthetic prompts (docs/statistics.md, "Roles")."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from .precision import inference
from .roles import role_scores
from .traced import TracedModel

# Tokens of the repeated sequence where the config names no number, if they fit the context.
MOST_TOKENS = 25
PROMPTS_PER_BATCH = 8


def default_tokens(context: int, vocabulary: int) -> int:
    """Tokens of a sequence that fits twice, BOS before it: 25 at most."""
    return min(MOST_TOKENS, (context - 1) // 2, vocabulary - 1)


def synthetic_scores(
    model: TracedModel, prompts: Sequence[Sequence[int]], device: torch.device
) -> np.ndarray:
    """Scores of every head of a model on prompts of one length.

    Args:
        model: the model.
        prompts: token ids, BOS first, all of one length.
        device: where to run.

    Returns:
        [layer, head, role] in the order of `roles.ROLES`.
    """
    model = model.to(device)
    shape = model.shape
    with inference(model.modules(), device):
        scores = role_scores(_slabs(model, prompts, device), prompts)
    return scores.reshape(shape.layers, shape.heads, -1)


def _slabs(
    model: TracedModel, prompts: Sequence[Sequence[int]], device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Packed triangles of all heads, (rows [layer x head, entry], entries [prompt])."""
    rows, columns = np.tril_indices(len(prompts[0]))
    for start in range(0, len(prompts), PROMPTS_PER_BATCH):
        batch = prompts[start : start + PROMPTS_PER_BATCH]
        traces = model.trace(torch.tensor(batch, device=device))
        patterns = np.stack([trace.pattern.cpu().numpy() for trace in traces])
        packed = patterns[..., rows, columns]  # [layer, prompt, head, entry]
        layers, _, heads, _ = packed.shape
        slab = packed.transpose(0, 2, 1, 3).reshape(layers * heads, -1)
        yield slab, np.full(len(batch), len(rows))
