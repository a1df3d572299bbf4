"""Causal attention, by the fastest way the device has (docs/methods.md, "Training")."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .shape import LARGEST_PATTERNS

# Queries in one block; keys in the future of the whole block are not multiplied.
QUERY_BLOCK = 64
# PyTorch's own kernel, called directly because it can overwrite its input.
softmax_backward = torch.ops.aten._softmax_backward_data.out


def causal_attention(qkv: Tensor, heads: int) -> Tensor:
    """Attention softmax(Q K^T / sqrt(d_head) + causal mask) V of all heads.

    `qkv` [batch, position, 3 x d_model] holds queries, then keys, then values, each with its heads
    side by side. The result [batch, position, d_model] has its heads side by side too.
    """
    if qkv.device.type == "cpu" and patterns_size(qkv, heads) <= LARGEST_PATTERNS:
        return BlockedAttention.apply(qkv, heads)
    z = F.scaled_dot_product_attention(*split_heads(qkv, heads), is_causal=True)
    return z.transpose(1, 2).flatten(2)


def split_heads(qkv: Tensor, heads: int) -> Tensor:
    """A view [3, batch, head, position, d_head] of [batch, position, 3 x d_model]."""
    return qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)


def patterns_size(qkv: Tensor, heads: int) -> int:
    """Bytes of the lower halves of all patterns of qkv [batch, position, 3 x d_model]."""
    batch, length, _ = qkv.shape
    return batch * heads * length * length * qkv.element_size() // 2


class BlockedAttention(torch.autograd.Function):
    """Explicit attention over blocks of queries, which keeps patterns for the backward pass.

    With S the scaled scores and A the pattern: dV = A^T dz, dA = dz V^T,
    dS = A (dA - sum_key dA A), dQ = dS K, dK = dS^T Q.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> Tensor:
        """Compute z; the arguments are those of `causal_attention`."""
        # One copy for all three, so that products read contiguous heads.
        query, key, value = split_heads(qkv, heads).flatten(1, 2)
        ctx.heads, ctx.scale = heads, query.shape[-1] ** -0.5
        query = query * ctx.scale
        z = torch.empty_like(value)
        patterns = []
        for block in _blocks(query.shape[1]):
            scores = torch.bmm(query[:, block], key[:, : block.stop].transpose(1, 2))
            scores[:, :, block] += _future(block, scores)
            pattern = torch.softmax(scores, -1, out=scores)
            z[:, block] = torch.bmm(pattern, value[:, : block.stop])
            if ctx.needs_input_grad[0]:
                patterns.append(pattern)
        ctx.save_for_backward(query, key, value, *patterns)
        return z.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)

    @staticmethod
    def backward(ctx: Any, d_z: Tensor) -> tuple[Tensor, None]:
        """The gradient of qkv."""
        query, key, value, *patterns = ctx.saved_tensors
        d_z = d_z.unflatten(2, (ctx.heads, -1)).transpose(1, 2).flatten(0, 1)
        d_qkv = torch.zeros((3, *query.shape), dtype=query.dtype, device=query.device)
        d_query, d_key, d_value = d_qkv
        for block, pattern in zip(_blocks(query.shape[1]), patterns, strict=True):
            seen, d_block = slice(block.stop), d_z[:, block]
            d_pattern = torch.bmm(d_block, value[:, seen].transpose(1, 2))
            d_scores = softmax_backward(d_pattern, pattern, -1, pattern.dtype, grad_input=d_pattern)
            d_query[:, block] = torch.bmm(d_scores, key[:, seen])
            d_key[:, seen] += torch.bmm(d_scores.transpose(1, 2), query[:, block])
            d_value[:, seen] += torch.bmm(pattern.transpose(1, 2), d_block)
        d_query *= ctx.scale
        d_qkv = d_qkv.unflatten(1, (-1, ctx.heads)).permute(1, 3, 0, 2, 4)
        return d_qkv.flatten(2), None


def _blocks(length: int) -> list[slice]:
    starts = range(0, length, QUERY_BLOCK)
    return [slice(start, min(start + QUERY_BLOCK, length)) for start in starts]


def _future(block: slice, like: Tensor) -> Tensor:
    """Minus infinity above the diagonal of a block's own keys, else 0."""
    size = block.stop - block.start
    return torch.full((size, size), float("-inf"), dtype=like.dtype, device=like.device).triu(1)
