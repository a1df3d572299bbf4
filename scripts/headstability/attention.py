"""Causal attention, by the fastest way the device has (docs/methods.md, "Training")."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Queries taken at once: keys that lie in the future of all of them are never multiplied.
QUERY_BLOCK = 64
# On the CPU the fused kernel works in blocks of 32 queries and one head, whose products are too
# small to be fast: explicit patterns take a third to three quarters of its time at every size
# measured (docs/benchmarks.md), as long as there is room to keep them.
LARGEST_PATTERNS = 2**27  # bytes a layer

# PyTorch's own kernel behind softmax, here so that it can write over its input.
softmax_backward = torch.ops.aten._softmax_backward_data.out


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention z = softmax(Q K^T / sqrt(d_head) + causal mask) V, whatever the kernel.

    Args:
        query: [batch, head, position, d_head].
        key: the same shape.
        value: the same shape.

    Returns:
        z, the same shape.
    """
    if query.device.type == "cpu" and patterns_size(query) <= LARGEST_PATTERNS:
        flat = (part.reshape(-1, *part.shape[-2:]) for part in (query, key, value))
        return BlockedAttention.apply(*flat).view(query.shape)
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def patterns_size(query: Tensor) -> int:
    """Bytes of the lower halves of all patterns of [batch, head, position, d_head] queries."""
    batch, heads, length, _ = query.shape
    return batch * heads * length * length * query.element_size() // 2


class BlockedAttention(torch.autograd.Function):
    """Explicit attention over blocks of queries, with patterns kept for the backward pass.

    Inputs and output are [batch x head, position, d_head]. With S the scaled scores and P the
    pattern: dV = P^T dZ, dP = dZ V^T, dS = P (dP - sum_key dP P), dQ = dS K, dK = dS^T Q.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Compute z."""
        ctx.scale = query.shape[-1] ** -0.5
        query = query * ctx.scale
        z = torch.empty_like(value)
        patterns = []
        for block in _blocks(query.shape[1]):
            scores = torch.bmm(query[:, block], key[:, : block.stop].transpose(1, 2))
            scores[:, :, block] += _future(block, scores)
            pattern = torch.softmax(scores, -1, out=scores)
            z[:, block] = torch.bmm(pattern, value[:, : block.stop])
            if any(ctx.needs_input_grad):
                patterns.append(pattern)
        ctx.save_for_backward(query, key, value, *patterns)
        return z

    @staticmethod
    def backward(ctx: Any, d_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of query, key and value."""
        query, key, value, *patterns = ctx.saved_tensors
        d_query, d_key, d_value = map(torch.zeros_like, (query, key, value))
        for block, pattern in zip(_blocks(query.shape[1]), patterns, strict=True):
            seen, d_block = slice(block.stop), d_z[:, block]
            d_pattern = torch.bmm(d_block, value[:, seen].transpose(1, 2))
            d_scores = softmax_backward(d_pattern, pattern, -1, pattern.dtype, grad_input=d_pattern)
            d_query[:, block] = torch.bmm(d_scores, key[:, seen])
            d_key[:, seen] += torch.bmm(d_scores.transpose(1, 2), query[:, block])
            d_value[:, seen] += torch.bmm(pattern.transpose(1, 2), d_block)
        return d_query.mul_(ctx.scale), d_key, d_value


def _blocks(length: int) -> list[slice]:
    starts = range(0, length, QUERY_BLOCK)
    return [slice(start, min(start + QUERY_BLOCK, length)) for start in starts]


def _future(block: slice, like: Tensor) -> Tensor:
    """Minus infinity above the diagonal of a block's own keys, else 0."""
    size = block.stop - block.start
    return torch.full((size, size), float("-inf"), dtype=like.dtype, device=like.device).triu(1)
