import itertools

import numpy as np
import oracles
import oracles_adjusted
import pytest
from benchmarks import coverage, planted, simulated
from scipy import stats
from test_uncertainty import random_pairs

from headstability.measures import claims, verdicts
from headstability.measures.uncertainty import Replicated, jackknife_se, over_pairs
from headstability.measures.verdicts import INCONCLUSIVE, LARGER, OPEN, REVERSED, SMALLER, Part


def part(value, reach, delta=0.1, sample=5):
    """A part whose 95 % interval is value -+ reach."""
    spread = np.linspace(-1, 1, sample)
    scale = reach / stats.t.ppf(0.975, sample - 1) / jackknife_se(spread)
    effect = Replicated(np.array(value), value + scale * spread, np.empty(0))
    return Part("", effect, delta)


# --- the rule -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reach", "verdict"),
    [
        (0.3, 0.19, LARGER),
        (0.3, 0.21, OPEN),  # above 0 for sure, but above delta?
        (0.05, 0.04, OPEN),  # above 0 for sure, and smaller than delta for sure
        (0.3, 0.31, INCONCLUSIVE),  # the interval holds 0 and delta
        (0.05, 0.06, INCONCLUSIVE),
        (0.03, 0.06, SMALLER),
        (-0.3, 0.35, SMALLER),
        (-0.3, 0.2, REVERSED),
        (-0.3, 0.5, INCONCLUSIVE),
        (0.3, 0.0, LARGER),
        (0.05, 0.0, OPEN),
        (0.0, 0.0, SMALLER),
        (-0.1, 0.0, REVERSED),
        (0.3, np.nan, INCONCLUSIVE),
    ],
)
def test_verdict(value, reach, verdict):
    assert part(value, reach).verdict() == verdict
    assert part(value, reach, sample=4).verdict() == verdict
    assert part(value, reach, sample=3).verdict() == INCONCLUSIVE


def test_a_verdict_is_what_the_interval_says():
    rng = np.random.default_rng(0)
    for value, reach in zip(rng.normal(size=300), rng.random(300), strict=True):
        low, high = value - reach, value + reach
        expected = INCONCLUSIVE
        if low > 0:
            expected = LARGER if low > 0.5 else OPEN
        elif high < 0.5:
            expected = REVERSED if high < 0 else SMALLER
        assert part(value, reach, 0.5).verdict() == expected


def test_a_delta_that_is_estimated_brings_its_own_noise():
    effect = part(0.3, 0.1).effect
    fixed = Part("", effect, 0.19)
    moving = Part("", effect, Replicated(np.array(0.19), 0.19 + 0 * effect.refits, np.empty(0)))
    assert fixed.verdict() == moving.verdict() == LARGER
    against = Replicated(np.array(0.19), 0.19 - (effect.refits - effect.value), np.empty(0))
    assert Part("", effect, against).verdict() == OPEN


def test_verdicts_of_claims_of_several_parts():
    yes, small, maybe = part(0.3, 0.1), part(0.2, 0.15), part(0.3, 0.5)
    no, back = part(0.01, 0.02), part(-0.1, 0.05)

    def verdict(*parts):
        return verdicts.words(verdicts.claim_p_values([one.p_values() for one in parts]))

    assert verdict(yes, yes) == LARGER
    assert verdict(yes, small) == OPEN
    assert verdict(yes, maybe) == INCONCLUSIVE
    assert verdict(yes, no) == SMALLER
    assert verdict(yes, back) == REVERSED
    # One of two parts needs an interval of 97.5 %: this one just misses delta.
    assert part(0.0, 0.099).verdict() == SMALLER
    assert verdict(yes, part(0.0, 0.099)) == INCONCLUSIVE
    p = verdicts.claim_p_values([yes.p_values(), maybe.p_values()])
    assert p[1] == maybe.p_values()[1] > yes.p_values()[1]


def test_holm_agrees_with_its_steps():
    rng = np.random.default_rng(0)
    for p_values in rng.random((20, 6)) ** 3:
        adjusted = verdicts.holm(p_values)
        for level in (0.01, 0.025, 0.2, 0.6):
            rejected = set()
            for rank, index in enumerate(np.argsort(p_values)):
                if p_values[index] > level / (6 - rank):
                    break
                rejected.add(int(index))
            assert set(np.flatnonzero(adjusted <= level)) == rejected
    with_gap = verdicts.holm(np.array([0.04, np.nan, 0.01]))
    assert with_gap[[0, 2]] == pytest.approx([0.04, 0.02])
    assert np.isnan(with_gap[1])
    assert verdicts.holm(np.array([])).shape == (0,)


def test_pooled_over_conditions():
    """Seeds are left out of all conditions at once; beyond them the conditions' spread counts."""
    rng = np.random.default_rng(1)
    k = random_pairs(rng, (6,), 5)
    parts = [Part("", over_pairs(one), 0.1) for one in k]

    def mean(kept):
        return np.mean([oracles_adjusted.mean_of_pairs(one, kept) for one in k])

    found = verdicts.pool(parts)
    assert found.effect.value == pytest.approx(mean(range(5)))
    assert found.effect.se == pytest.approx(oracles_adjusted.jackknife(mean, 5))
    assert found.effect.degrees == 4
    assert found.above.value == pytest.approx(mean(range(5)) - 0.1)
    values = np.array([float(one.effect.value) for one in parts])
    between, seeds = values.var(ddof=1) / 6, found.effect.se**2
    assert found.beyond.se == pytest.approx(np.sqrt(between + seeds))
    degrees = (between + seeds) ** 2 / (between**2 / 5 + seeds**2 / 4)
    assert found.beyond.degrees == pytest.approx(degrees)
    assert found.positive == (values > 0).sum()


# --- claims -------------------------------------------------------------------------------


def of_layers(layers, keep):
    return [layer for layer in range(layers) if keep((layer + 0.5) / layers)]


def room_of(k):
    """1 less what is shared, of pairs [layer, refit, refit]."""
    return over_pairs(1 - k)


@pytest.mark.parametrize("layers", [4, 5, 6, 8, 12])
def test_claim_1_agrees_with_its_definition(layers):
    rng = np.random.default_rng(layers)
    k = random_pairs(rng, (layers,), 5)
    parts = claims.middle_is_least_stable(over_pairs(k), room_of(k), 0.2)
    early = of_layers(layers, lambda depth: depth < 0.25)
    mid = of_layers(layers, lambda depth: 0.25 <= depth <= 0.75)
    late = of_layers(layers, lambda depth: depth > 0.75)
    assert len(early) + len(mid) + len(late) == layers
    assert 0 not in mid, "a first layer is never the middle"

    def s(chosen, kept):
        return np.mean([oracles_adjusted.mean_of_pairs(k[layer], kept) for layer in chosen])

    expected = [
        lambda kept: s(early, kept) - s(mid, kept),
        lambda kept: s(late, kept) - s(mid, kept),
    ]
    for one, statistic in zip(parts, expected, strict=True):
        assert one.estimate.value == pytest.approx(statistic(range(5)), abs=1e-12)
        assert one.estimate.se == pytest.approx(oracles_adjusted.jackknife(statistic, 5))

        def above(kept, statistic=statistic):
            return statistic(kept) - 0.2 * (1 - s(range(layers), kept))

        assert one.above_delta().value == pytest.approx(above(range(5)))
        assert one.above_delta().se == pytest.approx(oracles_adjusted.jackknife(above, 5))


def test_the_authors_band_is_in_their_depth():
    weights = claims.ends(10, authors=True)
    assert np.flatnonzero(weights["early"] < 0).tolist() == [3, 4, 5, 6, 7], "l/L from .4 to .8"
    assert np.flatnonzero(weights["early"] > 0).tolist() == [0, 1, 2]
    assert np.flatnonzero(weights["late"] > 0).tolist() == [8, 9]


def test_claim_2_difference_and_slope():
    rng = np.random.default_rng(2)
    k = {layers: random_pairs(rng, (layers,), 4) for layers in (16, 4, 8)}

    def s_mid(layers, kept):
        mid = of_layers(layers, lambda depth: 0.25 <= depth <= 0.75)
        return np.mean([oracles_adjusted.mean_of_pairs(k[layers][layer], kept) for layer in mid])

    def slope(kept):
        return -np.polyfit([1, 2, 3], [s_mid(layers, kept) for layers in (4, 8, 16)], 1)[0]

    arms = {layers: over_pairs(pairs) for layers, pairs in k.items()}
    rooms = {layers: room_of(pairs) for layers, pairs in k.items()}
    (found,) = claims.deeper_is_less_stable(arms, rooms, 0.1)
    assert found.estimate.value == pytest.approx(slope(range(4)))
    assert found.estimate.se == pytest.approx(oracles_adjusted.jackknife(slope, 4))
    assert found.delta.value == pytest.approx(0.1 * (1 - s_mid(4, range(4))))
    del arms[8]
    (found,) = claims.deeper_is_less_stable(arms, rooms, 0.1)
    assert found.estimate.value == pytest.approx(s_mid(4, range(4)) - s_mid(16, range(4)))
    with pytest.raises(ValueError, match="two"):
        claims.deeper_is_less_stable({4: arms[4]}, rooms, 0.1)


@pytest.mark.parametrize("refits", [3, 5])
def test_claim_3_agrees_with_loops(refits):
    rng = np.random.default_rng(3)
    layers, heads = 4, 9
    match = rng.random((layers, refits, refits, heads))
    match[:, np.arange(refits), np.arange(refits)] = np.nan
    delta_loss = rng.random((refits, layers, heads))
    depth = (np.arange(layers) + 0.5) / layers

    def tau(kept):
        found = np.zeros((len(kept), layers))
        for (row, r), layer in itertools.product(enumerate(kept), range(layers)):
            stability = np.mean([match[layer, r, q] for q in kept if q != r], axis=0)
            found[row, layer] = oracles.kendall_tau_b(stability, delta_loss[r, layer])
        return found.mean(axis=0)

    commonness = rng.random((layers, refits, heads))

    def partial(kept):
        found = np.zeros((len(kept), layers))
        for (row, r), layer in itertools.product(enumerate(kept), range(layers)):
            x = np.mean([match[layer, r, q] for q in kept if q != r], axis=0)
            y, z = delta_loss[r, layer], commonness[layer, r]
            xy, xz, yz = (oracles.kendall_tau_b(*two) for two in ((x, y), (x, z), (y, z)))
            found[row, layer] = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
        return found.mean(axis=0)

    expected = [
        lambda kept: -tau(kept)[depth > 0.5].mean(),
        lambda kept: -partial(kept)[depth > 0.5].mean(),
        lambda kept: -np.polyfit(depth, tau(kept), 1)[0],
    ]
    given = claims.stability_ablation_tau(match, delta_loss, commonness)
    parts = claims.unstable_heads_matter(
        claims.stability_ablation_tau(match, delta_loss), given, 0.1, 0.2
    )
    assert [one.delta for one in parts] == [0.1, 0.1, 0.2]
    assert [one.required for one in parts] == [True, True, False]
    for one, statistic in zip(parts, expected, strict=True):
        assert one.estimate.value == pytest.approx(statistic(range(refits)))
        assert one.estimate.se == pytest.approx(oracles_adjusted.jackknife(statistic, refits))
    # The simulations compute the same for many studies at once.
    sets = (match[None], delta_loss.transpose(1, 0, 2)[None])
    for common, args in ((None, ()), (commonness[None], (commonness,))):
        many = simulated.replicated_tau(*sets, common)
        one = claims.stability_ablation_tau(match, delta_loss, *args)
        assert np.allclose(many.value[:, 0], one.value)
        assert np.allclose(many.refits[:, 0], one.refits)


def test_two_refits_have_a_tau_but_no_interval():
    match = np.random.default_rng(4).random((2, 2, 2, 5))
    found = claims.stability_ablation_tau(match, np.random.default_rng(5).random((2, 2, 5)))
    assert np.isfinite(found.value).all()
    assert np.isnan(found.estimate().se).all()


def test_claim_4_gain_and_cost():
    rng = np.random.default_rng(6)
    arms = random_pairs(rng, (2, 3), 6)
    usual = np.exp(rng.normal(size=6))
    costs = np.array([1.001, 1.004, 0.998, 1.002, 1.0, 1.003])
    cost = claims.perplexity_cost(usual * costs, usual)
    stability = over_pairs(arms[0]), over_pairs(arms[1])
    gain, margin = claims.weight_decay_stabilises("S", *stability, 0.1, cost)

    def difference(kept):
        return np.mean([oracles_adjusted.mean_of_pairs(arm, kept) for arm in arms[0] - arms[1]])

    assert gain.estimate.value == pytest.approx(difference(range(6)))
    assert gain.estimate.se == pytest.approx(oracles_adjusted.jackknife(difference, 6))
    logs = np.log(costs)
    upper = logs.mean() + stats.t.ppf(0.95, 5) * stats.sem(logs)
    assert margin.estimate.interval(margin.level)[0] == pytest.approx(np.log(1.01) - upper)
    assert upper < np.log(1.01)
    assert margin.verdict() == LARGER
    for factor, verdict in [(1.02, REVERSED), (1.009, INCONCLUSIVE)]:
        cost = claims.perplexity_cost(usual * costs * factor, usual)
        _, margin = claims.weight_decay_stabilises("S", *stability, 0.1, cost)
        assert margin.verdict() == verdict


def test_dead_heads_are_flagged_by_layer():
    reference = np.ones((3, 4, 2))
    reference[:, 3] = -0.1
    decayed = np.ones((3, 4, 2))
    decayed[:, 1] = 0.11
    decayed[:, 2] = 0.09
    decayed[:, 3] = -1
    assert claims.dead_heads(decayed, reference).tolist() == [False, False, True, False]


def test_claim_5_is_the_mean_gap_over_layers():
    pairs = random_pairs(np.random.default_rng(7), (4, 3), 5)

    def gap(kept):
        of = [[oracles_adjusted.mean_of_pairs(one, kept) for one in layers] for layers in pairs]
        stream, stream_null, heads, heads_null = np.mean(of, axis=1)
        return stream - stream_null - heads + heads_null

    (found,) = claims.stream_is_more_stable(*pairs, 0.1)
    assert found.estimate.value == pytest.approx(gap(range(5)))
    assert found.estimate.se == pytest.approx(oracles_adjusted.jackknife(gap, 5))
    null = np.mean([oracles_adjusted.mean_of_pairs(one, range(5)) for one in pairs[3]])
    assert found.delta.value == pytest.approx(0.1 * (1 - null))


def test_ranges_of_depth():
    assert claims.depths(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert np.flatnonzero(claims.middle(6)).tolist() == [1, 2, 3, 4], "both ends belong to it"
    flat = Replicated(np.zeros(3), np.zeros((3, 4)), np.zeros((3, 0)))
    with pytest.raises(ValueError, match="4 layers"):
        claims.middle_is_least_stable(flat, flat, 0.1)
    with pytest.raises(ValueError, match="4 layers"):
        claims.middle(2)
    single = Replicated(np.zeros(1), np.zeros((1, 4)), np.zeros((1, 0)))
    with pytest.raises(ValueError, match="no layer"):
        claims.unstable_heads_matter(single, single, 0.1, 0.1)
    with pytest.raises(ValueError, match="slope"):
        claims.slope_on(np.ones(3))


# --- error rates, in short ----------------------------------------------------------------

SIMULATIONS = 1000


@pytest.mark.parametrize("refits", [4, 10])
@pytest.mark.parametrize("name", simulated.CLAIMS)
def test_error_rates_of_verdicts(name, refits):
    for error, rate in simulated.error_rates(name, refits, 1, SIMULATIONS).items():
        assert rate <= simulated.limit(0.025, SIMULATIONS), (error, rate)


@pytest.mark.parametrize("part", ["mean", "partial"])
def test_error_rates_of_claim_3(part):
    rates = simulated.claim_3_rates(part, 5, 1, SIMULATIONS)
    assert max(rates.values()) <= simulated.limit(0.025, SIMULATIONS)


def test_clear_effects_get_their_verdict():
    """The error rates are not low because nothing is ever decided."""
    for name, build in simulated.CLAIMS.items():
        large = np.full(len(simulated.PARTS[name]), simulated.LARGE)
        assert simulated.rates(build, 10, 1, large, 200, (1,))[LARGER] == 1, name
        assert simulated.rates(build, 10, 1, -large, 200, (2,))[REVERSED] == 1, name
        few = simulated.rates(build, 3, 1, large, 20, (3,))
        assert few[INCONCLUSIVE] == 1, "3 refits decide nothing"


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_error_rates_over_conditions(shared):
    found = simulated.pooled_rates(8, shared, 5, SIMULATIONS)
    assert max(found.values()) <= simulated.limit(0.025, SIMULATIONS)


def test_error_rates_after_holm():
    found = simulated.holm_rates(6, 5, 1, SIMULATIONS)
    assert max(found.values()) <= simulated.limit(0.025, SIMULATIONS)


@pytest.mark.parametrize("kind", planted.PLANTED)
def test_planted_heads_are_found_in_the_share_they_have(kind):
    found = [planted.recurrence_of(kind, share, 4, 60) for share in planted.SHARES]
    rho, above, _ = np.array(found).T
    assert abs(rho[0]) < 0.02
    assert above[0] <= simulated.limit(0.025, 60)
    assert (np.diff(rho) > 0.05).all()
    assert above[2] > 0.9


def test_the_twins_ceiling_takes_noise_out():
    one, twins = planted.twins_of(4, 0.6, 30)
    assert one < 0.85
    assert twins == pytest.approx(1, abs=0.02)


def test_the_page_of_simulations(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    few = {"REFITS": (3, 5), "VERDICT_REFITS": (3, 4, 5), "RATIOS": (0, 1)}
    for name, value in few.items():
        monkeypatch.setattr(simulated, name, value)
    monkeypatch.setattr(planted, "REFITS", (4,))
    coverage.main(["--simulations", "20", "--output", str(page)])
    text = page.read_text()
    assert "20 simulated studies" in text
    first = page.read_bytes()
    coverage.main(["--simulations", "20", "--output", str(page)])
    assert page.read_bytes() == first
    committed = (coverage.ROOT / "docs" / "simulations.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        line for line in committed.splitlines() if line.startswith("## ")
    ]
