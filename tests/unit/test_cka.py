import numpy as np
import oracles_streams as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstability.measures import cka as module
from headstability.measures.cka import ESTIMATORS, KERNELS, cka, median_of_all

CHOICES = [(kernel, estimator) for kernel in KERNELS for estimator in ESTIMATORS]


def streams(count=3, positions=40, width=6, seed=0):
    """Correlated streams with a massive vector at regular places, as BOS has."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(positions, width))
    found = []
    for _ in range(count):
        x = shared @ rng.normal(size=(width, width)) + 0.5 * rng.normal(size=(positions, width))
        x[::10] = 50 * rng.normal(size=width)
        found.append(x + 3 * rng.normal(size=width))
    return found


def same(one, two, tolerance=1e-6):
    return all(np.allclose(one[c], two[c], rtol=0, atol=tolerance) for c in CHOICES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("slab", [1, 400, 10**6])
def test_agrees_with_naive_loops(monkeypatch, slab, dtype):
    """Whatever the slabs: of one row, of a few, of all at once."""
    monkeypatch.setattr(module, "SLAB_ENTRIES", slab)
    monkeypatch.setattr(module, "GEMM_COLUMNS", 7)
    data = [x.astype(dtype) for x in streams()]
    found = cka(data)
    assert set(found) == set(CHOICES)
    for kernel, estimator in CHOICES:
        expected = [[oracles.cka(x, y, kernel, estimator) for y in data] for x in data]
        assert np.allclose(found[kernel, estimator], expected, rtol=0, atol=1e-6)


def test_streams_of_different_width(monkeypatch):
    monkeypatch.setattr(module, "SLAB_ENTRIES", 500)
    data = [streams(width=width, seed=width)[0] for width in (3, 8)]
    found = cka(data)
    for kernel, estimator in CHOICES:
        expected = oracles.cka(*data, kernel, estimator)
        assert found[kernel, estimator][0, 1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("away", [1e3, 1e5])
def test_a_large_common_part_costs_no_digits(away):
    """What all vectors share is far larger than what sets them apart, and changes nothing."""
    rng, data = np.random.default_rng(3), streams()
    found = cka([x + away * rng.normal(size=6) for x in data])
    for kernel, estimator in CHOICES:
        expected = oracles.cka(data[0], data[1], kernel, estimator)
        assert found[kernel, estimator][0, 1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("held", [0, 2**26])
def test_distances_kept_or_computed_again(monkeypatch, held):
    monkeypatch.setattr(module, "SLAB_ENTRIES", 1000)
    expected = cka(streams())
    monkeypatch.setattr(module, "HELD_ENTRIES", held)
    assert same(cka(streams()), expected, 0)


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(module, "SLAB_ENTRIES", 1000)
    assert same(cka(streams(6), threads=3), cka(streams(6), threads=1), 0)


def test_a_kernel_alone_and_a_generator():
    both, data = cka(streams()), streams()
    for kernel in KERNELS:
        found = cka((x for x in data), kernels=[kernel])
        assert set(found) == {(kernel, estimator) for estimator in ESTIMATORS}
        assert all(np.allclose(found[c], both[c], rtol=0, atol=1e-7) for c in found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.001, 1.0, 1000.0]))
def test_what_leaves_cka_unchanged(seed, scale):
    """Rotations and scales of a refit, the order of refits, the order of positions."""
    data = streams(seed=seed)
    rng = np.random.default_rng(seed)
    base = cka(data)
    for values in base.values():
        assert np.allclose(np.diag(values), 1, rtol=0, atol=1e-12)
        assert np.array_equal(values, values.T)
    # A rotation within the space LayerNorm reads: that of vectors of mean 0.
    centre = np.eye(6) - 1 / 6
    inside, _ = np.linalg.qr(np.c_[np.ones(6), rng.normal(size=(6, 5))])
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    rotation = inside[:, 1:] @ turn @ inside[:, 1:].T
    moved = [data[0] @ centre @ rotation * scale, data[1] + rng.normal(size=(40, 1)), data[2]]
    # Products are float32: each side is within 1e-6 of the truth, so within twice that of another.
    assert same(cka(moved), base, 2e-6)
    order, places = rng.permutation(3), rng.permutation(40)
    shuffled = cka([data[i][places] for i in order])
    assert same(shuffled, {c: base[c][np.ix_(order, order)] for c in CHOICES}, 2e-6)


def test_a_rotated_copy_is_the_same_and_noise_is_not():
    x = streams(positions=200)[0]
    rng = np.random.default_rng(1)
    noise = rng.normal(size=x.shape)
    found = cka([x, -2 * x[:, ::-1], noise])
    for choice in CHOICES:
        assert found[choice][0, 1] == pytest.approx(1, abs=1e-6)
    assert found["linear", "biased"][0, 2] > abs(found["linear", "debiased"][0, 2])
    assert abs(found["linear", "debiased"][0, 2]) < 0.05


def test_what_is_not_defined():
    constant = np.ones((10, 4)) * np.arange(4)
    x = streams(1, positions=10, width=4)[0]
    found = cka([x, constant])
    for choice in CHOICES:
        assert np.isnan(found[choice][0, 1])
        assert found[choice][0, 0] == pytest.approx(1)
    few = cka([v[:3] for v in streams(2)])
    assert np.isnan(few["linear", "debiased"]).all()
    assert few["linear", "biased"][0, 0] == pytest.approx(1)
    with pytest.raises(ValueError, match="different lengths"):
        cka([x, x[:5]])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(0, 10**6),
    st.sampled_from(["smooth", "ties", "zeros", "far sample"]),
)
def test_the_median_is_exact(count, rows, seed, what):
    rng = np.random.default_rng(seed)
    full = rng.random((count, count)).astype(np.float32) + 0.5
    if what == "ties":
        full = np.round(full, 1)
    if what == "zeros":
        full *= rng.random((count, count)) < 0.3
    full = np.triu(full, 1) + np.triu(full, 1).T
    sample = full[:1] + 100 if what == "far sample" else full[:2]
    slabs = [slice(i, min(i + rows, count)) for i in range(0, count, rows)]
    found = median_of_all(lambda: iter([full[s, s.start :] for s in slabs]), count, sample)
    assert found == np.median(full.astype(np.float64))
