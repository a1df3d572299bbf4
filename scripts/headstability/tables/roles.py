"""Tidy tables of what heads do, and how stable heads of each role are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..measures.roles import EVEN, ROLES, strongest_roles
from ..measures.variance import of_refits
from .intervals import INTERVAL, Seeds, interval_rows

NO_ROLE = "none"


def role_heads(scores: pd.DataFrame, matches: pd.DataFrame, least: float) -> pd.DataFrame:
    """Scores, role and stability of every head of a condition.

    Takes the scores of all refits (`analysis.cell_roles.cell_scores`) and the table `matches` of
    `measures.condition_tables`. The role is the first of ROLES whose score reaches `least`, else
    none. The columns ROLES hold the scores, the columns EVEN those of even attention on that text.
    """
    keys = ["refit", "layer", "head"]
    own = matches.drop(columns="refit").rename(columns={"anchor": "refit"})
    stability = own.groupby(keys, sort=False)["similarity"].mean().rename("stability")
    table = scores.merge(stability, on=keys, how="left", validate="many_to_one")
    table["role"] = strongest_roles(table[list(ROLES)].to_numpy(), least)
    table = table.sort_values("text", kind="stable", ignore_index=True)
    return table[["text", *keys, "stability", "role", *ROLES, *EVEN]]


def role_stability(
    heads: pd.DataFrame, matches: pd.DataFrame, seeds: Mapping[str, Sequence[int]]
) -> pd.DataFrame:
    """Mean stability of the heads of each role (those of ROLES, and none), over all refits.

    Takes what `role_heads` returned, and the matches. Column `heads`: how many, of all refits. A
    refit that is left out for the interval is also left out of the others' stability.
    """
    known = Seeds(seeds)
    keys = ["anchor", "refit", "layer", "head"]
    count = len(known.names)
    numbers = [range(1, matches[name].max() + 1) for name in ("layer", "head")]
    every = pd.MultiIndex.from_product([known.names, known.names, *numbers])
    match = matches.set_index(keys)["similarity"].reindex(every).to_numpy()
    match = match.reshape(count, count, -1)
    tables = []
    for text, rows in heads.groupby("text", sort=False):
        order = pd.MultiIndex.from_product([known.names, *numbers])
        role = rows.set_index(keys[1:])["role"].reindex(order).to_numpy().reshape(count, -1)
        for name in (*ROLES, NO_ROLE):
            has = role == name
            estimate = of_refits(lambda k, has=has: _mean(match, has, k), known.init, known.data)
            reason = known.reason or "the heads of this role are of too few refits"
            reason = reason if has.any() else "no head has this role"
            labels = {"text": text, "role": name, "heads": int(has.sum())}
            tables.append(interval_rows(estimate, reason, **labels))
    table = pd.concat(tables, ignore_index=True).assign(refits=count)
    return table[["text", "role", "heads", *INTERVAL, "refits"]]


def _mean(match: np.ndarray, has: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean of m [anchor, refit, head] over marked heads [refit, head] of kept refits, [1]."""
    if len(kept) < 2 or not has[kept].any():
        return np.array([np.nan])
    others = match[np.ix_(kept, kept)]
    stability = np.nansum(others, axis=1) / (len(kept) - 1)
    return stability[has[kept]].mean(keepdims=True)


def roles_tables(heads: pd.DataFrame, stability: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Roles of all heads and the stability of roles of all conditions, by name."""
    return {"roles": heads, "roles_stability": stability}
