"""The statistics of the claims (docs/statistics.md, "Claims"). Arrays only.

Every claim is a list of parts, quantities that are positive if the claim holds. Layer values are
`Replicated` with the layer first, [layer, ...]. `room` is C - mu of the same similarity: its range
from what any two heads share to the ceiling. Shares are the smallest effects of interest as shares
of that range.
"""

from collections.abc import Mapping

import numpy as np

from .uncertainty import Replicated, kendall_tau_b, over_pairs, over_refits
from .verdicts import Part

# Layers a middle needs on either side of it.
LEAST_LAYERS = 4
# Relative perplexity that weight decay may cost, and the level at which an end of the two-sided
# interval is a one-sided 95 % bound.
PERPLEXITY_MARGIN = 0.01
BOUND_LEVEL = 0.90
# Heads whose ablation costs less than this share of what it costs without weight decay are dead.
DEAD_SHARE = 0.1
# The authors' middle, in their relative depth l/L.
AUTHORS_BAND = (0.4, 0.8)


def depths(layers: int) -> np.ndarray:
    """Relative depth d = (l - 1/2)/L of layers l = 1..L, [layer]."""
    return (np.arange(layers) + 0.5) / layers


def mean_over(layers: np.ndarray) -> np.ndarray:
    """Weights that average the layers chosen by a mask, [layer].

    Raises:
        ValueError: none is chosen.
    """
    if not layers.any():
        raise ValueError("no layer lies in this range of depth")
    return layers / layers.sum()


def slope_on(x: np.ndarray) -> np.ndarray:
    """Weights that give the least-squares slope on x, which must vary (else a ValueError)."""
    deviations = x - x.mean()
    squares = np.square(deviations).sum()
    if not squares > 0:
        raise ValueError("a slope needs two different values of x")
    return deviations / squares


def middle(layers: int) -> np.ndarray:
    """Weights of the middle, 1/4 <= d <= 3/4, [layer].

    Raises:
        ValueError: fewer than 4 layers, so that the first one would be the middle.
    """
    _require_layers(layers)
    depth = depths(layers)
    return mean_over((depth >= 0.25) & (depth <= 0.75))


def _require_layers(layers: int) -> None:
    if layers < LEAST_LAYERS:
        raise ValueError(f"early, middle and late layers need at least {LEAST_LAYERS} layers")


def ends(layers: int, authors: bool = False) -> dict[str, np.ndarray]:
    """Weights of early less middle and of late less middle layers, by name, [layer].

    `authors` takes the paper's band, .4 <= l/L <= .8, as the middle.

    Raises:
        ValueError: fewer than 4 layers.
    """
    _require_layers(layers)
    depth = np.arange(1, layers + 1) / layers if authors else depths(layers)
    low, high = AUTHORS_BAND if authors else (0.25, 0.75)
    mid = mean_over((depth >= low) & (depth <= high))
    return {"early": mean_over(depth < low) - mid, "late": mean_over(depth > high) - mid}


def middle_is_least_stable(stability: Replicated, room: Replicated, share: float) -> list[Part]:
    """Claim 1: the middle is less stable than both ends.

    Raises:
        ValueError: fewer than 4 layers.
    """
    layers = len(stability.value)
    delta = scaled(mean_of_layers(room), share)
    return [
        Part(f"S_{name} - S_mid", stability.contrast(weights), delta)
        for name, weights in ends(layers).items()
    ]


def deeper_is_less_stable(
    stability: Mapping[int, Replicated], room: Mapping[int, Replicated], share: float
) -> list[Part]:
    """Claim 2: at mid depth deeper models are less stable.

    Two depths: S_mid of the shallower minus that of the deeper. More: minus the slope of S_mid
    on log2 L, a loss for each doubling. Architectures differ in depth only and share seeds.

    Args:
        stability: S_l by number of layers, at least 4.
        room: of the same.
        share: smallest loss of interest, as a share of the shallowest's range at mid depth.

    Raises:
        ValueError: fewer than two depths, one below 4, or arms that do not share refits and
            prompts.
    """
    sizes = sorted(stability)
    if len(sizes) < 2:
        raise ValueError("comparing depths needs at least two of them")
    mids = [stability[size].contrast(middle(size)) for size in sizes]
    delta = scaled(room[sizes[0]].contrast(middle(sizes[0])), share)
    if len(sizes) == 2:
        return [Part("S_mid(shallow) - S_mid(deep)", mids[0] - mids[1], delta)]
    weights = slope_on(np.log2(sizes))
    # Weights add up to 0: the slope is a sum of paired differences from the first depth.
    falls = [mids[0] - mid for mid in mids]
    parts = [(fall.value, fall.refits, fall.prompts) for fall in falls]
    slope = Replicated(*map(np.stack, zip(*parts, strict=True))).contrast(weights)
    return [Part("-slope of S_mid on log2 L", slope, delta)]


def stability_ablation_tau(
    match: np.ndarray, delta_loss: np.ndarray, commonness: np.ndarray | None = None
) -> Replicated:
    """Kendall's tau_b over heads of stability and ablation effect, averaged over refits.

    A refit that is left out is also left out of the other anchors' stability.

    Args:
        match: m, [layer, anchor, refit, head], NaN where both are the same refit.
        delta_loss: [refit, layer, head].
        commonness: of heads in their own layer, [layer, refit, head]: the partial tau given it.

    Returns:
        tau_l, [layer]; a refit whose tau is undefined is left out of the mean.
    """
    layers, refits = match.shape[:2]
    every = np.arange(refits)
    total = np.nansum(match, axis=2)  # [layer, anchor, head]
    effect = delta_loss.transpose(1, 0, 2)

    def mean_tau(kept: np.ndarray, left: int | None = None) -> np.ndarray:
        # A sum over the other refits ranks heads as their mean does.
        stability = total[:, kept] - (0 if left is None else match[:, kept, left])
        given = None if commonness is None else commonness[:, kept]
        found = partial_tau(stability, effect[:, kept], given)
        return over_refits(found.T).value

    value = mean_tau(every) if refits > 1 else np.full(layers, np.nan)
    without = [
        mean_tau(np.delete(every, left), left) if refits > 2 else np.full(layers, np.nan)
        for left in every
    ]
    return Replicated(value, np.stack(without, axis=-1), np.empty((layers, 0)))


def partial_tau(x: np.ndarray, y: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
    """Kendall's tau_b of x and y, or its partial form given a third variable (Kendall 1942).

    (t_xy - t_xz t_yz) / sqrt((1 - t_xz^2)(1 - t_yz^2)), over the last axis, [...]; NaN where it is
    undefined.
    """
    tau = kendall_tau_b(x, y)
    if given is None:
        return tau
    one, other = kendall_tau_b(x, given), kendall_tau_b(y, given)
    rest = np.maximum((1 - one**2) * (1 - other**2), 0)
    out = np.full(np.shape(tau), np.nan)
    return np.divide(tau - one * other, np.sqrt(rest), out=out, where=rest > 0)


def unstable_heads_matter(
    tau: Replicated, partial: Replicated, delta_mean: float, delta_slope: float
) -> list[Part]:
    """Claim 3: in deep layers unstable heads cost more, also at equal commonness.

    `tau` and `partial` are what `stability_ablation_tau` returned, without and with commonness;
    deltas are without their sign. The slope over depth is shown but not required.

    Raises:
        ValueError: fewer than 2 layers.
    """
    depth = depths(len(tau.value))
    deep, slope = mean_over(depth > 0.5), slope_on(depth)
    return [
        Part("-mean tau of the deep half", -tau.contrast(deep), delta_mean),
        Part("-mean partial tau given commonness", -partial.contrast(deep), delta_mean),
        Part("-slope of tau on depth", -tau.contrast(slope), delta_slope, required=False),
    ]


def weight_decay_stabilises(
    name: str,
    with_decay: Replicated,
    without_decay: Replicated,
    delta: Replicated | float,
    cost: Replicated,
    margin: float = PERPLEXITY_MARGIN,
) -> list[Part]:
    """Claim 4: weight decay raises agreement and costs less than the margin of perplexity.

    Args:
        name: of the measure of agreement, S or rho.
        with_decay: it with weight decay, [layer].
        without_decay: it at weight decay 0, same refits and prompts.
        delta: smallest gain of interest.
        cost: what `perplexity_cost` returned.
        margin: relative perplexity that it may cost.
    """
    gain = mean_of_layers(with_decay - without_decay)
    room = Replicated(np.log1p(margin) - cost.value, -cost.refits, cost.prompts)
    bound = f"log {1 + margin:g} - log perplexity ratio"
    return [Part(f"{name}(wd) - {name}(0)", gain, delta), Part(bound, room, level=BOUND_LEVEL)]


def perplexity_cost(perplexity: np.ndarray, reference: np.ndarray) -> Replicated:
    """Mean over seeds of log(perplexity / reference), both [refit]."""
    return over_refits(np.log(perplexity) - np.log(reference))


def dead_heads(delta_loss: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Layers whose heads do almost nothing: ablation costs less than .1 of the reference's.

    Args:
        delta_loss: of a condition with weight decay, [refit, layer, head].
        reference: at weight decay 0, [refit, layer, head].

    Returns:
        [layer]; never true where heads of the reference cost nothing either.
    """
    mean, usual = delta_loss.mean(axis=(0, 2)), reference.mean(axis=(0, 2))
    return (usual > 0) & (mean < DEAD_SHARE * usual)


def stream_is_more_stable(
    stream: np.ndarray,
    stream_null: np.ndarray,
    heads: np.ndarray,
    heads_null: np.ndarray,
    share: float,
) -> list[Part]:
    """Claim 5: the residual stream agrees between refits more than what the heads write.

    `stream` is debiased linear CKA of resid_mid, `heads` that of the layer's concatenated z on the
    same tokens, and each null the same with prompts shuffled: what position alone gives. All are
    [layer, refit, refit]. The smallest difference of interest is a share of 1 less the heads' null.
    """
    gap = mean_of_layers(over_pairs(stream - stream_null - (heads - heads_null)))
    room = mean_of_layers(over_pairs(1 - heads_null))
    name = "CKA(resid_mid) - CKA(z), each less its null"
    return [Part(name, gap, scaled(room, share))]


def heads_come_back(rho: Replicated, share: float) -> list[Part]:
    """Claim 0, this project's own: recurrence is above chance, on average over layers."""
    return [Part("mean rho", mean_of_layers(rho), share)]


def mean_of_layers(values: Replicated) -> Replicated:
    """The mean over layers."""
    layers = len(values.value)
    return values.contrast(np.full(layers, 1 / layers))


def scaled(values: Replicated, factor: float) -> Replicated:
    """A statistic times a number."""
    return Replicated(factor * values.value, factor * values.refits, factor * values.prompts)
