"""What each condition of a study contributes to the claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..measures.uncertainty import Replicated, over_refits
from .recurrence import recurrence_replicates
from .replicates import (
    by_condition,
    head_matrices,
    layer_replicates,
    pair_matrices,
    rows_of,
    with_prompts,
)

RAW, TEXT = "raw", "text"
HELD_OUT = "held_out"
STREAM, WRITTEN = "resid_mid", "z_cka_of_layer"


@dataclass(frozen=True)
class Condition:
    """What the claims are tested on, for one condition.

    Attributes:
        architecture, weight_decay: its labels.
        shape: layers, heads, d_model, mlp and other switches.
        stability: S_l by measure (raw, text), [layer].
        room: C - mu by measure, [layer].
        rho: recurrence by text similarity, [layer].
        distinctness: D_l by raw similarity, [layer].
        match: m by measure, [layer, anchor, refit, head].
        commonness: of heads with the others of their layer, by measure, [layer, refit, head].
        delta_loss: of ablation, nats, [refit, layer, head].
        perplexity: held-out, [refit].
        streams: debiased linear CKA of resid_mid, its prompt-shuffled null, that of the layer's
            concatenated z, and its null, each [layer, refit, refit]; a text that says why it was
            not measured.
    """

    architecture: str
    weight_decay: str
    shape: Mapping[str, Any]
    stability: Mapping[str, Replicated]
    room: Mapping[str, Replicated]
    rho: Replicated
    distinctness: Replicated
    match: Mapping[str, np.ndarray]
    commonness: Mapping[str, np.ndarray]
    delta_loss: np.ndarray
    perplexity: np.ndarray
    streams: tuple[np.ndarray, ...] | str


def claim_conditions(
    tables: Mapping[str, pd.DataFrame],
    twins: pd.DataFrame | None,
    shapes: Mapping[str, Mapping[str, Any]],
    refits: Sequence[str],
    method: str,
) -> list[Condition]:
    """What each condition contributes to the claims.

    Args:
        tables: each with CONDITION: `pairs`, `without_prompts`, `matches`, `heads` and `shared` (of
            `analysis.adjusted`), `commonness`, `residual`, `ablation` (with refit) and
            `perplexity`.
        twins: architecture and the table of `analysis.twins.twin_table`; None: one weight decay.
        shapes: the config's architectures.
        refits: names of the refits.
        method: which ablation is used.
    """
    return [
        _condition(labels, tables, twins, shapes[labels["architecture"]], refits, method)
        for labels, _ in by_condition(tables["pairs"])
    ]


def _condition(
    labels: dict[str, str],
    tables: Mapping[str, pd.DataFrame],
    twins: pd.DataFrame | None,
    shape: Mapping[str, Any],
    refits: Sequence[str],
    method: str,
) -> Condition:
    here = {name: rows_of(table, **labels) for name, table in tables.items()}
    pairs, without = here["pairs"], here["without_prompts"]
    zeroed = rows_of(here["ablation"], method=method)
    held_out = rows_of(here["perplexity"], text=HELD_OUT).set_index("refit")["perplexity"]
    common = head_matrices(here["commonness"], ["refit"], "commonness", refits)
    distinct = over_refits(1 - common.mean(axis=2).T)
    shared = recurrence_replicates(here["shared"], twins, labels, refits)
    columns = {RAW: "commonness", TEXT: "commonness_text"}
    return Condition(
        **labels,
        shape=shape,
        stability={m: layer_replicates(pairs, without, m, refits) for m in (RAW, TEXT)},
        room={m: _room(shared, m) for m in (RAW, TEXT)},
        rho=shared[TEXT, "rho"],
        distinctness=with_prompts(distinct, without, "distinctness"),
        match={
            m: head_matrices(here["matches"], ["anchor", "refit"], m, refits) for m in (RAW, TEXT)
        },
        commonness={
            m: head_matrices(here["heads"], ["refit"], column, refits)
            for m, column in columns.items()
        },
        delta_loss=head_matrices(zeroed, ["refit"], "delta_loss", refits).transpose(1, 0, 2),
        perplexity=held_out[list(refits)].to_numpy(),
        streams=_streams(here["residual"], pairs, refits),
    )


def _room(shared: Mapping[tuple[str, str], Replicated], measure: str) -> Replicated:
    """C - mu: the ceiling is the twins', or 1 where a study has none."""
    mu = shared[measure, "mu"]
    ceiling = shared.get((measure, "ceiling"))
    if ceiling is None:
        return Replicated(1 - mu.value, 1 - mu.refits, 1 - mu.prompts)
    return ceiling - mu


def _streams(
    residual: pd.DataFrame, pairs: pd.DataFrame, refits: Sequence[str]
) -> tuple[np.ndarray, ...] | str:
    linear = rows_of(residual, stream=STREAM, kernel="linear")
    if linear.empty:
        return "resid_mid is not kept: add it to residual.streams"
    if rows_of(pairs, measure=WRITTEN).empty:
        return "CKA of z is not measured: add z_cka to nulls.measures"
    stream = [rows_of(linear, estimator=name) for name in ("debiased", "shuffled")]
    written = [rows_of(pairs, measure=name) for name in (WRITTEN, f"{WRITTEN}_shuffled")]
    return (
        *(pair_matrices(rows, "cka", refits) for rows in stream),
        *(pair_matrices(rows, "stability", refits) for rows in written),
    )
