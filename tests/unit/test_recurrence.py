"""Parts of patterns, what refits share, and whether heads come back: loops, truths, properties."""

import numpy as np
import oracles_recurrence as oracles
import pytest
from oracles_adjusted import packed

from headstability.measures import parts
from headstability.measures.adjusted import assignments
from headstability.measures.head_cka import head_cka, shuffled_cka
from headstability.measures.recurrence import (
    STATISTICS,
    chance_constant,
    recurrence,
    redealt_stability,
    same_index,
    shared_and_specific,
)
from headstability.measures.registry import cosine
from headstability.measures.similarity import NotDefined, pooled

LENGTHS = [5, 3, 6, 4, 6]
GROUPS = np.array([0, 1, 0, 2, 1])


@pytest.fixture(scope="module")
def triangles():
    """triangles[model][head][prompt]: random patterns, the last head of a model even."""
    rng = np.random.default_rng(0)

    def pattern(length, even):
        full = np.tril(np.ones((length, length)) if even else rng.random((length, length)) ** 4)
        return packed(full / full.sum(axis=1, keepdims=True)).astype(np.float32)

    return [[[pattern(n, head == 2) for n in LENGTHS] for head in range(3)] for _ in range(3)]


def slabs(triangles, at_once=2):
    """The same as slabs of a few prompts, which may be read again."""
    rows = [head for model in triangles for head in model]
    prompts = range(len(rows[0]))
    return [
        (
            np.stack([np.concatenate([row[p] for p in prompts[i : i + at_once]]) for row in rows]),
            np.array([len(rows[0][p]) for p in prompts[i : i + at_once]]),
        )
        for i in prompts[::at_once]
    ]


def test_template_similarity_is_that_of_loops(triangles):
    found = parts.template(slabs(triangles), GROUPS).reshape(4, 3, 3, 3, 3)
    prompts = np.arange(len(LENGTHS))
    for left, values in enumerate(found, start=-1):
        expected = oracles.template(triangles, prompts[left != GROUPS])
        assert values == pytest.approx(expected, abs=1e-6)


def test_even_heads_have_no_template_and_no_text(triangles):
    similarity = parts.template(slabs(triangles), GROUPS)[0].reshape(3, 3, 3, 3)
    assert not similarity[:, 2].any()
    text = cosine(parts.text(slabs(triangles)), GROUPS).reshape(3, 3, 3, 3, 3)
    assert not text[:, :, 2].any()


def test_text_similarity_is_that_of_loops(triangles):
    found = cosine(parts.text(slabs(triangles)), GROUPS).reshape(3, 3, 3, 3, 3)
    counts = np.bincount(GROUPS)
    prompts = np.arange(len(LENGTHS))
    assert pooled(found, counts) == pytest.approx(oracles.text(triangles, prompts), abs=1e-6)
    for group in range(3):
        expected = oracles.text(triangles, prompts[group != GROUPS])
        kept = np.where(np.arange(3) == group, 0, counts)
        assert pooled(found, kept) == pytest.approx(expected, abs=1e-6)


def test_one_prompt_has_no_text(triangles):
    one = [[[head[2]] for head in model] for model in triangles]
    with pytest.raises(NotDefined):
        list(parts.text(slabs(one)))


def test_a_pattern_is_position_plus_text(triangles):
    """What only depends on position has no text part; its template is that of every prompt."""
    same = [[[head[4], head[4]] for head in model] for model in triangles]
    assert not cosine(parts.text(slabs(same)), np.array([0, 1])).any()


def test_written_similarity_is_that_of_loops():
    rng = np.random.default_rng(1)
    z = rng.standard_normal((2, 2, sum(LENGTHS), 3)).astype(np.float32)
    z += np.repeat(rng.standard_normal((6, 3)), 1, axis=0)[
        np.concatenate([np.arange(n) for n in LENGTHS])
    ].astype(np.float32)
    found = head_cka(lambda model: parts.without_position(z[model], np.array(LENGTHS)), 2)
    for a, h, b, g in np.ndindex(found.shape):
        one, other = (oracles.without_position(z[m][k], LENGTHS) for m, k in ((a, h), (b, g)))
        assert found[a, h, b, g] == pytest.approx(oracles.cka(one, other), abs=1e-6)


def test_the_shuffled_cka_is_that_of_loops():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, sum(LENGTHS), 4)).astype(np.float32)
    starts = np.cumsum(LENGTHS) - LENGTHS
    shifts = [1, 2, 3, 4]  # 5 prompts have no fifth shift
    for at_once in (1, 8):
        found = shuffled_cka(lambda refit: x[refit], 3, np.array(LENGTHS), at_once)
        for a in range(3):
            for b in range(a + 1, 3):
                values = []
                for shift in shifts:
                    ours, theirs = [], []
                    for p, q in enumerate((np.arange(5) + shift) % 5):
                        for t in range(min(LENGTHS[p], LENGTHS[q])):
                            ours.append(x[a][starts[p] + t].astype(float))
                            theirs.append(x[b][starts[q] + t].astype(float))
                    values.append(oracles.cka(np.array(ours), np.array(theirs)))
                assert found[a, b] == found[b, a] == pytest.approx(np.mean(values), abs=1e-6)


def planted(refits, heads, share, seed=0, width=40, common=0.0, signature=0.0):
    """Similarities of refits of which a share of heads is in every refit, in random order."""
    rng = np.random.default_rng(seed)
    universal = rng.standard_normal((round(share * heads), width))
    vectors = rng.standard_normal((refits, heads, width))
    vectors[:, : len(universal)] = universal
    vectors += common * rng.standard_normal(width)
    vectors += signature * rng.standard_normal((refits, 1, width))
    vectors = np.array([rng.permutation(refit) for refit in vectors])
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.einsum("ahd,bgd->ahbg", vectors, vectors)


@pytest.mark.parametrize("refits", [3, 4, 5])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_shared_and_specific_are_those_of_loops(refits, share):
    similarity = planted(refits, 4, share, width=6)
    found = shared_and_specific(similarity, assignments(similarity))
    assert list(found) == list(STATISTICS)
    for left in range(-1, refits):
        kept = [refit for refit in range(refits) if refit != left]
        expected, within, spread = oracles.specific(similarity, kept)
        expected["T0"] = chance_constant(4) * spread / (1 - within)
        expected["S0"] = oracles.redealt(similarity, kept)
        best = [similarity[a, :, b].max(axis=1).mean() for a in kept for b in kept if a != b]
        expected["S"], expected["gain"] = np.mean(best), np.mean(best) - expected["S0"]
        room = 1 - expected["mu"] - expected["T0"]
        expected["rho"] = (expected["T"] - expected["T0"]) / room
        expected["confirmed"] = (expected["T"] - expected["T0"]) / expected["D"]
        linked = {"T", "rho", "confirmed"}
        for name, value in expected.items():
            got = found[name].value if left < 0 else found[name].refits[left]
            undefined = name in linked and len(kept) < 3
            assert float(got) == pytest.approx(
                np.nan if undefined else value, abs=1e-9, nan_ok=True
            )


def test_permuted_copies_recur_completely():
    rng = np.random.default_rng(3)
    heads = rng.standard_normal((8, 30))
    heads /= np.linalg.norm(heads, axis=1, keepdims=True)
    vectors = np.array([rng.permutation(heads) for _ in range(4)])
    similarity = np.einsum("ahd,bgd->ahbg", vectors, vectors)
    rho = shared_and_specific(similarity, assignments(similarity))["rho"]
    assert rho.value == pytest.approx(1, abs=1e-9)
    assert rho.refits == pytest.approx(np.ones(4), abs=1e-9)


def test_nothing_depends_on_the_order_of_heads_or_refits():
    similarity = planted(5, 6, 0.5)
    rng = np.random.default_rng(4)
    vectors = np.linalg.cholesky(similarity.reshape(30, 30) + 1e-12 * np.eye(30)).reshape(5, 6, 30)
    shuffled = np.array([rng.permutation(refit) for refit in vectors[rng.permutation(5)]])
    other = np.einsum("ahd,bgd->ahbg", shuffled, shuffled)
    one, two = (shared_and_specific(s, assignments(s)) for s in (similarity, other))
    for name in STATISTICS:
        assert one[name].value == pytest.approx(two[name].value, abs=1e-9)


@pytest.mark.parametrize("extra", [{}, {"common": 1.0}, {"signature": 1.0}])
def test_recurrence_of_planted_heads(extra):
    """About 0 for unrelated heads, increasing with the share of heads that every refit has."""
    means = []
    for share in (0.0, 0.25, 0.5, 1.0):
        values = []
        for seed in range(20):
            s = planted(5, 8, share, seed, **extra)
            values.append(float(shared_and_specific(s, assignments(s))["rho"].value))
        means.append(np.mean(values))
    assert abs(means[0]) < 0.015
    assert means == sorted(means)
    assert np.min(np.diff(means)) > 0.04


def test_identical_heads_share_everything_and_recur_not_at_all():
    similarity = np.ones((4, 8, 4, 8)) - 1e-3 * (planted(4, 8, 0.0) < 0.9)
    found = shared_and_specific(similarity, assignments(similarity))
    assert found["mu"].value > 0.99
    assert abs(found["T"].value) < 1e-3


def test_dealing_anew_gains_nothing_where_refits_mean_nothing():
    """For exchangeable heads S and S0 agree on average; refits with a signature fall below S0."""
    gains = {"plain": [], "signed": []}
    for seed in range(20):
        for name, signature in (("plain", 0.0), ("signed", 1.0)):
            s = planted(4, 6, 0.0, seed, signature=signature)
            gains[name].append(float(shared_and_specific(s, assignments(s))["gain"].value))
    assert abs(np.mean(gains["plain"])) < 0.01
    assert np.mean(gains["signed"]) < -0.1


def test_two_refits_have_no_third_to_confirm():
    similarity = planted(2, 4, 1.0)
    found = shared_and_specific(similarity, assignments(similarity))
    assert np.isnan(found["T"].value)
    assert np.isnan(found["rho"].value)
    assert np.isfinite(found["mu"].value)


def test_fewer_than_three_heads_have_no_chance_level():
    similarity = planted(4, 2, 1.0)
    found = shared_and_specific(similarity, assignments(similarity))
    assert np.isnan(found["T0"].value)
    assert np.isfinite(found["T"].value)
    one = shared_and_specific(planted(4, 1, 1.0), np.where(np.eye(4), -1, 0)[..., None])
    assert np.isnan(one["rho"].value)


def test_the_ceiling_of_twins_scales_recurrence():
    assert recurrence(np.array(0.4), np.array(0.0), np.array(0.1), np.array(0.5)) == 1
    assert np.isnan(recurrence(np.array(0.4), np.array(0.0), np.array(0.6), np.array(0.5)))


def test_dealing_needs_no_values_without_refits():
    similarity = planted(4, 4, 0.5)
    whole, quick = redealt_stability(similarity), redealt_stability(similarity, leave_out=False)
    assert whole.value == quick.value
    assert np.isnan(quick.refits).all()


def test_the_same_index_is_counted():
    chosen = np.array([[[-1, -1, -1], [0, 2, 1]], [[0, 2, 1], [-1, -1, -1]]])
    assert same_index(chosen)[0, 1] == pytest.approx(1 / 3)
