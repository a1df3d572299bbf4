"""Tidy table of stability by prompt length."""

import pandas as pd

from ..labels import ALL, CONDITION


def prompt_length_table(lengths: pd.DataFrame) -> pd.DataFrame:
    """S_l of every anchor and prompt length, and the mean over anchors (anchor "all").

    Args:
        lengths: CONDITION, tokens, prompts, anchor, layer, stability, heads_sd.

    Returns:
        The same columns and refits; heads_sd is empty for "all".
    """
    keys = [*CONDITION, "tokens", "prompts", "layer"]
    groups = lengths.groupby(keys, sort=False, as_index=False)
    overall = groups.agg(stability=("stability", "mean"), refits=("anchor", "nunique"))
    anchors = lengths.merge(overall[[*keys, "refits"]], on=keys, validate="many_to_one")
    table = pd.concat([overall.assign(anchor=ALL), anchors], ignore_index=True)
    return table[
        [*CONDITION, "tokens", "prompts", "anchor", "layer", "stability", "heads_sd", "refits"]
    ]
