import numpy as np
import oracles_adjusted as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headstability.measures import uncertainty
from headstability.measures.uncertainty import Estimate


def random_pairs(rng, shape, refits, node=1.0, pair=1.0):
    """Symmetric [..., refit, refit] with node and pair noise around 0, NaN on the diagonal."""
    nodes = rng.normal(size=(*shape, refits)) * np.sqrt(node)
    noise = np.triu(rng.normal(size=(*shape, refits, refits)) * np.sqrt(pair), 1)
    pairs = nodes[..., :, None] + nodes[..., None, :] + noise + np.swapaxes(noise, -1, -2)
    pairs[..., np.arange(refits), np.arange(refits)] = np.nan
    return pairs


@pytest.mark.parametrize("refits", [3, 4, 7])
def test_pairs_agree_with_loops(refits):
    pairs = random_pairs(np.random.default_rng(0), (2, 3), refits)
    estimate = uncertainty.over_pairs(pairs).estimate()
    assert (estimate.degrees, estimate.sample) == (refits - 1, refits)
    for index in np.ndindex(2, 3):

        def mean(kept, k=pairs[index]):
            return oracles.mean_of_pairs(k, kept)

        se = oracles.jackknife(mean, refits)
        assert estimate.value[index] == pytest.approx(mean(range(refits)), abs=1e-12)
        assert estimate.se[index] == pytest.approx(se, abs=1e-12)
        low, high = (end[index] for end in estimate.interval())
        reach = stats.t.ppf(0.975, refits - 1) * se
        assert low == pytest.approx(mean(range(refits)) - reach, abs=1e-12)
        assert high - low == pytest.approx(2 * reach, abs=1e-12)


def test_closed_forms_agree_with_the_general_function():
    rng = np.random.default_rng(1)
    pairs, values = random_pairs(rng, (4,), 6), rng.normal(size=(6, 4))
    off = ~np.eye(6, dtype=bool)

    def by_pairs(kept):
        chosen = pairs[:, kept[:, None], kept]
        return chosen[:, off[: len(kept), : len(kept)]].mean(axis=1)

    for closed, general in [
        (uncertainty.over_pairs(pairs), by_pairs),
        (uncertainty.over_refits(values), lambda kept: values[kept].mean(axis=0)),
    ]:
        found = uncertainty.of_statistic(general, 6)
        assert np.allclose(closed.value, found.value)
        assert np.allclose(closed.refits, found.refits)
        assert closed.prompts.shape == found.prompts.shape == (4, 0)


def test_two_refits_have_a_mean_but_no_interval():
    estimate = uncertainty.over_pairs(random_pairs(np.random.default_rng(2), (), 2)).estimate()
    assert np.isfinite(estimate.value)
    assert np.isnan(estimate.interval()).all()
    assert np.isnan(estimate.p_above(0))
    with pytest.raises(ValueError, match="several"):
        uncertainty.of_statistic(lambda kept: 0.0, 1)


def test_jackknife_of_a_mean_is_the_standard_error_of_the_mean():
    values = np.random.default_rng(3).normal(size=(9, 2))
    estimate = uncertainty.over_refits(values).estimate()
    assert np.allclose(estimate.se, stats.sem(values))
    low, high = estimate.interval(0.9)
    expected = stats.t.interval(0.9, 8, values.mean(axis=0), stats.sem(values))
    assert np.allclose([low, high], expected)


def test_undefined_values_are_left_out_of_means():
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [6.0, 4.0]])
    found = uncertainty.over_refits(values, values[None])
    assert found.value == pytest.approx([3.0, 4.0])
    assert found.refits[0] == pytest.approx([4.0, 3.5, 3.0, 1.5])
    assert np.isnan(found.refits[1, 3]), "nothing is left"
    assert found.prompts[:, 0] == pytest.approx([3.0, 4.0])
    assert np.isnan(uncertainty.over_refits(np.full((3, 1), np.nan)).value).all()


def test_differences_are_paired():
    """Noise that both arms share through their seeds drops out."""
    rng = np.random.default_rng(4)
    shared = random_pairs(rng, (), 5)
    arm = shared + 0.1 + random_pairs(rng, (), 5) * 1e-3
    one, other = uncertainty.over_pairs(arm), uncertainty.over_pairs(shared)
    paired = (one - other).estimate()
    assert paired.value == pytest.approx(0.1, abs=5e-3)
    assert paired.se < 0.01 * other.estimate().se

    def difference(kept):
        return oracles.mean_of_pairs(arm, kept) - oracles.mean_of_pairs(shared, kept)

    assert paired.se == pytest.approx(oracles.jackknife(difference, 5), abs=1e-12)
    with pytest.raises(ValueError, match="same refits"):
        one - uncertainty.over_pairs(shared[:4, :4])
    with pytest.raises(ValueError, match="groups of prompts"):
        one - uncertainty.over_pairs(shared, shared[None])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 6), st.integers(1, 5), st.floats(-3, 3))
def test_contrasts_are_linear(seed, refits, layers, factor):
    rng = np.random.default_rng(seed)
    pairs = random_pairs(rng, (layers,), refits)
    without = random_pairs(rng, (3, layers), refits)
    weights = np.round(rng.normal(size=layers), 1)
    layered = uncertainty.over_pairs(pairs, without)
    found = layered.contrast(weights)
    direct = uncertainty.over_pairs(
        np.tensordot(weights, np.nan_to_num(pairs), axes=1),
        np.tensordot(weights, np.nan_to_num(without), axes=([0], [1])),
    )
    for one, other in [(found, direct), (-layered.contrast(-weights), direct)]:
        assert np.allclose(one.value, other.value)
        assert np.allclose(one.refits, other.refits)
        assert np.allclose(one.prompts, other.prompts)
    scaled = layered.contrast(weights * factor).estimate()
    assert scaled.se == pytest.approx(abs(factor) * found.estimate().se, abs=1e-9)
    shifted = uncertainty.over_pairs(pairs + 7, without + 7).estimate()
    assert np.allclose(shifted.se, layered.estimate().se)
    assert np.allclose(shifted.value, layered.estimate().value + 7)


def test_layers_without_weight_are_not_read():
    values = np.random.default_rng(5).normal(size=(4, 3))
    values[:, 0] = np.nan
    found = uncertainty.over_refits(values).contrast(np.array([0.0, 1.0, -1.0])).estimate()
    assert found.value == pytest.approx((values[:, 1] - values[:, 2]).mean())
    assert np.isfinite(found.se)


def test_order_of_refits_does_not_matter():
    pairs = random_pairs(np.random.default_rng(6), (3,), 6)
    order = np.random.default_rng(7).permutation(6)
    one = uncertainty.over_pairs(pairs).estimate()
    other = uncertainty.over_pairs(pairs[:, order[:, None], order]).estimate()
    assert np.allclose(one.value, other.value)
    assert np.allclose(one.se, other.se)


def test_prompts_add_their_variance():
    rng = np.random.default_rng(8)
    pairs, without = random_pairs(rng, (2,), 5), random_pairs(rng, (20, 2), 5)
    estimate = uncertainty.over_pairs(pairs, without).estimate()
    for layer in range(2):

        def by_group(kept, layer=layer):
            (left,) = set(range(20)) - set(kept)
            return oracles.mean_of_pairs(without[left, layer], range(5))

        se = oracles.jackknife(by_group, 20)
        assert estimate.se_prompt[layer] == pytest.approx(se, abs=1e-12)
        assert estimate.se[layer] == pytest.approx(np.hypot(estimate.se_refit[layer], se))
    assert np.isnan(uncertainty.over_pairs(pairs).estimate().se_prompt).all()


def test_one_anchor_is_an_ordinary_mean():
    values = np.random.default_rng(9).normal(size=(4, 7))
    estimate = uncertainty.over_other_refits(values)
    assert (estimate.degrees, estimate.sample) == (6, 8)
    expected = stats.t.interval(0.95, 6, values.mean(axis=1), stats.sem(values, axis=1))
    assert np.allclose(estimate.interval(), expected)
    wider = uncertainty.over_other_refits(values, np.full(4, 0.5))
    assert np.allclose(wider.se, np.hypot(estimate.se, 0.5))
    assert np.isnan(uncertainty.over_other_refits(values[:, :1]).se).all()


def test_p_values():
    estimate = Estimate(np.array([0.2, -0.2]), np.array([0.1, 0.1]), np.array(np.nan), 4, 5)
    assert estimate.p_above() == pytest.approx(stats.t.sf([2, -2], 4))
    assert estimate.p_above(0.2)[0] == pytest.approx(0.5)
    # The lower end touches 0 exactly where the one-sided p is .025.
    t = stats.t.ppf(0.975, 4)
    edge = Estimate(np.array(0.1 * t), np.array(0.1), np.array(np.nan), 4, 5)
    assert edge.interval()[0] == pytest.approx(0, abs=1e-12)
    assert edge.p_above() == pytest.approx(0.025)
    certain = Estimate(np.array([0.1, 0.0, -0.1]), np.zeros(3), np.zeros(3), 4, 5)
    assert certain.p_above().tolist() == [0, 1, 1]


@pytest.mark.parametrize("refits", [3, 10])
@pytest.mark.parametrize("node", [0.0, 1.0, 10.0])
def test_coverage(refits, node):
    """Nominal 95 %; tests/benchmarks/coverage.py has the long version."""
    rng = np.random.default_rng([refits, int(node)])
    pairs = random_pairs(rng, (2000,), refits, node)
    low, high = uncertainty.over_pairs(pairs).estimate().interval()
    assert ((low <= 0) & (high >= 0)).mean() >= 0.93


def test_pairs_as_if_independent_would_not_cover():
    """What the jackknife is for."""
    pairs = random_pairs(np.random.default_rng(10), (500,), 10, node=10.0)
    values = pairs[:, *np.triu_indices(10, 1)]
    reach = stats.t.ppf(0.975, 44) * stats.sem(values, axis=1)
    assert (np.abs(values.mean(axis=1)) <= reach).mean() < 0.6
