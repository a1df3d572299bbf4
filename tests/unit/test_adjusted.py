import numpy as np
import oracles_adjusted as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_similarity import in_slabs, random_patterns, split

from headstability.measures import adjusted
from headstability.measures.similarity import (
    head_stability,
    pairwise_stability,
    pooled,
    prompt_groups,
)

REFITS, HEADS, LENGTHS = 3, 4, [5, 3, 9, 12, 2, 7, 6]


def causal(scores):
    """Packed softmax patterns of scores [row, query, key]."""
    length = scores.shape[-1]
    scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights[:, *np.tril_indices(length)]


def planted(rng, refits, heads, lengths, noise):
    """Heads with patterns of their own, which every refit has in another order and with noise."""
    parts = []
    orders = [rng.permutation(heads) for _ in range(refits)]
    for length in lengths:
        own = rng.normal(size=(heads, length, length)) * 2
        scores = np.concatenate([own[order] for order in orders])
        parts.append(causal(scores + noise * rng.normal(size=scores.shape)))
    entries = np.array([part.shape[1] for part in parts])
    return np.concatenate(parts, axis=1).astype(np.float32), entries


def by_head(rows, entries, heads=HEADS):
    """Float64 triangles as the oracles take them: [refit][head][prompt]."""
    triangles = split(rows.astype(np.float64), entries)
    return [triangles[first : first + heads] for first in range(0, len(rows), heads)]


def five_axes(cosines, refits=REFITS, heads=HEADS):
    return cosines.reshape(len(cosines), refits, heads, refits, heads)


def cosines_of(rows, entries, refits=REFITS, heads=HEADS, size=3):
    groups = prompt_groups(np.arange(len(entries)))
    found, counts = adjusted.grouped_mean_cosine(in_slabs(rows, entries, size), groups)
    return five_axes(found, refits, heads), counts


def mean_cosine(slabs):
    """Over all prompts, [row, row]."""
    slabs = list(slabs)
    prompts = sum(len(entries) for _, entries in slabs)
    return adjusted.grouped_mean_cosine(slabs, np.zeros(prompts, dtype=int))[0][0]


@pytest.fixture(scope="module")
def patterns():
    return random_patterns(np.random.default_rng(0), REFITS * HEADS, LENGTHS)


def reader(rows, entries):
    starts = np.append(0, np.cumsum(entries))
    return lambda first, last: rows[:, starts[first] : starts[last]]


# --- groups of prompts --------------------------------------------------------------------


def test_groups_of_prompts_split_odd_from_even():
    assert prompt_groups(np.arange(7)).tolist() == list(range(7))
    groups = prompt_groups(np.arange(50))
    assert np.bincount(groups).tolist() == [3] * 10 + [2] * 10
    assert all(group % 2 == prompt % 2 for prompt, group in enumerate(groups))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_groups_agree_with_loops_and_add_up(patterns, size):
    rows, entries = patterns
    groups = np.array([0, 1, 0, 2, 1, 1, 2])
    found, counts = adjusted.grouped_mean_cosine(in_slabs(rows, entries, size), groups)
    triangles = by_head(rows, entries)
    assert counts.tolist() == [2, 3, 2]
    for group in range(3):
        expected = oracles.similarities(triangles, np.flatnonzero(groups == group))
        assert np.abs(found[group].reshape(expected.shape) - expected).max() < 1e-6
    everything = mean_cosine(in_slabs(rows, entries, 3))
    assert np.allclose(pooled(found, counts), everything, atol=1e-12)


def test_wrong_groups_are_refused(patterns):
    rows, entries = patterns
    with pytest.raises(ValueError, match="7 prompts were given, but 8"):
        adjusted.grouped_mean_cosine([(rows, entries)], np.arange(8))
    with pytest.raises(ValueError, match="every group"):
        adjusted.grouped_mean_cosine([(rows, entries)], np.array([0, 0, 0, 2, 2, 2, 2]))
    with pytest.raises(ValueError, match="0 prompts"):
        adjusted.grouped_mean_cosine([], np.arange(2))
    with pytest.raises(ValueError, match="more prompts are needed"):
        pooled(np.ones((2, 3)), np.zeros(2))


# --- max optimism -------------------------------------------------------------------------


def test_matches_agree_with_loops(patterns):
    rows, entries = patterns
    cosines, counts = cosines_of(rows, entries)
    triangles = by_head(rows, entries)
    every = range(len(entries))
    s = oracles.similarities(triangles, every)
    pairs = [
        (adjusted.matched_best, oracles.best(s)),
        (adjusted.matched_split, oracles.split_halves(triangles, every)),
        (adjusted.matched_one_to_one, oracles.one_to_one(s)),
    ]
    for match, expected in pairs:
        found = match(cosines, counts)
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        assert np.nanmax(np.abs(found - expected)) < 1e-6, match.__name__


def test_leaving_out_prompts_chooses_matches_anew(patterns):
    rows, entries = patterns
    cosines, counts = cosines_of(rows, entries)
    triangles = by_head(rows, entries)

    def pairs(match):
        return adjusted.without_prompts(
            lambda c, n: pairwise_stability(match(c, n)), cosines, counts
        )

    found, split_found = pairs(adjusted.matched_best), pairs(adjusted.matched_split)
    for left in range(len(entries)):
        kept = [p for p in range(len(entries)) if p != left]
        expected = oracles.pairwise(oracles.best(oracles.similarities(triangles, kept)))
        assert np.allclose(found[left], expected, atol=1e-6, equal_nan=True)
        expected = oracles.pairwise(oracles.split_halves(triangles, kept))
        assert np.allclose(split_found[left], expected, atol=1e-6, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 4), st.integers(2, 6))
def test_no_other_match_beats_the_best(seed, refits, heads, prompts):
    rng = np.random.default_rng(seed)
    rows, entries = random_patterns(rng, refits * heads, rng.integers(1, 8, prompts))
    cosines, counts = cosines_of(rows, entries, refits, heads)
    best, one = (f(cosines, counts) for f in (adjusted.matched_best, adjusted.matched_one_to_one))
    split_best = adjusted.matched_split(cosines, counts)
    off = ~np.eye(refits, dtype=bool)
    assert (one[off] <= best[off] + 1e-12).all()
    # The match chosen on one half scores no less there than the other, so over halves of equal
    # size it scores at least the split value.
    if prompts % 2 == 0:
        assert (split_best[off] <= best[off] + 1e-12).all()
    # An assignment has the same total in both directions.
    assert np.allclose(one.mean(axis=2)[off], one.mean(axis=2).T[off])


def test_one_prompt_cannot_be_split(patterns):
    cosines = np.ones((1, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="no prompts"):
        adjusted.matched_split(cosines, np.array([1]))


# --- shuffled null ------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3, 7, 20])
@pytest.mark.parametrize("shift", [1, 4])
def test_shuffled_null_agrees_with_loops(patterns, shift, at_once):
    rows, entries = patterns
    groups = np.array([0, 1, 0, 2, 1, 1, 2])
    found, cut = adjusted.shuffled_mean_cosine(
        reader(rows, entries), entries, shift, groups, at_once
    )
    triangles, partner = by_head(rows, entries), (np.arange(7) + shift) % 7
    for left in range(-1, 3):
        # A group is left out in both roles of a pair of prompts.
        kept = np.flatnonzero((groups != left) & (groups[partner] != left))
        for values, oracle in ((found, oracles.shuffled), (cut, oracles.cut)):
            expected = oracle(triangles, shift, kept)
            assert np.abs(values[1 + left].reshape(expected.shape) - expected).max() < 1e-6
    match = adjusted.matched_best(five_axes(found[:1]), np.ones(1))
    expected = oracles.best(oracles.shuffled(triangles, shift))
    assert np.nanmax(np.abs(match - expected)) < 1e-6


def test_no_more_prompts_are_read_at_once_than_asked(patterns):
    rows, entries = patterns
    read = reader(rows, entries)

    def counted(first, last):
        assert 0 < last - first <= 2
        return read(first, last)

    adjusted.shuffled_mean_cosine(counted, entries, 3, np.arange(7), at_once=2)


@pytest.mark.parametrize("prompts", [2, 3, 5, 6, 7, 10, 11, 12, 20, 100, 1000])
def test_shifts(prompts):
    shifts = adjusted.null_shifts(prompts)
    assert len(shifts) == min(5, prompts - 1)
    assert len(set(shifts)) == len(shifts)
    assert (shifts % prompts != 0).all()
    if prompts >= 11:
        assert not set(shifts) & set(prompts - shifts), "a shift and its mirror image"


def test_shifts_that_shuffle_nothing_are_refused(patterns):
    rows, entries = patterns
    with pytest.raises(ValueError, match="two prompts"):
        adjusted.null_shifts(1)
    with pytest.raises(ValueError, match="in place"):
        adjusted.shuffled_mean_cosine(reader(rows, entries), entries, 7, np.arange(7))


def stability_and_null(rows, entries, refits, heads):
    cosines, counts = cosines_of(rows, entries, refits, heads)
    stability = head_stability(adjusted.matched_best(cosines, counts)).mean()
    nulls = []
    for shift in adjusted.null_shifts(len(entries)):
        shuffled, cut = adjusted.shuffled_mean_cosine(
            reader(rows, entries), entries, int(shift), prompt_groups(np.arange(len(entries)))
        )
        assert cut is None, "prompts are equally long"
        match = adjusted.matched_best(five_axes(shuffled[:1], refits, heads), np.ones(1))
        nulls.append(head_stability(match).mean())
    return stability, np.mean(nulls)


def test_excess_tells_planted_from_independent_heads():
    rng = np.random.default_rng(5)
    shape = (4, 4, [10] * 12)
    excess = {}
    for noise in (0.0, 1.0):
        stability, null = stability_and_null(*planted(rng, *shape, noise), 4, 4)
        excess[noise] = stability - null
        if noise == 0:
            assert stability == pytest.approx(1, abs=1e-6)
    independent = random_patterns(rng, 16, [10] * 12)
    stability, null = stability_and_null(*independent, 4, 4)
    assert null > 0.3, "unrelated patterns are alike"
    assert abs(stability - null) < 0.02
    assert excess[0.0] > excess[1.0] + 0.1 > 0.2


def test_heads_fixed_by_position_have_no_excess():
    """Patterns that do not depend on the prompt: perfectly stable, and the null knows why."""
    rng = np.random.default_rng(6)
    one = causal(rng.normal(size=(3, 8, 8)) * 3).astype(np.float32)
    rows = np.tile(np.concatenate([one, one[::-1]]), 6)
    stability, null = stability_and_null(rows, np.full(6, one.shape[1]), 2, 3)
    assert stability == pytest.approx(1, abs=1e-6)
    assert null == pytest.approx(1, abs=1e-6)


def test_normalised_excess_only_with_room():
    found = adjusted.normalised_excess(np.array([0.9, 0.99, 0.5]), np.array([0.8, 0.96, 0.6]))
    assert found[[0, 2]] == pytest.approx([0.5, -0.25])
    assert np.isnan(found[1])


# --- centred and sink-free ----------------------------------------------------------------


def test_centred_agrees_with_loops(patterns):
    rows, entries = patterns
    slabs = adjusted.centred(in_slabs(rows, entries, 2))
    found, _ = adjusted.grouped_mean_cosine(slabs, prompt_groups(np.arange(len(entries))))
    centred = oracles.centred(by_head(rows, entries))
    expected = oracles.similarities(centred, range(len(entries)))
    assert np.abs(found.mean(axis=0).reshape(expected.shape) - expected).max() < 2e-6


def test_unrelated_heads_have_the_centred_similarity_of_chance():
    rng = np.random.default_rng(7)
    rows, entries = random_patterns(rng, 12, [12] * 40)
    cosines = mean_cosine(adjusted.centred([(rows, entries)]))
    off = cosines[~np.eye(12, dtype=bool)]
    assert off.mean() == pytest.approx(-1 / 11, abs=0.005)


def test_identical_heads_have_no_centred_direction():
    rng = np.random.default_rng(8)
    rows, entries = random_patterns(rng, 1, [6, 1, 20])
    rows = np.repeat(rows, 5, axis=0)
    rows *= 1 + 1e-7 * rng.integers(0, 2, rows.shape).astype(np.float32)
    assert len(np.unique(rows, axis=0)) == 5, "they differ by rounding"
    cosines = mean_cosine(adjusted.centred([(rows, entries)]))
    assert not cosines.any()


def test_sink_free_agrees_with_loops(patterns):
    rows, entries = (part.copy() for part in patterns)
    start = entries[:2].sum()
    full = np.zeros((9, 9))
    full[:, 0] = 1
    rows[3, start : start + entries[2]] = oracles.packed(full)  # BOS and nothing else
    full[4, :5] = [0.9995, 0.0005, 0, 0, 0]  # skipped: too little outside BOS
    full[5, :6] = [0.998, 0, 0.002, 0, 0, 0]  # kept
    rows[4, start : start + entries[2]] = oracles.packed(full)
    slabs = list(adjusted.sink_free(in_slabs(rows, entries, 3)))
    assert sum(len(sizes) for _, sizes in slabs) == len(entries)
    free = np.concatenate([part for part, _ in slabs], axis=1)
    sizes = np.concatenate([sizes for _, sizes in slabs])
    expected = [
        [[oracles.without_sink(t) for t in head] for head in refit]
        for refit in by_head(rows, entries)
    ]
    for row, head in enumerate(h for refit in expected for h in refit):
        assert np.allclose(free[row], np.concatenate(head), atol=1e-6)
    s = oracles.similarities(expected, range(len(entries)))
    assert np.abs(mean_cosine(slabs).reshape(s.shape) - s).max() < 1e-6
    assert (sizes == [t * (t - 1) // 2 for t in LENGTHS]).all()


def test_a_sink_hides_in_the_raw_measure_only():
    """Heads that park 95 % on BOS and agree on nothing else."""
    rng = np.random.default_rng(9)
    rest, entries = random_patterns(rng, 8, [15] * 10)
    bos = np.zeros_like(rest)
    starts = np.append(0, np.cumsum(entries)[:-1])
    for start in starts:
        bos[:, start + np.arange(15) * np.arange(1, 16) // 2] = 1
    rows = (0.95 * bos + 0.05 * rest).astype(np.float32)
    raw = mean_cosine([(rows, entries)])
    free = mean_cosine(adjusted.sink_free([(rows, entries)]))
    off = ~np.eye(8, dtype=bool)
    assert raw[off].min() > 0.95
    assert free[off].max() < 0.75
    assert adjusted.bos_mass([(rows, entries)]).min() > 0.95


def test_bos_mass_agrees_with_loops(patterns):
    rows, entries = patterns
    expected = [oracles.bos_mass(h) for refit in by_head(rows, entries) for h in refit]
    assert np.allclose(adjusted.bos_mass(in_slabs(rows, entries, 2)), expected, atol=1e-6)


def test_bos_alone_is_refused():
    slab = (np.ones((2, 1), dtype=np.float32), np.array([1]))
    with pytest.raises(ValueError, match="one position"):
        list(adjusted.sink_free([slab]))
    with pytest.raises(ValueError, match="one position"):
        adjusted.bos_mass([slab])
    with pytest.raises(ValueError, match="no prompts"):
        adjusted.bos_mass([])
