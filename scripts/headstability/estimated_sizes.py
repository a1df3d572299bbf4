"""Bytes of a study's files before there are any (docs/models.md, "Estimate").

Arrays and weights follow from their shapes; rows of tables are counted, and take about what they
take in the studies that were measured; figures take the mean of those.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import costs
from .caches import ENTRY_CHUNK
from .shape import Shape
from .triangles import triangle_entries

# Bytes of what does not depend on the study, measured on finished ones.
CHECKPOINT_HEADER, TENSOR_HEADER, SIMILARITY_HEADER = 2000, 90, 8000
CACHE_HEADER, CACHE_LAYER_HEADER = 13_000, 1000
SIDECAR = 79
FIXED = {".pdf": 23_000, ".png": 105_000, ".json": 1300, ".md": 8000, ".log": 16, ".tsv": 133}
# Prompts are left out by groups of so many at most.
_GROUPS = 20
# Measures with all prompts and, of those, the ones with groups of prompts left out.
_MEASURES, _LEFT_OUT = 9, 8


@dataclass(frozen=True)
class Condition:
    """What rows of a condition's tables are counted by.

    Attributes:
        shape: of its models.
        refits: R.
        prompts: in the prompt set stability is measured on.
        lengths: of prefixes of prompts.
        methods: of ablation.
        texts: perplexity is taken on.
        streams: residual streams.
        steps: rows of a training table.
    """

    shape: Shape
    refits: int
    prompts: int
    lengths: int
    methods: int
    texts: int
    streams: int
    steps: int

    @property
    def heads(self) -> int:
        """Heads of all layers, L H."""
        return self.shape.layers * self.shape.heads

    @property
    def ordered(self) -> int:
        """Ordered pairs of refits, R (R - 1)."""
        return self.refits * (self.refits - 1)


# Rows of tables of one cell or condition, and bytes a row: by the last parts of their paths.
_ROWS: dict[str, tuple[int, Callable[[Condition], float]]] = {
    "training.csv": (36, lambda c: c.steps),
    "refits.csv": (204, lambda c: c.refits),
    "stability/heads.csv": (25, lambda c: c.refits * c.heads),
    "stability/pairs.csv": (37, lambda c: c.ordered * c.shape.layers),
    "stability/matches.csv": (37, lambda c: c.ordered * c.heads),
    "stability/cross_layer.csv": (34, lambda c: c.refits * c.shape.layers**2),
    "stability/commonness.csv": (39, lambda c: c.refits * c.heads),
    "ablation": (88, lambda c: c.methods * c.heads),
    "adjusted/heads.csv": (67, lambda c: c.refits * c.heads),
    "adjusted/matches.csv": (44, lambda c: c.ordered * c.heads),
    "adjusted/pairs.csv": (39, lambda c: _MEASURES * c.ordered / 2 * c.shape.layers),
    "adjusted/without_prompts.csv": (
        27,
        lambda c: _LEFT_OUT * min(_GROUPS, c.prompts) * c.shape.layers,
    ),
    "norms/streams.csv": (86, lambda c: c.refits * c.shape.layers),
    "norms/weights.csv": (27, lambda c: c.refits * c.shape.layers * (6 if c.shape.mlp else 4)),
    "perplexity": (39, lambda c: c.texts),
    "prompt_length": (45, lambda c: c.refits * c.lengths * c.shape.layers),
    "residual": (65, lambda c: c.streams * c.ordered * c.shape.layers * 2),
    "scores": (155, lambda c: 2 * c.heads),
    "roles/heads.csv": (175, lambda c: 2 * c.refits * c.heads),
    "roles/stability.csv": (60, lambda c: 12),
}
# Likewise of tables over all conditions: rows are summed over these.
_TABLE_ROWS: dict[str, tuple[int, Callable[[Condition], float]]] = {
    "heads": (115, lambda c: c.methods * c.refits * c.heads),
    "roles": (179, lambda c: 2 * c.refits * c.heads),
    "roles_stability": (64, lambda c: 12),
    "head_atlas": (70, lambda c: 136 * min(6, 2 * c.shape.layers) * min(4, c.refits)),
    "head_map": (32, lambda c: c.heads),
    "pairwise": (39, lambda c: c.ordered * c.shape.layers),
    "meta_sne": (60, lambda c: c.refits * c.heads),
    "adjusted": (84, lambda c: 11 * c.shape.layers),
    "cross_layer": (50, lambda c: (c.refits + 1) * c.shape.layers**2),
    "residual": (71, lambda c: 4 * c.streams * (c.refits + 1) * c.shape.layers),
    "prompt_length": (45, lambda c: c.lengths * (c.refits + 1) * c.shape.layers),
    "weight_norms": (23, lambda c: 5 * (c.refits + 1)),
    "stability_ablation": (63, lambda c: 2 * c.methods * (c.refits + 1) * c.shape.layers),
}
# Of the others: rows a layer and refit, and bytes a row.
_OTHER_TABLES = (2, 60)


def cache_bytes(shape: Shape, lengths: list[int], streams: int = 1) -> int:
    """Size of a cache of prompts of these lengths, BOS included (docs/methods.md, "Cache")."""
    entries = sum(map(triangle_entries, lengths))
    chunk = min(ENTRY_CHUNK, entries)
    stored = math.ceil(entries / chunk) * chunk  # an incomplete last chunk is filled up
    positions = sum(lengths)
    by_position = (1 + streams) * shape.d_model + 2  # z of all heads, streams, two norms
    floats = shape.layers * (shape.heads * stored + positions * by_position)
    floats += shape.layers * shape.d_model * len(lengths)  # mean z
    header = CACHE_HEADER + shape.layers * CACHE_LAYER_HEADER
    return 4 * floats + 16 * entries + 16 * positions + header


def similarity_bytes(shape: Shape, refits: int, prompts: int) -> int:
    """Size of the similarities of a condition: within layers by group, and across layers."""
    heads = (refits * shape.heads) ** 2
    groups = min(_GROUPS, prompts)
    return 4 * heads * (shape.layers * groups + shape.layers**2) + SIMILARITY_HEADER


def checkpoint_bytes(shape: Shape) -> int:
    """Size of a checkpoint."""
    tensors = 6 + shape.layers * (12 if shape.mlp else 6)
    header = CHECKPOINT_HEADER + tensors * TENSOR_HEADER
    return 4 * costs.parameters(shape) + header


def table_bytes(path: str, condition: Condition) -> int:
    """Size of a table of one cell or condition.

    Args:
        path: of the table.
        condition: whose it is.
    """
    parts = path.split("/")
    # In the order of _ROWS: the longest name that fits comes first.
    names = [f"{parts[-3]}/{parts[-1]}", parts[-1], *reversed(parts[:-1])]
    width, rows = next(_ROWS[name] for name in names if name in _ROWS)
    return round(40 + width * rows(condition))


def summary_bytes(name: str, conditions: Mapping[str, list[Condition]]) -> int:
    """Size of a table in tables/.

    Args:
        name: its path there, without the ending.
        conditions: of the study, by architecture and weight decay as in paths.
    """
    stem, *rest = name.split("/")
    every = [one for key, found in conditions.items() for one in found if _is_of(key, rest)]
    if stem in _TABLE_ROWS:
        width, rows = _TABLE_ROWS[stem]
        return round(80 + width * sum(rows(one) for one in every))
    count, width = _OTHER_TABLES
    return 80 + sum(count * width * one.shape.layers * (one.refits + 1) for one in every)


def _is_of(condition: str, rest: list[str]) -> bool:
    """Whether a table named after an architecture, a weight decay or both is of a condition."""
    return set(rest) <= set(condition.split("/"))
