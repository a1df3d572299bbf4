import itertools

import numpy as np
import oracles
import oracles_adjusted
import pytest
from benchmarks import coverage, simulated
from scipy import stats
from test_uncertainty import random_pairs

from headstability.measures import claims, verdicts
from headstability.measures.uncertainty import Estimate, Replicated, over_pairs, over_refits
from headstability.measures.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Part


def part(value, reach, delta=0.1, sample=5):
    """A part whose 95 % interval is value -+ reach."""
    se = reach / stats.t.ppf(0.975, sample - 1)
    estimate = Estimate(np.array(value), np.array(se), np.array(np.nan), sample - 1, sample)
    return Part("", estimate, delta)


# --- the rule -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reach", "verdict"),
    [
        (0.3, 0.2, SUPPORTED),
        (0.1, 0.05, SUPPORTED),  # the estimate is delta: enough
        (0.3, 0.31, INCONCLUSIVE),  # the interval holds 0
        (0.09, 0.05, INCONCLUSIVE),  # above 0 for sure, but of interest?
        (0.05, 0.04, NOT_SUPPORTED),  # above 0 for sure, and too small for sure
        (-0.3, 0.2, NOT_SUPPORTED),
        (-0.3, 0.5, INCONCLUSIVE),
        (0.3, 0.0, SUPPORTED),
        (0.0, 0.0, NOT_SUPPORTED),
        (0.3, np.nan, INCONCLUSIVE),
    ],
)
def test_verdict(value, reach, verdict):
    assert part(value, reach).verdict() == verdict
    assert part(value, reach, sample=4).verdict() == verdict
    assert part(value, reach, sample=3).verdict() == INCONCLUSIVE


def test_verdicts_of_claims_of_several_parts():
    yes, no, maybe = part(0.3, 0.1), part(0.01, 0.01), part(0.3, 0.5)
    assert verdicts.claim_verdict([yes, yes]) == SUPPORTED
    assert verdicts.claim_verdict([yes, maybe]) == INCONCLUSIVE
    assert verdicts.claim_verdict([yes, maybe, no]) == NOT_SUPPORTED
    assert verdicts.claim_p_value([yes, maybe]) == maybe.p_value() > yes.p_value()


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
    values = np.random.default_rng(1).normal(size=(5, 2))
    estimate = verdicts.over_conditions(values)
    expected = stats.t.interval(0.95, 4, values.mean(axis=0), stats.sem(values))
    assert np.allclose(estimate.interval(), expected)
    few = verdicts.over_conditions(values[:3])
    assert np.allclose(few.value, values[:3].mean(axis=0))
    assert np.isnan(few.interval()).all()


# --- claims -------------------------------------------------------------------------------


def of_layers(layers, keep):
    return [layer for layer in range(layers) if keep((layer + 0.5) / layers)]


@pytest.mark.parametrize("layers", [4, 5, 6, 8, 12])
def test_claim_1_agrees_with_its_definition(layers):
    rng = np.random.default_rng(layers)
    k, d = random_pairs(rng, (layers,), 5), rng.random((5, layers))
    parts = claims.middle_is_least_stable(over_pairs(k), over_refits(d), 0.1, 0.2)
    early = of_layers(layers, lambda depth: depth < 0.25)
    mid = of_layers(layers, lambda depth: 0.25 <= depth <= 0.75)
    late = of_layers(layers, lambda depth: depth > 0.75)
    assert len(early) + len(mid) + len(late) == layers

    def s(chosen, kept):
        return np.mean([oracles_adjusted.mean_of_pairs(k[layer], kept) for layer in chosen])

    def dist(chosen, kept):
        return np.mean([d[list(kept), layer].mean() for layer in chosen])

    expected = [
        lambda kept: s(early, kept) - s(mid, kept),
        lambda kept: s(late, kept) - s(mid, kept),
        lambda kept: dist(mid, kept) - dist(early, kept),
        lambda kept: dist(mid, kept) - dist(late, kept),
    ]
    assert [one.delta for one in parts] == [0.1, 0.1, 0.2, 0.2]
    for one, statistic in zip(parts, expected, strict=True):
        assert one.estimate.value == pytest.approx(statistic(range(5)), abs=1e-12)
        assert one.estimate.se == pytest.approx(oracles_adjusted.jackknife(statistic, 5))


def test_claim_2_difference_and_slope():
    rng = np.random.default_rng(2)
    k = {layers: random_pairs(rng, (layers,), 4) for layers in (8, 2, 4)}

    def s_mid(layers, kept):
        mid = of_layers(layers, lambda depth: 0.25 <= depth <= 0.75)
        return np.mean([oracles_adjusted.mean_of_pairs(k[layers][layer], kept) for layer in mid])

    def slope(kept):
        return -np.polyfit([1, 2, 3], [s_mid(layers, kept) for layers in (2, 4, 8)], 1)[0]

    arms = {layers: over_pairs(pairs) for layers, pairs in k.items()}
    (found,) = claims.deeper_is_less_stable(arms, 0.1)
    assert found.estimate.value == pytest.approx(slope(range(4)))
    assert found.estimate.se == pytest.approx(oracles_adjusted.jackknife(slope, 4))
    del arms[4]
    (found,) = claims.deeper_is_less_stable(arms, 0.1)
    assert found.estimate.value == pytest.approx(s_mid(2, range(4)) - s_mid(8, range(4)))
    with pytest.raises(ValueError, match="two"):
        claims.deeper_is_less_stable({2: arms[2]}, 0.1)


@pytest.mark.parametrize("refits", [3, 5])
def test_claim_3_agrees_with_loops(refits):
    rng = np.random.default_rng(3)
    layers, heads = 4, 6
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

    expected = [
        lambda kept: -tau(kept)[depth > 0.5].mean(),
        lambda kept: -np.polyfit(depth, tau(kept), 1)[0],
    ]
    parts = claims.unstable_heads_matter(claims.stability_ablation_tau(match, delta_loss), 0.1, 0.2)
    assert [one.delta for one in parts] == [0.1, 0.2]
    for one, statistic in zip(parts, expected, strict=True):
        assert one.estimate.value == pytest.approx(statistic(range(refits)))
        assert one.estimate.se == pytest.approx(oracles_adjusted.jackknife(statistic, refits))
    # The simulations compute the same for many studies at once.
    many = simulated.replicated_tau(match[None], delta_loss.transpose(1, 0, 2)[None])
    one = claims.stability_ablation_tau(match, delta_loss)
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
    gain, margin = claims.weight_decay_stabilises(
        over_pairs(arms[0]), over_pairs(arms[1]), usual * costs, usual, 0.1
    )

    def difference(kept):
        return np.mean([oracles_adjusted.mean_of_pairs(arm, kept) for arm in arms[0] - arms[1]])

    assert gain.estimate.value == pytest.approx(difference(range(6)))
    assert gain.estimate.se == pytest.approx(oracles_adjusted.jackknife(difference, 6))
    logs = np.log(costs)
    upper = logs.mean() + stats.t.ppf(0.95, 5) * stats.sem(logs)
    assert margin.estimate.interval(margin.level)[0] == pytest.approx(np.log(1.01) - upper)
    assert upper < np.log(1.01)
    assert margin.verdict() == SUPPORTED
    for factor, verdict in [(1.02, NOT_SUPPORTED), (1.009, INCONCLUSIVE)]:
        _, margin = claims.weight_decay_stabilises(
            over_pairs(arms[0]), over_pairs(arms[1]), usual * costs * factor, usual, 0.1
        )
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
    pairs = random_pairs(np.random.default_rng(7), (2, 3), 5)

    def gap(kept):
        return np.mean([oracles_adjusted.mean_of_pairs(one, kept) for one in pairs[0] - pairs[1]])

    (found,) = claims.stream_is_more_stable(pairs[0], pairs[1], 0.1)
    assert found.estimate.value == pytest.approx(gap(range(5)))
    assert found.estimate.se == pytest.approx(oracles_adjusted.jackknife(gap, 5))


def test_ranges_of_depth():
    assert claims.depths(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert np.flatnonzero(claims.middle(6)).tolist() == [1, 2, 3, 4], "both ends belong to it"
    assert claims.middle(2).tolist() == [0.5, 0.5]
    flat = Replicated(np.zeros(3), np.zeros((3, 4)), np.zeros((3, 0)))
    with pytest.raises(ValueError, match="4 layers"):
        claims.middle_is_least_stable(flat, flat, 0.1, 0.1)
    single = Replicated(np.zeros(1), np.zeros((1, 4)), np.zeros((1, 0)))
    with pytest.raises(ValueError, match="no layer"):
        claims.unstable_heads_matter(single, 0.1, 0.1)
    with pytest.raises(ValueError, match="slope"):
        claims.slope_on(np.ones(3))


# --- error rates, in short ----------------------------------------------------------------

SIMULATIONS = 1000


@pytest.mark.parametrize("refits", [4, 10])
@pytest.mark.parametrize("name", simulated.CLAIMS)
def test_error_rates_of_verdicts(name, refits):
    support, rejection, _ = simulated.error_rates(name, refits, 1, SIMULATIONS)
    for part, rates in enumerate(zip(support, rejection, strict=True)):
        nominal = simulated.nominal(name, part)
        assert max(rates) <= simulated.limit(nominal, SIMULATIONS), (part, rates)


@pytest.mark.parametrize("part", ["mean", "slope"])
def test_error_rates_of_claim_3(part):
    rates = simulated.claim_3_rates(part, 5, 1, SIMULATIONS)
    assert max(rates) <= simulated.limit(0.025, SIMULATIONS)


def test_clear_effects_get_their_verdict():
    """The error rates are not low because nothing is ever decided."""
    for name, build in simulated.CLAIMS.items():
        large = np.full(len(simulated.PARTS[name]), simulated.LARGE)
        supported, _ = simulated.rates(build, 10, 1, large, 200, (1,))
        _, refuted = simulated.rates(build, 10, 1, -large, 200, (2,))
        assert supported == refuted == 1, name
        assert simulated.rates(build, 3, 1, large, 20, (3,)) == (0, 0), "3 refits decide nothing"


def test_error_rates_over_conditions():
    assert simulated.holm_rate(6, 5, 1, SIMULATIONS) <= simulated.limit(0.025, SIMULATIONS)
    for conditions in (4, 10):
        rates = simulated.pooled_rates(conditions, 0.0, SIMULATIONS)
        assert max(rates) <= simulated.limit(0.025, SIMULATIONS)


def test_the_page_of_simulations(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    few = {"REFITS": (3, 5), "VERDICT_REFITS": (4,), "RATIOS": (0, 1)}
    for name, value in few.items():
        monkeypatch.setattr(simulated, name, value)
    coverage.main(["--simulations", "30", "--output", str(page)])
    text = page.read_text()
    assert "30 simulated studies" in text
    first = page.read_bytes()
    coverage.main(["--simulations", "30", "--output", str(page)])
    assert page.read_bytes() == first
    committed = (coverage.ROOT / "docs" / "simulations.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        line for line in committed.splitlines() if line.startswith("## ")
    ]
