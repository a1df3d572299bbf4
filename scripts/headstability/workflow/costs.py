"""Operations and bytes by shape (docs/models.md, "Estimate"); lengths are tokens with BOS."""

from collections.abc import Sequence
from math import ceil, prod

from ..conventions import ENTRY_CHUNK, triangle_entries
from ..models.shape import Shape

FLOAT, DOUBLE = 4, 8  # bytes of a float32 and of a float64
# Bytes that files have beside arrays, measured.
CHECKPOINT_HEADER, TENSOR_HEADER, SIMILARITY_HEADER = 2000, 90, 8000
CACHE_HEADER, CACHE_LAYER_HEADER = 13_000, 1000


def block_flops(shape: Shape, length: int) -> float:
    """Operations per token of a layer, in rows of T = `length`: 2 a weight, and 4 T d."""
    # Weights are 4 d^2 of attention, 8 d^2 of the MLP.
    weights = sum(prod(size) for size in shape.layer_tensors.values() if len(size) == 2)
    return 2 * weights + 4 * length * shape.d_model


def unembedding_flops(shape: Shape) -> float:
    """Operations per token of scoring the whole vocabulary."""
    return 2 * shape.vocabulary * shape.d_model


def forward_flops(shape: Shape, length: int) -> float:
    """Operations per token of a forward pass over rows of `length` positions."""
    return shape.layers * block_flops(shape, length) + unembedding_flops(shape)


def layer_bytes(shape: Shape, tokens: int) -> float:
    """Memory of what one layer computes for some tokens, patterns left aside."""
    return FLOAT * tokens * (34 if shape.mlp else 16) * shape.d_model


def pattern_bytes(shape: Shape, rows: int, length: int) -> float:
    """Memory of one layer's explicit attention: scores, mask, pattern and a copy."""
    return 4 * FLOAT * rows * shape.heads * length**2


def checkpoint_bytes(shape: Shape) -> int:
    """Size of a checkpoint."""
    return FLOAT * shape.parameters + CHECKPOINT_HEADER + shape.tensors * TENSOR_HEADER


def pattern_entries(lengths: Sequence[int]) -> int:
    """Entries of one head's patterns on prompts of these lengths."""
    return sum(map(triangle_entries, lengths))


def cache_bytes(shape: Shape, lengths: Sequence[int], streams: int = 1) -> int:
    """Bytes of a cache's variables with some residual streams (docs/methods.md, "Cache")."""
    tokens = sum(lengths)
    # Of d_model entries: z and streams by token, means of z by prompt. Norms have one by token.
    vectors = (1 + streams) * tokens + len(lengths)
    per_layer = shape.heads * pattern_entries(lengths) + vectors * shape.d_model + 2 * tokens
    return FLOAT * shape.layers * per_layer


def label_bytes(lengths: Sequence[int]) -> int:
    """Bytes of a cache's coordinates, which say what entries and positions are."""
    return 16 * (pattern_entries(lengths) + sum(lengths))


def cache_file_bytes(shape: Shape, lengths: Sequence[int], streams: int = 1) -> int:
    """Size of a cache on disk, where an incomplete last chunk of patterns is filled up."""
    entries = pattern_entries(lengths)
    chunk = min(ENTRY_CHUNK, entries)
    filling = FLOAT * shape.layers * shape.heads * (ceil(entries / chunk) * chunk - entries)
    header = CACHE_HEADER + shape.layers * CACHE_LAYER_HEADER
    return cache_bytes(shape, lengths, streams) + filling + label_bytes(lengths) + header


def similarity_bytes(layers: int, rows: int, groups: int) -> int:
    """Bytes of the cosines of a layer's heads by group of prompts, and of those across layers."""
    return FLOAT * rows**2 * (layers * groups + layers**2)


def measures_bytes(layers: int, rows: int, groups: int) -> int:
    """Bytes of cosines by the other measures: four by group of prompts, two without groups."""
    return FLOAT * rows**2 * layers * (4 * groups + 3)
