"""Tidy tables of what refits share, and of whether single heads come back."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..conventions import ALL, CONDITION
from ..measures.claims import mean_of_layers
from ..measures.recurrence import combined, recurrence
from ..measures.uncertainty import Replicated, over_refits
from ..measures.variance import shared_seeds
from .adjusted import estimate_rows
from .replicates import by_condition, pair_matrices, rows_of, shared_replicates

# Models that share everything but the weight decay.
TWINS = "twins"
# What pairs of refits share, in words.
_SHARED = {"both": "init and data seed", "init": "init seed", "data": "data seed"}
_SHARED |= {"neither": "neither seed"}


def recurrence_tables(
    shared: pd.DataFrame,
    untrained: pd.DataFrame | None,
    identity: pd.DataFrame,
    twins: pd.DataFrame | None,
    seeds: Mapping[str, Sequence[int]],
    heads: Mapping[str, int],
    crossed: bool,
) -> dict[str, pd.DataFrame]:
    """`recurrence_table` and `identity_table`, by name."""
    return {
        "recurrence": recurrence_table(shared, untrained, twins, seeds, crossed),
        "identity": identity_table(identity, twins, seeds, heads, crossed),
    }


def recurrence_table(
    shared: pd.DataFrame,
    untrained: pd.DataFrame | None,
    twins: pd.DataFrame | None,
    seeds: Mapping[str, Sequence[int]],
    crossed: bool,
) -> pd.DataFrame:
    """What refits share (mu) and whether their heads come back (rho), by measure and layer.

    Args:
        shared: CONDITION and the table of that name of `analysis.adjusted.adjusted_tables`.
        untrained: the same of step 0 by architecture, of one weight decay, as initial weights are
            equal; None: no such weights are kept.
        twins: architecture and the table of `analysis.twins.twin_table`; None: one weight decay.
        seeds: init seed and data seed of every refit.
        crossed: whether refits cross init and data seeds, which leaves no interval.

    Returns:
        CONDITION, layer (from 1; all: the mean over layers), measure, statistic, value, se_refit,
        se_prompt, low, high (95 %), refits, reason (why something is empty). Statistics are those
        of `measures.recurrence`, `ceiling` (similarity of twins) and, at step 0, `mu_untrained` and
        `rho_untrained`; rho has the twins' ceiling where there are twins, else 1.
    """
    refits = sorted(seeds, key=seeds.__getitem__)
    apart = len({seeds[name][0] for name in refits}) == len(refits)
    parts = []
    for condition, rows in by_condition(shared):
        found = recurrence_replicates(rows, twins, condition, refits)
        if untrained is not None and apart:
            first = rows_of(untrained, architecture=condition["architecture"])
            for (measure, statistic), values in shared_replicates(first, refits).items():
                if statistic in ("mu", "rho"):
                    found[measure, f"{statistic}_untrained"] = values
        for (measure, statistic), values in found.items():
            labels = condition | {"measure": measure, "statistic": statistic}
            parts.append(_rows(labels, values, crossed))
    table = pd.concat(parts, ignore_index=True)
    order = {name: place for place, name in enumerate(table["measure"].unique())}
    table = table.sort_values(
        "measure", key=lambda names: names.map(order), kind="stable", ignore_index=True
    )
    ranks = table.groupby(CONDITION, sort=False).ngroup()
    return table.loc[ranks.sort_values(kind="stable").index].reset_index(drop=True)


def recurrence_replicates(
    shared: pd.DataFrame,
    twins: pd.DataFrame | None,
    condition: Mapping[str, str],
    refits: Sequence[str],
) -> dict[tuple[str, str], Replicated]:
    """Statistics of one condition by (measure, statistic), [layer], with the twins' ceiling.

    Args:
        shared: of the condition.
        twins: as for `recurrence_table`.
        condition: its labels.
        refits: names of the refits.
    """
    found = shared_replicates(shared, refits)
    if twins is None:
        return found
    for measure in dict.fromkeys(measure for measure, _ in found):
        rows = rows_of(twins, **condition, measure=measure)
        if rows.empty:
            continue
        ceiling = twin_replicates(rows, "similarity", refits)
        parts = [found[measure, name] for name in ("T", "T0", "mu")]
        found[measure, "rho"] = combined(recurrence, *parts, ceiling)
        found[measure, "ceiling"] = ceiling
    return found


def twin_replicates(rows: pd.DataFrame, column: str, refits: Sequence[str]) -> Replicated:
    """A column of twins of one condition and measure: the mean over refits and other decays."""
    means = rows.groupby(["group", "refit", "layer"])[column].mean().unstack("layer")
    groups = [means.loc[group].loc[list(refits)].to_numpy() for group in means.index.levels[0]]
    empty = np.empty((0, *groups[0].shape))
    return over_refits(groups[0], np.stack(groups[1:]) if groups[1:] else empty)


def _rows(labels: Mapping[str, str], values: Replicated, crossed: bool) -> pd.DataFrame:
    """Rows of one statistic: the mean over layers, then every layer."""
    layers = [ALL, *map(str, range(1, len(values.value) + 1))]
    table = estimate_rows(prepended_mean(values).estimate(), crossed)
    return table.assign(**labels, layer=layers)[_COLUMNS]


def prepended_mean(values: Replicated) -> Replicated:
    """The mean over layers, then every layer, [1 + layer]."""
    mean = mean_of_layers(values)
    parts = zip(
        (mean.value, mean.refits, mean.prompts),
        (values.value, values.refits, values.prompts),
        strict=True,
    )
    return Replicated(*(np.concatenate([[one], rest]) for one, rest in parts))


_COLUMNS = [
    *CONDITION,
    *("layer", "measure", "statistic"),
    *("value", "se_refit", "se_prompt", "low", "high", "refits", "reason"),
]


def identity_table(
    identity: pd.DataFrame,
    twins: pd.DataFrame | None,
    seeds: Mapping[str, Sequence[int]],
    heads: Mapping[str, int],
    crossed: bool,
) -> pd.DataFrame:
    """How often the one-to-one match of a head has its own index, by what two models share.

    Args:
        identity: CONDITION, refit_a, refit_b, layer, measure, same_index.
        twins: as for `recurrence_table`.
        seeds: init seed and data seed of every refit.
        heads: heads of a layer, by architecture.
        crossed: whether refits cross init and data seeds, which leaves no interval.

    Returns:
        CONDITION, layer, measure, pairs_share (twins: both seeds, but not the weight decay; init
        seed; data seed; neither seed), value, se_refit, se_prompt, low, high, refits, reason,
        chance (1/H).
    """
    refits = sorted(seeds, key=seeds.__getitem__)
    masks = shared_seeds(*np.array([seeds[name] for name in refits]).T)
    parts = []
    for (measure, *key), rows in identity.groupby(["measure", *CONDITION], sort=False):
        labels = dict(zip(CONDITION, key, strict=True))
        matrices = pair_matrices(rows, "same_index", refits)
        found = {
            _SHARED[name]: _over_masked_pairs(matrices, mask)
            for name, mask in masks.items()
            if mask.any()
        }
        if twins is not None:
            same = rows_of(twins, **labels, measure=measure)
            if not same.empty:
                found = {TWINS: twin_replicates(same, "same_index", refits)} | found
        for share, values in found.items():
            table = estimate_rows(values.estimate(), crossed)
            layers = range(1, len(values.value) + 1)
            chance = 1 / heads[labels["architecture"]]
            more = {"measure": measure, "pairs_share": share, "chance": chance}
            parts.append(table.assign(**labels, **more, layer=layers))
    columns = [name for name in _COLUMNS if name != "statistic"]
    columns.insert(4, "pairs_share")
    return pd.concat(parts, ignore_index=True)[[*columns, "chance"]]


def _over_masked_pairs(matrices: np.ndarray, mask: np.ndarray) -> Replicated:
    """Mean over the pairs of a mask [refit, refit], and the same without each refit."""

    def mean(kept: np.ndarray) -> np.ndarray:
        chosen = mask[np.ix_(kept, kept)]
        if not chosen.any():
            return np.full(len(matrices), np.nan)
        return matrices[:, kept[:, None], kept][:, chosen].mean(axis=1)

    refits = np.arange(len(mask))
    without = [mean(np.delete(refits, refit)) for refit in refits]
    return Replicated(mean(refits), np.stack(without, axis=-1), np.empty((len(matrices), 0)))
