"""The measures of head similarity, each a function and an entry (docs/add-a-measure.md)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from . import adjusted, parts
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
            rows may change. Slabs may be read several times. None: patterns stay as they are.
        compare: similarity of patterns, from slabs and the group of each prompt [prompt] to
            [group, row, row]; rows are heads of refits.
        left_out: similarity that is no mean over prompts, instead of `compare`: with all prompts,
            then without each group, [1 + group, row, row].
        match: from the similarity [group, refit, head, refit, head] and the number of prompts
            [group], 0 for a group left out, to m, [anchor, refit, head], NaN where both are the
            same refit.
        outputs: similarity of what heads write, instead of that of patterns: from a function that
            reads z and the number of refits to [refit, head, refit, head]. It also gives the
            measure of the layer's concatenated z, taken as one head: <name>_of_layer. Prompts are
            not left out.
        written: transforms z [head, position, d_head] of prompts of given lengths [prompt] before
            `outputs` compares it.
        always: whether it is measured whatever the config chooses.
    """

    patterns: Callable[[Iterable[adjusted.Slab]], Iterator[adjusted.Slab]] | None = None
    compare: Callable[[Iterable[adjusted.Slab], np.ndarray], np.ndarray] = cosine
    left_out: Callable[[Iterable[adjusted.Slab], np.ndarray], np.ndarray] | None = None
    match: Callable[[np.ndarray, np.ndarray], np.ndarray] = adjusted.matched_best
    outputs: Callable[[ReadZ, int], np.ndarray] | None = None
    written: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    always: bool = False

    @property
    def raw_similarity(self) -> bool:
        """Whether the similarity is that of the raw measure, which is already known."""
        own = (self.patterns, self.left_out, self.outputs)
        return own == (None, None, None) and self.compare is cosine


def chosen_measures(names: Iterable[str]) -> dict[str, Measure]:
    """Those of `names` and those that are always measured, in the order of tables."""
    names = set(names)
    return {name: one for name, one in MEASURES.items() if one.always or name in names}


# In the order of tables. The config chooses among those that are not always measured
# (nulls.measures).
MEASURES = {
    "template": Measure(left_out=parts.template, always=True),
    "text": Measure(patterns=parts.text, always=True),
    "written": Measure(outputs=head_cka, written=parts.without_position, always=True),
    "split": Measure(match=adjusted.matched_split),
    "one_to_one": Measure(match=adjusted.matched_one_to_one),
    "centred": Measure(patterns=adjusted.centred),
    "sink_free": Measure(patterns=adjusted.sink_free),
    "z_cka": Measure(outputs=head_cka),
}
