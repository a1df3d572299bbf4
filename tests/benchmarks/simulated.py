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
VERDICT_REFITS = (3, 4, 5, 10, 50)
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


def room(*shape):
    """A range of similarity of 1, so that shares of it are absolute."""
    return Replicated(np.ones(shape[:-1]), np.ones(shape), np.empty((*shape[:-1], 0)))


def claim_0(rng, size, refits, ratio, truth):
    """Recurrence, whose layers are taken as statistics of pairs."""
    noise = NOISE * noise_of_pairs(rng, (LAYERS, size), refits, ratio)
    return claims.heads_come_back(over_pairs(truth[0] + noise), DELTA)


def claim_1(rng, size, refits, ratio, truth):
    noise = NOISE * noise_of_pairs(rng, (LAYERS, size), refits, ratio)
    stability = layers_with(truth[0], 0, truth[1])[..., None, None] + noise
    return claims.middle_is_least_stable(over_pairs(stability), room(LAYERS, size, refits), DELTA)


def claim_2(rng, size, refits, ratio, truth):
    """Three depths that share seeds: half of the node noise is common to them."""
    common = rng.normal(size=(size, refits))
    arms, rooms = {}, {}
    for doublings, layers in enumerate((4, 8, 16)):
        own = rng.normal(size=(layers, size, refits))
        nodes = (common + own) / np.sqrt(2)
        noise = NOISE * noise_of_pairs(rng, (layers, size), refits, ratio, nodes)
        arms[layers] = over_pairs(noise - truth[0] * doublings)
        rooms[layers] = room(layers, size, refits)
    return claims.deeper_is_less_stable(arms, rooms, DELTA)


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
    ratio_of_both = claims.perplexity_cost(usual * np.exp(cost), usual)
    return claims.weight_decay_stabilises("S", *arms, DELTA, ratio_of_both)


def claim_5(rng, size, refits, ratio, truth):
    noise = NOISE * noise_of_pairs(rng, (2, LAYERS, size), refits, ratio)
    null = np.zeros_like(noise[0])
    return claims.stream_is_more_stable(truth[0] + noise[0], null, noise[1], null, DELTA)


CLAIMS = {"0": claim_0, "1": claim_1, "2": claim_2, "4": claim_4, "5": claim_5}
PARTS = {
    "0": ("mean rho",),
    "1": ("S_early - S_mid", "S_late - S_mid"),
    "2": ("-slope of S_mid on log2 L",),
    "4": ("S(wd) - S(0)", "log 1.01 - log perplexity ratio"),
    "5": ("CKA(resid_mid) - CKA(z)",),
}
# What must be rare, and where its error is largest: words, and whether the truth is 0 or delta.
ERRORS = {
    "positive at 0": ((verdicts.LARGER, verdicts.OPEN), 0),
    "larger at delta": ((verdicts.LARGER,), 1),
    "smaller or reversed at delta": ((verdicts.SMALLER, verdicts.REVERSED), 1),
    "reversed at 0": ((verdicts.REVERSED,), 0),
}


def claim_words(parts):
    """The verdicts of a claim in many studies, [simulation]."""
    return verdicts.words(
        verdicts.claim_p_values([part.p_values() for part in parts if part.required])
    )


def rates(build, refits, ratio, truth, simulations, seed):
    """Shares of every word among the verdicts on a claim with these true values."""
    rng = np.random.default_rng([SEED, refits, ratio, *seed])
    found = np.concatenate(
        [
            claim_words(build(rng, size, refits, ratio, truth))
            for size in chunks(simulations, 2 * LAYERS * refits**2)
        ]
    )
    return {word: (found == word).mean() for word in verdicts.WORDS}


def error_rates(name, refits, ratio, simulations):
    """Of a claim: the largest rate of each of ERRORS over its parts, and with all parts alike.

    One part after another lies at the critical value with the others far above, the hardest case
    for positive words, which need them all; then all lie there at once, the hardest for negative
    words, which need one.
    """
    build, parts = CLAIMS[name], len(PARTS[name])
    found = dict.fromkeys(ERRORS, 0.0)
    for which in range(2):
        # The margin of perplexity is itself the effect of interest: its delta is 0.
        critical = np.array(
            [0.0 if (name, part) == ("4", 1) else DELTA * which for part in range(parts)]
        )
        for part in range(parts + 1):
            truth = np.where(np.arange(parts) == part, critical, LARGE)
            truth = critical if part == parts else truth
            shares = rates(build, refits, ratio, truth, simulations, (part, which))
            for error, (bad, place) in ERRORS.items():
                if place == which:
                    rate = sum(shares[word] for word in bad)
                    found[error] = max(found[error], rate / relaxed(name, part, error))
    return found


def relaxed(name, part, error):
    """2 where the bound of perplexity, a one-sided 95 % bound, alone decides a positive word."""
    return 2.0 if (name, part) == ("4", 1) and error in list(ERRORS)[:2] else 1.0


# --- claim 3: correlations over heads ------------------------------------------------------

HEADS = 8
# Correlation of stability with ablation effect by relative depth d: (level at d = 3/4, slope).
# The deep half is symmetric about 3/4 and tau is odd in the correlation, so the first profile has
# mean tau 0 there, exactly; the other lies a little below.
PROFILE = ((0.0, -1.2), (-0.1, -1.2))


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


def replicated_tau(match, delta_loss, commonness=None):
    """`claims.stability_ablation_tau` for many simulations at once, [layer, simulation]."""
    refits = match.shape[2]
    itself = np.eye(refits, dtype=bool)
    filled = np.where(itself[:, :, None], 0.0, match)
    total = filled.sum(axis=3)

    def of(stability, kept):
        given = tau(stability, delta_loss[:, :, kept])
        if commonness is not None:
            one = tau(stability, commonness[:, :, kept])
            other = tau(delta_loss[:, :, kept], commonness[:, :, kept])
            rest = (1 - one**2) * (1 - other**2)
            undefined = np.full(rest.shape, np.nan)
            root = np.sqrt(rest, out=undefined.copy(), where=rest > 0)
            given = np.divide(given - one * other, root, out=undefined, where=rest > 0)
        return over_refits(np.moveaxis(given, 2, 0)).value.T

    every = np.arange(refits)
    value = of(total, every)
    without = []
    for left in range(refits):
        kept = np.delete(every, left)
        without.append(of(total[:, :, kept] - filled[:, :, kept, left], kept))
    return Replicated(value, np.stack(without, axis=-1), np.empty((*value.shape, 0)))


def claim_3_rates(part, refits, ratio, simulations):
    """Rates of each of ERRORS where one part, "mean" or "partial", is critical.

    The other part is surely positive. The true value of the second profile has no closed form:
    delta is the mean over the simulations themselves.
    """
    rng = np.random.default_rng([SEED, refits, ratio, len(part), 3])
    found = {}
    for which, profile in enumerate(PROFILE):
        taus = []
        for size in chunks(simulations, LAYERS * refits * (refits + 30) * HEADS):
            match, effect = simulated_heads(rng, size, refits, ratio, profile)
            common = rng.normal(size=effect.shape) if part == "partial" else None
            taus.append(replicated_tau(match, effect, common))
        fields = ("value", "refits", "prompts")
        joined = [np.concatenate([getattr(one, name) for one in taus], axis=1) for name in fields]
        critical = Replicated(*joined)
        clear = Replicated(*(values - LARGE for values in joined))
        both = (critical, clear) if part == "mean" else (clear, critical)
        parts = claims.unstable_heads_matter(*both, 0.0, 0.0)
        place = 0 if part == "mean" else 1
        delta = parts[place].effect.value.mean() if which else DELTA
        shares = claim_words(claims.unstable_heads_matter(*both, delta, 0.0))
        for error, (bad, at) in ERRORS.items():
            if at == which:
                found[error] = np.isin(shares, bad).mean()
    return found


# --- over conditions -----------------------------------------------------------------------


def pooled_rates(conditions, shared, refits, simulations):
    """Rates of each of ERRORS, pooled over conditions by leaving out seeds.

    `shared` is the share of the estimates' variance that all conditions have in common, because
    they have the same seeds.
    """
    found = {}
    for which, truth in enumerate((0.0, DELTA)):
        rng = np.random.default_rng([SEED, conditions, int(100 * shared), refits, which])
        pooled = []
        for size in chunks(simulations, conditions * refits**2):
            common = rng.normal(size=(size, refits))
            nodes = np.sqrt(1 - shared) * rng.normal(size=(conditions, size, refits))
            nodes = nodes + np.sqrt(shared) * common
            noise = NOISE * noise_of_pairs(rng, nodes.shape[:-1], refits, 10, nodes)
            of_each = over_pairs(truth + noise)
            arrays = zip(of_each.value, of_each.refits, of_each.prompts, strict=True)
            parts = [verdicts.Part("", Replicated(*one), DELTA) for one in arrays]
            mean = verdicts.pool(parts)
            pooled.append(verdicts.words(verdicts.p_values(mean.effect, mean.above)))
        shares = np.concatenate(pooled)
        for error, (bad, at) in ERRORS.items():
            if at == which:
                found[error] = np.isin(shares, bad).mean()
    return found


def holm_rates(conditions, refits, ratio, simulations):
    """Share of studies in which any condition gets a wrong word, by ERRORS, after Holm."""
    found = {}
    for which, truth in enumerate((0.0, DELTA)):
        rng = np.random.default_rng([SEED, conditions, refits, ratio, which])
        wrong = {error: [] for error, (_, at) in ERRORS.items() if at == which}
        for size in chunks(simulations, conditions * refits**2):
            noise = NOISE * noise_of_pairs(rng, (conditions, size), refits, ratio)
            part = verdicts.Part("", over_pairs(truth + noise), DELTA)
            p = part.p_values()  # [4, condition, simulation]
            adjusted = np.array([[verdicts.holm(one) for one in of.T] for of in p])
            shares = verdicts.words(adjusted)
            for error in wrong:
                wrong[error] += list(np.isin(shares, ERRORS[error][0]).any(axis=1))
        found |= {error: np.mean(rows) for error, rows in wrong.items()}
    return found


# --- what is allowed --------------------------------------------------------------------


def limit(nominal, simulations):
    """The nominal rate plus three standard errors of its simulation."""
    return nominal + 3 * np.sqrt(nominal * (1 - nominal) / simulations)
