"""What is shown beside the claims without a test: distinctness, and the paper's values."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..measures import claims
from ..measures.uncertainty import Estimate
from .claim_conditions import RAW, Condition
from .published import published_condition

DESCRIBED = "described"


def described(
    conditions: Sequence[Condition], depths: Sequence[Sequence[Condition]], published: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Rows of the claims' table that are no tests.

    Args:
        conditions: of the study.
        depths: those that differ in depth alone, from shallow to deep.
        published: docs/published/layers.csv.
    """
    for one in conditions:
        yield from _middle(one)
    yield from _beside_published(conditions, published)
    yield from _share_of_depth(conditions, depths)


def _row(one: Condition, claim: int, part: str, **values: Any) -> dict[str, Any]:
    labels = {"architecture": one.architecture, "weight_decay": one.weight_decay}
    refits = one.stability[RAW].refits.shape[-1]
    return {"claim": claim, "measure": RAW, "scope": DESCRIBED, **labels, "part": part} | {
        "refits": refits,
        **values,
    }


def _estimate(estimate: Estimate) -> dict[str, float]:
    low, high = estimate.interval()
    numbers = (estimate.value, estimate.se_refit, estimate.se_prompt, low, high)
    names = ("estimate", "se_refit", "se_prompt", "low", "high")
    return {name: float(number) for name, number in zip(names, numbers, strict=True)}


def _middle(one: Condition) -> Iterator[dict[str, Any]]:
    """Distinctness of the same layers, and stability in the authors' band of depth."""
    layers = one.shape["layers"]
    if layers < claims.LEAST_LAYERS:
        return
    for name, weights in claims.ends(layers).items():
        estimate = (-one.distinctness.contrast(weights)).estimate()
        yield _row(one, 1, f"D_mid - D_{name}", **_estimate(estimate))
    for name, weights in claims.ends(layers, authors=True).items():
        estimate = one.stability[RAW].contrast(weights).estimate()
        yield _row(one, 1, f"S_{name} - S_mid, middle .4 <= l/L <= .8", **_estimate(estimate))


def _beside_published(
    conditions: Sequence[Condition], published: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """What can be compared with the paper's table of extremes; depth is the paper's l/L."""
    ours = {(one.architecture, one.weight_decay): one for one in conditions}
    theirs = {
        key: published_condition(published, one.shape, float(one.weight_decay))
        for key, one in ours.items()
    }
    for (architecture, decay), one in ours.items():
        stability = one.stability[RAW].value
        least = int(np.argmin(stability))
        other, reference = theirs[architecture, decay], theirs.get((architecture, "0"))
        beside = dict.fromkeys(("published", "published_condition"))
        depth = value = gain = None
        if other is not None:
            beside["published_condition"], value = other["condition"], other["least_stability"]
            depth = other["least_stable_layer"] / other["layers"]
            gain = None if reference is None else value - reference["least_stability"]
        found = [
            (1, "l/L of the least stable layer", (least + 1) / len(stability), depth),
            (2, "S of the least stable layer", stability[least], value),
        ]
        base = ours.get((architecture, "0"))
        if base is not None and decay != "0":
            difference = stability[least] - base.stability[RAW].value.min()
            found.append((4, "S(wd) - S(0) of the least stable layers", difference, gain))
        for claim, part, estimate, there in found:
            yield _row(one, claim, part, **beside | {"estimate": estimate, "published": there})


def _share_of_depth(
    conditions: Sequence[Condition], depths: Sequence[Sequence[Condition]]
) -> Iterator[dict[str, Any]]:
    """What weight decay costs in perplexity, as a share of what depth buys without it."""
    plain = {one.architecture: one for one in conditions if one.weight_decay == "0"}
    gains = {}
    for group in depths:
        if group[0].weight_decay == "0" and len(group) > 1:
            shallow, deep = group[0], group[-1]
            gain = claims.perplexity_cost(shallow.perplexity, deep.perplexity)
            gains |= {one.architecture: gain for one in group}
    for one in conditions:
        if one.weight_decay != "0" and one.architecture in gains:
            reference = plain[one.architecture].perplexity
            cost = claims.perplexity_cost(one.perplexity, reference)
            gain = gains[one.architecture]
            if gain.value > 0:
                part = "perplexity cost of wd as a share of what depth buys (log ratios)"
                yield _row(one, 4, part, estimate=float(cost.value / gain.value))
