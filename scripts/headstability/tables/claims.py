"""Tidy table of the five claims: parts, intervals, verdicts, and the paper's values beside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .. import claims
from ..uncertainty import Estimate, Replicated
from ..verdicts import LEAST_SAMPLE, Part, claim_p_value, claim_verdict, holm, over_conditions

RAW, EXCESS, CKA = "raw", "excess", "cka"
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
    """What the claims are tested on, of one condition.

    Attributes:
        architecture, weight_decay: its labels.
        shape: layers, heads, d_model, mlp.
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


@dataclass(frozen=True)
class Contrast:
    """One test of one claim: its parts, or the reason why there are none."""

    claim: int
    measure: str
    architecture: str
    weight_decay: str
    parts: Sequence[Part]
    reason: str = ""


def contrasts(conditions: Sequence[Condition], deltas: Mapping[str, float]) -> Iterator[Contrast]:
    """Every test of the five claims a study allows.

    Args:
        conditions: of the study.
        deltas: the config's section `claims`.
    """
    for measure in (RAW, EXCESS):
        for one in conditions:
            yield _single(1, measure, one, _middle, deltas)
        yield from _depths(measure, conditions, deltas)
        for one in conditions:
            yield _single(3, measure, one, _ablation, deltas)
        yield from _weight_decays(measure, conditions, deltas)
    for one in conditions:
        yield _single(5, CKA, one, _streams, deltas)


def _single(
    claim: int,
    measure: str,
    one: Condition,
    test: Callable[[Condition, str, Mapping[str, float]], list[Part] | str],
    deltas: Mapping[str, float],
) -> Contrast:
    found = test(one, measure, deltas)
    labels = (claim, measure, one.architecture, one.weight_decay)
    return Contrast(*labels, [], found) if isinstance(found, str) else Contrast(*labels, found)


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


def _streams(one: Condition, measure: str, deltas: Mapping[str, float]) -> list[Part] | str:
    del measure
    if one.stream is None:
        return "resid_mid is not kept: add it to residual.streams"
    if one.heads_written is None:
        return "CKA of z is not measured: add z_cka to nulls.measures"
    return claims.stream_is_more_stable(one.stream, one.heads_written, deltas["stream"])


def _depths(
    measure: str, conditions: Sequence[Condition], deltas: Mapping[str, float]
) -> Iterator[Contrast]:
    """Claim 2, for every set of architectures alike in all but depth."""
    groups: dict[tuple, dict[int, Condition]] = {}
    for one in conditions:
        key = (*(one.shape[name] for name in ("heads", "d_model", "mlp")), one.weight_decay)
        groups.setdefault(key, {}).setdefault(one.shape["layers"], one)
    several = [dict(sorted(group.items())) for group in groups.values() if len(group) > 1]
    for group in several:
        parts = claims.deeper_is_less_stable(
            {layers: one.stability[measure] for layers, one in group.items()}, deltas["depth"]
        )
        decay = next(iter(group.values())).weight_decay
        yield Contrast(2, measure, _names(group.values()), decay, parts)
    if not several:
        reason = "no two architectures differ in layers alone (heads, d_model and mlp equal)"
        yield Contrast(2, measure, "", "", [], reason)


def _names(group: Any) -> str:
    return ", ".join(one.architecture for one in group)


def _weight_decays(
    measure: str, conditions: Sequence[Condition], deltas: Mapping[str, float]
) -> Iterator[Contrast]:
    """Claim 4, for every weight decay above 0."""
    plain = {one.architecture: one for one in conditions if one.weight_decay == "0"}
    others = [one for one in conditions if one.weight_decay != "0"]
    if not plain or not others:
        what = "above 0" if plain else "0"
        yield Contrast(4, measure, "", "", [], f"weight_decays holds none that is {what}")
        return
    for one in others:
        base = plain[one.architecture]
        parts = claims.weight_decay_stabilises(
            one.stability[measure],
            base.stability[measure],
            one.perplexity,
            base.perplexity,
            deltas["weight_decay"],
            deltas["perplexity_margin"],
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
        inconclusive or a number missing. Rows described hold what the paper's table allows to
        compare: no test.
    """
    found = list(contrasts(conditions, deltas))
    tested = [row for one in found for row in _contrast_rows(one, crossed)]
    table = pd.DataFrame(tested, columns=COLUMNS)
    whole = table["part"] == WHOLE
    for _, rows in table[whole].groupby(["claim", "measure"]):
        table.loc[rows.index, "p_holm"] = holm(rows["p"].to_numpy(dtype=float))
    pooled = pd.DataFrame(list(_pooled(found, crossed)), columns=COLUMNS)
    shown = pd.DataFrame(list(_described(conditions, published)), columns=COLUMNS)
    stacked = pd.concat([part.astype(object) for part in (table, pooled, shown)])
    stacked = stacked.sort_values("claim", kind="stable", ignore_index=True)
    return stacked.infer_objects()


def _contrast_rows(one: Contrast, crossed: bool) -> Iterator[dict[str, Any]]:
    labels = {name: getattr(one, name) for name in CONTRAST} | {"scope": "condition"}
    if not one.parts:
        yield {**labels, "part": WHOLE, "verdict": "inconclusive", "reason": one.reason}
        return
    parts = [_without_interval(part) if crossed else part for part in one.parts]
    reasons = [_reason(part, crossed) for part in parts]
    for part, reason in zip(parts, reasons, strict=True):
        yield {**labels, **_part_row(part), "reason": reason}
    verdict = str(claim_verdict(parts))
    yield {
        **labels,
        "part": WHOLE,
        "p": float(claim_p_value(parts)),
        "verdict": verdict,
        "refits": parts[0].estimate.sample,
        "reason": _first(reasons) if verdict == "inconclusive" else "",
    }


def _without_interval(part: Part) -> Part:
    """The estimate alone: the jackknife over refits does not hold."""
    estimate = part.estimate
    unknown = np.full_like(estimate.value, np.nan)
    return replace(part, estimate=replace(estimate, se_refit=unknown))


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
        "refits": estimate.sample,
    }


def _reason(part: Part, crossed: bool, what: str = "refits") -> str:
    """Why a part is inconclusive; empty if it is not."""
    estimate: Estimate = part.estimate
    if str(part.verdict()) != "inconclusive":
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


def _first(reasons: Sequence[str]) -> str:
    return next(reason for reason in reasons if reason)


def _pooled(found: Sequence[Contrast], crossed: bool) -> Iterator[dict[str, Any]]:
    """One row a part and one a claim: t over the conditions that could be tested."""
    kinds = dict.fromkeys((one.claim, one.measure) for one in found)
    for claim, measure in kinds:
        same = [one for one in found if (one.claim, one.measure) == (claim, measure)]
        for group in _alike([one for one in same if _defined(one)]):
            refits = group[0].parts[0].estimate.sample
            parts = [
                replace(
                    part,
                    estimate=over_conditions(
                        np.array([one.parts[place].estimate.value for one in group])
                    ),
                )
                for place, part in enumerate(group[0].parts)
            ]
            labels = {"claim": claim, "measure": measure, "scope": POOLED}
            labels |= {"conditions": len(group), "refits": refits}
            barred = CROSSED if crossed else ""
            if refits < LEAST_SAMPLE:
                barred = f"{refits} refits: a verdict needs at least {LEAST_SAMPLE}"
            reasons = [barred or _reason(part, False, "conditions") for part in parts]
            for part, reason in zip(parts, reasons, strict=True):
                row = {**_part_row(part), **labels, "reason": reason}
                yield row | ({"verdict": "inconclusive"} if barred else {})
            verdict = "inconclusive" if barred else str(claim_verdict(parts))
            yield {
                **labels,
                "part": WHOLE,
                "p": float(claim_p_value(parts)),
                "verdict": verdict,
                "reason": _first(reasons) if verdict == "inconclusive" else "",
            }


def _defined(one: Contrast) -> bool:
    return bool(one.parts) and all(np.isfinite(part.estimate.value) for part in one.parts)


def _alike(found: Sequence[Contrast]) -> list[list[Contrast]]:
    """Contrasts whose parts are the same quantities: two depths and more are not."""
    groups: dict[tuple[str, ...], list[Contrast]] = {}
    for one in found:
        groups.setdefault(tuple(part.name for part in one.parts), []).append(one)
    return list(groups.values())


def _described(
    conditions: Sequence[Condition], published: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """What the paper's table of extremes allows to compare, without a test."""
    ours = {(one.architecture, one.weight_decay): one for one in conditions}
    theirs = {key: _published(one, published) for key, one in ours.items()}
    for (architecture, decay), one in ours.items():
        values, other = one.stability[RAW].value, theirs[architecture, decay]
        least = int(np.argmin(values))
        labels = {"measure": RAW, "scope": "described", "architecture": architecture}
        labels |= {"weight_decay": decay, "refits": one.stability[RAW].refits.shape[-1]}
        beside = {"published_condition": None if other is None else other["condition"]}
        depth = None
        if other is not None:
            depth = (other["least_stable_layer"] - 0.5) / other["layers"]
        found = claims.depths(len(values))[least]
        part = "relative depth of the least stable layer"
        yield {**labels, **beside, "claim": 1, "part": part, "estimate": found, "published": depth}
        part = "S of the least stable layer"
        value = None if other is None else other["least_stability"]
        row = {"claim": 2, "part": part, "estimate": values[least], "published": value}
        yield {**labels, **beside, **row}
        base = ours.get((architecture, "0"))
        if base is None or decay == "0":
            continue
        gain, reference = None, theirs[architecture, "0"]
        if other is not None and reference is not None:
            gain = other["least_stability"] - reference["least_stability"]
        difference = values[least] - base.stability[RAW].value.min()
        part = "S(wd) - S(0) of the least stable layers"
        row = {"claim": 4, "part": part, "estimate": difference, "published": gain}
        yield {**labels, **beside, **row}


def _published(one: Condition, published: pd.DataFrame) -> dict[str, Any] | None:
    """The paper's condition of the same layers, heads, block type and weight decay, if any."""
    alike = (
        (published["layers"] == one.shape["layers"])
        & (published["heads"] == one.shape["heads"])
        & (published["attn_only"] != one.shape["mlp"])
        & (published["weight_decay"].astype(float) == float(one.weight_decay))
    )
    return None if not alike.any() else published[alike].iloc[0].to_dict()
