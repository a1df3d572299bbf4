import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import softmax

from headstability import attention
from headstability.attention import BlockedAttention, causal_attention

# Within a block, at its edges, over several blocks, one position.
LENGTHS = [1, 2, 63, 64, 65, 130]


def inputs(length, dtype=torch.float64, batch=2, heads=3, width=4):
    generator = torch.Generator().manual_seed(length)
    shape = (3, batch, heads, length, width)
    return [
        part.to(dtype).requires_grad_()
        for part in torch.randn(shape, generator=generator, dtype=torch.float64)
    ]


@pytest.mark.parametrize("length", LENGTHS)
def test_agrees_with_naive_loops(length):
    query, key, value = inputs(length)
    z = causal_attention(query, key, value).detach().numpy()
    q, k, v = (part.detach().numpy() for part in (query, key, value))
    for row, head in np.ndindex(2, 3):
        for i in range(length):
            scores = np.array([q[row, head, i] @ k[row, head, j] for j in range(i + 1)])
            expected = softmax(scores / math.sqrt(4)) @ v[row, head, : i + 1]
            assert np.allclose(z[row, head, i], expected, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
def test_gradients_agree_with_explicit_attention(length):
    parts = inputs(length)
    wanted = torch.randn(parts[0].shape, dtype=torch.float64)
    found = torch.autograd.grad(causal_attention(*parts), parts, wanted)
    query, key, value = parts
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    scores = (query @ key.transpose(-1, -2) / 2).masked_fill(future, float("-inf"))
    explicit = torch.autograd.grad(scores.softmax(-1) @ value, parts, wanted)
    for one, other in zip(found, explicit, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_gradients_against_differences():
    parts = [part.flatten(0, 1) for part in inputs(5, batch=1, heads=2)]
    assert torch.autograd.gradcheck(BlockedAttention.apply, parts)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-6), (torch.bfloat16, 3e-2)])
def test_rounds_like_the_fused_kernel(dtype, error):
    parts = inputs(100, dtype)
    z = causal_attention(*parts)
    assert z.dtype == dtype
    fused = F.scaled_dot_product_attention(*parts, is_causal=True)
    exact = causal_attention(*inputs(100))
    for found in (z, fused):
        assert (found.double() - exact).abs().max() < error


def test_large_patterns_take_the_fused_kernel(monkeypatch):
    parts = inputs(65)
    blocked = causal_attention(*parts)
    size = attention.patterns_size(parts[0])
    assert size == 2 * 3 * 65 * 65 * 8 // 2
    monkeypatch.setattr(attention, "LARGEST_PATTERNS", size - 1)
    monkeypatch.setattr(BlockedAttention, "apply", None)
    assert torch.allclose(causal_attention(*parts), blocked, atol=1e-12)


def test_no_patterns_are_kept_without_a_gradient():
    parts = [part.detach() for part in inputs(65)]
    assert causal_attention(*parts).grad_fn is None
    with torch.inference_mode():
        assert torch.equal(causal_attention(*parts), causal_attention(*parts))
