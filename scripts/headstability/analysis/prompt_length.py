"""Stability on the first tokens of prompts (docs/experiments.md, "Prompt length").

Since attention is causal, the pattern of a prompt's first tokens is the top left block of the whole
prompt's pattern: shorter prompts need no forward pass.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..conventions import triangle_entries
from ..errors import UserError
from ..measures.similarity import best_match, gram, head_stability, unit_prompts
from .blocks import PREFIX_LENGTHS
from .refit_caches import open_refits
from .similarities import pattern_slabs


def choose_prompts(
    available: np.ndarray, wanted: int, lengths: Sequence[int] | None
) -> tuple[list[int], np.ndarray]:
    """The lengths to cut prompts to, ascending, and the prompts to cut, counted from 0.

    All lengths use the same prompts: the first `wanted` (or all, if there are fewer) that have the
    largest length. `available` [prompt] and `lengths` count tokens without BOS; by default, lengths
    are those of `PREFIX_LENGTHS` that enough prompts have or, if there are none, the length they
    have. Raises UserError if too few prompts have a requested length.
    """
    wanted = min(wanted, len(available))
    longest = int(np.sort(available)[::-1][wanted - 1])
    if lengths is None:
        lengths = [length for length in PREFIX_LENGTHS if length <= longest] or [longest]
    lengths = sorted(lengths)
    if lengths[-1] > longest:
        raise UserError(
            f"prompt_lengths.tokens: {lengths[-1]} tokens are more than {wanted} prompts have; "
            f"give at most {longest}, or lower prompt_lengths.prompts"
        )
    return lengths, np.flatnonzero(available >= lengths[-1])[:wanted]


def prefix_cosines(
    slabs: Iterable[tuple[np.ndarray, np.ndarray]], chosen: np.ndarray, lengths: Sequence[int]
) -> dict[int, np.ndarray]:
    """By length, cosines of heads on the first tokens of `chosen` prompts, [layer, row, row].

    They are means over these prompts, which are counted from 0 over all slabs. Slabs are
    (rows [layer, row, entry], entries [prompt]) of whole prompts; lengths do not count BOS.
    """
    total = dict.fromkeys(lengths, 0.0)
    first = 0
    for rows, entries in slabs:
        starts = np.cumsum(entries) - entries
        here = chosen[(chosen >= first) & (chosen < first + len(entries))] - first
        first += len(entries)
        for length in lengths if len(here) else []:
            # A triangle's entries, row by row, begin with its top left block.
            kept = triangle_entries(length + 1)
            columns = (starts[here][:, None] + np.arange(kept)).ravel()
            part = gram(unit_prompts(rows[..., columns], np.full(len(here), kept)))
            total[length] = total[length] + part
    return {length: value / len(chosen) for length, value in total.items()}


def stability_by_length(
    refits: Sequence[str], paths: Sequence[str | Path], wanted: int, lengths: Sequence[int] | None
) -> pd.DataFrame:
    """Layer stability of every anchor on prompts cut to the lengths of `choose_prompts`.

    Returns tokens (without BOS), prompts, anchor, layer, stability (S_l), heads_sd (ddof 1).
    """
    caches = open_refits(refits, paths, ["pattern"])
    count, heads = len(caches), caches[0].sizes["head"]
    chosen_lengths, chosen = choose_prompts(caches[0]["prompt_length"].values - 1, wanted, lengths)
    parts = []
    for length, cosines in prefix_cosines(pattern_slabs(caches), chosen, chosen_lengths).items():
        for layer, cosine in enumerate(cosines):
            match, _ = best_match(cosine.reshape(count, heads, count, heads))
            found = pd.DataFrame(head_stability(match).T).agg(["mean", "std"]).T
            found.columns = ["stability", "heads_sd"]
            labels = {"tokens": length, "prompts": len(chosen), "anchor": refits}
            parts.append(found.assign(**labels, layer=layer + 1))
    columns = ["tokens", "prompts", "anchor", "layer", "stability", "heads_sd"]
    table = pd.concat(parts)[columns]
    return table.sort_values(["tokens", "layer"], kind="stable", ignore_index=True)
