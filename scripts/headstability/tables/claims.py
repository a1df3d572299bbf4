"""Tidy table of the five claims: parts, intervals, verdicts, and the paper's values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..measures import claims
from ..measures.uncertainty import Replicated, over_refits
from ..measures.verdicts import (
    INCONCLUSIVE,
    LEAST_SAMPLE,
    Part,
    claim_p_value,
    claim_verdict,
    holm,
    over_conditions,
)
from ..models.shape import in_order
from .published import published_condition
from .replicates import (
    by_condition,
    head_matrices,
    layer_replicates,
    pair_matrices,
    rows_of,
    with_prompts,
)

RAW, EXCESS, CKA = "raw", "excess", "cka"
HELD_OUT = "held_out"
STREAM, WRITTEN = "resid_mid", "z_cka_of_layer"
# What a row is of: one part of a claim, or the claim as a whole.
WHOLE = "all parts"
POOLED = "pooled"
CONTRAST = ["claim", "measure", "architecture", "weight_decay"]
COLUMNS = [
    *("claim", "measure", "scope", "architecture", "weight_decay", "part"),
    *("estimate", "se_refit", "se_prompt", "low", "high", "p", "p_holm", "delta", "verdict"),
    *("refits", "conditions", "reason", "published", "published_condition"),
]
CROSSED = "refits cross init and data seeds and are not independent"
INSIDE = "the interval holds both 0 and delta"
SMALL = "above 0, but perhaps by less than delta"


@dataclass(frozen=True)
class Condition:
    """What the claims are tested on, for one condition.

    Attributes:
        architecture, weight_decay: its labels.
        shape: layers, heads, d_model, mlp and other switches.
        stability: S_l by measure (raw, excess), [layer].
        distinctness: D_l, [layer].
        match: m by measure, [layer, anchor, refit, head].
        delta_loss: of ablation, nats, [refit, layer, head].
        perplexity: held-out, [refit].
        stream, heads_written: debiased linear CKA of resid_mid and of the layer's concatenated z,
            [layer, refit, refit]; None where not measured.
    """

    architecture: str
    weight_decay: str
    shape: Mapping[str, Any]
    stability: Mapping[str, Replicated]
    distinctness: Replicated
    match: Mapping[str, np.ndarray]
    delta_loss: np.ndarray
    perplexity: np.ndarray
    stream: np.ndarray | None
    heads_written: np.ndarray | None


def claim_conditions(
    tables: Mapping[str, pd.DataFrame],
    shapes: Mapping[str, Mapping[str, Any]],
    refits: Sequence[str],
    method: str,
) -> list[Condition]:
    """What each condition contributes to the claims.

    Args:
        tables: each with CONDITION: `pairs`, `without_prompts` and `matches` (of
            `analysis.adjusted`), `commonness`, `residual`, `ablation` (with refit) and
            `perplexity`.
        shapes: the config's architectures.
        refits: names of the refits.
        method: which ablation is used.
    """
    made = []
    for labels, pairs in by_condition(tables["pairs"]):
        here = {name: rows_of(table, **labels) for name, table in tables.items()}
        without, matches = here["without_prompts"], here["matches"]
        matches = matches.assign(excess=matches["raw"] - matches["shuffled"])
        zeroed = rows_of(here["ablation"], method=method)
        held_out = rows_of(here["perplexity"], text=HELD_OUT).set_index("refit")["perplexity"]
        heads = head_matrices(zeroed, ["refit"], "delta_loss", refits)
        common = head_matrices(here["commonness"], ["refit"], "commonness", refits)
        distinct = over_refits(1 - common.mean(axis=2).T)
        stream = rows_of(here["residual"], stream=STREAM, kernel="linear", estimator="debiased")
        written = rows_of(pairs, measure=WRITTEN)
        one = Condition(
            **labels,
            shape=shapes[labels["architecture"]],
            stability={m: layer_replicates(pairs, without, m, refits) for m in (RAW, EXCESS)},
            distinctness=with_prompts(distinct, without, "distinctness"),
            match={
                m: head_matrices(matches, ["anchor", "refit"], m, refits) for m in (RAW, EXCESS)
            },
            delta_loss=heads.transpose(1, 0, 2),
            perplexity=held_out[list(refits)].to_numpy(),
            stream=None if stream.empty else pair_matrices(stream, "cka", refits),
            heads_written=None if written.empty else pair_matrices(written, "stability", refits),
        )
        made.append(one)
    return made


@dataclass(frozen=True)
class Contrast:
    """One test of one claim: its parts, or the reason why there are none."""

    claim: int
    measure: str
    architecture: str
    weight_decay: str
    parts: Sequence[Part] | str


def contrasts(conditions: Sequence[Condition], deltas: Mapping[str, float]) -> Iterator[Contrast]:
    """Every test of the five claims that conditions allow; deltas are the config's `claims`."""

    def of_each(claim: int, measure: str, test: Callable[..., list[Part] | str]) -> list[Contrast]:
        return [
            Contrast(claim, measure, one.architecture, one.weight_decay, test(one, measure, deltas))
            for one in conditions
        ]

    for measure in (RAW, EXCESS):
        yield from of_each(1, measure, _middle)
        yield from _depths(measure, conditions, deltas)
        yield from of_each(3, measure, _ablation)
        yield from _weight_decays(measure, conditions, deltas)
    yield from of_each(5, CKA, _streams)


def _middle(one: Condition, measure: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if one.shape["layers"] < 4:
        return f"{_counted(one, 'layers')}: early, middle and late need at least 4"
    smallest = (deltas["middle_stability"], deltas["middle_distinctness"])
    return claims.middle_is_least_stable(one.stability[measure], one.distinctness, *smallest)


def _counted(one: Condition, what: str) -> str:
    count = one.shape[what]
    return f"{count} {what if count > 1 else what[:-1]}"


def _ablation(one: Condition, measure: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if one.shape["layers"] < 2:
        return "1 layer: there is no deep half and no slope"
    if one.shape["heads"] < 3:
        return f"{_counted(one, 'heads')} in a layer: a correlation over heads needs at least 3"
    tau = claims.stability_ablation_tau(one.match[measure], one.delta_loss)
    return claims.unstable_heads_matter(tau, deltas["ablation_mean"], deltas["ablation_slope"])


def _streams(one: Condition, _: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if one.stream is None:
        return "resid_mid is not kept: add it to residual.streams"
    if one.heads_written is None:
        return "CKA of z is not measured: add z_cka to nulls.measures"
    return claims.stream_is_more_stable(one.stream, one.heads_written, deltas["stream"])


def _depths(
    measure: str, conditions: Sequence[Condition], deltas: Mapping[str, float]
) -> Iterator[Contrast]:
    """Claim 2, for every set of architectures that differ in depth only."""
    groups: dict[tuple, dict[int, Condition]] = {}
    for one in conditions:
        key = (*(one.shape[name] for name in _other_than_depth(one)), one.weight_decay)
        groups.setdefault(key, {}).setdefault(one.shape["layers"], one)
    several = [dict(sorted(group.items())) for group in groups.values() if len(group) > 1]
    for group in several:
        stability = {layers: one.stability[measure] for layers, one in group.items()}
        parts = claims.deeper_is_less_stable(stability, deltas["depth"])
        names = ", ".join(one.architecture for one in group.values())
        decay = next(iter(group.values())).weight_decay
        yield Contrast(2, measure, names, decay, parts)
    if not several:
        *alike, last = _other_than_depth(conditions[0])
        reason = (
            f"no two architectures differ in layers alone ({', '.join(alike)} and {last} equal)"
        )
        yield Contrast(2, measure, "", "", reason)


def _other_than_depth(one: Condition) -> list[str]:
    return [name for name in in_order(one.shape) if name != "layers"]


def _weight_decays(
    measure: str, conditions: Sequence[Condition], deltas: Mapping[str, float]
) -> Iterator[Contrast]:
    """Claim 4, for every weight decay above 0."""
    plain = {one.architecture: one for one in conditions if one.weight_decay == "0"}
    others = [one for one in conditions if one.weight_decay != "0"]
    if not plain or not others:
        what = "above 0" if plain else "0"
        yield Contrast(4, measure, "", "", f"weight_decays holds none that is {what}")
        return
    for one in others:
        base = plain[one.architecture]
        stability = one.stability[measure], base.stability[measure]
        smallest = deltas["weight_decay"], deltas["perplexity_margin"]
        parts = claims.weight_decay_stabilises(
            *stability, one.perplexity, base.perplexity, *smallest
        )
        yield Contrast(4, measure, one.architecture, one.weight_decay, parts)


def claims_table(
    conditions: Sequence[Condition],
    deltas: Mapping[str, float],
    crossed: bool,
    published: pd.DataFrame,
) -> pd.DataFrame:
    """Estimates, intervals and verdicts of the five claims.

    Args:
        conditions: of the study.
        deltas: the config's section `claims`: smallest effects of interest.
        crossed: whether refits cross init and data seeds: then nothing has an interval.
        published: docs/published/layers.csv.

    Returns:
        COLUMNS. `scope` is condition, pooled or described; a claim's row (part "all parts") has
        verdict and p over its parts, and p_holm over conditions. `reason` says why a verdict is
        inconclusive or a number missing. Rows with scope described only compare with the paper's
        table: no test.
    """
    found = list(contrasts(conditions, deltas))
    tested = [row for one in found for row in _contrast_rows(one, crossed)]
    table = pd.DataFrame(tested, columns=COLUMNS)
    for _, rows in table[table["part"] == WHOLE].groupby(["claim", "measure"]):
        table.loc[rows.index, "p_holm"] = holm(rows["p"].to_numpy(dtype=float))
    further = [*_pooled(found, crossed), *_described(conditions, published)]
    rest = pd.DataFrame(further, columns=COLUMNS, dtype=object)
    stacked = pd.concat([table.astype(object), rest])
    return stacked.sort_values("claim", kind="stable", ignore_index=True).infer_objects()


def _contrast_rows(one: Contrast, crossed: bool) -> Iterator[dict[str, Any]]:
    labels = {name: getattr(one, name) for name in CONTRAST} | {"scope": "condition"}
    if isinstance(one.parts, str):
        yield {**labels, "part": WHOLE, "verdict": INCONCLUSIVE, "reason": one.parts}
        return
    parts = [_without_interval(part) if crossed else part for part in one.parts]
    labels["refits"] = parts[0].estimate.sample
    yield from _tested(labels, parts, [_reason(part, crossed) for part in parts])


def _tested(
    labels: Mapping[str, Any], parts: Sequence[Part], reasons: Sequence[str], barred: bool = False
) -> Iterator[dict[str, Any]]:
    """The rows of the parts of a claim and of the whole; barred: no verdict is possible."""
    for part, reason in zip(parts, reasons, strict=True):
        row = {**labels, **_part_row(part), "reason": reason}
        yield row | ({"verdict": INCONCLUSIVE} if barred else {})
    verdict = INCONCLUSIVE if barred else str(claim_verdict(parts))
    yield {
        **labels,
        "part": WHOLE,
        "p": float(claim_p_value(parts)),
        "verdict": verdict,
        "reason": next(filter(None, reasons)) if verdict == INCONCLUSIVE else "",
    }


def _without_interval(part: Part) -> Part:
    """Only the estimate: the jackknife over refits is not valid here."""
    unknown = np.full_like(part.estimate.value, np.nan)
    return replace(part, estimate=replace(part.estimate, se_refit=unknown))


def _part_row(part: Part) -> dict[str, Any]:
    estimate = part.estimate
    low, high = estimate.interval(part.level)
    return {
        "part": part.name,
        "estimate": float(estimate.value),
        "se_refit": float(estimate.se_refit),
        "se_prompt": float(estimate.se_prompt),
        "low": float(low),
        "high": float(high),
        "p": float(part.p_value()),
        "delta": part.delta,
        "verdict": str(part.verdict()),
    }


def _reason(part: Part, crossed: bool, what: str = "refits") -> str:
    """Why a part is inconclusive; empty if it is not."""
    estimate = part.estimate
    if str(part.verdict()) != INCONCLUSIVE:
        return ""
    if not np.isfinite(estimate.value):
        return "not defined: too few prompts, or nothing varies"
    if crossed:
        return CROSSED
    if estimate.sample < LEAST_SAMPLE:
        return f"{estimate.sample} {what}: a verdict needs at least {LEAST_SAMPLE}"
    low, _ = estimate.interval(part.level)
    if not np.isfinite(low):
        return "no interval: the statistic is undefined without one of the refits or prompts"
    return SMALL if low > 0 else INSIDE


def _pooled(found: Sequence[Contrast], crossed: bool) -> Iterator[dict[str, Any]]:
    """One row per part and one per claim: t over the conditions that could be tested."""
    # Parts are the same quantities; those of two depths and of more are not.
    groups: dict[tuple, list[Contrast]] = {}
    for one in found:
        if isinstance(one.parts, str) or not all(np.isfinite(p.estimate.value) for p in one.parts):
            continue
        key = (one.claim, one.measure, *(part.name for part in one.parts))
        groups.setdefault(key, []).append(one)
    for (claim, measure, *_), group in groups.items():
        refits = group[0].parts[0].estimate.sample
        parts = []
        for same in zip(*(one.parts for one in group), strict=True):
            pooled = over_conditions(np.array([part.estimate.value for part in same]))
            parts.append(replace(same[0], estimate=pooled))
        labels = {"claim": claim, "measure": measure, "scope": POOLED}
        labels |= {"conditions": len(group), "refits": refits}
        barred = CROSSED if crossed else ""
        if refits < LEAST_SAMPLE:
            barred = f"{refits} refits: a verdict needs at least {LEAST_SAMPLE}"
        reasons = [barred or _reason(part, False, "conditions") for part in parts]
        yield from _tested(labels, parts, reasons, bool(barred))


def _described(
    conditions: Sequence[Condition], published: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """What can be compared with the paper's table of extremes, without a test."""
    ours = {(one.architecture, one.weight_decay): one for one in conditions}
    theirs = {
        key: published_condition(published, one.shape, float(one.weight_decay))
        for key, one in ours.items()
    }
    for (architecture, decay), one in ours.items():
        stability = one.stability[RAW]
        least, depths = int(np.argmin(stability.value)), claims.depths(len(stability.value))
        lowest = stability.value[least]
        other, reference = theirs[architecture, decay], theirs.get((architecture, "0"))
        condition = depth = value = gain = None
        if other is not None:
            condition, value = other["condition"], other["least_stability"]
            depth = (other["least_stable_layer"] - 0.5) / other["layers"]
            gain = None if reference is None else value - reference["least_stability"]
        found = [
            (1, "relative depth of the least stable layer", depths[least], depth),
            (2, "S of the least stable layer", lowest, value),
        ]
        base = ours.get((architecture, "0"))
        if base is not None and decay != "0":
            difference = lowest - base.stability[RAW].value.min()
            found.append((4, "S(wd) - S(0) of the least stable layers", difference, gain))
        for claim, part, estimate, beside in found:
            yield {
                "claim": claim,
                "measure": RAW,
                "scope": "described",
                "architecture": architecture,
                "weight_decay": decay,
                "part": part,
                "estimate": estimate,
                "refits": stability.refits.shape[-1],
                "published": beside,
                "published_condition": condition,
            }
