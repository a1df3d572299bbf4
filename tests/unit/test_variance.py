import numpy as np
import oracles_adjusted as oracles
import pytest
from benchmarks.simulated import noise_of_pairs
from scipy import stats

from headstability.measures import variance
from headstability.measures.uncertainty import over_pairs


def crossed(inits, data):
    """Seeds of every combination."""
    init, other = np.indices((inits, data)).reshape(2, -1)
    return init + 10, other + 20


def simulated(rng, inits, data, components, width=20_000):
    """Similarities of refits whose directions are sums of effects of known variance."""
    init, other = crossed(inits, data)
    mean = np.sqrt(1 - sum(components)) * rng.normal(size=width)
    effects = [
        np.sqrt(components[0]) * rng.normal(size=(inits, width))[init - 10],
        np.sqrt(components[1]) * rng.normal(size=(data, width))[other - 20],
        np.sqrt(components[2]) * rng.normal(size=(len(init), width)),
    ]
    directions = mean + sum(effects)
    return directions @ directions.T / width, init, other


def by_loops(k, init, data, kept):
    """Means over unordered pairs of kept refits by what they share."""
    found = {name: [] for name in variance.SHARED}
    for i in kept:
        for j in kept:
            if i < j:
                same = (init[i] == init[j], data[i] == data[j])
                name = {(True, True): "both", (True, False): "init", (False, True): "data"}
                found[name.get(same, "neither")].append(k[i, j])
    return {name: np.mean(v) if v else np.nan for name, v in found.items()}


def test_classes_and_their_errors_agree_with_loops():
    rng = np.random.default_rng(0)
    init, data = crossed(3, 4)
    k = rng.random((2, 12, 12))
    k = (k + k.transpose(0, 2, 1)) / 2
    k[:, np.arange(12), np.arange(12)] = np.nan
    found = variance.similarity_by_shared_seeds(k, init, data)
    parts = variance.variance_components(k, init, data)
    for layer in range(2):

        def means(kept, layer=layer):
            return by_loops(k[layer], init, data, kept)

        def squared_se(statistic):
            total = 0
            for seeds in (init, data):
                names = sorted(set(seeds.tolist()))

                def without(units, seeds=seeds, names=names):
                    chosen = [names[unit] for unit in units]
                    return statistic([r for r in range(12) if seeds[r] in chosen])

                total += oracles.jackknife(without, len(names)) ** 2
            return total

        for name in ("init", "data", "neither"):
            assert found[name].value[layer] == pytest.approx(means(range(12))[name])
            expected = squared_se(lambda kept, name=name: means(kept)[name])
            assert found[name].se[layer] ** 2 == pytest.approx(expected)

        def rest(kept):
            m = means(kept)
            return 1 - m["init"] - m["data"] + m["neither"]

        m = means(range(12))
        assert parts["init"].value[layer] == pytest.approx(m["init"] - m["neither"])
        assert parts["data"].value[layer] == pytest.approx(m["data"] - m["neither"])
        assert parts["rest"].value[layer] == pytest.approx(rest(range(12)))
        assert parts["rest"].se[layer] ** 2 == pytest.approx(squared_se(rest))
    assert np.isnan(found["both"].value).all(), "no refit is compared with itself"
    assert (found["init"].degrees, found["init"].sample) == (2, 3)


@pytest.mark.parametrize("components", [(0.3, 0.1, 0.2), (0.0, 0.4, 0.1), (0.2, 0.0, 0.0)])
def test_planted_components_are_found(components):
    k, init, data = simulated(np.random.default_rng(1), 5, 6, components)
    found = variance.variance_components(k, init, data)
    values = [float(found[name].value) for name in variance.COMPONENTS]
    # Directions of finite width: similarities have errors of about width^-1/2 = .007.
    assert values == pytest.approx(components, abs=0.03)
    total = sum(values)
    assert total == pytest.approx(
        1 - variance.similarity_by_shared_seeds(k, init, data)["neither"].value
    )


def test_repeated_runs_set_what_sharing_both_means():
    """The same seeds twice, on hardware that rounds differently each time."""
    k = np.full((4, 4), 0.5)
    init, data = np.array([1, 1, 2, 2]), np.array([1, 1, 2, 2])
    k[0, 1] = k[1, 0] = k[2, 3] = k[3, 2] = 0.9
    found = variance.similarity_by_shared_seeds(k, init, data)
    assert (found["both"].value, found["neither"].value) == (0.9, 0.5)
    assert np.isnan(found["init"].value)
    assert not any(np.diag(mask).any() for mask in variance.shared_seeds(init, data).values())


def test_two_seeds_have_components_but_no_interval():
    k, init, data = simulated(np.random.default_rng(2), 2, 2, (0.3, 0.1, 0.2))
    found = variance.variance_components(k, init, data)
    assert all(np.isfinite(one.value) and np.isnan(one.se) for one in found.values())


# --- how many refits ----------------------------------------------------------------------


@pytest.mark.parametrize(("node", "pair"), [(1.0, 1.0), (0.0, 2.0), (3.0, 0.3)])
def test_node_and_pair_variance_are_unbiased(node, pair):
    rng = np.random.default_rng(3)
    ratio = node / pair
    pairs = noise_of_pairs(rng, (400,), 8, ratio) * np.sqrt(node + pair)
    found = [variance.pair_variance(k) for k in pairs]
    for name, truth in (("node", node), ("pair", pair)):
        values = np.array([getattr(one, name) for one in found])
        if truth:
            assert abs(values.mean() - truth) < 4 * stats.sem(values)
        else:
            assert np.median(values) < 0.1 * pair  # set to 0 where negative
    # And what they predict is what the jackknife finds on average.
    true = variance.PairVariance(node, pair)
    squares = np.square(over_pairs(pairs).estimate().se)
    assert abs(squares.mean() - true.expected_se(8) ** 2) < 4 * stats.sem(squares)


def test_without_variation_nothing_is_needed():
    found = variance.pair_variance(np.full((5, 5), 0.7))
    assert found == variance.PairVariance(0.0, 0.0)
    assert variance.refits_needed(found, 0.0) == 4
    with pytest.raises(ValueError, match="4 refits"):
        variance.pair_variance(np.ones((3, 3)))


def test_refits_needed_is_the_first_that_is_enough():
    known = variance.PairVariance(0.01, 0.02)

    def width(refits):
        se = np.sqrt(4 / refits * (0.01 + 0.02 / (refits - 2)))
        return 2 * stats.t.ppf(0.975, refits - 1) * se

    for target in (0.05, 0.2, 0.4, 10):
        refits = variance.refits_needed(known, target)
        assert width(refits) <= target
        assert refits == 4 or width(refits - 1) > target
    assert variance.refits_needed(known, 1e-4) is None


def test_widths_by_subsampling():
    pairs = noise_of_pairs(np.random.default_rng(4), (2,), 9, 1.0)
    widths = variance.widths_by_refits(pairs, np.array([3, 6, 9]), 40, seed=1)
    assert widths.shape == (3, 40, 2)
    assert np.array_equal(widths, variance.widths_by_refits(pairs, np.array([3, 6, 9]), 40, seed=1))
    low, high = over_pairs(pairs).estimate().interval()
    assert np.allclose(widths[2], high - low), "all refits: every draw is the whole"
    medians = np.median(widths, axis=1)
    assert (np.diff(medians, axis=0) < 0).all()
    # One draw of six by hand: its refits are the first six of a permutation.
    rng = np.random.default_rng(1)
    for _ in range(40):
        rng.permutation(9)
    chosen = rng.permutation(9)[:6]
    low, high = over_pairs(pairs[:, chosen[:, None], chosen]).estimate().interval()
    assert np.allclose(widths[1, 0], high - low)
    for sizes in ([2], [10]):
        with pytest.raises(ValueError, match="3 refits"):
            variance.widths_by_refits(pairs, np.array(sizes), 1, seed=1)
