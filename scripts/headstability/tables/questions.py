"""Tidy tables of what a study's design can answer: crossed seeds, doses, numbers of refits."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..conventions import ALL, CONDITION
from ..measures.variance import (
    expected_width,
    mean_of_refits,
    pair_variance,
    refits_needed,
    shared_seeds,
    similarity_by_shared_seeds,
    variance_components,
    widths_by_refits,
)
from .intervals import INTERVAL, Seeds, interval_rows, stability_and_recurrence, with_mean
from .replicates import by_condition, pair_matrices

# Numbers of refits at which widths are drawn: every number up to this, then increasingly sparse.
_EVERY_SIZE, _SIZES = 10, 8


def origin_table(pairs: pd.DataFrame, seeds: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Where instability comes from, by layer ("all": the mean over layers).

    Takes stability by CONDITION, refit_a, refit_b and layer. Returns estimates (INTERVAL) of two
    quantities by source: similarity of pairs, by what they share (init, data, neither; the column
    `pairs` counts them), and variance components (init, data, rest). The last columns count seeds.
    """
    known = Seeds(seeds)
    counts = {name: mask.sum() // 2 for name, mask in shared_seeds(known.init, known.data).items()}
    tables = []
    for labels, part in by_condition(pairs):
        layers, values = with_mean(pair_matrices(part, "stability", known.names))
        quantities = {
            "similarity": similarity_by_shared_seeds(values, known.init, known.data),
            "variance": variance_components(values, known.init, known.data),
        }
        for quantity, estimates in quantities.items():
            estimates.pop("both", None)  # crossing never repeats a run
            for source, estimate in estimates.items():
                shared = counts[source] if quantity == "similarity" else pd.NA
                labels |= {"layer": layers, "quantity": quantity, "source": source}
                tables.append(interval_rows(estimate, known.reason, pairs=shared, **labels))
    table = pd.concat(tables, ignore_index=True).astype({"pairs": "Int64"})
    table["init_seeds"] = len(np.unique(known.init))
    table["data_seeds"] = len(np.unique(known.data))
    keys = [*CONDITION, "layer", "quantity", "source"]
    return table[[*keys, *INTERVAL, "pairs", "init_seeds", "data_seeds"]]


def dose_table(
    stability: pd.DataFrame,
    shared: pd.DataFrame,
    twins: pd.DataFrame | None,
    refits: pd.DataFrame,
    seeds: Mapping[str, Sequence[int]],
    learning_rate: float,
    steps: int,
) -> pd.DataFrame:
    """Stability, what refits share, recurrence and held-out loss by weight decay.

    Takes what `stability_and_recurrence` takes, and held_out_loss by CONDITION and refit. Returns
    estimates (INTERVAL) by CONDITION, dose (peak learning rate x weight decay x steps), measure
    (stability; mu and rho of text similarity; held_out_loss in nats) and layer ("all": the mean
    over layers; the only one of the loss).
    """
    known = Seeds(seeds)
    tables = list(stability_and_recurrence(stability, shared, twins, known))
    for labels, part in by_condition(refits):
        losses = part.set_index("refit").loc[known.names, ["held_out_loss"]].to_numpy()
        estimate = mean_of_refits(losses, known.init, known.data)
        labels |= {"layer": ALL, "measure": "held_out_loss"}
        tables.append(interval_rows(estimate, known.reason, **labels))
    table = pd.concat(tables, ignore_index=True)
    table["dose"] = learning_rate * table["weight_decay"].astype(float) * steps
    table["refits"] = len(known.names)
    return table[[*CONDITION, "dose", "measure", "layer", *INTERVAL, "refits"]]


def refits_needed_table(
    pairs: pd.DataFrame, refits: Sequence[str], width: float, draws: int, seed: int
) -> pd.DataFrame:
    """How wide intervals of layer stability are, by the number of refits, and how many are needed.

    Takes stability by CONDITION, refit_a, refit_b and layer, of independent refits. Returns, by
    CONDITION, layer ("all": the mean over layers), source and number of refits, the width of the
    95 % interval. Source `drawn`: the median over `draws` random subsets of the refits, with the
    middle 80 % of them (width_low, width_high); `expected`: from node and pair variance. The column
    `needed` is the fewest refits with the wanted width, `reason` says why something is missing.
    """
    tables = []
    for labels, part in by_condition(pairs):
        layers, values = with_mean(pair_matrices(part, "stability", refits))
        widths = _drawn_widths(values, draws, seed)
        for layer, matrix, drawn in zip(layers, values, widths, strict=True):
            tables.append(_needed(matrix, drawn, width).assign(layer=layer, **labels))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(wanted=width, measured=len(refits), draws=draws, seed=seed)
    widths_of = ["width", "width_low", "width_high", "wanted", "needed", "measured", "reason"]
    columns = [*CONDITION, "layer", "source", "refits", *widths_of, "draws", "seed"]
    # Where too few refits were measured some columns are empty.
    return table.reindex(columns=columns).astype({"refits": "Int64", "needed": "Int64"})


def _sizes(first: int, last: int) -> np.ndarray:
    """Whole numbers from the first to the last: all up to 10, then evenly on a log scale."""
    early = np.arange(first, min(_EVERY_SIZE, last) + 1)
    late = np.geomspace(_EVERY_SIZE, last, _SIZES).round() if last > _EVERY_SIZE else []
    return np.unique([*early, *late]).astype(int)


def _drawn_widths(values: np.ndarray, draws: int, seed: int) -> list[pd.DataFrame]:
    """For each layer, widths at smaller numbers of refits; values [layer, refit, refit]."""
    sizes = _sizes(3, values.shape[-1])
    columns = ["width_low", "width", "width_high"]
    if not len(sizes):
        return [pd.DataFrame(columns=["refits", *columns])] * len(values)
    widths = widths_by_refits(values, sizes, draws, seed)  # [size, draw, layer]
    middle = np.quantile(widths, [0.1, 0.5, 0.9], axis=1)  # [column, size, layer]
    return [
        pd.DataFrame(middle[..., layer].T, columns=columns).assign(refits=sizes)
        for layer in range(len(values))
    ]


def _needed(pairs: np.ndarray, drawn: pd.DataFrame, width: float) -> pd.DataFrame:
    """Drawn and expected widths of one layer, and how many refits it needs."""
    count = len(pairs)
    missing = "how many are needed shows from 4 refits on"
    if count < 3:
        reason = f"an interval needs 3 refits; {missing}"
        return pd.DataFrame([{"source": "drawn", "reason": reason}])
    drawn = drawn.assign(source="drawn")
    if count < 4:
        return drawn.assign(reason=missing)
    variance = pair_variance(pairs)
    needed = refits_needed(variance, width)
    sizes = _sizes(4, max(2 * count, needed or 0))
    widths = expected_width(variance, sizes)
    expected = pd.DataFrame({"source": "expected", "refits": sizes, "width": widths})
    reason = "" if needed else "10,000 refits are not enough"
    return pd.concat([drawn, expected]).assign(needed=needed or pd.NA, reason=reason)
