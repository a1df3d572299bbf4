"""The tidy table of measures over training."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..labels import CONDITION
from ..variance import mean_of_pairs, mean_of_refits
from .intervals import INTERVAL, Seeds, by_condition, interval_rows, with_mean


def time_course_table(
    pairs: Mapping[str, pd.DataFrame],
    ablations: pd.DataFrame,
    seeds: Mapping[str, Sequence[int]],
    tokens_per_step: int,
) -> pd.DataFrame:
    """When stability and ablation effects arise.

    Args:
        pairs: by measure (stability, excess, ...): CONDITION, step, refit_a, refit_b, layer and a
            column of the measure's name.
        ablations: CONDITION, refit, step, layer, head, method, delta_loss.
        seeds: {refit: [init seed, data seed]}.
        tokens_per_step: batch x context.

    Returns:
        CONDITION, step, tokens (training tokens seen), measure (those of `pairs`, and
        delta_loss_<method>: nats, mean over the heads of a layer), layer ("all": the mean over
        layers), INTERVAL, refits.
    """
    known = Seeds(seeds)
    tables = []
    for measure, table in pairs.items():
        for step, at_step in table.groupby("step", sort=False):
            for labels, part in by_condition(at_step):
                layers, values = with_mean(known.pairs(part, measure))
                estimate = mean_of_pairs(values, known.init, known.data)
                rows = interval_rows(estimate, known.reason)
                tables.append(rows.assign(layer=layers, measure=measure, step=step, **labels))
    for (step, method), part in ablations.groupby(["step", "method"], sort=False):
        for labels, effects in by_condition(part):
            layers, values = with_mean(_effects(effects, known.names))
            estimate = mean_of_refits(values.T, known.init, known.data)
            rows = interval_rows(estimate, known.reason)
            rows = rows.assign(layer=layers, measure=f"delta_loss_{method}", step=step)
            tables.append(rows.assign(**labels))
    table = pd.concat(tables, ignore_index=True)
    table["tokens"] = table["step"] * tokens_per_step
    table["refits"] = len(known.names)
    columns = [*CONDITION, "step", "tokens", "measure", "layer", *INTERVAL, "refits"]
    return _sorted(table)[columns].reset_index(drop=True)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """Conditions and measures in the order they came in, each in the order of steps."""
    keys = {"condition": CONDITION, "of": ["measure"]}
    ranks = {name: table.groupby(key, sort=False).ngroup() for name, key in keys.items()}
    order = pd.DataFrame({**ranks, "step": table["step"]})
    return table.loc[order.sort_values([*order], kind="stable").index]


def _effects(table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Mean over heads of the ablation effect, [layer, refit]."""
    means = table.groupby(["layer", "refit"])["delta_loss"].mean().unstack("refit")
    return means[list(names)].to_numpy()
