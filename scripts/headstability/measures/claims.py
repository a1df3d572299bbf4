"""The statistics of the five claims (docs/statistics.md, "Claims"). Arrays only.

Every claim is a list of parts, quantities that are positive if the claim holds. Layer values are
`Replicated` with the layer first, [layer, ...], from raw or adjusted pair matrices. Deltas are the
smallest effects of interest, in the unit of the quantity.
"""

from collections.abc import Mapping

import numpy as np

from .uncertainty import Replicated, kendall_tau_b, over_pairs, over_refits
from .verdicts import Part

# Relative perplexity that weight decay may cost, and the level at which an end of the two-sided
# interval is a one-sided 95 % bound.
PERPLEXITY_MARGIN = 0.01
BOUND_LEVEL = 0.90
# Heads whose ablation costs less than this share of what it costs without weight decay are dead.
DEAD_SHARE = 0.1


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
    """Weights of the middle, 1/4 <= d <= 3/4, [layer]."""
    depth = depths(layers)
    return mean_over((depth >= 0.25) & (depth <= 0.75))


def middle_is_least_stable(
    stability: Replicated,
    distinctness: Replicated,
    delta_stability: float,
    delta_distinctness: float,
) -> list[Part]:
    """Claim 1: the middle is less stable (S_l) and more distinct (D_l) than both ends.

    Raises:
        ValueError: fewer than 4 layers.
    """
    layers = len(stability.value)
    if layers < 4:
        raise ValueError("early, middle and late layers need at least 4 layers")
    early, late = mean_over(depths(layers) < 0.25), mean_over(depths(layers) > 0.75)
    mid = middle(layers)
    return [
        Part("S_early - S_mid", stability.contrast(early - mid).estimate(), delta_stability),
        Part("S_late - S_mid", stability.contrast(late - mid).estimate(), delta_stability),
        Part("D_mid - D_early", distinctness.contrast(mid - early).estimate(), delta_distinctness),
        Part("D_mid - D_late", distinctness.contrast(mid - late).estimate(), delta_distinctness),
    ]


def deeper_is_less_stable(stability: Mapping[int, Replicated], delta: float) -> list[Part]:
    """Claim 2: at mid depth deeper models are less stable.

    Two depths: S_mid of the shallower minus that of the deeper. More: minus the slope of S_mid
    on log2 L, a loss for each doubling. Architectures differ in depth only and share seeds.
    `stability` holds S_l by number of layers.

    Raises:
        ValueError: fewer than two depths, or arms that do not share refits and prompts.
    """
    sizes = sorted(stability)
    if len(sizes) < 2:
        raise ValueError("comparing depths needs at least two of them")
    mids = [stability[size].contrast(middle(size)) for size in sizes]
    if len(sizes) == 2:
        return [Part("S_mid(shallow) - S_mid(deep)", (mids[0] - mids[1]).estimate(), delta)]
    weights = slope_on(np.log2(sizes))
    # Weights add up to 0: the slope is a sum of paired differences from the first depth.
    falls = [mids[0] - mid for mid in mids]
    parts = [(fall.value, fall.refits, fall.prompts) for fall in falls]
    slope = Replicated(*map(np.stack, zip(*parts, strict=True))).contrast(weights)
    return [Part("-slope of S_mid on log2 L", slope.estimate(), delta)]


def stability_ablation_tau(match: np.ndarray, delta_loss: np.ndarray) -> Replicated:
    """Kendall's tau_b over heads of stability and ablation effect, averaged over refits.

    A refit that is left out is also left out of the other anchors' stability.

    Args:
        match: m, [layer, anchor, refit, head], NaN where both are the same refit.
        delta_loss: [refit, layer, head].

    Returns:
        tau_l, [layer]; a refit whose tau is undefined is left out of the mean.
    """
    layers, refits = match.shape[:2]

    def tau(kept: np.ndarray) -> np.ndarray:
        found = np.full((len(kept), layers), np.nan)
        if len(kept) < 2:
            return found
        for row, anchor in enumerate(kept):
            others = kept[kept != anchor]
            for layer in range(layers):
                stability = match[layer, anchor, others].mean(axis=0)
                found[row, layer] = kendall_tau_b(stability, delta_loss[anchor, layer])
        return found

    every = np.arange(refits)
    value = over_refits(tau(every)).value
    without = [over_refits(tau(np.delete(every, refit))).value for refit in every]
    return Replicated(value, np.stack(without, axis=-1), np.empty((layers, 0)))


def unstable_heads_matter(tau: Replicated, delta_mean: float, delta_slope: float) -> list[Part]:
    """Claim 3: in deep layers unstable heads cost more, increasingly so with depth.

    `tau` is what `stability_ablation_tau` returned; deltas are without their sign.

    Raises:
        ValueError: fewer than 2 layers.
    """
    depth = depths(len(tau.value))
    deep, slope = mean_over(depth > 0.5), slope_on(depth)
    return [
        Part("-mean tau of the deep half", (-tau.contrast(deep)).estimate(), delta_mean),
        Part("-slope of tau on depth", (-tau.contrast(slope)).estimate(), delta_slope),
    ]


def weight_decay_stabilises(
    with_decay: Replicated,
    without_decay: Replicated,
    perplexity: np.ndarray,
    perplexity_without_decay: np.ndarray,
    delta: float,
    margin: float = PERPLEXITY_MARGIN,
) -> list[Part]:
    """Claim 4: weight decay raises stability and costs less than the margin of perplexity.

    Args:
        with_decay: S_l with weight decay.
        without_decay: S_l at weight decay 0, same refits and prompts.
        perplexity: held-out perplexity with weight decay, [refit, ...].
        perplexity_without_decay: the same at weight decay 0, same seeds, [refit, ...].
        delta: smallest gain of stability of interest.
        margin: relative perplexity that it may cost.
    """
    layers = len(with_decay.value)
    gain = (with_decay - without_decay).contrast(np.full(layers, 1 / layers))
    cost = over_refits(np.log(perplexity) - np.log(perplexity_without_decay))
    room = Replicated(np.log1p(margin) - cost.value, -cost.refits, cost.prompts)
    return [
        Part("S(wd) - S(0)", gain.estimate(), delta),
        Part(f"log {1 + margin:g} - log perplexity ratio", room.estimate(), 0.0, BOUND_LEVEL),
    ]


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


def stream_is_more_stable(stream: np.ndarray, heads: np.ndarray, delta: float) -> list[Part]:
    """Claim 5: the residual stream agrees between refits more than what the heads write.

    `stream` is debiased linear CKA of resid_mid, `heads` that of the layer's concatenated z on the
    same tokens, both [layer, ..., refit, refit].
    """
    layers = len(stream)
    gap = over_pairs(stream - heads).contrast(np.full(layers, 1 / layers))
    return [Part("CKA(resid_mid) - CKA(z)", gap.estimate(), delta)]
