import numpy as np
import oracles
import oracles_patterns
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstability.measures import similarity


def random_patterns(rng, heads, lengths):
    """Triangles of random causal patterns: [head, entry] and entries per prompt."""
    parts = []
    for length in lengths:
        scores = rng.normal(size=(heads, length, length)) * 3
        scores[:, *np.triu_indices(length, 1)] = -np.inf
        weights = np.exp(scores)
        weights /= weights.sum(-1, keepdims=True)
        parts.append(weights[:, *np.tril_indices(length)])
    entries = np.array([part.shape[1] for part in parts])
    return np.concatenate(parts, axis=1).astype(np.float32), entries


def split(rows, entries):
    return [np.split(row, np.cumsum(entries)[:-1]) for row in rows]


def in_slabs(rows, entries, size):
    """Patterns [..., row, entry], a few prompts at a time."""
    starts = np.append(0, np.cumsum(entries))
    for first in range(0, len(entries), size):
        last = min(first + size, len(entries))
        yield rows[..., starts[first] : starts[last]], entries[first:last]


def mean_cosine(rows, entries, size=100):
    """Cosines of the heads of a single layer, [row, row]."""
    slabs = in_slabs(rows[None], entries, size)
    _, across, _ = similarity.similarities(slabs, similarity.prompt_groups(np.arange(len(entries))))
    return across[0, :, 0]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_agrees_with_naive_loops(size):
    rng = np.random.default_rng(0)
    refits, heads, lengths = 3, 4, [5, 1, 9, 12, 2, 7, 30]
    rows, entries = random_patterns(rng, refits * heads, lengths)
    cosines = mean_cosine(rows, entries, size)
    triangles = split(rows, entries)
    nested = [triangles[r * heads : (r + 1) * heads] for r in range(refits)]
    s, k = oracles.stability(nested)
    match, head = similarity.best_match(cosines.reshape(refits, heads, refits, heads))
    assert np.abs(similarity.head_stability(match) - s).max() < 1e-6
    off = ~np.eye(refits, dtype=bool)
    assert np.abs(similarity.pairwise_stability(match) - k)[off].max() < 1e-6
    assert np.isnan(similarity.pairwise_stability(match)[~off]).all()
    for r, other in np.argwhere(off):
        for h in range(heads):
            expected = [
                oracles.head_similarity(nested[r][h], nested[other][g]) for g in range(heads)
            ]
            assert head[r, other, h] == np.argmax(expected)
            assert match[r, other, h] == pytest.approx(max(expected), abs=1e-6)


def test_long_rows_keep_their_precision():
    """A triangle longer than one float32 product, positive throughout, against float64."""
    rng = np.random.default_rng(1)
    rows = rng.random((3, 2**19)).astype(np.float32) + 1
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    found = mean_cosine(rows, np.array([rows.shape[1]]))
    assert np.abs(found - unit @ unit.T).max() < 2e-7


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 4),
    st.integers(1, 4),
    st.lists(st.integers(1, 8), min_size=1, max_size=5),
)
def test_properties(seed, refits, heads, lengths):
    rng = np.random.default_rng(seed)
    rows, entries = random_patterns(rng, refits * heads, lengths)
    cosines = mean_cosine(rows, entries)
    assert np.allclose(np.diag(cosines), 1, atol=1e-6), "a head agrees with itself"
    assert np.array_equal(cosines, cosines.T)
    assert cosines.min() > 0, "non-negative patterns: row 1 alone makes every cosine positive"
    assert cosines.max() < 1 + 1e-6
    match, _ = similarity.best_match(cosines.reshape(refits, heads, refits, heads))
    stability = similarity.head_stability(match)
    pairs = similarity.pairwise_stability(match)
    off = ~np.eye(refits, dtype=bool)
    assert np.array_equal(pairs[off], pairs.T[off])
    # The mean over anchors of layer stability is the mean over pairs of k.
    assert stability.mean() == pytest.approx(pairs[off].mean(), abs=1e-12)

    order = rng.permutation(refits)
    heads_order = [rng.permutation(heads) for _ in range(refits)]
    rearranged = np.concatenate([rows[r * heads : (r + 1) * heads][heads_order[r]] for r in order])
    again = mean_cosine(rearranged, entries)
    match_again, _ = similarity.best_match(again.reshape(refits, heads, refits, heads))
    expected = np.array([stability[r][heads_order[r]] for r in order])
    assert np.allclose(similarity.head_stability(match_again), expected, atol=1e-6)
    assert np.allclose(
        similarity.pairwise_stability(match_again)[off], pairs[np.ix_(order, order)][off], atol=1e-6
    )


def test_a_head_permuted_copy_has_stability_one():
    rng = np.random.default_rng(3)
    rows, entries = random_patterns(rng, 6, [4, 9, 20])
    copy = rows[rng.permutation(6)]
    cosines = mean_cosine(np.concatenate([rows, copy]), entries)
    match, head = similarity.best_match(cosines.reshape(2, 6, 2, 6))
    assert np.allclose(similarity.head_stability(match), 1, atol=1e-6)
    assert sorted(head[0, 1]) == list(range(6))


def test_scale_does_not_matter_and_zero_stays_zero():
    rng = np.random.default_rng(4)
    rows, entries = random_patterns(rng, 3, [5, 8])
    scaled = rows * np.array([[0.5], [3.0], [100.0]], dtype=np.float32)
    first = mean_cosine(rows, entries)
    assert np.allclose(first, mean_cosine(scaled, entries), atol=1e-6)
    rows[1] = 0
    with_zero = mean_cosine(rows, entries)
    assert not with_zero[1].any()
    assert np.isfinite(with_zero).all()


def test_ties_take_the_first_head():
    cosines = np.ones((2, 3, 2, 3))
    _, head = similarity.best_match(cosines)
    assert (head[0, 1] == 0).all()
    assert (head[0, 0] == -1).all()


def test_prompts_are_counted():
    rows, entries = random_patterns(np.random.default_rng(0), 2, [3, 4])
    slab = (rows[None], entries)
    for slabs, announced in (([], 0), ([], 2), ([slab], 1), ([slab], 3), ([slab, slab], 3)):
        given = 2 * len(slabs)
        with pytest.raises(ValueError, match=f"{given} prompts were given, but {announced} were"):
            similarity.similarities(slabs, np.arange(announced))


# --- groups of prompts --------------------------------------------------------------------


def test_groups_of_prompts():
    assert similarity.prompt_groups(np.arange(7)).tolist() == list(range(7))
    groups = similarity.prompt_groups(np.arange(50))
    assert groups[:22].tolist() == [*range(20), 0, 1]
    assert np.bincount(groups).tolist() == [3] * 10 + [2] * 10
    for group in range(20):
        numbers = np.flatnonzero(groups == group) + 1
        assert set(numbers % 2) == {(group + 1) % 2}, "even groups hold the odd prompts"


def test_groups_hold_whole_documents():
    documents = np.array([9, 4, 9, 7, 4, 4])
    assert similarity.prompt_groups(documents).tolist() == [0, 1, 0, 2, 1, 1]
    many = np.random.default_rng(0).integers(0, 30, 200)
    groups = similarity.prompt_groups(many)
    assert set(groups) == set(range(20))
    for document in range(30):
        assert len(set(groups[many == document])) == 1


@pytest.mark.parametrize("size", [1, 3, 50])
def test_every_group_is_the_mean_over_its_prompts(size):
    rng = np.random.default_rng(5)
    layers, count, prompts = 2, 3, 23
    lengths = rng.integers(1, 9, prompts)
    rows, entries = random_patterns(rng, layers * count, lengths)
    within, across, counts = similarity.similarities(
        in_slabs(rows.reshape(layers, count, -1), entries, size),
        similarity.prompt_groups(np.arange(prompts)),
    )
    assert within.shape == (layers, 20, count, count)
    assert counts.tolist() == [2, 2, 2] + [1] * 17
    triangles = split(rows, entries)
    for layer in range(layers):
        for group in range(20):
            chosen = [p for p in range(prompts) if p % 20 == group]
            for a in range(count):
                for b in range(count):
                    one, two = (triangles[layer * count + i] for i in (a, b))
                    expected = oracles.head_similarity(
                        [one[p] for p in chosen], [two[p] for p in chosen]
                    )
                    assert within[layer, group, a, b] == pytest.approx(expected, abs=1e-6)
    # Together the groups are what all prompts say, within a layer and across.
    same = across[np.arange(layers), :, np.arange(layers)]
    everything = similarity.pooled(within.swapaxes(0, 1), counts)
    assert np.allclose(everything, same, atol=1e-7)


# --- across layers, and within a refit ----------------------------------------------------


def any_layer(rows, entries, refits, layers, heads):
    """Stability and proportions for matches in any layer; rows [refit, layer, head, entry]."""
    by_layer = rows.transpose(1, 0, 2, 3).reshape(layers, refits * heads, -1)
    _, across, _ = similarity.similarities([(by_layer, entries)], np.arange(len(entries)))
    across = across.reshape(layers, refits, heads, layers, refits, heads)
    found = []
    for layer in across:
        candidates = layer.transpose(0, 1, 3, 2, 4).reshape(refits, heads, refits, layers * heads)
        match, candidate = similarity.best_match(candidates)
        proportions = similarity.layer_proportions(candidate, layers, heads)
        found.append((similarity.head_stability(match), proportions))
    stability, proportions = zip(*found, strict=True)
    return np.stack(stability, axis=1), np.stack(proportions, axis=1)


def nested(rows, entries):
    return [[split(heads, entries) for heads in layers] for layers in rows]


@pytest.mark.parametrize(("layers", "heads"), [(1, 3), (3, 1), (3, 2)])
def test_matches_in_any_layer_agree_with_naive_loops(layers, heads):
    refits = 3
    rows, entries = random_patterns(np.random.default_rng(6), refits * layers * heads, [4, 9, 6])
    rows = rows.reshape(refits, layers, heads, -1)
    stability, proportions = any_layer(rows, entries, refits, layers, heads)
    for anchor in range(refits):
        expected = oracles_patterns.matches_in_any_layer(nested(rows, entries), anchor)
        assert np.abs(stability[anchor] - expected[0]).max() < 1e-6
        assert np.allclose(proportions[anchor], expected[1], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 3), st.integers(1, 3))
def test_properties_across_layers(seed, refits, layers, heads):
    rng = np.random.default_rng(seed)
    rows, entries = random_patterns(rng, refits * layers * heads, [5, 8])
    rows = rows.reshape(refits, layers, heads, -1)
    stability, proportions = any_layer(rows, entries, refits, layers, heads)
    assert np.allclose(proportions.sum(axis=2), 1), "every match lies in one layer"
    for layer in range(layers):
        within = mean_cosine(rows[:, layer].reshape(refits * heads, -1), entries)
        match, _ = similarity.best_match(within.reshape(refits, heads, refits, heads))
        gain = stability[:, layer] - similarity.head_stability(match)
        assert gain.min() > -1e-6, "more candidates cannot match worse"
    order = rng.permutation(refits)
    shuffled = np.stack([rows[r][:, rng.permutation(heads)] for r in order])
    _, again = any_layer(shuffled, entries, refits, layers, heads)
    assert np.allclose(again, proportions[order])


def test_a_copy_with_its_layers_swapped_is_found_in_the_other_layer():
    rows, entries = random_patterns(np.random.default_rng(7), 2 * 3, [6, 12])
    rows = rows.reshape(1, 2, 3, -1)
    both = np.concatenate([rows, rows[:, ::-1, ::-1]])
    stability, proportions = any_layer(both, entries, 2, 2, 3)
    assert np.allclose(stability, 1, atol=1e-6)
    assert np.array_equal(proportions, np.array([[[0, 1], [1, 0]]] * 2))


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_commonness_agrees_with_naive_loops(heads):
    rows, entries = random_patterns(np.random.default_rng(8), heads, [3, 8, 5])
    with_itself, of_others = similarity.commonness(mean_cosine(rows, entries))
    expected = oracles_patterns.commonness(split(rows, entries))
    assert np.allclose(with_itself, expected[0], atol=1e-6)
    assert np.allclose(of_others, expected[1], atol=1e-6, equal_nan=True)
    assert np.isnan(of_others).all() == (heads == 1)


def test_heads_that_are_all_the_same_are_as_common_as_can_be():
    rows, entries = random_patterns(np.random.default_rng(9), 1, [7, 4])
    cosines = mean_cosine(np.repeat(rows, 4, axis=0), entries)
    for found in similarity.commonness(cosines):
        assert np.allclose(found, 1, atol=1e-6)
