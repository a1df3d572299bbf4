"""Tidy tables of what designs of a study can tell: seeds crossed, doses, numbers of refits."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..labels import ALL, CONDITION
from ..variance import (
    expected_width,
    mean_of_pairs,
    mean_of_refits,
    pair_variance,
    refits_needed,
    shared_seeds,
    similarity_by_shared_seeds,
    variance_components,
    widths_by_refits,
)
from .intervals import INTERVAL, Seeds, by_condition, interval_rows, with_mean

# Numbers of refits at which widths are drawn: every one up to this, then ever fewer.
_EVERY_SIZE, _SIZES = 10, 8


def origin_table(pairs: pd.DataFrame, seeds: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Where instability comes from, by layer.

    Args:
        pairs: CONDITION, refit_a, refit_b, layer, stability.
        seeds: {refit: [init seed, data seed]}.

    Returns:
        CONDITION, layer ("all": the mean over layers), quantity (similarity of pairs, or variance
        component), source (what pairs share: init, data, neither; or what the component is of:
        init, data, rest), INTERVAL, pairs (how many share that; empty for components),
        init_seeds, data_seeds.
    """
    known = Seeds(seeds)
    counts = {name: mask.sum() // 2 for name, mask in shared_seeds(known.init, known.data).items()}
    tables = []
    for labels, part in by_condition(pairs):
        layers, values = with_mean(known.pairs(part))
        quantities = {
            "similarity": similarity_by_shared_seeds(values, known.init, known.data),
            "variance": variance_components(values, known.init, known.data),
        }
        for quantity, estimates in quantities.items():
            for source, estimate in estimates.items():
                shared = counts[source] if quantity == "similarity" else pd.NA
                if source == "both":
                    continue  # crossing gives no run twice
                rows = interval_rows(estimate, known.reason)
                rows = rows.assign(layer=layers, quantity=quantity, source=source, pairs=shared)
                tables.append(rows.assign(**labels))
    table = pd.concat(tables, ignore_index=True).astype({"pairs": "Int64"})
    table = table.assign(
        init_seeds=len(np.unique(known.init)), data_seeds=len(np.unique(known.data))
    )
    keys = [*CONDITION, "layer", "quantity", "source"]
    return table[[*keys, *INTERVAL, "pairs", "init_seeds", "data_seeds"]]


def dose_table(
    pairs: Mapping[str, pd.DataFrame],
    refits: pd.DataFrame,
    seeds: Mapping[str, Sequence[int]],
    rate_and_steps: tuple[float, int],
) -> pd.DataFrame:
    """Measures by weight decay, with held-out loss beside them.

    Args:
        pairs: by measure (stability, excess, ...): CONDITION, refit_a, refit_b, layer and a
            column of the measure's name.
        refits: CONDITION, refit, held_out_loss.
        seeds: {refit: [init seed, data seed]}.
        rate_and_steps: peak learning rate, and optimiser steps.

    Returns:
        CONDITION, dose (learning rate x weight decay x steps), measure (those of `pairs`, and
        held_out_loss in nats), layer ("all": the mean over layers; the only one of the loss),
        INTERVAL, refits.
    """
    known = Seeds(seeds)
    tables = []
    for measure, table in pairs.items():
        for labels, part in by_condition(table):
            layers, values = with_mean(known.pairs(part, measure))
            estimate = mean_of_pairs(values, known.init, known.data)
            rows = interval_rows(estimate, known.reason).assign(layer=layers, measure=measure)
            tables.append(rows.assign(**labels))
    for labels, part in by_condition(refits):
        losses = part.set_index("refit").loc[known.names, ["held_out_loss"]].to_numpy()
        estimate = mean_of_refits(losses, known.init, known.data)
        rows = interval_rows(estimate, known.reason).assign(layer=ALL, measure="held_out_loss")
        tables.append(rows.assign(**labels))
    table = pd.concat(tables, ignore_index=True)
    rate, steps = rate_and_steps
    table["dose"] = rate * table["weight_decay"].astype(float) * steps
    table["refits"] = len(known.names)
    return table[[*CONDITION, "dose", "measure", "layer", *INTERVAL, "refits"]]


def refits_needed_table(
    pairs: pd.DataFrame, refits: Sequence[str], width: float, draws: int, seed: int
) -> pd.DataFrame:
    """How wide intervals of layer stability are, by the number of refits, and how many are needed.

    Args:
        pairs: CONDITION, refit_a, refit_b, layer, stability.
        refits: names of the refits, which are independent of each other.
        width: of the 95 % interval that is wanted.
        draws: random subsets of each size.
        seed: of the subsets.

    Returns:
        CONDITION, layer ("all": the mean over layers), source (drawn: from subsets; expected: from
        node and pair variance), refits, width (of the interval; drawn: the median over subsets),
        width_low and width_high (the middle 80 % of subsets), wanted (the width), needed (the
        fewest refits with that expected width), measured (refits), reason (why something is
        missing), draws, seed.
    """
    known = Seeds({name: [index, index] for index, name in enumerate(refits)})
    tables = []
    for labels, part in by_condition(pairs):
        layers, values = with_mean(known.pairs(part))
        widths = _drawn_widths(values, draws, seed)
        for layer, matrix, drawn in zip(layers, values, widths, strict=True):
            rows = _needed(matrix, drawn, width)
            tables.append(rows.assign(layer=layer, **labels))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(wanted=width, measured=len(refits), draws=draws, seed=seed)
    widths_of = ["width", "width_low", "width_high", "wanted", "needed", "measured", "reason"]
    columns = [*CONDITION, "layer", "source", "refits", *widths_of, "draws", "seed"]
    # Where too few refits were measured some columns are empty.
    return table.reindex(columns=columns).astype({"refits": "Int64", "needed": "Int64"})


def _sizes(first: int, last: int) -> np.ndarray:
    """Whole numbers from the first to the last: all at first, then evenly on a log scale."""
    early = np.arange(first, min(_EVERY_SIZE, last) + 1)
    late = np.geomspace(_EVERY_SIZE, last, _SIZES).round() if last > _EVERY_SIZE else []
    return np.unique([*early, *late]).astype(int)


def _drawn_widths(values: np.ndarray, draws: int, seed: int) -> list[pd.DataFrame]:
    """For each layer, widths at smaller numbers of refits; values [layer, refit, refit]."""
    count = values.shape[-1]
    columns = ["refits", "width", "width_low", "width_high"]
    if count < 3:
        return [pd.DataFrame(columns=columns)] * len(values)
    sizes = _sizes(3, count)
    widths = widths_by_refits(values, sizes, draws, seed)  # [size, draw, layer]
    low, middle, high = np.quantile(widths, [0.1, 0.5, 0.9], axis=1)
    return [
        pd.DataFrame(
            {
                "refits": sizes,
                "width": middle[:, layer],
                "width_low": low[:, layer],
                "width_high": high[:, layer],
            }
        )
        for layer in range(len(values))
    ]


def _needed(pairs: np.ndarray, drawn: pd.DataFrame, width: float) -> pd.DataFrame:
    """Drawn and expected widths of one layer, and how many refits it needs."""
    count = len(pairs)
    drawn = drawn.assign(source="drawn")
    if count < 4:
        missing = "how many are needed shows from 4 refits on"
        if count < 3:
            return pd.DataFrame(
                [{"source": "drawn", "reason": f"an interval needs 3 refits; {missing}"}]
            )
        return drawn.assign(reason=missing)
    variance = pair_variance(pairs)
    needed = refits_needed(variance, width)
    sizes = _sizes(4, max(2 * count, needed or 0))
    widths = expected_width(variance, sizes)
    expected = pd.DataFrame({"source": "expected", "refits": sizes, "width": widths})
    reason = "" if needed else "10,000 refits are not enough"
    return pd.concat([drawn, expected]).assign(needed=needed or pd.NA, reason=reason)
