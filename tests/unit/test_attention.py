import math

import numpy as np
import pytest
import torch
from oracles import softmax

from headstability.models import attention
from headstability.models.attention import BlockedAttention, causal_attention

# Within a block, at its edges, over several blocks, one position.
LENGTHS = [1, 2, 63, 64, 65, 130]


HEADS, WIDTH = 3, 4


def inputs(length, dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(length)
    shape = (batch, length, 3 * HEADS * WIDTH)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def explicit(qkv):
    """The formula in plain tensor operations."""
    query, key, value = qkv.view(*qkv.shape[:2], 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    future = torch.ones(2 * qkv.shape[1:2], dtype=torch.bool).triu(1)
    scores = (query @ key.transpose(-1, -2) / 2).masked_fill(future, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("length", LENGTHS)
def test_agrees_with_naive_loops(length):
    qkv = inputs(length)
    z = causal_attention(qkv, HEADS).detach().numpy()
    for row, head in np.ndindex(len(qkv), HEADS):
        columns = [(part * HEADS + head) * WIDTH + np.arange(WIDTH) for part in range(3)]
        q, k, v = (qkv[row][:, chosen].detach().numpy() for chosen in columns)
        for i in range(length):
            scores = np.array([q[i] @ k[j] for j in range(i + 1)])
            expected = softmax(scores / math.sqrt(WIDTH)) @ v[: i + 1]
            assert np.allclose(z[row, i, head * WIDTH : (head + 1) * WIDTH], expected, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
def test_gradients_agree_with_explicit_attention(length):
    qkv = inputs(length)
    wanted = torch.randn(2, length, HEADS * WIDTH, dtype=torch.float64)
    (found,) = torch.autograd.grad(causal_attention(qkv, HEADS), qkv, wanted)
    (true,) = torch.autograd.grad(explicit(qkv), qkv, wanted)
    assert torch.allclose(found, true, atol=1e-12)


def test_gradients_against_differences():
    assert torch.autograd.gradcheck(lambda qkv: BlockedAttention.apply(qkv, 3), inputs(5, batch=1))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-6), (torch.bfloat16, 3e-2)])
def test_rounds_like_the_fused_kernel(dtype, error, monkeypatch):
    qkv = inputs(100, dtype)
    blocked = causal_attention(qkv, HEADS)
    assert blocked.dtype == dtype
    monkeypatch.setattr(attention, "LARGEST_PATTERNS", 0)
    for z in (blocked, causal_attention(qkv, HEADS)):
        assert (z.double() - explicit(inputs(100))).abs().max() < error


def test_large_patterns_take_the_fused_kernel(monkeypatch):
    qkv = inputs(65)
    blocked = causal_attention(qkv, HEADS)
    size = attention.patterns_size(qkv, HEADS)
    assert size == 2 * HEADS * 65 * 65 * 8 // 2
    monkeypatch.setattr(attention, "LARGEST_PATTERNS", size - 1)
    monkeypatch.setattr(BlockedAttention, "apply", None)
    assert torch.allclose(causal_attention(qkv, HEADS), blocked, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_input_is_left_as_it_is(batch):
    qkv = inputs(65, batch=batch)
    before = qkv.detach().clone()
    causal_attention(qkv, HEADS).sum().backward()
    assert torch.equal(qkv, before)


def test_no_gradient_no_graph():
    qkv = inputs(65).detach()
    assert causal_attention(qkv, HEADS).grad_fn is None
    with torch.inference_mode():
        assert torch.equal(causal_attention(qkv, HEADS), causal_attention(qkv, HEADS))
