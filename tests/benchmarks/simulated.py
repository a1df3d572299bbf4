"""Simulated refits with known truth: coverage of intervals, error rates of the verdicts.

Arrays have simulations in their last axes but those of refits, so the library's own functions
evaluate many studies at once.
"""

import numpy as np
from scipy import stats

from headstability.measures import claims, verdicts
from headstability.measures.uncertainty import Replicated, over_pairs, over_refits

SEED = 6
REFITS = (3, 5, 10, 50)
VERDICT_REFITS = (4, 5, 10, 50)
RATIOS = (0, 1, 10, 100)
GROUPS = 20
LAYERS = 8
# Noise of a layer's pair similarities, and effects: of interest, and too large to miss.
NOISE, DELTA, LARGE = 0.05, 0.005, 0.5
# Numbers a simulated array may hold: bounds memory.
CHUNK_NUMBERS = 10**7


def noise_of_pairs(rng, shape, refits, ratio, nodes=None):
    """Symmetric noise [..., refit, refit]: a node part of each refit and a part of each pair.

    `ratio` is the variance of the node part over that of the pair part; their sum is 1. `nodes`
    (standard normal, [..., refit]) stand in for own ones.
    """
    own = rng.normal(size=(*shape, refits)) if nodes is None else nodes
    own = own * np.sqrt(ratio / (1 + ratio))
    pair = np.triu(rng.normal(size=(*shape, refits, refits)) / np.sqrt(1 + ratio), 1)
    return own[..., :, None] + own[..., None, :] + pair + np.swapaxes(pair, -1, -2)


def chunks(simulations, numbers_each):
    """Sizes of parts of the simulations that fit into memory."""
    size = max(1, CHUNK_NUMBERS // numbers_each)
    return [min(size, simulations - done) for done in range(0, simulations, size)]


def covered(estimate, truth=0.0):
    low, high = estimate.interval()
    return (low <= truth) & (truth <= high)


# --- coverage -----------------------------------------------------------------------------


def coverage(refits, ratio, simulations):
    """Share of 95 % intervals of the mean over pairs that hold the truth: jackknife, naive."""
    rng = np.random.default_rng([SEED, refits, ratio])
    jackknife, naive = [], []
    for size in chunks(simulations, refits**2):
        pairs = noise_of_pairs(rng, (size,), refits, ratio)
        jackknife.append(covered(over_pairs(pairs).estimate()))
        values = pairs[:, *np.triu_indices(refits, 1)]
        reach = stats.t.ppf(0.975, values.shape[1] - 1) * stats.sem(values, axis=1)
        naive.append(np.abs(values.mean(axis=1)) <= reach)
    return np.concatenate(jackknife).mean(), np.concatenate(naive).mean()


def coverage_with_prompts(refits, ratio, simulations):
    """The same where 20 groups of prompts bring noise too: with and without SE_prompt."""
    rng = np.random.default_rng([SEED, refits, ratio, GROUPS])
    both, refits_only = [], []
    for size in chunks(simulations, refits**2 * GROUPS):
        pairs = noise_of_pairs(rng, (size,), refits, ratio)
        groups = rng.normal(size=(GROUPS, size)) * 2
        shift = groups.mean(axis=0)
        without = (groups.sum(axis=0) - groups) / (GROUPS - 1)
        measured = pairs + shift[:, None, None]
        both.append(covered(over_pairs(measured, pairs + without[..., None, None]).estimate()))
        refits_only.append(covered(over_pairs(measured).estimate()))
    return np.concatenate(both).mean(), np.concatenate(refits_only).mean()


# --- claims: what they are fed -------------------------------------------------------------
# Each takes the true values of its parts and returns the parts, simulated.


def layers_with(early, mid, late):
    depth = claims.depths(LAYERS)
    return np.where(depth < 0.25, early, np.where(depth > 0.75, late, mid))[:, None]


def claim_1(rng, size, refits, ratio, truth):
    noise = NOISE * noise_of_pairs(rng, (LAYERS, size), refits, ratio)
    stability = layers_with(truth[0], 0, truth[1])[..., None, None] + noise
    own = NOISE * rng.normal(size=(refits, LAYERS, size))
    distinctness = layers_with(-truth[2], 0, -truth[3]) + own
    return claims.middle_is_least_stable(
        over_pairs(stability), over_refits(distinctness), DELTA, DELTA
    )


def claim_2(rng, size, refits, ratio, truth):
    """Three depths that share seeds: half of the node noise is common to them."""
    common = rng.normal(size=(size, refits))
    arms = {}
    for doublings, layers in enumerate((2, 4, 8)):
        own = rng.normal(size=(layers, size, refits))
        nodes = (common + own) / np.sqrt(2)
        noise = NOISE * noise_of_pairs(rng, (layers, size), refits, ratio, nodes)
        arms[layers] = over_pairs(noise - truth[0] * doublings)
    return claims.deeper_is_less_stable(arms, DELTA)


def claim_4(rng, size, refits, ratio, truth):
    """Both arms share seeds: half of the node noise; perplexities are paired."""
    common = rng.normal(size=(LAYERS, size, refits))
    arms = []
    for effect in (truth[0], 0.0):
        nodes = (common + rng.normal(size=common.shape)) / np.sqrt(2)
        noise = NOISE * noise_of_pairs(rng, (LAYERS, size), refits, ratio, nodes)
        arms.append(over_pairs(effect + noise))
    usual = np.exp(3 + rng.normal(size=(refits, size)))
    cost = np.log1p(claims.PERPLEXITY_MARGIN) - truth[1] + NOISE * rng.normal(size=usual.shape)
    return claims.weight_decay_stabilises(*arms, usual * np.exp(cost), usual, DELTA)


def claim_5(rng, size, refits, ratio, truth):
    noise = NOISE * noise_of_pairs(rng, (2, LAYERS, size), refits, ratio)
    return claims.stream_is_more_stable(truth[0] + noise[0], noise[1], DELTA)


CLAIMS = {"1": claim_1, "2": claim_2, "4": claim_4, "5": claim_5}
PARTS = {
    "1": ("S_early - S_mid", "S_late - S_mid", "D_mid - D_early", "D_mid - D_late"),
    "2": ("-slope of S_mid on log2 L",),
    "4": ("S(wd) - S(0)", "log 1.01 - log perplexity ratio"),
    "5": ("CKA(resid_mid) - CKA(z)",),
}


def rates(build, refits, ratio, truth, simulations, seed):
    """Shares of verdicts "supported" and "not supported" of a claim with these true values."""
    rng = np.random.default_rng([SEED, refits, ratio, *seed])
    found = []
    for size in chunks(simulations, 2 * LAYERS * refits**2):
        found.append(verdicts.claim_verdict(build(rng, size, refits, ratio, truth)))
    found = np.concatenate(found)
    return (found == verdicts.SUPPORTED).mean(), (found == verdicts.NOT_SUPPORTED).mean()


def error_rates(name, refits, ratio, simulations):
    """Of a claim: false support at 0 and false rejection at delta by part, and all at delta.

    By part, the others lie far above: the hardest case for "supported", which needs them all.
    """
    build, parts = CLAIMS[name], len(PARTS[name])
    false_support, false_rejection = [], []
    for part in range(parts):
        # The margin of perplexity is itself the effect of interest: its delta is 0.
        delta = 0.0 if (name, part) == ("4", 1) else DELTA
        for effect, rate, which in [(0.0, false_support, 0), (delta, false_rejection, 1)]:
            truth = np.full(parts, LARGE)
            truth[part] = effect
            rate.append(rates(build, refits, ratio, truth, simulations, (part, which))[which])
    truth = np.full(parts, DELTA)
    if name == "4":
        truth[1] = 0.0
    together = rates(build, refits, ratio, truth, simulations, (99,))[1]
    return false_support, false_rejection, together


# --- claim 3: correlations over heads ------------------------------------------------------

HEADS = 8
# Correlation of stability with ablation effect by relative depth d: (level at d = 3/4, slope).
# The deep half is symmetric about 3/4 and tau is odd in the correlation, so the first profile has
# mean tau 0 there and the second slope 0, exactly; the others lie a little below.
PROFILES = {"mean": ((0.0, -1.2), (-0.1, -1.2)), "slope": ((-0.6, 0.0), (-0.6, -0.2))}


def tau(stability, delta_loss):
    """Kendall's tau without ties over the last axis."""
    one, other = np.triu_indices(stability.shape[-1], 1)
    product = np.sign(stability[..., one] - stability[..., other])
    product *= np.sign(delta_loss[..., one] - delta_loss[..., other])
    return product.mean(axis=-1)


def simulated_heads(rng, size, refits, ratio, profile):
    """m [simulation, layer, anchor, refit, head] and delta loss [simulation, layer, refit, head].

    Refits differ in how strongly the two are correlated, more so with a larger ratio.
    """
    level, slope = profile
    nodes = 0.3 * np.sqrt(ratio / (1 + ratio)) * rng.normal(size=(size, 1, refits))
    wanted = (level + slope * (claims.depths(LAYERS) - 0.75))[:, None]
    correlation = np.clip(wanted + nodes, -0.95, 0.95)[..., None]
    own = rng.normal(size=(size, LAYERS, refits, HEADS))
    rest = np.sqrt(1 - correlation**2) * rng.normal(size=own.shape)
    match = own[..., None, :] + rng.normal(size=(size, LAYERS, refits, refits, HEADS)) / 2
    match[:, :, np.arange(refits), np.arange(refits)] = np.nan
    return match, correlation * own + rest


def replicated_tau(match, delta_loss):
    """`claims.stability_ablation_tau` for many simulations at once, [layer, simulation]."""
    refits = match.shape[2]
    itself = np.eye(refits, dtype=bool)
    filled = np.where(itself[:, :, None], 0.0, match)
    total = filled.sum(axis=3)
    value = tau(total, delta_loss).mean(axis=2).T
    without = []
    for left in range(refits):
        kept = np.delete(np.arange(refits), left)
        stability = total[:, :, kept] - filled[:, :, kept, left]
        without.append(tau(stability, delta_loss[:, :, kept]).mean(axis=2).T)
    return Replicated(value, np.stack(without, axis=-1), np.empty((*value.shape, 0)))


def claim_3_rates(part, refits, ratio, simulations):
    """False support at effect 0 and false rejection at delta, the true value of the other profile.

    The true value has no closed form: delta is the mean over the simulations themselves.
    """
    which = list(PROFILES).index(part)
    rng = np.random.default_rng([SEED, refits, ratio, which, 3])
    taus = []
    for profile in PROFILES[part]:
        found = [
            replicated_tau(*simulated_heads(rng, size, refits, ratio, profile))
            for size in chunks(simulations, LAYERS * refits * (refits + 30) * HEADS)
        ]
        fields = ("value", "refits", "prompts")
        joined = [np.concatenate([getattr(f, name) for f in found], axis=1) for name in fields]
        taus.append(Replicated(*joined))
    at_zero = verdicts.claim_verdict(claims.unstable_heads_matter(taus[0], 0.0, 0.0))
    delta = claims.unstable_heads_matter(taus[1], 0.0, 0.0)[which].estimate.value.mean()
    deltas = [-LARGE, -LARGE]
    deltas[which] = delta
    at_delta = verdicts.claim_verdict(claims.unstable_heads_matter(taus[1], *deltas))
    return (at_zero == verdicts.SUPPORTED).mean(), (at_delta == verdicts.NOT_SUPPORTED).mean()


# --- over conditions -----------------------------------------------------------------------


def pooled_rates(conditions, shared, simulations):
    """False support at 0 and false rejection at delta, pooled over conditions.

    `shared` is the share of the estimates' variance that all conditions have in common.
    """
    rng = np.random.default_rng([SEED, conditions, int(100 * shared)])
    noise = np.sqrt(1 - shared) * rng.normal(size=(conditions, simulations))
    noise = NOISE * (noise + np.sqrt(shared) * rng.normal(size=simulations))
    at_zero, at_delta = (
        verdicts.Part("", verdicts.over_conditions(effect + noise), DELTA).verdict()
        for effect in (0.0, DELTA)
    )
    return (at_zero == verdicts.SUPPORTED).mean(), (at_delta == verdicts.NOT_SUPPORTED).mean()


def holm_rate(conditions, refits, ratio, simulations):
    """Share of studies with any false rejection at .025 after Holm, all effects 0."""
    rng = np.random.default_rng([SEED, conditions, refits, ratio])
    any_rejected = []
    for size in chunks(simulations, conditions * refits**2):
        pairs = noise_of_pairs(rng, (size, conditions), refits, ratio)
        p_values = over_pairs(pairs).estimate().p_above()
        any_rejected += [bool((verdicts.holm(p) < 0.025).any()) for p in p_values]
    return np.mean(any_rejected)


# --- what is allowed --------------------------------------------------------------------


def nominal(name, part):
    """Nominal error rate: the perplexity bound is a one-sided 95 % bound."""
    return 0.05 if (name, part) == ("4", 1) else 0.025


def limit(nominal, simulations):
    """The nominal rate plus three standard errors of its simulation."""
    return nominal + 3 * np.sqrt(nominal * (1 - nominal) / simulations)
