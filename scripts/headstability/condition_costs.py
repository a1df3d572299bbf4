"""What jobs over all refits of a condition need: as in `costs`, with as many heads as they compare.

They read caches twice, once to verify them, and stream what does not fit. Sizes of what they hold
at once are those of the modules that do the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .costs import (
    CORE_RATE,
    FLOAT,
    GPU_RATE,
    READING_RATE,
    TEXT_MEMORY,
    TEXT_RATE,
    TOKENISING_MEMORY,
    Need,
    forward_flops,
    layer_bytes,
    logit_bytes,
    need,
    parameters,
    pattern_bytes,
)
from .shape import Shape
from .triangles import triangle_entries

DOUBLE = 8  # bytes of a float64
# Operations an entry of a kernel matrix, a pattern or a list of neighbours costs beside products.
ENTRY_FLOPS = 60
# Rounds of t-SNE, and operations a head takes in each.
MAP_ROUNDS, MAP_FLOPS = 1000, 2e4


@dataclass(frozen=True)
class Condition:
    """The refits of a condition and the prompts they are compared on.

    Attributes:
        sizes: of the model.
        refits: how many.
        lengths: tokens of each prompt, BOS included.
    """

    sizes: Shape
    refits: int
    lengths: Sequence[int]

    @property
    def rows(self) -> int:
        """Heads of a layer, of all refits."""
        return self.refits * self.sizes.heads

    @property
    def entries(self) -> int:
        """Pattern entries of one head."""
        return sum(map(triangle_entries, self.lengths))

    @property
    def positions(self) -> int:
        """Tokens of all prompts."""
        return sum(self.lengths)

    @property
    def verifying(self) -> float:
        """Memory of one refit's layer of patterns while it is read and hashed."""
        return 3 * FLOAT * self.sizes.heads * self.entries

    @property
    def reading(self) -> float:
        """Seconds to verify and read all patterns."""
        return 2 * FLOAT * self.sizes.layers * self.rows * self.entries / READING_RATE

    def slab(self, entries: int, layers: int) -> int:
        """Entries of a slab of at most `entries`: one prompt of all rows at least."""
        rows = layers * self.rows
        return max(min(entries, rows * self.entries), rows * triangle_entries(max(self.lengths)))


def comparing_heads(condition: Condition, slab_entries: int, groups: int) -> Need:
    """Cosines of all heads: a slab, its source and its scaled copy; sums and their copies."""
    layers, rows = condition.sizes.layers, condition.rows
    within = layers * min(groups, len(condition.lengths)) * rows**2
    across = (layers * rows) ** 2
    memory = 3 * FLOAT * condition.slab(slab_entries, layers) + condition.verifying
    memory += (DOUBLE + 3 * FLOAT) * (within + across) + 2 * DOUBLE * across
    flops = 2 * condition.entries * (across + layers * rows**2)
    return need(memory, flops / CORE_RATE + condition.reading)


def measuring_stability(condition: Condition, groups: int) -> Need:
    """Tables of matches, from the cosines: one layer's at a time, and rows of the tables."""
    layers, rows = condition.sizes.layers, condition.rows
    within = min(groups, len(condition.lengths)) * rows**2
    memory = 3 * FLOAT * layers * within + 4 * DOUBLE * layers * rows**2
    memory += 3 * 400 * condition.refits * rows * layers
    stored = FLOAT * layers * (within + layers * rows**2)
    return need(memory, 2 * stored / READING_RATE)


def adjusting(
    condition: Condition, slab_entries: int, layer_entries: int, groups: int, shifts: int
) -> Need:
    """Adjusted measures, one layer at a time.

    Args:
        condition: the refits.
        slab_entries: pattern entries held at once.
        layer_entries: those of a whole layer that is kept.
        groups: of prompts.
        shifts: of the null.
    """
    sizes, rows = condition.sizes, condition.rows
    groups = min(groups, len(condition.lengths))
    whole = rows * condition.entries
    kept = 2 * FLOAT * whole if whole <= layer_entries else 0
    # A slab in float32 and what renormalising it takes in float64; cosines by group, some times.
    slab = (3 * FLOAT + 4 * DOUBLE) * condition.slab(slab_entries, layers=1)
    cosines = 6 * DOUBLE * groups * rows**2
    features = (9 * FLOAT + 4 * DOUBLE) * condition.positions * sizes.d_model
    features += 4 * DOUBLE * sizes.d_model**2
    stored = FLOAT * sizes.layers * groups * rows**2
    memory = max(kept + slab, features) + cosines + 2 * stored + condition.verifying
    memory += 3 * 400 * condition.refits * rows * sizes.layers
    products = 2 * (shifts + 2) * rows**2 * condition.entries
    elsewhere = (shifts + 4) * ENTRY_FLOPS * rows * condition.entries
    without = (shifts + 6) * 10 * groups**2 * rows**2
    assigned = ENTRY_FLOPS * groups * condition.refits**2 * (sizes.heads**3 + 1000)
    written = 4 * condition.refits**2 * sizes.d_model**2 * condition.positions
    flops = sizes.layers * (products + elsewhere + without + assigned + written)
    return need(memory, flops / CORE_RATE + condition.reading)


def comparing_streams(
    condition: Condition, streams: int, slab_entries: int, held_entries: int, threads: int
) -> Need:
    """CKA of residual streams, one layer at a time: slabs of two kernels, and distances held.

    Args:
        condition: the refits.
        streams: how many are compared.
        slab_entries: of one kernel's slab, all refits together.
        held_entries: distances of one refit that are kept.
        threads: refits prepared at once.
    """
    sizes, refits, positions = condition.sizes, condition.refits, condition.positions
    memory = FLOAT * (refits + 1) * positions * sizes.d_model
    memory += 4 * DOUBLE * positions * sizes.d_model
    memory += 2 * FLOAT * max(min(slab_entries, refits * positions**2), refits * positions)
    memory += 3 * FLOAT * threads * min(positions**2 / 2, held_entries)
    products = refits * positions**2 * (4 * sizes.d_model + 2 * refits + 2 * ENTRY_FLOPS)
    read = 2 * FLOAT * refits * positions * sizes.d_model
    jobs = sizes.layers * streams
    return need(memory, jobs * (products / CORE_RATE + read / READING_RATE))


def taking_norms(condition: Condition) -> Need:
    """Norms of activations: those of one refit at a time, in float64."""
    norms = condition.sizes.layers * condition.positions
    return need(8 * DOUBLE * norms, 4 * FLOAT * condition.refits * norms / READING_RATE)


def comparing_prefixes(
    condition: Condition, slab_entries: int, prompts: int, lengths: Sequence[int]
) -> Need:
    """Cosines of heads on the first tokens of some prompts.

    Args:
        condition: the refits.
        slab_entries: pattern entries held at once.
        prompts: how many are used.
        lengths: tokens they are cut to, BOS included.
    """
    layers, rows = condition.sizes.layers, condition.rows
    memory = 3 * FLOAT * condition.slab(slab_entries, layers) + condition.verifying
    memory += (len(lengths) + 3) * DOUBLE * layers * rows**2
    flops = 2 * layers * rows**2 * prompts * sum(map(triangle_entries, lengths))
    return need(memory, flops / CORE_RATE + condition.reading)


def scoring_roles(cell: Condition, slab_entries: int, synthetic: Sequence[int], batch: int) -> Need:
    """Scores of roles: slabs go to float64; synthetic prompts run through the model.

    Args:
        cell: one refit alone.
        slab_entries: pattern entries held at once.
        synthetic: tokens of each synthetic prompt.
        batch: of these, prompts a forward pass.
    """
    sizes, longest = cell.sizes, max(synthetic)
    running = pattern_bytes(sizes, batch, longest) * (1 + sizes.layers)
    running += layer_bytes(sizes, batch * longest) + 3 * FLOAT * parameters(sizes)
    memory = (FLOAT + DOUBLE) * cell.slab(slab_entries, sizes.layers) + running + cell.verifying
    flops = sum(synthetic) * forward_flops(sizes, longest)
    return need(memory, flops / CORE_RATE + 2 * cell.reading)


def gathering_roles(condition: Condition) -> Need:
    """Scores and best matches of all refits, as rows of tables."""
    rows = 400 * condition.refits * condition.rows * condition.sizes.layers
    return need(3 * rows, rows / TEXT_RATE)


def evaluating(sizes: Shape, text: int, largest: int, positions: int, gpu: bool) -> Need:
    """Perplexity of one refit on whole texts.

    Args:
        sizes: the model.
        text: bytes of all texts; a token is taken to be two of them.
        largest: bytes of the largest of the user's texts, which is tokenised at once.
        positions: run at once.
        gpu: whether it runs on a GPU.
    """
    flops = text / 2 * forward_flops(sizes, sizes.context)
    memory = 3 * FLOAT * parameters(sizes) + layer_bytes(sizes, positions)
    memory += 3 * logit_bytes(sizes, positions)
    memory += TEXT_MEMORY * text + TOKENISING_MEMORY * largest
    seconds = flops / (GPU_RATE if gpu else CORE_RATE) + text / TEXT_RATE
    return need(memory, seconds, cuda=gpu)


def mapping_heads(conditions: Sequence[Condition]) -> Need:
    """A map of the heads of several conditions: their distances between prompts, some times over.

    Args:
        conditions: of one weight decay, on the same prompts.
    """
    heads = sum(one.rows * one.sizes.layers for one in conditions)
    prompts = len(conditions[0].lengths)
    features = prompts * (prompts - 1) // 2
    read = sum(
        2 * FLOAT * one.refits * one.sizes.layers * prompts * one.sizes.d_model
        for one in conditions
    )
    memory = 3 * (FLOAT + DOUBLE) * heads * features + 100 * DOUBLE * heads
    flops = 2 * heads**2 * features + MAP_ROUNDS * MAP_FLOPS * heads
    return need(memory, flops / CORE_RATE + read / READING_RATE)


def showing_heads(condition: Condition) -> Need:
    """Patterns of a few heads on one prompt, from caches that are verified first."""
    return need(condition.verifying, condition.reading)
