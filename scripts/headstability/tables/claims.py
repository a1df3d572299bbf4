"""Tidy table of the claims: parts, intervals, verdicts, and the paper's values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..measures import claims
from ..measures.uncertainty import Estimate, Replicated
from ..measures.verdicts import (
    HYPOTHESES,
    INCONCLUSIVE,
    LEAST_SAMPLE,
    OPEN,
    Part,
    claim_p_values,
    holm,
    p_values,
    pool,
    words,
)
from ..models.shape import in_order
from .claim_conditions import RAW, TEXT, Condition
from .described_claims import described

RHO, CKA = "rho", "cka"
# What a row is of: one part of a claim, or the claim as a whole.
WHOLE = "all parts"
CONDITION_SCOPE, POOLED, BEYOND = "condition", "pooled", "beyond"
CONTRAST = ["claim", "measure", "architecture", "weight_decay"]
COLUMNS = [
    *("claim", "measure", "scope", "architecture", "weight_decay", "part"),
    *("estimate", "se_refit", "se_prompt", "low", "high", "p", "p_holm", "delta", "verdict"),
    *("refits", "conditions", "positive", "papers", "reason"),
    *("published", "published_condition"),
]
CROSSED = "refits cross init and data seeds and are not independent"
# From this depth on the paper calls models deep.
DEEP_LAYERS = 8


@dataclass(frozen=True)
class Contrast:
    """One test of one claim: its parts, or the reason why there are none.

    `papers` is whether it is of those the paper's claim is about.
    """

    claim: int
    measure: str
    architecture: str
    weight_decay: str
    parts: Sequence[Part] | str
    mlp: bool | None = None
    papers: bool = True


def contrasts(conditions: Sequence[Condition], deltas: Mapping[str, float]) -> Iterator[Contrast]:
    """Every test of the claims that conditions allow; deltas are the config's `claims`."""

    def of_each(claim: int, measure: str, test: Callable[..., list[Part] | str]) -> list[Contrast]:
        return [
            Contrast(
                claim,
                measure,
                one.architecture,
                one.weight_decay,
                test(one, measure, deltas),
                one.shape["mlp"],
            )
            for one in conditions
        ]

    yield from of_each(0, RHO, _recurrence)
    for measure in (RAW, TEXT):
        yield from of_each(1, measure, _middle)
        yield from _depths(measure, conditions, deltas)
        yield from of_each(3, measure, _ablation)
        yield from _weight_decays(measure, conditions, deltas)
    yield from _weight_decays(RHO, conditions, deltas)
    yield from of_each(5, CKA, _streams)


def _recurrence(one: Condition, _: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if one.shape["heads"] < 3:
        return f"{_counted(one, 'heads')} in a layer: recurrence needs at least 3"
    return claims.heads_come_back(one.rho, deltas["recurrence"])


def _middle(one: Condition, measure: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if one.shape["layers"] < claims.LEAST_LAYERS:
        return _no_middle(one)
    share = deltas["middle_share"]
    return claims.middle_is_least_stable(one.stability[measure], one.room[measure], share)


def _no_middle(one: Condition) -> str:
    least = claims.LEAST_LAYERS
    return f"{_counted(one, 'layers')}: early, middle and late need at least {least}"


def _counted(one: Condition, what: str) -> str:
    count = one.shape[what]
    return f"{count} {what if count > 1 else what[:-1]}"


def _ablation(one: Condition, measure: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if one.shape["layers"] < 2:
        return "1 layer: there is no deep half and no slope"
    if one.shape["heads"] < 3:
        return f"{_counted(one, 'heads')} in a layer: a correlation over heads needs at least 3"
    tau = claims.stability_ablation_tau(one.match[measure], one.delta_loss)
    common = one.commonness[measure]
    partial = claims.stability_ablation_tau(one.match[measure], one.delta_loss, common)
    smallest = deltas["ablation_mean"], deltas["ablation_slope"]
    return claims.unstable_heads_matter(tau, partial, *smallest)


def _streams(one: Condition, _: str, deltas: Mapping[str, float]) -> list[Part] | str:
    if isinstance(one.streams, str):
        return one.streams
    return claims.stream_is_more_stable(*one.streams, deltas["stream_share"])


def _depths(
    measure: str, conditions: Sequence[Condition], deltas: Mapping[str, float]
) -> Iterator[Contrast]:
    """Claim 2, for every set of architectures that differ in depth only."""
    several = [group for group in same_but_depth(conditions) if len(group) > 1]
    for group in several:
        deep = {one.shape["layers"]: one for one in group}
        first, labels = group[0], [one.architecture for one in group]
        shallow = [one for one in group if one.shape["layers"] < claims.LEAST_LAYERS]
        parts: list[Part] | str = ""
        if len(deep) - len(shallow) < 2:
            parts = f"{shallow[0].architecture}: {_no_middle(shallow[0])}"
        else:
            for one in shallow:
                labels.remove(one.architecture)
                del deep[one.shape["layers"]]
            stability = {layers: one.stability[measure] for layers, one in deep.items()}
            room = {layers: one.room[measure] for layers, one in deep.items()}
            parts = claims.deeper_is_less_stable(stability, room, deltas["depth_share"])
        decay = first.weight_decay
        yield Contrast(2, measure, ", ".join(labels), decay, parts, first.shape["mlp"])
    if not several:
        *alike, last = _other_than_depth(conditions[0])
        reason = (
            f"no two architectures differ in layers alone ({', '.join(alike)} and {last} equal)"
        )
        yield Contrast(2, measure, "", "", reason)


def same_but_depth(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Conditions that differ in depth alone, one of each depth, from shallow to deep."""
    groups: dict[tuple, dict[int, Condition]] = {}
    for one in conditions:
        key = (*(one.shape[name] for name in _other_than_depth(one)), one.weight_decay)
        groups.setdefault(key, {}).setdefault(one.shape["layers"], one)
    return [[group[layers] for layers in sorted(group)] for group in groups.values()]


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
        share = deltas["weight_decay_share"]
        if measure == RHO:
            arms, delta = ("rho", one.rho, base.rho), share
        else:
            arms = ("S", one.stability[measure], base.stability[measure])
            delta = claims.scaled(claims.mean_of_layers(base.room[measure]), share)
        cost = claims.perplexity_cost(one.perplexity, base.perplexity)
        parts = claims.weight_decay_stabilises(*arms, delta, cost, deltas["perplexity_margin"])
        mlp = one.shape["mlp"]
        papers = mlp and one.shape["layers"] >= DEEP_LAYERS
        yield Contrast(4, measure, one.architecture, one.weight_decay, parts, mlp, papers)


def claims_table(
    conditions: Sequence[Condition],
    deltas: Mapping[str, float],
    crossed: bool,
    published: pd.DataFrame,
) -> pd.DataFrame:
    """Estimates, intervals and verdicts of the claims.

    Args:
        conditions: of the study.
        deltas: the config's section `claims`: smallest effects of interest.
        crossed: whether refits cross init and data seeds: then nothing has an interval.
        published: docs/published/layers.csv.

    Returns:
        COLUMNS. `scope` is condition, pooled (over conditions of one block type), beyond (the same
        for conditions other than these) or described (no test). A claim's row (part "all parts")
        has the verdict over its parts, which Holm's p over conditions decides: p and p_holm are
        those of "positive". The verdict of a part is that of its own interval. `positive` counts
        the conditions whose estimate is above 0, `papers` says whether the paper's claim is about
        this condition, `reason` why a verdict is inconclusive or a number missing.
    """
    found = list(contrasts(conditions, deltas))
    groups: dict[tuple, list[Contrast]] = {}
    for one in found:
        groups.setdefault((one.claim, one.measure), []).append(one)
    rows = []
    for group in groups.values():
        rows += _family(group, crossed)
        rows += _pooled(group, crossed)
    rows += described(conditions, same_but_depth(conditions), published)
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    return table.sort_values("claim", kind="stable", ignore_index=True).infer_objects()


def _family(group: Sequence[Contrast], crossed: bool) -> Iterator[dict[str, Any]]:
    """Rows of one claim by one measure: Holm's p over its conditions decides the words."""
    raw = np.full((len(group), len(HYPOTHESES)), np.nan)
    for place, one in enumerate(group):
        if not isinstance(one.parts, str) and not crossed:
            required = [part.p_values() for part in one.parts if part.required]
            raw[place] = claim_p_values(required)
    adjusted = np.array([holm(column) for column in raw.T]).T
    for one, before, after in zip(group, raw, adjusted, strict=True):
        labels = {name: getattr(one, name) for name in CONTRAST} | {"scope": CONDITION_SCOPE}
        labels["papers"] = one.papers
        if isinstance(one.parts, str):
            whole = {"part": WHOLE, "verdict": INCONCLUSIVE, "reason": one.parts}
            yield {**labels, **whole, "papers": None}
            continue
        labels["refits"] = one.parts[0].estimate.sample
        reasons = []
        for part in one.parts:
            row = _part_row(part.name, part.estimate, part.p_values(), part, crossed)
            reasons.append(row["reason"])
            yield {**labels, **row}
        verdict = str(words(after))
        reason = next(filter(None, reasons), "") if verdict == INCONCLUSIVE else ""
        if verdict == INCONCLUSIVE and str(words(before)) != INCONCLUSIVE:
            count = int(np.isfinite(raw[:, 0]).sum())
            reason = f"{words(before)!s}, but not once corrected for {count} conditions (Holm)"
        place = HYPOTHESES.index(OPEN)
        p = {"p": before[place], "p_holm": after[place]}
        yield {**labels, "part": WHOLE, **p, "verdict": verdict, "reason": reason}


def _part_row(
    name: str, estimate: Estimate, p: np.ndarray, part: Part, crossed: bool
) -> dict[str, Any]:
    """The numbers of one part, its word by its own interval, and why there is none."""
    low, high = (float(end) for end in estimate.interval(part.level))
    verdict = INCONCLUSIVE if crossed else str(words(p))
    reason = "" if verdict != INCONCLUSIVE else _reason(estimate, low, high, part, crossed)
    unknown = np.nan if crossed else 1.0
    return {
        "part": name,
        "estimate": float(estimate.value),
        "se_refit": float(estimate.se_refit) * unknown,
        "se_prompt": float(estimate.se_prompt),
        "low": low * unknown,
        "high": high * unknown,
        "p": float(p[HYPOTHESES.index(OPEN)]) * unknown,
        "delta": float(part.delta.value if isinstance(part.delta, Replicated) else part.delta),
        "verdict": verdict,
        "reason": reason,
    }


def _reason(estimate: Estimate, low: float, high: float, part: Part, crossed: bool) -> str:
    """Why a part is inconclusive."""
    if not np.isfinite(estimate.value):
        return "not defined: too few prompts or refits, or nothing varies"
    if crossed:
        return CROSSED
    if estimate.sample < LEAST_SAMPLE:
        return f"{estimate.sample} refits: a verdict needs at least {LEAST_SAMPLE}"
    if not np.isfinite(low):
        return "no interval: the statistic is undefined without one of the refits or prompts"
    return "the interval holds both 0 and delta"


def _pooled(group: Sequence[Contrast], crossed: bool) -> Iterator[dict[str, Any]]:
    """Means over the conditions of one block type, for these and for others."""
    if crossed:
        return
    kinds: dict[tuple, list[Contrast]] = {}
    for one in group:
        if isinstance(one.parts, str) or not all(
            np.isfinite(part.effect.value) for part in one.parts
        ):
            continue
        # Parts are the same quantities; those of two depths and of more are not.
        key = (one.mlp, *(part.name for part in one.parts))
        kinds.setdefault(key, []).append(one)
    for (mlp, *_), same in kinds.items():
        if len(same) < 2:
            continue
        block = "with MLP" if mlp else "attention only"
        labels = {"claim": same[0].claim, "measure": same[0].measure, "architecture": block}
        labels["conditions"] = len(same)
        yield from _means(labels, same)


def _means(labels: dict[str, Any], same: Sequence[Contrast]) -> Iterator[dict[str, Any]]:
    parts = list(zip(*(one.parts for one in same), strict=True))
    pooled = [pool(of_part) for of_part in parts]
    for scope in (POOLED, BEYOND):
        required = []
        for of_part, found in zip(parts, pooled, strict=True):
            effect, above = found.effect, found.above
            if scope == BEYOND:
                effect = found.beyond
                above = replace(effect, value=effect.value - found.delta)
            p = p_values(effect, above, of_part[0].level)
            first = of_part[0]
            shown = replace(first, delta=float(found.delta))
            row = _part_row(first.name, effect, p, shown, crossed=False)
            yield {
                **labels,
                **row,
                "scope": scope,
                "refits": effect.sample,
                "positive": int(found.positive),
            }
            if first.required:
                required.append(p)
        p = claim_p_values(required)
        yield {
            **labels,
            "scope": scope,
            "part": WHOLE,
            "p": p[HYPOTHESES.index(OPEN)],
            "verdict": str(words(p)),
            "refits": pooled[0].effect.sample,
        }
