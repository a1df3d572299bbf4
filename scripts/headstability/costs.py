"""What jobs need: operations, memory and time, from the shapes of what they work on.

Generous on purpose: a job that asks for too little is killed, one that asks for too much only
waits longer. Rates are those of a slow machine; memory counts what is held at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

FLOAT = 4  # bytes of a float32
MEGABYTE = 2**20
# Floating point operations a second: one core; one GPU, in float32.
CORE_RATE, GPU_RATE = 4e9, 2e12
# Seconds of a training step beside its arithmetic.
STEP_SECONDS = 0.02
# Megabytes of a job before it has read anything: two processes of Snakemake beside the one that
# works, with its libraries; and those of CUDA.
BASE_MEMORY, CUDA_MEMORY = 1500, 4000
# Minutes of a job before it does anything, on a slow file system.
BASE_MINUTES = 10
# Bytes of text read, tokenised and written in a second.
TEXT_RATE = 2e5
# Memory of a text held as documents, and of a text being tokenised, as multiples of its bytes.
TEXT_MEMORY, TOKENISING_MEMORY = 8, 60


class Sizes(Protocol):
    """Sizes of a transformer, as in `model.Shape`, which needs torch."""

    layers: int
    heads: int
    d_model: int
    mlp: bool
    context: int
    vocabulary: int


@dataclass(frozen=True)
class Need:
    """What a job needs: memory in megabytes, time in minutes."""

    memory: int
    minutes: int


def need(memory_bytes: float, seconds: float, cuda: bool = False) -> Need:
    """A job's need, from what its data take beside what every job takes."""
    memory = BASE_MEMORY + (CUDA_MEMORY if cuda else 0) + memory_bytes / MEGABYTE
    return Need(int(memory) + 1, int(BASE_MINUTES + seconds / 60) + 1)


# --- a transformer (docs/methods.md, "Model") ---------------------------------------------


def block_weights(sizes: Sizes) -> int:
    """Entries of one layer's weight matrices: 4 d^2 of attention, 8 d^2 of the MLP."""
    return (12 if sizes.mlp else 4) * sizes.d_model**2


def block_parameters(sizes: Sizes) -> int:
    """Numbers in one layer: weight matrices, biases and LayerNorms."""
    return block_weights(sizes) + (13 if sizes.mlp else 6) * sizes.d_model


def parameters(sizes: Sizes) -> int:
    """Numbers in the whole model: embeddings, layers, final LayerNorm, unembedding."""
    width = sizes.d_model
    embeddings = (sizes.vocabulary + sizes.context) * width
    unembedding = sizes.vocabulary * width + sizes.vocabulary
    return embeddings + sizes.layers * block_parameters(sizes) + 2 * width + unembedding


def forward_flops(sizes: Sizes, length: int) -> float:
    """Operations a token of one forward pass: 2 a weight it meets, and 4 L T d of attention.

    Args:
        sizes: the model; looking an embedding up costs nothing.
        length: positions T in a row.
    """
    weights = sizes.layers * block_weights(sizes) + sizes.vocabulary * sizes.d_model
    return 2 * weights + 4 * sizes.layers * length * sizes.d_model


def activation_bytes(sizes: Sizes, tokens: int, backward: bool) -> float:
    """Memory of running a model on some tokens at once, by the fused kernel.

    Args:
        sizes: the model.
        tokens: rows times positions.
        backward: whether every layer's activations are kept for the gradient.
    """
    layers = sizes.layers if backward else 1
    return layers * layer_bytes(sizes, tokens) + (4 if backward else 2) * logit_bytes(sizes, tokens)


def layer_bytes(sizes: Sizes, tokens: int) -> float:
    """Memory of what one layer computes for some tokens, patterns left aside."""
    return FLOAT * tokens * (34 if sizes.mlp else 16) * sizes.d_model


def logit_bytes(sizes: Sizes, tokens: int) -> float:
    """Memory of the logits of some tokens."""
    return FLOAT * tokens * sizes.vocabulary


def pattern_bytes(sizes: Sizes, rows: int, length: int) -> float:
    """Memory of one layer's explicit attention: scores, mask, pattern and a copy."""
    return 4 * FLOAT * rows * sizes.heads * length**2


# --- jobs ---------------------------------------------------------------------------------


def training_flops(sizes: Sizes, tokens: float, held_out_tokens: float) -> float:
    """Operations of training: a backward pass costs two forward ones.

    Args:
        sizes: the model.
        tokens: training tokens.
        held_out_tokens: tokens of all held-out evaluations together.
    """
    return forward_flops(sizes, sizes.context) * (3 * tokens + held_out_tokens)


def training(
    sizes: Sizes, steps: int, batch: int, evaluations: int, held_out_rows: int, gpu: bool
) -> Need:
    """Training one cell.

    Weights, gradients, the two moments of Adam, and a copy of state being saved; on a GPU all
    but the copy lies there, and still counts: the host may hold a page of each.
    """
    tokens = steps * batch * sizes.context
    held_out = evaluations * held_out_rows * sizes.context
    flops = training_flops(sizes, tokens, held_out)
    seconds = flops / (GPU_RATE if gpu else CORE_RATE) + steps * STEP_SECONDS
    state = 8 * FLOAT * parameters(sizes)
    running = activation_bytes(sizes, batch * sizes.context, backward=True)
    rows = 8 * held_out_rows * sizes.context
    return need(state + running + rows, seconds, cuda=gpu)


def caching(sizes: Sizes, lengths: Sequence[int], batch: int) -> Need:
    """Caching one cell's activations on prompts: held once as arrays and once as a store.

    Args:
        sizes: the model.
        lengths: tokens of each prompt, BOS included.
        batch: prompts a forward pass.
    """
    entries = sum(length * (length + 1) // 2 for length in lengths)
    tokens, longest = sum(lengths), max(lengths)
    stored = cache_bytes(sizes, entries, tokens)
    labels = 16 * entries + 16 * tokens
    running = pattern_bytes(sizes, batch, longest) + activation_bytes(
        sizes, batch * longest, backward=False
    )
    flops = tokens * forward_flops(sizes, longest)
    memory = 2 * (stored + labels) + 2 * FLOAT * parameters(sizes) + 2 * running
    return need(memory, flops / CORE_RATE + stored / 20e6)


def cache_bytes(sizes: Sizes, entries: int, tokens: int) -> int:
    """Bytes of a cache's patterns, z and resid_mid (docs/methods.md, "Cache")."""
    return FLOAT * sizes.layers * (sizes.heads * entries + 2 * tokens * sizes.d_model)


def ablating(sizes: Sizes, lengths: Sequence[int], batch: int, heads_at_once: int) -> Need:
    """Ablating every head of one cell.

    Args:
        sizes: the model.
        lengths: tokens of each prompt, BOS included.
        batch: prompts a forward pass.
        heads_at_once: variants run side by side.
    """
    tokens, longest = sum(lengths), max(lengths)
    # For every head of a layer, that layer and those above are run again: half the model.
    passes = 1 + sizes.layers * sizes.heads * 0.5 * (1 + 1 / sizes.layers)
    block = 2 * block_weights(sizes) * sizes.layers + 4 * sizes.layers * longest * sizes.d_model
    logits = 2 * sizes.vocabulary * sizes.d_model
    flops = tokens * (passes * block + (1 + sizes.layers * sizes.heads) * logits)
    running = pattern_bytes(sizes, batch, longest)
    running += layer_bytes(sizes, heads_at_once * batch * longest)
    # Logits of one variant at a time, with what the loss makes of them.
    memory = 2 * FLOAT * parameters(sizes) + 2 * running + 3 * logit_bytes(sizes, batch * longest)
    return need(memory, flops / CORE_RATE)


def measuring_stability(
    sizes: Sizes, refits: int, lengths: Sequence[int], slab_entries: int
) -> Need:
    """Stability of one condition, streamed in slabs of whole prompts.

    Args:
        sizes: the model.
        refits: refits of the condition.
        lengths: tokens of each prompt, BOS included.
        slab_entries: pattern entries of all heads and refits held at once.
    """
    entries = [length * (length + 1) // 2 for length in lengths]
    rows = refits * sizes.heads
    slab = max(min(slab_entries, rows * sum(entries)), rows * max(entries))
    # The slab, its squares in float64 and its scaled copy; one refit's layer while it is hashed.
    memory = slab * (2 * FLOAT + 8 + FLOAT) + 3 * FLOAT * sizes.heads * sum(entries)
    memory += 3 * 8 * rows**2 + 400 * refits * rows * sizes.layers
    flops = 2 * sizes.layers * rows**2 * sum(entries)
    reading = 2 * FLOAT * sizes.layers * rows * sum(entries) / 50e6
    return need(memory, flops / CORE_RATE + reading)


def reading_text(size: int) -> Need:
    """Reading, splitting or learning a tokenizer from text of some bytes."""
    return need(TEXT_MEMORY * size, size / TEXT_RATE)


def tokenising_text(size: int, largest: int) -> Need:
    """Tokenising text.

    Args:
        size: bytes of all text.
        largest: bytes of the largest document, which is tokenised at once.
    """
    return need(TEXT_MEMORY * size + TOKENISING_MEMORY * largest, size / TEXT_RATE)
