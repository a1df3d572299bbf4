"""The adjusted measures of head stability, each a function and an entry (docs/add-a-measure.md)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from . import adjusted
from .head_cka import head_cka

# Of one refit, counted from 0: z of its heads, [head, position, d_head].
ReadZ = Callable[[int], np.ndarray]


def cosine(slabs: Iterable[adjusted.Slab], groups: np.ndarray) -> np.ndarray:
    """Mean cosine of every two heads' patterns, by group of prompts, [group, row, row]."""
    return adjusted.grouped_mean_cosine(slabs, groups)[0]


@dataclass(frozen=True)
class Measure:
    """Where a measure differs from the raw one: in one step, or in several.

    A function that is undefined on given prompts raises `similarity.NotDefined`; its values are
    then empty.

    Attributes:
        patterns: transforms patterns before they are compared, from slabs to slabs; the entries of
            rows may change. None: patterns stay as they are.
        compare: similarity of patterns, from slabs and the group of each prompt [prompt] to
            [group, row, row]; rows are heads of refits.
        match: from the similarity [group, refit, head, refit, head] and the number of prompts
            [group], 0 for a group left out, to m, [anchor, refit, head], NaN where both are the
            same refit.
        outputs: similarity of what heads write, instead of that of patterns: from a function that
            reads z and the number of refits to [refit, head, refit, head]. It also gives the
            measure of the layer's concatenated z, taken as one head: <name>_of_layer. Prompts are
            not left out.
    """

    patterns: Callable[[Iterable[adjusted.Slab]], Iterator[adjusted.Slab]] | None = None
    compare: Callable[[Iterable[adjusted.Slab], np.ndarray], np.ndarray] = cosine
    match: Callable[[np.ndarray, np.ndarray], np.ndarray] = adjusted.matched_best
    outputs: Callable[[ReadZ, int], np.ndarray] | None = None

    @property
    def raw_similarity(self) -> bool:
        """Whether the similarity is that of the raw measure, which is already known."""
        return self.patterns is None and self.compare is cosine


# In the order of tables. The config chooses among them (nulls.measures).
MEASURES = {
    "split": Measure(match=adjusted.matched_split),
    "one_to_one": Measure(match=adjusted.matched_one_to_one),
    "centred": Measure(patterns=adjusted.centred),
    "sink_free": Measure(patterns=adjusted.sink_free),
    "z_cka": Measure(outputs=head_cka),
}
