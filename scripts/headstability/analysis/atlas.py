"""An anchor's heads beside their best matches (docs/experiments.md, "Head atlas")."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import UserError
from ..storage.files import read_json
from ..storage.stores import pattern_of
from ..text.tokenizers import load_own_tokenizer
from .refit_caches import open_refits

_MARKS = {" ": "␣", "\n": "↵", "\t": "→"}  # shown for invisible characters


def visible(token: str) -> str:
    """A token as a label: invisible characters get a mark, and no label is empty."""
    return "".join(_MARKS.get(c, c if c.isprintable() else "\ufffd") for c in token) or "∅"


def token_labels(
    prompts: Mapping[str, Any], prompt: int, decode: Callable[[list[int]], str]
) -> list[str]:
    """The tokens of one prompt, counted from 1, as labels; UserError if there is no such prompt."""
    available = len(prompts["tokens"])
    if prompt > available:
        raise UserError(
            f"atlas.prompt: {prompt} is beyond the {available} prompts of prompts.{prompts['name']}"
        )
    ids = prompts["tokens"][prompt - 1]
    return ["BOS" if token == prompts["bos"] else visible(decode([token])) for token in ids]


def choose_heads(stability: pd.DataFrame, rows: int) -> pd.DataFrame:
    """The most and the least stable head of layers spread over the depth, at most `rows` (>= 2).

    `stability` is one anchor's layer, head and stability; `kind`, added to it, is `most stable` or
    `least stable`.
    """
    layers = np.sort(stability["layer"].unique())
    count = min(rows // 2, len(layers))
    spread = layers[np.unique(np.linspace(0, len(layers) - 1, count).round().astype(int))]
    chosen = []
    for layer in spread:
        part = stability[stability["layer"] == layer]
        places = {"most stable": part["stability"].idxmax()}
        if len(part) > 1:
            places["least stable"] = part["stability"].idxmin()
        chosen += [part.loc[[place]].assign(kind=kind) for kind, place in places.items()]
    return pd.concat(chosen, ignore_index=True)[["layer", "head", "stability", "kind"]]


def atlas_table(
    caches: Mapping[str, xr.Dataset],
    heads: pd.DataFrame,
    matches: pd.DataFrame,
    labels: Sequence[str],
    prompt: int,
    tokens: int,
) -> pd.DataFrame:
    """Patterns of chosen heads of the anchor and of their best matches, on one prompt.

    `caches` are open caches by refit, the anchor's first; `heads` is from `choose_heads` and
    `labels` from `token_labels`; `matches` has anchor, refit, layer, head, match, similarity.
    `prompt` is counted from 1, and its first `tokens` positions are shown.

    Returns layer, head (of the anchor), stability, kind, refit, match (the head shown), cosine (of
    the two heads, mean over all prompts; empty for the anchor itself), query, key (from 1),
    query_token, key_token, attention.
    """
    anchor, *others = caches
    found = matches.set_index(["anchor", "refit", "layer", "head"])[["match", "similarity"]]
    shown = np.array(labels[:tokens])
    query, key = np.tril_indices(len(shown))
    parts = []
    for row in heads.itertuples(index=False):
        pairs = [(anchor, row.head, np.nan)]
        for refit in others:
            match, similarity = found.loc[(anchor, refit, row.layer, row.head)]
            pairs.append((refit, int(match), similarity))
        for refit, match, cosine in pairs:
            pattern = pattern_of(caches[refit], row.layer, match, prompt).values
            content = {
                **row._asdict(),
                "refit": refit,
                "match": match,
                "cosine": cosine,
                "query": query + 1,
                "key": key + 1,
                "query_token": shown[query],
                "key_token": shown[key],
                "attention": pattern[query, key],
            }
            parts.append(pd.DataFrame(content))
    return pd.concat(parts, ignore_index=True)


def head_atlas_table(
    caches: Sequence[str],
    heads: pd.DataFrame,
    matches: pd.DataFrame,
    prompts: Sequence[str],
    tokenizer: Sequence[str],
    anchor: str,
    refits: Sequence[str],
    bos: str | None,
    shown_heads: int,
    prompt: int,
    tokens: int,
) -> pd.DataFrame:
    """`atlas_table` of one condition, from its files.

    `caches` are paths of the caches of `refits`, the anchor's first; `heads` has anchor, layer,
    head and stability of all anchors. At most `shown_heads` heads of `anchor` are shown.
    """
    opened = dict(zip(refits, open_refits(refits, caches, ["pattern"]), strict=True))
    chosen = choose_heads(heads[heads["anchor"] == anchor], shown_heads)
    decode = partial(load_own_tokenizer(tokenizer[0], bos).decode, skip_special_tokens=False)
    labels = token_labels(read_json(prompts[0]), prompt, decode)
    return atlas_table(opened, chosen, matches, labels, prompt, tokens)
