"""Refits with planted heads: what recurrence says where the truth is known."""

import numpy as np

from headstability.measures.adjusted import assignments
from headstability.measures.recurrence import recurrence, shared_and_specific

SEED = 6
REFITS = (4, 5, 10, 50)
# What unrelated heads have beside what is their own: a direction that all heads share, in
# different strength; one for each refit; and an even pattern with a little of their own.
PLANTED = {
    "unrelated": {},
    "hubs": {"common": 1.0, "spread": 0.5},
    "nearly even": {"common": 5.0},
    "refit signature": {"signature": 1.0},
}
SHARES = (0.0, 0.25, 0.5, 1.0)
PLANTED_HEADS, WIDTH = 8, 60


def planted(rng, refits, share, common=0.0, spread=0.0, signature=0.0, noise=0.0):
    """Similarities of refits of which a share of the heads is in every refit, in random order.

    Args:
        rng: of the study.
        refits: how many.
        share: of universal heads; the others are unrelated.
        common: mean strength of one direction that all heads share, in units of their own.
        spread: its relative range over heads.
        signature: strength of a direction of each refit.
        noise: of each refit's copy of a universal head.

    Returns:
        [refit, head, refit, head].
    """
    heads, count = PLANTED_HEADS, round(share * PLANTED_HEADS)
    own = rng.normal(size=(refits, heads, WIDTH))
    own[:, :count] = own[0, :count] + noise * rng.normal(size=(refits, count, WIDTH))
    strength = common * (1 + spread * rng.uniform(-1, 1, size=(refits, heads, 1)))
    vectors = own + strength * rng.normal(size=WIDTH)
    vectors = vectors + signature * rng.normal(size=(refits, 1, WIDTH))
    vectors = np.array([rng.permutation(refit) for refit in vectors])
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.einsum("ahd,bgd->ahbg", vectors, vectors)


def recurrence_of(kind, share, refits, simulations):
    """Mean rho, share of intervals whose lower end is above 0, and mean mu, of planted heads."""
    index = list(PLANTED).index(kind)
    rng = np.random.default_rng([SEED, index, int(100 * share), refits])
    values, above, mus = [], [], []
    for _ in range(simulations):
        similarity = planted(rng, refits, share, **PLANTED[kind])
        found = shared_and_specific(similarity, assignments(similarity), dealt=False)
        low, _ = found["rho"].estimate().interval()
        values.append(found["rho"].value)
        mus.append(found["mu"].value)
        above.append(low > 0)
    return np.mean(values), np.mean(above), np.mean(mus)


def twins_of(refits, noise, simulations):
    """Mean rho of noisy universal heads, with ceiling 1 and with that of twins."""
    rng = np.random.default_rng([SEED, refits, 7])
    with_one, with_twins = [], []
    for _ in range(simulations):
        # Twins are a second copy of every refit with noise of its own.
        both = planted(rng, 2 * refits, 1.0, noise=noise)
        similarity = both[:refits, :, :refits]
        found = shared_and_specific(similarity, assignments(similarity), dealt=False)
        chosen = assignments(both)
        pairs = np.arange(refits), np.arange(refits, 2 * refits)
        heads = np.arange(PLANTED_HEADS)
        alike = [both[a, heads, b, chosen[a, b]].mean() for a, b in zip(*pairs, strict=True)]
        parts = [found[name].value for name in ("T", "T0", "mu")]
        with_one.append(recurrence(*parts))
        with_twins.append(recurrence(*parts, np.mean(alike)))
    return np.mean(with_one), np.mean(with_twins)
