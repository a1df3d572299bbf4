"""What jobs need: operations, memory and time, from the shapes of what they work on.

Generous on purpose: a job that asks for too little is killed, one that asks for too much only
waits longer. Rates are those of a slow machine; memory counts what is held at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .shape import Shape
from .triangles import triangle_entries

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
# Bytes written and hashed in a second; and read.
WRITING_RATE, READING_RATE = 20e6, 50e6
# As in `attention` and `losses`, which need torch: patterns kept, a layer; logits held at once.
LARGEST_PATTERNS = 2**27
LOGIT_BYTES = {"cpu": 2**20, "cuda": 2**29}


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


def block_weights(sizes: Shape) -> int:
    """Entries of one layer's weight matrices: 4 d^2 of attention, 8 d^2 of the MLP."""
    return (12 if sizes.mlp else 4) * sizes.d_model**2


def block_parameters(sizes: Shape) -> int:
    """Numbers in one layer: weight matrices, biases and LayerNorms."""
    return block_weights(sizes) + (13 if sizes.mlp else 6) * sizes.d_model


def parameters(sizes: Shape) -> int:
    """Numbers in the whole model: embeddings, layers, final LayerNorm, unembedding."""
    width = sizes.d_model
    embeddings = (sizes.vocabulary + sizes.context) * width
    unembedding = sizes.vocabulary * width + sizes.vocabulary
    return embeddings + sizes.layers * block_parameters(sizes) + 2 * width + unembedding


def block_flops(sizes: Shape, length: int) -> float:
    """Operations a token of one layer: 2 a weight it meets, and 4 T d of attention.

    Args:
        sizes: the model.
        length: positions T in a row.
    """
    return 2 * block_weights(sizes) + 4 * length * sizes.d_model


def unembedding_flops(sizes: Shape) -> float:
    """Operations a token of scoring the whole vocabulary."""
    return 2 * sizes.vocabulary * sizes.d_model


def forward_flops(sizes: Shape, length: int) -> float:
    """Operations a token of one forward pass; looking an embedding up costs nothing.

    Args:
        sizes: the model.
        length: positions T in a row.
    """
    return sizes.layers * block_flops(sizes, length) + unembedding_flops(sizes)


def backward_bytes(sizes: Shape, rows: int, length: int) -> float:
    """Memory of what all layers keep for the gradient, patterns included where they are explicit.

    Args:
        sizes: the model.
        rows: rows that run at once.
        length: positions in each.
    """
    patterns = min(FLOAT * rows * sizes.heads * length**2 / 2, LARGEST_PATTERNS)
    return sizes.layers * (layer_bytes(sizes, rows * length) + patterns)


def layer_bytes(sizes: Shape, tokens: int) -> float:
    """Memory of what one layer computes for some tokens, patterns left aside."""
    return FLOAT * tokens * (34 if sizes.mlp else 16) * sizes.d_model


def logit_bytes(sizes: Shape, tokens: int) -> float:
    """Memory of the logits of some tokens."""
    return FLOAT * tokens * sizes.vocabulary


def pattern_bytes(sizes: Shape, rows: int, length: int) -> float:
    """Memory of one layer's explicit attention: scores, mask, pattern and a copy."""
    return 4 * FLOAT * rows * sizes.heads * length**2


# --- jobs ---------------------------------------------------------------------------------


def training_flops(sizes: Shape, tokens: float, held_out_tokens: float) -> float:
    """Operations of training: a backward pass costs two forward ones.

    Args:
        sizes: the model.
        tokens: training tokens.
        held_out_tokens: tokens of all held-out evaluations together.
    """
    return forward_flops(sizes, sizes.context) * (3 * tokens + held_out_tokens)


def training(
    sizes: Shape,
    steps: int,
    batch: int,
    evaluations: int,
    held_out_rows: int,
    gpu: bool,
    microbatch: int | None = None,
) -> Need:
    """Training one cell.

    Weights, gradients, the two moments of Adam, and a copy of state being saved; on a GPU all
    but the copy lies there, and still counts: the host may hold a page of each.

    Args:
        sizes: the model.
        steps: of training.
        batch: rows a step.
        evaluations: how often the held-out loss is taken.
        held_out_rows: rows it is taken on.
        gpu: whether it runs on a GPU.
        microbatch: rows a pass; None: all of a batch.
    """
    tokens = steps * batch * sizes.context
    held_out = evaluations * held_out_rows * sizes.context
    flops = training_flops(sizes, tokens, held_out)
    seconds = flops / (GPU_RATE if gpu else CORE_RATE) + steps * STEP_SECONDS
    # The gradient of the unembedding exists three times: as a sum, as its share, where it goes.
    state = 8 * FLOAT * parameters(sizes) + 2 * FLOAT * sizes.vocabulary * sizes.d_model
    running = backward_bytes(sizes, min(microbatch or batch, batch), sizes.context)
    running += 3 * LOGIT_BYTES["cuda" if gpu else "cpu"] + 3 * FLOAT * sizes.vocabulary
    rows = 8 * held_out_rows * sizes.context
    return need(state + running + rows, seconds, cuda=gpu)


def importing(sizes: Shape, held_out_rows: int) -> Need:
    """Bringing one cell's weights in: a file, its tensors, the model, and its held-out loss."""
    tokens = held_out_rows * sizes.context
    running = pattern_bytes(sizes, 1, sizes.context) + layer_bytes(sizes, sizes.context)
    memory = 4 * FLOAT * parameters(sizes) + running + 3 * logit_bytes(sizes, sizes.context)
    flops = tokens * forward_flops(sizes, sizes.context)
    return need(memory + 8 * tokens, flops / CORE_RATE + _moved(sizes))


def exporting(sizes: Shape) -> Need:
    """Writing one cell's weights in another format."""
    return need(4 * FLOAT * parameters(sizes), _moved(sizes))


def _moved(sizes: Shape) -> float:
    """Seconds to read weights, and to write and hash them."""
    return FLOAT * parameters(sizes) * (2 / READING_RATE + 2 / WRITING_RATE)


def caching(sizes: Shape, lengths: Sequence[int], batch: int, streams: int = 1) -> Need:
    """Caching one cell's activations on prompts: held as arrays, as chunks and as a store.

    Args:
        sizes: the model.
        lengths: tokens of each prompt, BOS included.
        batch: prompts a forward pass.
        streams: residual streams that are kept.
    """
    tokens, longest = sum(lengths), max(lengths)
    stored = cache_bytes(sizes, lengths, streams)
    labels = 16 * sum(map(triangle_entries, lengths)) + 16 * tokens
    running = pattern_bytes(sizes, batch, longest) + layer_bytes(sizes, batch * longest)
    flops = tokens * forward_flops(sizes, longest)
    memory = 3 * (stored + labels) + 2 * FLOAT * parameters(sizes) + 2 * running
    return need(memory, flops / CORE_RATE + stored / WRITING_RATE)


def cache_bytes(sizes: Shape, lengths: Sequence[int], streams: int = 1) -> int:
    """Bytes of a cache's variables (docs/methods.md, "Cache")."""
    tokens = sum(lengths)
    # Of d_model entries: z and streams by token, means of z by prompt. Norms have one by token.
    vectors = (1 + streams) * tokens + len(lengths)
    patterns = sizes.heads * sum(map(triangle_entries, lengths))
    per_layer = patterns + vectors * sizes.d_model + 2 * tokens
    return FLOAT * sizes.layers * per_layer


def ablating(
    sizes: Shape, lengths: Sequence[int], batch: int, variants: int, methods: int = 2
) -> Need:
    """Ablating every head of one cell.

    Args:
        sizes: the model.
        lengths: tokens of each prompt, BOS included.
        batch: prompts a forward pass.
        variants: heads and methods run side by side.
        methods: ways to ablate.
    """
    tokens, longest = sum(lengths), max(lengths)
    # For every head of a layer, that layer and those above are run again: half the model.
    again = methods * sizes.layers * sizes.heads
    passes = 2 + again * 0.5 * (1 + 1 / sizes.layers)
    layers = passes * sizes.layers
    flops = tokens * (layers * block_flops(sizes, longest) + (1 + again) * unembedding_flops(sizes))
    running = pattern_bytes(sizes, batch, longest)
    running += layer_bytes(sizes, variants * batch * longest)
    # Logits of one variant at a time, with what the loss makes of them.
    memory = 2 * FLOAT * parameters(sizes) + 2 * running + 3 * logit_bytes(sizes, batch * longest)
    return need(memory, flops / CORE_RATE)


def reading_text(size: int) -> Need:
    """Reading, splitting or learning a tokenizer from text of some bytes."""
    return need(TEXT_MEMORY * size, size / TEXT_RATE)


def streaming_text(size: int, held: int) -> Need:
    """Reading or tokenising text of which so many bytes are held at once."""
    return need((TEXT_MEMORY + TOKENISING_MEMORY) * held, size / TEXT_RATE)


def tokenising_text(size: int, largest: int) -> Need:
    """Tokenising text.

    Args:
        size: bytes of all text.
        largest: bytes of the largest document, which is tokenised at once.
    """
    return need(TEXT_MEMORY * size + TOKENISING_MEMORY * largest, size / TEXT_RATE)
