import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstability import similarity


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


def in_groups(rows, entries, size):
    starts = np.append(0, np.cumsum(entries))
    for first in range(0, len(entries), size):
        last = min(first + size, len(entries))
        yield rows[:, starts[first] : starts[last]], entries[first:last]


@pytest.mark.parametrize("group", [1, 2, 7])
def test_agrees_with_naive_loops(group):
    rng = np.random.default_rng(0)
    refits, heads, lengths = 3, 4, [5, 1, 9, 12, 2, 7, 30]
    rows, entries = random_patterns(rng, refits * heads, lengths)
    cosines = similarity.mean_cosine(in_groups(rows, entries, group))
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
    found = similarity.mean_cosine([(rows, np.array([rows.shape[1]]))])
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
    cosines = similarity.mean_cosine([(rows, entries)])
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
    again = similarity.mean_cosine([(rearranged, entries)])
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
    cosines = similarity.mean_cosine([(np.concatenate([rows, copy]), entries)])
    match, head = similarity.best_match(cosines.reshape(2, 6, 2, 6))
    assert np.allclose(similarity.head_stability(match), 1, atol=1e-6)
    assert sorted(head[0, 1]) == list(range(6))


def test_scale_does_not_matter_and_zero_stays_zero():
    rng = np.random.default_rng(4)
    rows, entries = random_patterns(rng, 3, [5, 8])
    scaled = rows * np.array([[0.5], [3.0], [100.0]], dtype=np.float32)
    first = similarity.mean_cosine([(rows, entries)])
    assert np.allclose(first, similarity.mean_cosine([(scaled, entries)]), atol=1e-6)
    rows[1] = 0
    with_zero = similarity.mean_cosine([(rows, entries)])
    assert not with_zero[1].any()
    assert np.isfinite(with_zero).all()


def test_ties_take_the_first_head():
    cosines = np.ones((2, 3, 2, 3))
    _, head = similarity.best_match(cosines)
    assert (head[0, 1] == 0).all()
    assert (head[0, 0] == -1).all()


def test_no_prompts_is_an_error():
    with pytest.raises(ValueError, match="no prompts"):
        similarity.mean_cosine([])
