"""Debiased CKA of what heads write: agreement with Gram matrices, and its properties."""

import numpy as np
import oracles_adjusted as oracles
import pytest

from headstability.measures import adjusted, head_cka
from headstability.measures.similarity import pairwise_stability


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_head_cka_agrees_with_gram_matrices(at_once):
    rng = np.random.default_rng(10)
    z = rng.normal(size=(3, 4, 40, 5)) + 3 * rng.normal(size=(3, 4, 1, 5))
    z[1, :2] = 0.7 * z[0, :2] + 0.3 * z[1, :2]
    z = z.astype(np.float32)
    found = head_cka.head_cka(lambda refit: z[refit], 3, at_once)
    for r, h, q, g in np.ndindex(found.shape):
        expected = oracles.debiased_cka(z[r, h].astype(np.float64), z[q, g].astype(np.float64))
        assert found[r, h, q, g] == pytest.approx(expected, abs=1e-6)


def test_head_cka_properties():
    rng = np.random.default_rng(11)
    z = rng.normal(size=(2, 3, 60, 4)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    z[1, 0] = 1e3 * z[0, 2] @ turn + 5
    z[1, 1] = 2.5 + 1e-6 * z[1, 1]  # writes a constant, up to rounding
    found = head_cka.head_cka(lambda refit: z[refit], 2)
    assert found[0, 2, 1, 0] == pytest.approx(1, abs=1e-5)
    assert not found[1, 1].any()
    assert not found[:, :, 1, 1].any()
    flat = found.reshape(6, 6)
    assert np.array_equal(flat, flat.T)
    varied = np.delete(np.arange(6), 4)
    assert np.diag(flat)[varied] == pytest.approx(1, abs=1e-6)
    pairs = pairwise_stability(adjusted.matched_best(found[None], np.array([1])))
    assert pairs[0, 1] < 1


def test_unrelated_outputs_have_no_debiased_cka_on_average():
    """Few positions, many features: the biased estimate would be far above 0."""
    rng = np.random.default_rng(12)
    z = rng.normal(size=(2, 20, 24, 16)).astype(np.float32)
    found = head_cka.head_cka(lambda refit: z[refit], 2)[0, :, 1]
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(20)


def test_head_cka_needs_positions():
    with pytest.raises(ValueError, match="4 positions"):
        head_cka.head_cka(lambda _: np.ones((1, 3, 2)), 2)
