import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from headstability.training.loss import chunk_rows, loss_terms, unembedding_loss


def inputs(positions=23, width=6, vocabulary=31, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(positions)
    sizes = [(positions, width), (vocabulary, width), (vocabulary,)]
    parts = [
        (torch.randn(size, generator=generator, dtype=torch.float64) * scale)
        .to(dtype)
        .requires_grad_()
        for size in sizes
    ]
    return parts, torch.randint(0, vocabulary, (positions,), generator=generator)


def plain(parts, targets):
    return F.cross_entropy(F.linear(*parts), targets)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40))
def test_value_and_gradients_are_those_of_plain_cross_entropy(positions, chunk):
    parts, targets = inputs(positions)
    loss = unembedding_loss(*parts, targets, chunk=chunk)
    expected = plain(parts, targets)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    # A factor in front of the loss, as microbatches have one.
    found = torch.autograd.grad(loss * 0.25, parts)
    wanted = torch.autograd.grad(expected * 0.25, parts)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-14)


def test_value_agrees_with_naive_loops():
    (stream, weight, bias), targets = inputs()
    total = 0.0
    for x, target in zip(stream.detach().numpy(), targets.tolist(), strict=True):
        logits = [x @ w + b for w, b in zip(weight.tolist(), bias.tolist(), strict=True)]
        total -= logits[target] - np.log(np.sum(np.exp(logits)))
    loss = unembedding_loss(stream, weight, bias, targets)
    assert loss.item() == pytest.approx(total / len(targets), abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_float32_is_as_exact_as_plain_cross_entropy(scale):
    """Also where the target's probability is far below the smallest number."""
    parts, targets = inputs(dtype=torch.float32, scale=scale)
    exact = plain([part.double() for part in parts], targets)
    assert exact > (0 if scale == 1 else 1000)
    loss = unembedding_loss(*parts, targets, chunk=7)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    found, wanted = (torch.autograd.grad(one, parts) for one in (loss, exact))
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() < 2e-6 * (1 + other.norm())


def test_bfloat16_products_give_float32_losses_and_gradients():
    parts, targets = inputs(dtype=torch.float32)
    loss = unembedding_loss(*parts, targets, torch.bfloat16, chunk=7)
    gradients = torch.autograd.grad(loss, parts)
    assert {one.dtype for one in (loss, *gradients)} == {torch.float32}
    exact = plain(parts, targets)
    assert loss.item() != exact.item()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2)
    for one, other in zip(gradients, torch.autograd.grad(exact, parts), strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


def test_no_more_logits_than_a_chunk_exist():
    seen = []

    def watched(logits, bias, targets):
        seen.append(tuple(logits.shape))
        return loss_terms(logits, bias, targets)

    parts, targets = inputs(23)
    unembedding_loss(*parts, targets, chunk=10, terms=watched).backward()
    assert seen == [(10, 31), (10, 31), (3, 31)]


def test_chunks_of_a_large_vocabulary():
    assert chunk_rows(48262, torch.device("cuda")) * 48262 * 4 <= 2**29
    assert chunk_rows(48262, torch.device("cuda")) > 1000
    assert chunk_rows(10**9, torch.device("cpu")) == 1
