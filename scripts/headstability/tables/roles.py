"""Tidy tables of what heads do, and how stable heads of each role are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..roles import EVEN, ROLES, strongest_roles
from ..variance import of_refits
from .intervals import INTERVAL, Seeds, interval_rows

NO_ROLE = "none"


def role_heads(scores: pd.DataFrame, matches: pd.DataFrame, least: float) -> pd.DataFrame:
    """Scores, role and stability of every head of a condition.

    Args:
        scores: refit and the columns of `cell_roles.cell_scores`, of all refits.
        matches: anchor, refit, layer, head, similarity: m of every head in every other refit.
        least: the score that makes a role.

    Returns:
        text, refit, layer, head, stability, role (the first that reaches `least`, else none), a
        column a role with its score, and EVEN: what even attention scores on that text.
    """
    keys = ["refit", "layer", "head"]
    stability = matches.drop(columns="refit").rename(
        columns={"anchor": "refit", "similarity": "stability"}
    )
    stability = stability.groupby(keys, sort=False)["stability"].mean().reset_index()
    table = scores.merge(stability, on=keys, how="left", validate="many_to_one")
    table["role"] = strongest_roles(table[list(ROLES)].to_numpy(), least)
    table = table.sort_values("text", kind="stable", ignore_index=True)
    return table[["text", *keys, "stability", "role", *ROLES, *EVEN]]


def role_stability(
    heads: pd.DataFrame, matches: pd.DataFrame, seeds: Mapping[str, Sequence[int]]
) -> pd.DataFrame:
    """Mean stability of the heads of each role, over all refits.

    A refit that is left out is also left out of the others' stability.

    Args:
        heads: what `role_heads` returned.
        matches: as there.
        seeds: {refit: [init seed, data seed]}.

    Returns:
        text, role (those of ROLES, and none), heads (how many, of all refits), INTERVAL, refits.
    """
    known = Seeds(seeds)
    keys = ["anchor", "refit", "layer", "head"]
    found = matches.set_index(keys)["similarity"]
    layers, most = int(matches["layer"].max()), int(matches["head"].max())
    every = pd.MultiIndex.from_product(
        [known.names, known.names, range(1, layers + 1), range(1, most + 1)], names=keys
    )
    match = found.reindex(every).to_numpy().reshape(len(known.names), len(known.names), -1)
    tables = []
    for text, rows in heads.groupby("text", sort=False):
        order = pd.MultiIndex.from_product([known.names, *every.levels[2:]])
        role = rows.set_index(["refit", "layer", "head"])["role"].reindex(order).to_numpy()
        role = role.reshape(len(known.names), -1)
        for name in (*ROLES, NO_ROLE):
            has = role == name
            estimate = of_refits(lambda k, has=has: _mean(match, has, k), known.init, known.data)
            reason = known.reason or "the heads of this role are of too few refits"
            row = interval_rows(estimate, reason if has.any() else "no head has this role")
            tables.append(row.assign(text=text, role=name, heads=int(has.sum())))
    table = pd.concat(tables, ignore_index=True).assign(refits=len(known.names))
    return table[["text", "role", "heads", *INTERVAL, "refits"]]


def _mean(match: np.ndarray, has: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean stability of the marked heads among kept refits, [1]; NaN where there are none.

    Args:
        match: m, [anchor, refit, head], NaN where both are the same refit.
        has: marks, [refit, head].
        kept: indices of refits.
    """
    if len(kept) < 2 or not has[kept].any():
        return np.array([np.nan])
    others = match[np.ix_(kept, kept)]
    stability = np.nansum(others, axis=1) / (len(kept) - 1)
    return stability[has[kept]].mean(keepdims=True)
