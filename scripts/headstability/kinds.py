"""The rules of the workflow: what their jobs depend on, make and read.

Rules declare their files themselves; a test compares them with this list, which serves those who
look at a study from outside: `verify`, `why` and the parameters of rules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import specs
from .catalogue import ALSO, FIGURES
from .study import Study


@dataclass(frozen=True)
class JobKind:
    """The jobs of one rule.

    Attributes:
        spec: what such a job depends on, from the study and the wildcards it names.
        outputs: patterns of the files it makes.
        upstream: rules whose outputs it reads.
        measures: whether its outputs are small and what everything else rests on.
        steps: of the checkpoints it rests on; absent: the step of its wildcards, or the last one.
    """

    spec: Callable[..., dict[str, Any]]
    outputs: Callable[[Study], list[str]]
    upstream: tuple[str, ...] = ()
    measures: bool = False
    steps: Callable[[Study], list[str]] | None = None


def _nothing(study: Study) -> dict[str, Any]:
    """For jobs that depend on their inputs alone."""
    del study
    return {}


def _patterns(*names: str) -> Callable[[Study], list[str]]:
    return lambda study: [getattr(study.paths, name) for name in names]


def _table(*names: str) -> Callable[[Study], list[str]]:
    return lambda study: [study.paths.table_of(name) for name in names]


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
    "similarity": JobKind(specs.refits, _patterns("similarity"), ("cache", "refits")),
    "stability": JobKind(
        specs.refits,
        _patterns(
            "stability_heads",
            "stability_pairs",
            "stability_matches",
            "stability_cross_layer",
            "stability_commonness",
        ),
        ("similarity",),
        measures=True,
    ),
    "ablation": JobKind(specs.ablation, _patterns("ablation"), ("train", "prompts"), measures=True),
    "heads_table": JobKind(
        specs.grid, _table("heads", *ALSO["layer_stability"]), ("stability", "ablation")
    ),
    "layer_stability_table": JobKind(
        specs.grid, _table("layer_stability"), ("stability", "refits")
    ),
    "stability_ablation_table": JobKind(
        _nothing, _table("stability_ablation", *ALSO["stability_ablation"]), ("heads_table",)
    ),
    "head_map_table": JobKind(specs.anchor, _table(FIGURES["head_map"]), ("stability", "ablation")),
    "pairwise_table": JobKind(_nothing, _table(FIGURES["pairwise"]), ("stability",)),
    "layer_stability": JobKind(
        specs.anchored, _figure("layer_stability"), ("layer_stability_table", "heads_table")
    ),
    "stability_ablation": JobKind(
        specs.stability_ablation, _figure("stability_ablation"), ("stability_ablation_table",)
    ),
    "draw_head_map": JobKind(specs.look, _figure("head_map"), ("head_map_table",)),
    "draw_pairwise": JobKind(specs.look, _figure("pairwise"), ("pairwise_table",)),
    "cross_layer_table": JobKind(
        specs.grid, _table("cross_layer"), ("stability", "layer_stability_table")
    ),
    "commonness_table": JobKind(specs.grid, _table("commonness"), ("stability",)),
    "weight_decay_contrast_table": JobKind(
        _nothing, _table("weight_decay_contrast"), ("layer_stability_table",)
    ),
    "extremes_table": JobKind(specs.shapes, _table("extremes"), ("layer_stability_table",)),
    "cross_layer": JobKind(specs.anchored, _figure("cross_layer"), ("cross_layer_table",)),
    "commonness": JobKind(specs.commonness, _figure("commonness"), ("commonness_table",)),
    "weight_decay_contrast": JobKind(
        specs.anchored, _figure("weight_decay_contrast"), ("weight_decay_contrast_table",)
    ),
    "extremes": JobKind(specs.anchored, _figure("extremes"), ("extremes_table",)),
    "residual_similarity": JobKind(
        specs.residual_similarity, _patterns("residual"), ("cache", "refits"), measures=True
    ),
    "norms": JobKind(
        specs.refits,
        _patterns("norms_streams", "norms_weights"),
        ("cache", "refits"),
        measures=True,
    ),
    "residual_table": JobKind(
        specs.grid, _table("residual"), ("residual_similarity", "layer_stability_table")
    ),
    "attention_norms_table": JobKind(specs.grid, _table("attention_norms"), ("norms",)),
    "weight_norms_table": JobKind(
        specs.grid, _table("weight_norms"), ("norms", "layer_stability_table")
    ),
    "meta_sne_table": JobKind(specs.meta_sne, _table(FIGURES["meta_sne"]), ("cache", "refits")),
    "residual": JobKind(specs.residual, _figure("residual"), ("residual_table",)),
    "attention_norms": JobKind(
        specs.figure, _figure("attention_norms"), ("attention_norms_table",)
    ),
    "weight_norms": JobKind(specs.figure, _figure("weight_norms"), ("weight_norms_table",)),
    "draw_meta_sne": JobKind(specs.look, _figure("meta_sne"), ("meta_sne_table",)),
    "evaluate": JobKind(specs.evaluate, _patterns("perplexity"), ("train",), measures=True),
    "perplexity_table": JobKind(specs.grid, _table("perplexity"), ("evaluate",)),
    "perplexity": JobKind(specs.figure, _figure("perplexity"), ("perplexity_table",)),
    "prefixes": JobKind(
        specs.prefixes, _patterns("prompt_length"), ("cache", "refits"), measures=True
    ),
    "prompt_length_table": JobKind(specs.grid, _table("prompt_length"), ("prefixes",)),
    "prompt_length": JobKind(specs.figure, _figure("prompt_length"), ("prompt_length_table",)),
    "head_atlas_table": JobKind(
        specs.head_atlas, _table(FIGURES["head_atlas"]), ("stability", "cache", "prompts")
    ),
    "draw_head_atlas": JobKind(specs.look, _figure("head_atlas"), ("head_atlas_table",)),
    "origin_table": JobKind(specs.seeded_grid, _table("origin"), ("stability",)),
    "origin": JobKind(specs.figure, _figure("origin"), ("origin_table",)),
    "dose_table": JobKind(specs.dose, _table("dose"), ("stability", "refits", "adjust")),
    "dose": JobKind(specs.look, _figure("dose"), ("dose_table",)),
    "time_course_table": JobKind(
        specs.time_course,
        _table("time_course"),
        ("stability", "ablation", "adjust"),
        steps=lambda study: study.time_steps,
    ),
    "time_course": JobKind(specs.figure, _figure("time_course"), ("time_course_table",)),
    "refits_needed_table": JobKind(specs.refits_needed, _table("refits_needed"), ("stability",)),
    "refits_needed": JobKind(specs.look, _figure("refits_needed"), ("refits_needed_table",)),
    "role_scores": JobKind(
        specs.role_scores,
        _patterns("role_scores"),
        ("cache", "train", "prompts"),
        measures=True,
    ),
    "role_stability": JobKind(
        specs.role_stability,
        _patterns("role_heads", "role_stability"),
        ("role_scores", "stability"),
        measures=True,
    ),
    "roles_table": JobKind(specs.grid, _table("roles", *ALSO["roles"]), ("role_stability",)),
    "roles": JobKind(specs.figure, _figure("roles"), ("roles_table",)),
    "adjust": JobKind(
        specs.adjust,
        _patterns(
            "adjusted_pairs", "adjusted_without_prompts", "adjusted_matches", "adjusted_heads"
        ),
        ("cache", "similarity"),
        measures=True,
    ),
    "adjusted_table": JobKind(specs.adjusted_table, _table("adjusted"), ("adjust", "stability")),
    "adjusted": JobKind(specs.figure, _figure("adjusted"), ("adjusted_table",)),
    "claims_table": JobKind(
        specs.claims_table,
        lambda study: [study.paths.table_of("claims"), study.paths.claims_report],
        ("adjust", "stability", "residual_similarity", "ablation", "evaluate", "heads_table"),
    ),
    "claims": JobKind(specs.look, _figure("claims"), ("claims_table",)),
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
