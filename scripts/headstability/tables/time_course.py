"""The tidy table of measures over training."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..conventions import CONDITION
from ..measures.variance import mean_of_refits
from .intervals import INTERVAL, Seeds, interval_rows, stability_and_recurrence, with_mean
from .replicates import by_condition


def time_course_table(
    stability: pd.DataFrame,
    shared: pd.DataFrame,
    twins: pd.DataFrame | None,
    ablations: pd.DataFrame,
    seeds: Mapping[str, Sequence[int]],
    tokens_per_step: int,
) -> pd.DataFrame:
    """When stability, recurrence and ablation effects arise.

    Takes what `stability_and_recurrence` takes and ablation effects of heads by refit and method,
    all with their step. Returns estimates (INTERVAL) by CONDITION, step, tokens (training tokens
    seen), measure (stability; mu and rho of text similarity; delta_loss_<method>: nats, mean over
    the heads of a layer) and layer ("all": the mean over layers).
    """
    known = Seeds(seeds)
    tables = []
    for step, at_step in stability.groupby("step", sort=False):
        alike = None if twins is None else twins[twins["step"] == step]
        here = shared[shared["step"] == step]
        found = stability_and_recurrence(at_step, here, alike, known)
        tables += [rows.assign(step=step) for rows in found]
    for (step, method), part in ablations.groupby(["step", "method"], sort=False):
        measure = f"delta_loss_{method}"
        for labels, effects in by_condition(part):
            layers, values = with_mean(_effects(effects, known.names))
            estimate = mean_of_refits(values.T, known.init, known.data)
            labels |= {"layer": layers, "measure": measure, "step": step}
            tables.append(interval_rows(estimate, known.reason, **labels))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(tokens=table["step"] * tokens_per_step, refits=len(known.names))
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
