import numpy as np
import oracles_adjusted as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_similarity import in_slabs, random_patterns, split

from headstability.measures import adjusted, roles

BOS = 3


def packed(full):
    return full[np.tril_indices(len(full))]


def random_prompts(rng, lengths, vocabulary=5):
    """Few tokens, so that most recur; BOS may recur too."""
    return [[BOS, *rng.integers(0, vocabulary, size - 1).tolist()] for size in lengths]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_scores_agree_with_loops(size):
    rng = np.random.default_rng(0)
    lengths = [12, 2, 30, 9, 17]
    prompts = random_prompts(rng, lengths)
    rows, entries = random_patterns(rng, 4, lengths)
    found = roles.role_scores(in_slabs(rows, entries, size), prompts)
    for row, triangles in enumerate(split(rows.astype(np.float64), entries)):
        expected = oracles.role_scores([oracles.square(t) for t in triangles], prompts)
        for column, name in enumerate(roles.ROLES):
            assert found[row, column] == pytest.approx(expected[name], abs=1e-6), name
    mass = adjusted.bos_mass(in_slabs(rows, entries, size))
    assert np.allclose(found[:, roles.ROLES.index("bos_sink")], mass)


def ideal(prompts):
    """Heads that do one thing and park on BOS where they cannot: induction, duplicate, previous."""
    parts = []
    for prompt in prompts:
        heads = np.zeros((5, len(prompt), len(prompt)))
        for i, token in enumerate(prompt):
            before = [j for j in range(1, i) if prompt[j] == token]
            heads[0, i, before[-1] + 1 if before else 0] = 1
            heads[1, i, before[-1] if before else 0] = 1
            heads[2, i, max(i - 1, 0)] = 1
            heads[3, i, i] = 1
            heads[4, i, 0] = 1
        parts.append(np.array([packed(head) for head in heads]))
    return np.concatenate(parts, axis=1).astype(np.float32), np.array([p.shape[1] for p in parts])


def test_planted_roles_are_found_on_synthetic_prompts():
    prompts = roles.repeated_prompts(50, BOS, 6, 20, seed=1)
    found = roles.role_scores([ideal(prompts)], prompts)
    for row in range(3):
        assert found[row, row] == pytest.approx(1)
    assert found[0, 1] == found[1, 0] == 0
    assert found[4, roles.ROLES.index("bos_sink")] == 1
    names = roles.strongest_roles(found, 0.5).tolist()
    assert names == ["induction", "duplicate_token", "previous_token", "local", "bos_sink"]
    assert (roles.strongest_roles(np.full((2, 5), 0.4), 0.5) == "none").all()
    chance = roles.role_scores([roles.even_patterns(prompts)], prompts)[0]
    assert (chance < 0.2).all()
    assert (roles.strongest_roles(chance[None], 0.5) == "none").all()


def test_even_attention_is_even():
    prompts = random_prompts(np.random.default_rng(2), [4, 1 + 1, 9])
    rows, entries = roles.even_patterns(prompts)
    for triangle, prompt in zip(split(rows, entries)[0], prompts, strict=True):
        full = oracles.square(triangle)
        assert np.allclose(full.sum(axis=1), 1)
        assert full[-1] == pytest.approx(np.full(len(prompt), 1 / len(prompt)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_scores_are_shares(seed, heads, count):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 15, count).tolist()
    prompts = random_prompts(rng, lengths, vocabulary=3)
    rows, entries = random_patterns(rng, heads, lengths)
    found = roles.role_scores([(rows, entries)], prompts)
    known = found[~np.isnan(found)]
    assert known.min() >= 0
    assert known.max() <= 1 + 1e-6
    # Renaming tokens changes nothing; BOS is known by its place.
    renamed = [[token + 100 for token in prompt] for prompt in prompts]
    assert np.array_equal(found, roles.role_scores([(rows, entries)], renamed), equal_nan=True)


def test_roles_that_cannot_show_are_undefined():
    prompts = [[BOS, 1, 2, 3]]
    rows, entries = random_patterns(np.random.default_rng(3), 2, [4])
    found = dict(zip(roles.ROLES, roles.role_scores([(rows, entries)], prompts).T, strict=True))
    for name in ("induction", "duplicate_token", "local"):
        assert np.isnan(found[name]).all()
    for name in ("previous_token", "bos_sink"):
        assert np.isfinite(found[name]).all()
    assert (roles.strongest_roles(np.full((1, 5), np.nan), 0.1) == "none").all()


def test_synthetic_prompts():
    prompts = roles.repeated_prompts(30, BOS, 4, 10, seed=5, repeats=3)
    assert prompts == roles.repeated_prompts(30, BOS, 4, 10, seed=5, repeats=3)
    assert prompts != roles.repeated_prompts(30, BOS, 4, 10, seed=6, repeats=3)
    assert len({tuple(prompt) for prompt in prompts}) == 4
    for prompt in prompts:
        assert prompt[0] == BOS
        assert prompt[1:11] == prompt[11:21] == prompt[21:]
        assert len(set(prompt[1:11]) - {BOS}) == 10
        assert all(type(token) is int and 0 <= token < 30 for token in prompt)
    assert len(roles.repeated_prompts(5, 0, 1, 4, seed=0)[0]) == 9
    with pytest.raises(ValueError, match="5 different tokens cannot come from 4"):
        roles.repeated_prompts(5, 0, 1, 5, seed=0)


def test_patterns_and_prompts_must_fit():
    rows, entries = random_patterns(np.random.default_rng(4), 2, [4, 5])
    with pytest.raises(ValueError, match="differ in length"):
        roles.role_scores([(rows, entries)], [[BOS, 1, 2, 3], [BOS, 1]])
    with pytest.raises(ValueError, match="2 prompts have patterns, 3"):
        roles.role_scores([(rows, entries)], [[0] * 4, [0] * 5, [0] * 6])
    with pytest.raises(ValueError, match="0 prompts"):
        roles.role_scores([], [])
