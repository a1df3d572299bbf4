"""The rules of the workflow: what their jobs depend on, make and read.

Rules declare their files themselves; a test compares them with this list, which serves those who
look at a study from outside: `verify`, `why` and the parameters of rules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import specs
from .catalogue import FIGURES
from .study import Study


@dataclass(frozen=True)
class JobKind:
    """The jobs of one rule.

    Attributes:
        spec: what such a job depends on, from the study and the wildcards it names.
        outputs: patterns of the files it makes.
        upstream: rules whose outputs it reads.
        measures: whether its outputs are small and what everything else rests on.
    """

    spec: Callable[..., dict[str, Any]]
    outputs: Callable[[Study], list[str]]
    upstream: tuple[str, ...] = ()
    measures: bool = False


def _nothing(study: Study) -> dict[str, Any]:
    """For jobs that depend on their inputs alone."""
    del study
    return {}


def _patterns(*names: str) -> Callable[[Study], list[str]]:
    return lambda study: [getattr(study.paths, name) for name in names]


def _table(name: str) -> Callable[[Study], list[str]]:
    return lambda study: [study.paths.table_of(name)]


def _figure(name: str) -> Callable[[Study], list[str]]:
    return lambda study: list(study.paths.figure_files(FIGURES[name]).values())


KINDS: dict[str, JobKind] = {
    "corpus": JobKind(specs.corpus, _patterns("documents")),
    "tokenizer": JobKind(specs.tokenizer, _patterns("tokenizer"), ("corpus",)),
    "tokens": JobKind(
        specs.tokens, _patterns("train_tokens", "held_out_tokens", "tokens"), ("tokenizer",)
    ),
    "prompts": JobKind(specs.prompts, _patterns("prompts"), ("tokens",)),
    "train": JobKind(specs.train, _patterns("checkpoint", "training", "provenance"), ("tokens",)),
    "cache": JobKind(specs.cache, _patterns("cache"), ("train", "prompts")),
    "refits": JobKind(specs.refits, _patterns("refits"), ("train",), measures=True),
    "stability": JobKind(
        specs.refits,
        _patterns("stability_heads", "stability_pairs", "stability_matches"),
        ("cache", "refits"),
        measures=True,
    ),
    "ablation": JobKind(specs.ablation, _patterns("ablation"), ("train", "prompts"), measures=True),
    "heads_table": JobKind(specs.grid, _table("heads"), ("stability", "ablation")),
    "layer_stability_table": JobKind(
        specs.grid, _table("layer_stability"), ("stability", "refits")
    ),
    "stability_ablation_table": JobKind(_nothing, _table("stability_ablation"), ("heads_table",)),
    "head_map_table": JobKind(specs.anchor, _table(FIGURES["head_map"]), ("stability",)),
    "pairwise_table": JobKind(_nothing, _table(FIGURES["pairwise"]), ("stability",)),
    "layer_stability": JobKind(
        specs.figure, _figure("layer_stability"), ("layer_stability_table",)
    ),
    "stability_ablation": JobKind(
        specs.figure, _figure("stability_ablation"), ("stability_ablation_table",)
    ),
    "draw_head_map": JobKind(specs.look, _figure("head_map"), ("head_map_table",)),
    "draw_pairwise": JobKind(specs.look, _figure("pairwise"), ("pairwise_table",)),
    "download_weights": JobKind(specs.download_weights, _patterns("download")),
    "import_weights": JobKind(
        specs.import_weights, _patterns("checkpoint", "provenance"), ("download_weights", "tokens")
    ),
    "published": JobKind(specs.published, _table("published"), ("layer_stability_table",)),
    "write_transformerlens": JobKind(
        _nothing, _patterns("transformerlens_state", "transformerlens_config"), ("train",)
    ),
    "write_huggingface": JobKind(
        _nothing,
        _patterns("huggingface_config", "huggingface_weights", "huggingface_modelling"),
        ("train", "tokens"),
    ),
}
# The rule that draws each figure.
DRAWN_BY = {figure: f"draw_{figure}" if f"draw_{figure}" in KINDS else figure for figure in FIGURES}
