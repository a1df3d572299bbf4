"""From measured tables to what the claims are tested on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..labels import CONDITION
from ..uncertainty import over_refits
from .claims import EXCESS, RAW, Condition
from .replicates import head_matrices, layer_replicates, pair_matrices, with_prompts

HELD_OUT = "held_out"
STREAM, WRITTEN = "resid_mid", "z_cka_of_layer"


def claim_conditions(
    tables: Mapping[str, pd.DataFrame],
    shapes: Mapping[str, Mapping[str, Any]],
    refits: Sequence[str],
    method: str,
) -> list[Condition]:
    """What each condition brings to the claims.

    Args:
        tables: each with CONDITION: `pairs`, `without_prompts` and `matches` (of
            `adjusted_conditions`), `commonness`, `residual`, `ablation` (with refit) and
            `perplexity`.
        shapes: the config's architectures.
        refits: names of the refits.
        method: which ablation is used.
    """
    keys = tables["pairs"][CONDITION].drop_duplicates().itertuples(index=False, name=None)
    made = []
    for key in keys:
        here = {name: _of(table, key) for name, table in tables.items()}
        pairs, without, matches = (here[n] for n in ("pairs", "without_prompts", "matches"))
        matches = matches.assign(excess=matches["raw"] - matches["shuffled"])
        zeroed = here["ablation"][here["ablation"]["method"] == method]
        held_out = here["perplexity"][here["perplexity"]["text"] == HELD_OUT]
        heads = head_matrices(zeroed, ["refit"], "delta_loss", refits)
        common = head_matrices(here["commonness"], ["refit"], "commonness", refits)
        distinct = over_refits(1 - common.mean(axis=2).T)
        made.append(
            Condition(
                architecture=key[0],
                weight_decay=key[1],
                shape=shapes[key[0]],
                stability={
                    name: layer_replicates(pairs, without, name, refits) for name in (RAW, EXCESS)
                },
                distinctness=with_prompts(distinct, without, "distinctness"),
                match={
                    name: head_matrices(matches, ["anchor", "refit"], name, refits)
                    for name in (RAW, EXCESS)
                },
                delta_loss=heads.transpose(1, 0, 2),
                perplexity=held_out.set_index("refit")["perplexity"][list(refits)].to_numpy(),
                stream=_stream(here["residual"], refits),
                heads_written=_written(pairs, refits),
            )
        )
    return made


def _of(table: pd.DataFrame, key: tuple[str, str]) -> pd.DataFrame:
    return table[(table[CONDITION] == list(key)).all(axis=1)]


def _stream(pairs: pd.DataFrame, refits: Sequence[str]) -> np.ndarray | None:
    """Debiased linear CKA of the stream after attention, as far as it is kept."""
    chosen = pairs[
        (pairs["stream"] == STREAM)
        & (pairs["kernel"] == "linear")
        & (pairs["estimator"] == "debiased")
    ]
    return None if chosen.empty else pair_matrices(chosen, "cka", refits)


def _written(pairs: pd.DataFrame, refits: Sequence[str]) -> np.ndarray | None:
    chosen = pairs[pairs["measure"] == WRITTEN]
    return None if chosen.empty else pair_matrices(chosen, "stability", refits)
