"""What the job of each rule takes: operations, memory, bytes moved.

`resources` turns this into memory and minutes, `estimate` into the operations of a whole study.
Memory is that of what is held at once, so block sizes are those of the modules that do the work.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..analysis import blocks
from ..measures import cka
from ..measures.adjusted import SHIFTS
from ..models.shape import LARGEST_PATTERNS, LOGIT_BYTES
from ..study.schema_data import DataCorpus
from . import costs
from .costs import DOUBLE, FLOAT, forward_flops, pattern_bytes
from .sizes import Sizes, Work, bytes_of

# Memory of a text held as documents, and of a text being tokenised, as multiples of its bytes.
TEXT_MEMORY, TOKENISING_MEMORY = 8, 60
# Products that take as long as what else is done with an entry of a kernel matrix, a pattern or a
# list of neighbours.
ENTRY_FLOPS = 60
CKA_THREADS = 2  # refits prepared at once: threads of the rule
# Rounds of t-SNE, and operations per head in each.
MAP_ROUNDS, MAP_FLOPS = 1000, 2e4


class Cost(NamedTuple):
    """What one job takes: operations, bytes, and steps of training."""

    memory: float  # held at once, beside that of the process and its libraries
    flops: float = 0.0  # of matrix products
    other: float = 0.0  # what takes time beside them, in operations of products that take as long
    read: float = 0.0  # of arrays; verifying reads them once more
    written: float = 0.0  # of arrays, which are hashed, too
    text: float = 0.0  # of text and tables
    steps: int = 0


class _Job(Work):
    """A job and what it takes, with a method for each rule whose jobs grow with the study."""

    @property
    def _table(self) -> int:
        """Bytes of a table with a row for every head and other refit."""
        return 400 * self.refits * self.rows * self.shape.layers

    def of_corpus(self) -> Cost:
        """Reading, splitting or learning a tokenizer from text; of data sets a little is held."""
        size, held = self.sizes.text
        if isinstance(self.config.corpus, DataCorpus):
            return Cost((TEXT_MEMORY + TOKENISING_MEMORY) * held, text=size)
        return Cost(TEXT_MEMORY * size, text=size)

    of_tokenizer = of_corpus

    def of_tokens(self) -> Cost:
        """Tokenising text, the largest document at once."""
        cost = self.of_corpus()
        if isinstance(self.config.corpus, DataCorpus):
            return cost
        return cost._replace(memory=cost.memory + TOKENISING_MEMORY * self.sizes.text[1])

    def of_train(self) -> Cost:
        """Training one cell: a backward pass costs two forward ones.

        Held are weights, gradients, the two moments of Adam, and a copy of state being saved; on a
        GPU all but the copy lies there, and still counts: the host may hold a page of each.
        """
        shape, training, steps = self.shape, self.config.training, self.sizes.study.steps
        judged = (1 - steps // -training.evaluate_every) * self.sizes.judged_tokens
        seen = steps * training.batch * shape.context
        # The gradient of the unembedding exists three times: as a sum, as its share, where it goes.
        state = 8 * FLOAT * shape.parameters + 2 * FLOAT * shape.vocabulary * shape.d_model
        rows = min(training.microbatch or training.batch, training.batch)
        patterns = min(FLOAT * rows * shape.heads * shape.context**2 / 2, LARGEST_PATTERNS)
        running = shape.layers * (costs.layer_bytes(shape, rows * shape.context) + patterns)
        running += 3 * LOGIT_BYTES["cuda" if self.gpu else "cpu"] + 3 * FLOAT * shape.vocabulary
        flops = forward_flops(shape, shape.context) * (3 * seen + judged)
        return Cost(state + running + 8 * self.sizes.judged_tokens, flops=flops, steps=steps)

    def of_import_weights(self) -> Cost:
        """Bringing one cell's weights in: a file, its tensors, the model, and its held-out loss."""
        shape, judged = self.shape, self.sizes.judged_tokens
        running = pattern_bytes(shape, 1, shape.context) + costs.layer_bytes(shape, shape.context)
        running += 3 * FLOAT * shape.context * shape.vocabulary + 8 * judged
        export = self.of_write_huggingface()
        flops = judged * forward_flops(shape, shape.context)
        return export._replace(memory=export.memory + running, flops=flops)

    def of_write_huggingface(self) -> Cost:
        """Writing one cell's weights in another format."""
        size = FLOAT * self.shape.parameters
        return Cost(4 * size, read=2 * size, written=2 * size)

    of_write_transformerlens = of_write_huggingface

    def of_cache(self) -> Cost:
        """Caching one cell's activations on prompts: held as arrays, as chunks and as a store."""
        shape, longest = self.shape, max(self.lengths)
        stored = costs.cache_bytes(shape, self.lengths, self.streams)
        running = pattern_bytes(shape, blocks.CACHE_PROMPTS, longest)
        running += costs.layer_bytes(shape, blocks.CACHE_PROMPTS * longest)
        held = 3 * (stored + costs.label_bytes(self.lengths)) + 2 * FLOAT * shape.parameters
        flops = sum(n * shape.layers * costs.block_flops(shape, n) for n in self.lengths)
        return Cost(held + 2 * running, flops=flops, written=stored)

    def of_ablation(self) -> Cost:
        """Ablating every head of one cell, one method at a time."""
        shape, config, text = self.shape, self.config.ablation, self.wildcards["text"]
        held_out = [shape.context] * config.held_out_rows
        lengths = held_out if text == "held_out" else self.sizes.lengths(text)
        # Of every head of layer l the layers from l on are run again, and the unembedding; once the
        # whole model is run, and once more if the mean of z is asked for.
        runs = self.heads * self.methods
        layers = runs * (shape.layers + 1) / 2 + shape.layers * (1 + ("mean" in config.methods))
        flops = sum(
            n * (layers * costs.block_flops(shape, n) + (1 + runs) * costs.unembedding_flops(shape))
            for n in lengths
        )
        tokens = blocks.ABLATED_PROMPTS * max(lengths)
        running = pattern_bytes(shape, blocks.ABLATED_PROMPTS, max(lengths))
        running += costs.layer_bytes(shape, blocks.ABLATED_VARIANTS * tokens)
        # Logits of one variant at a time, with what the loss makes of them.
        held = 2 * FLOAT * shape.parameters + 2 * running + 3 * FLOAT * tokens * shape.vocabulary
        return Cost(held, flops=flops)

    def of_evaluate(self) -> Cost:
        """Perplexity of one refit on whole texts: those held out, and the user's own."""
        shape, own = self.shape, [bytes_of(path) for path in self.sizes.study.perplexity_files()]
        text = int(self.sizes.held_out_bytes) + sum(own)
        positions = max(blocks.PERPLEXITY_POSITIONS, shape.context)
        memory = 3 * FLOAT * shape.parameters + costs.layer_bytes(shape, positions)
        memory += 3 * FLOAT * positions * shape.vocabulary
        memory += TEXT_MEMORY * text + TOKENISING_MEMORY * max(own, default=0)
        flops = self.sizes.tokens_of(text) * forward_flops(shape, shape.context)
        return Cost(memory, flops=flops, text=text)

    # --- over all refits of a condition: caches are streamed, and read twice to verify them -------

    def of_similarity(self) -> Cost:
        """Cosines of all heads: a slab, its source and its scaled copy; sums and their copies."""
        layers, rows = self.shape.layers, self.rows
        within, across = layers * self.groups * rows**2, (layers * rows) ** 2
        memory = 3 * FLOAT * self.slab(blocks.SLAB_ENTRIES, layers) + self.verifying
        memory += (DOUBLE + 3 * FLOAT) * (within + across) + 2 * DOUBLE * across
        flops = 2 * self.entries * (across + layers * rows**2)
        return Cost(memory, flops=flops, read=2 * self.patterns)

    def of_stability(self) -> Cost:
        """Tables of matches, from the cosines: one layer's at a time, and rows of the tables."""
        layers, rows = self.shape.layers, self.rows
        memory = 3 * FLOAT * layers * self.groups * rows**2 + 4 * DOUBLE * layers * rows**2
        memory += 3 * self._table
        return Cost(memory, read=2 * costs.similarity_bytes(layers, rows, self.groups))

    def of_measures(self) -> Cost:
        """Similarities by every measure, one layer at a time."""
        shape, rows, groups = self.shape, self.rows, self.groups
        whole = rows * self.entries
        kept = 2 * FLOAT * whole if whole <= blocks.ADJUSTED_LAYER_ENTRIES else 0
        # A slab in float32 and what renormalising it takes in float64; cosines by group some times;
        # sums of patterns by group.
        slab = (3 * FLOAT + 4 * DOUBLE) * self.slab(blocks.ADJUSTED_SLAB_ENTRIES, layers=1)
        longest = costs.pattern_entries([max(self.lengths)])
        cosines = 6 * DOUBLE * groups * rows**2 + 3 * DOUBLE * groups * rows * longest
        features = (9 * FLOAT + 4 * DOUBLE) * self.positions * shape.d_model
        features += 4 * DOUBLE * shape.d_model**2
        stored = costs.measures_bytes(shape.layers, rows, groups)
        memory = max(kept + slab, features) + cosines + 3 * stored + self.verifying
        # What heads write, of every two refits: by head, and of the layer as one, with its null.
        outputs = (4 + SHIFTS) * self.refits**2 * shape.d_model**2 * self.positions
        # Shifted prompts; text, centred and sink-free patterns.
        products = 2 * (SHIFTS + 3) * rows**2 * self.entries + outputs
        other = (SHIFTS + 8) * ENTRY_FLOPS * whole + outputs
        flops, other = shape.layers * products, shape.layers * other
        return Cost(memory, flops=flops, other=other, read=2 * self.patterns, written=stored)

    def of_adjust(self) -> Cost:
        """Tables of every measure from stored similarities, without each refit and each group."""
        layers, rows, groups = self.shape.layers, self.rows, self.groups
        stored = costs.measures_bytes(layers, rows, groups)
        stored += costs.similarity_bytes(layers, rows, groups)
        memory = 2 * stored / layers + stored + 12 * DOUBLE * groups * rows**2 + 3 * self._table
        other = 10 * 10 * groups**2 * rows**2  # groups left out, one after another
        other += 4 * ENTRY_FLOPS * groups * self.refits**2 * (self.shape.heads**3 + 1000)
        # Heads linked through a third refit, and heads dealt anew without each refit.
        linked = 6 * groups * 2 * rows**3 + 6 * 2 * self.refits * rows**2 * self.shape.heads
        other += 6 * ENTRY_FLOPS * self.refits * rows**2
        return Cost(memory, flops=layers * linked, other=layers * other, read=2 * stored)

    def of_twins(self) -> Cost:
        """Similarities between weight decays, one refit at a time: as for refits of a condition."""
        cost = self.of_measures()
        decays = len(self.sizes.study.weight_decays)
        return cost._replace(read=decays * cost.read)

    def of_residual_similarity(self) -> Cost:
        """CKA of residual streams, one layer at a time: slabs of two kernels and distances."""
        shape, refits, positions = self.shape, self.refits, self.positions
        distances = positions**2 / 2
        memory = FLOAT * (refits + 1) * positions * shape.d_model
        memory += 4 * DOUBLE * positions * shape.d_model
        memory += 2 * FLOAT * max(min(cka.SLAB_ENTRIES, 2 * refits * distances), refits * positions)
        memory += 3 * FLOAT * CKA_THREADS * min(distances, cka.HELD_ENTRIES)
        # Distances are half a matrix of products: once to compare, and once to prepare, or three
        # times if they are not held.
        walks = 2 if distances <= cka.HELD_ENTRIES else 4
        per_refit = positions**2 * self.streams * shape.layers * refits
        flops = per_refit * (walks * shape.d_model + 2 * refits)
        null = refits**2 * positions * shape.d_model**2
        flops += SHIFTS * self.streams * shape.layers * null
        read = 2 * FLOAT * refits * positions * shape.d_model * shape.layers * self.streams
        return Cost(memory, flops=flops, other=per_refit * 2 * ENTRY_FLOPS, read=read)

    def of_norms(self) -> Cost:
        """Norms of activations: those of one refit at a time, in float64."""
        norms = self.shape.layers * self.positions
        return Cost(8 * DOUBLE * norms, read=4 * FLOAT * self.refits * norms)

    def of_prefixes(self) -> Cost:
        """Cosines of heads on the first tokens of some prompts."""
        layers, rows = self.shape.layers, self.rows
        prompts = min(self.config.prompt_lengths.prompts, len(self.lengths))
        memory = 3 * FLOAT * self.slab(blocks.SLAB_ENTRIES, layers) + self.verifying
        memory += (len(self.prefixes) + 3) * DOUBLE * layers * rows**2
        entries = prompts * costs.pattern_entries([tokens + 1 for tokens in self.prefixes])
        return Cost(memory, flops=2 * layers * rows**2 * entries, read=2 * self.patterns)

    def of_role_scores(self) -> Cost:
        """Roles of one cell's heads: slabs go to float64; the model runs on synthetic prompts."""
        shape, chosen = self.shape, self.config.roles
        length = 1 + 2 * (chosen.tokens or blocks.ROLE_TOKENS)
        memory = pattern_bytes(shape, blocks.ROLE_PROMPTS, length) * (1 + shape.layers)
        memory += costs.layer_bytes(shape, blocks.ROLE_PROMPTS * length)
        memory += 3 * FLOAT * shape.parameters
        memory += (FLOAT + DOUBLE) * self.slab(blocks.SLAB_ENTRIES, shape.layers) + self.verifying
        flops = chosen.prompts * length * forward_flops(shape, length)
        return Cost(memory, flops=flops, read=4 * self.patterns)

    def of_role_stability(self) -> Cost:
        """Scores and best matches of all refits, as rows of tables."""
        return Cost(3 * self._table, text=self._table)

    def of_meta_sne_table(self) -> Cost:
        """A map of the heads of all architectures: distances between prompts, some times over."""
        shapes = [self.sizes.shape(name) for name in self.sizes.study.architectures]
        heads = self.refits * sum(shape.heads * shape.layers for shape in shapes)
        prompts = len(self.lengths)
        features = prompts * (prompts - 1) // 2
        outputs = self.refits * prompts * sum(shape.layers * shape.d_model for shape in shapes)
        memory = 3 * (FLOAT + DOUBLE) * heads * features + 100 * DOUBLE * heads
        flops, other = 2 * heads**2 * features, MAP_ROUNDS * MAP_FLOPS * heads
        return Cost(memory, flops=flops, other=other, read=2 * FLOAT * outputs)

    def of_head_atlas_table(self) -> Cost:
        """Patterns of a few heads on one prompt, from caches that are verified first."""
        return Cost(self.verifying, read=2 * self.patterns)


# By rule, what a job takes; of any other, that little is held.
OTHER = Cost(2**31)
COSTS = {name[3:]: method for name, method in vars(_Job).items() if name.startswith("of_")}


class JobCosts:
    """What the jobs of a study take."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._known: dict[tuple, Cost] = {}

    def of(self, rule: str, wildcards: Mapping[str, str], gpu: bool = False) -> Cost:
        """What one job of a rule takes; its refit and step make no difference."""
        key = (rule, gpu, *map(wildcards.get, ("architecture", "prompts", "text")))
        if key not in self._known:
            known = rule in COSTS
            self._known[key] = COSTS[rule](_Job(self.sizes, wildcards, gpu)) if known else OTHER
        return self._known[key]
